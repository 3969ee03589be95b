"""Say in one sentence why a model folder or hub model could not be opened."""

from __future__ import annotations

from pathlib import Path

from fabula.engines.hub import causes
from fabula.errors import FabulaError


def explain_load(error: Exception, source: str, what: str) -> FabulaError:
    """Turn a library's report about `source` into a sentence that says what to do.

    Args:
        error: what the library raised.
        source: folder or hub id.
        what: "model" or "tokenizer".
    """
    if isinstance(error, FabulaError):
        return error
    chain = causes(error)
    names = {type(e).__name__ for e in chain}
    text = " ".join(str(e) for e in chain)
    if Path(source).exists():
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else names.pop()
        return FabulaError(
            f"{source}: the {what} cannot be read ({reason}); the folder needs config.json, "
            "weights in safetensors and tokenizer.json, whole."
        )
    if "GatedRepoError" in names or "gated repo" in text:
        return FabulaError(
            f"{source} is gated: accept its licence at https://huggingface.co/{source}, then log "
            "in with 'hf auth login'."
        )
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        return FabulaError(f"{source}: there is no such model folder.")
    if names & {"RepositoryNotFoundError", "RevisionNotFoundError"} or "404" in text:
        return FabulaError(
            f"{source} is neither a folder here nor a model on the hub; check the spelling."
        )
    return FabulaError(
        f"{source} is no folder here, and the hub cannot be reached and has left no copy; go "
        "online, or give the path of a model folder."
    )
