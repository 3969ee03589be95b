"""What is asked of an export, and who is told how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "export.json"
"""Says that a folder is an export, and how it was made."""


@dataclass(frozen=True)
class Wishes:
    """What is to be made.

    Attributes:
        to: the folder.
        base: another base than the adapter states.
        dtype: of the weights: "auto" (as the base has them; of float32, float16), "float16",
            "bfloat16" or "float32".
        gguf: types of GGUF files.
        ollama: whether to write a Modelfile.
        qlora: the adapter was trained over 4-bit weights (known of runs).
        texts: held-out stories to compare on.
        check: whether to compare, and to try GGUF files in llama.cpp.
        push: OWNER/NAME of the hub.
        force: replace an export that is there.
        threads: of llama.cpp.
    """

    to: Path
    base: str | None = None
    dtype: str = "auto"
    gguf: Sequence[str] = ()
    ollama: bool = False
    qlora: bool = False
    texts: int = 6
    check: bool = True
    push: str | None = None
    force: bool = False
    threads: int = 1


class Announce:
    """Told how far an export is; does nothing."""

    def stage(self, text: str) -> None:
        """A stage begins."""

    def progress(self, done: int, total: int) -> None:
        """So much of the stage is done."""

    def note(self, text: str) -> None:
        """Something to know."""
