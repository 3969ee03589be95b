"""Say in one sentence why a model folder or hub model could not be opened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fabula.engines.hub import causes
from fabula.errors import FabulaError

UNREACHED = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectTimeout"}


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
    if "trust_remote_code" in text or "custom code" in text:
        return FabulaError(
            f"{source} brings program code of its own, which is never run here; use a model whose "
            "architecture transformers knows."
        )
    if "does not recognize this architecture" in text:
        return FabulaError(
            f"{source} has an architecture that the installed transformers does not know; update "
            "transformers, or use a Llama, Mistral or GPT-2 kind of model."
        )
    pickled = FabulaError(
        f"{source} has its weights only as pickled files, which can run code and are never opened; "
        "use a copy in safetensors, or convert it where you trust it (transformers: "
        "from_pretrained, then save_pretrained)."
    )
    if Path(source).exists():
        if what == "model" and _only_pickled(f.name for f in Path(source).iterdir()):
            return pickled
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else names.pop()
        return FabulaError(
            f"{source}: the {what} cannot be read ({reason}); the folder needs config.json, "
            "weights in safetensors and tokenizer.json, whole."
        )
    # What the hub says of unknown models speaks of gated ones, too.
    unknown = "RepositoryNotFoundError" in names
    if "GatedRepoError" in names or ("gated repo" in text and not unknown):
        return FabulaError(
            f"{source} is gated: accept its licence at https://huggingface.co/{source}, then log "
            "in with 'hf auth login'."
        )
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        return FabulaError(f"{source}: there is no such model folder.")
    if unknown or "RevisionNotFoundError" in names or "404" in text:
        return FabulaError(
            f"{source} is neither a folder here nor a model on the hub; check the spelling, or log "
            "in with 'hf auth login' if it is private."
        )
    away = names & UNREACHED or "couldn't connect" in text.lower()
    if what == "model" and not away and _only_pickled(_on_hub(source)):
        return pickled
    return FabulaError(
        f"{source} is no folder here, and the hub cannot be reached and has left no copy; go "
        "online, or give the path of a model folder."
    )


def _only_pickled(names: Iterable[str]) -> bool:
    """Whether there are weights among these files, but none in safetensors."""
    kinds = {Path(name).suffix for name in names}
    return ".safetensors" not in kinds and bool(kinds & {".bin", ".pt", ".pth", ".ckpt"})


def _on_hub(source: str) -> list[str]:
    """The files of a hub model; none where it cannot be asked."""
    from huggingface_hub import model_info

    try:
        return [f.rfilename for f in model_info(source, timeout=10).siblings or []]
    except Exception:  # by ten unrelated base classes
        return []
