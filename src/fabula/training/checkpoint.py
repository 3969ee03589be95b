"""Checkpoints: what learns, the optimiser, the counts and the cursor, under checksums.

There is no random state: whatever is random follows from the seed and the place in the data. No
pickle: tensors are safetensors, the rest is JSON. A checkpoint is a folder `step-N`, written
under another name and renamed when it is whole; `manifest.json` holds the sha256 of each file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fabula.errors import FabulaError
from fabula.training import parallel
from fabula.training.optimiser import pack_state, unpack_state
from fabula.training.packing import Cursor

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d+)")


@dataclass
class State:
    """Everything a run counts.

    Attributes:
        step: optimiser steps done.
        cursor: the next micro-batch of the stream.
        epochs: share of the data seen, in epochs.
        seconds: time spent training, over all sittings.
        tokens: tokens seen, without padding; learnt: those whose loss counts; padding: the rest.
        documents: documents seen; dropped: documents met that were too long.
        divide: parts in which each micro-batch is computed, since memory ran out.
        recent, lowest: losses of the last steps, and the lowest mean of some, by which a run is
            seen to diverge.
    """

    step: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    epochs: float = 0.0
    seconds: float = 0.0
    tokens: int = 0
    learnt: int = 0
    padding: int = 0
    documents: int = 0
    dropped: int = 0
    divide: int = 1
    recent: list[float] = field(default_factory=list)
    lowest: float | None = None


def learnt_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that learn, by name; tied ones once."""
    return {n: p for n, p in model.named_parameters() if p.requires_grad}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _apart(named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of which no two share memory, which safetensors refuses.

    The tables of 8-bit states are one tensor for all.
    """
    found: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in named.items():
        kept = tensor.contiguous()
        found[name] = kept.clone() if kept.data_ptr() in seen else kept
        seen.add(kept.data_ptr())
    return found


def save(folder: Path, keep: int, model: nn.Module, optimiser: Any, state: State) -> Path:
    """Write `folder/step-N` and delete all but the newest `keep`.

    All processes of a run have to come here: parted tensors are put together, and the first writes.

    Raises:
        FabulaError: it cannot be written (disk full); older checkpoints stay.
    """
    from safetensors.torch import save_file

    target = folder / f"step-{state.step:07d}"
    weights = {n: parallel.whole(p.detach()) for n, p in learnt_tensors(model).items()}
    tensors, plain = pack_state(optimiser)
    tensors = {n: parallel.whole(t) for n, t in tensors.items()}
    if not parallel.world().first:
        parallel.wait()
        return target
    draft = folder / f".draft-{state.step:07d}"
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, named in (("weights", weights), ("optimiser", tensors)):
            save_file(_apart(named), draft / f"{name}.safetensors")
        (draft / "state.json").write_text(
            json.dumps({"state": asdict(state), "optimiser": plain}, indent=1), encoding="utf-8"
        )
        files = sorted(p for p in draft.iterdir())
        (draft / MANIFEST).write_text(
            json.dumps({p.name: _sha256(p) for p in files}, indent=1), encoding="utf-8"
        )
        for path in [*files, draft / MANIFEST]:
            _sync(path)
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
    except Exception as error:
        shutil.rmtree(draft, ignore_errors=True)
        # safetensors wraps the system's error in one of its own.
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            reason = getattr(error, "strerror", None) or str(error)
            raise FabulaError(
                f"The checkpoint {target} cannot be written ({reason}); free some disk and go on "
                "with --resume."
            ) from None
        raise
    for old in found(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    parallel.wait()
    return target


def found(folder: Path) -> list[Path]:
    """Checkpoints, newest first, whole or not."""
    if not folder.is_dir():
        return []
    numbered = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(numbered, reverse=True)]


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = json.loads((path / MANIFEST).read_text("utf-8"))
        for name, expected in sums.items():
            if _sha256(path / name) != expected:
                return f"{name} is not what was written"
    except (OSError, ValueError, AttributeError) as error:
        return f"{getattr(error, 'filename', None) or MANIFEST} cannot be read"
    return None


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint whose checksums hold, and a sentence for each damaged one."""
    notes: list[str] = []
    for path in found(folder):
        fault = damage(path)
        if fault is None:
            return path, notes
        notes.append(f"The checkpoint {path} is damaged ({fault}); the one before it is used.")
    return None, notes


def read_state(path: Path) -> State:
    """The counts of a checkpoint."""
    raw = json.loads((path / "state.json").read_text("utf-8"))["state"]
    return State(**{**raw, "cursor": Cursor(**raw["cursor"])})


def load_weights(path: Path, model: nn.Module) -> None:
    """Put a checkpoint's weights into a model of the same shape.

    Raises:
        FabulaError: the shapes differ.
    """
    from safetensors.torch import load_file

    stored = load_file(path / "weights.safetensors")
    here = learnt_tensors(model)
    if stored.keys() != here.keys() or any(stored[n].shape != here[n].shape for n in here):
        raise FabulaError(f"The checkpoint {path} belongs to another model; start a new run.")
    with torch.no_grad():
        for name, parameter in here.items():
            parameter.copy_(parallel.parted_like(stored[name], parameter))


def load_rest(path: Path, optimiser: Any) -> None:
    """Restore the optimiser."""
    from safetensors.torch import load_file

    plain = json.loads((path / "state.json").read_text("utf-8"))["optimiser"]
    # Copies, because what is loaded is a view of a file that will be deleted.
    tensors = {n: t.clone() for n, t in load_file(path / "optimiser.safetensors").items()}
    unpack_state(optimiser, tensors, plain)
