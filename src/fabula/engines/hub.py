"""Models on the Hugging Face hub: fetched without pickled files, refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

from fabula.errors import FabulaError, MissingExtra

# Top-level files only. No pickled weights, no code, no second copy of the weights in another
# format ("consolidated" is Mistral's).
WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
UNWANTED = ["*/*", "consolidated*"]


def fetch(model: str) -> Path:
    """The folder of a hub model in the local cache, fetched or completed first.

    Raises:
        MissingExtra: `huggingface_hub` is not installed.
        FabulaError: unknown, gated, private, or out of reach and not in the cache.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtra(f"The hub model '{model}'", "train") from None
    try:
        return Path(snapshot_download(model, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:  # the hub client raises by ten unrelated base classes
        raise explain(error, model) from None


def explain(error: BaseException, model: str) -> FabulaError:
    """What the hub client's error means, and what to do about it."""
    from huggingface_hub import errors

    chain = causes(error)
    if any(isinstance(e, errors.GatedRepoError) for e in chain):
        return FabulaError(
            f"The model '{model}' is gated: accept its licence at https://huggingface.co/{model}, "
            "then log in with `hf auth login`."
        )
    if any(isinstance(e, errors.RepositoryNotFoundError) for e in chain):
        return FabulaError(
            f"'{model}' is neither a folder here nor a model on the hub; check the spelling, or "
            "log in with `hf auth login` if it is private."
        )
    if any(isinstance(e, errors.HFValidationError) for e in chain):
        return FabulaError(f"'{model}' is neither a folder here nor a possible hub id.")
    if any(isinstance(e, errors.OfflineModeIsEnabled) for e in chain):
        why = "the hub is switched off (HF_HUB_OFFLINE)"
    else:
        why = "the hub cannot be reached"
    return FabulaError(
        f"'{model}' is no folder here, is not whole in the local cache, and {why}: go online "
        "once, or name a model folder."
    )


def causes(error: BaseException) -> list[BaseException]:
    """An error and all that it came from, outermost first."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found
