"""Loading the large libraries without their chatter."""

from __future__ import annotations

import logging
import os
import warnings

from fabula.errors import MissingExtra


def load_quietly(what: str, threads: int | None = None) -> None:
    """Load torch and transformers.

    Args:
        what: is done with them, for the message where they are not installed.
        threads: of torch.

    Raises:
        MissingExtra: they are not installed.
    """
    # Threads that wait for each other sleep instead of spinning: spinning is a little faster on an
    # idle machine, and many times slower on one where anything else runs. Read when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # bitsandbytes announces an optional kernel that it could not load, as a warning.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(transformers|peft|bitsandbytes|torch|accelerate)")
    try:
        import torch
        from transformers.utils import logging as chatter
    except ImportError:
        raise MissingExtra(what, "train") from None
    chatter.set_verbosity_error()  # type: ignore[no-untyped-call]
    chatter.disable_progress_bar()  # type: ignore[no-untyped-call]
    if threads is not None:
        torch.set_num_threads(threads)
