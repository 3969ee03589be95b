"""Weights in 8 bits on disk: half the size of float16, and what the embedded engine computes with.

`model.int8.safetensors` holds each matrix as `NAME` (uint8 codes [rows, columns], offset 128) and
`NAME.scale` (float32 [rows, blocks], one scale for `BLOCK` columns): a weight is (code - 128) *
scale, as in `fabula.engines.load`. Vectors are float32. The engine reads this file where there is
no `model.safetensors`. torch reads no such file; for it `with_floats` writes the weights out in
float16, once, into the user's cache.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from fabula.engines.digest import combine, digest_file
from fabula.engines.graph import BLOCK
from fabula.engines.load import quantise
from fabula.engines.shape import read_config, read_shape
from fabula.engines.weights import PACKED, SCALE, read_weights, weight_files
from fabula.errors import FabulaError

FLOATS = "model.safetensors"
VERSION = "1"
"""Of what is written to the cache."""


def pack(folder: Path) -> Path:
    """Write a Llama model's weights in 8 bits beside those it has; return the file.

    Its `model.safetensors` stays, and is what is read as long as it is there.

    Raises:
        FabulaError: the folder holds no such model, or cannot be written to.
    """
    from safetensors.numpy import save

    from fabula.story.files import write_atomic

    shape = read_shape(folder, read_config(folder))
    tensors, _ = read_weights(folder, shape)
    packed = {}
    for name in shape.tensors():
        tensor = tensors[name].astype(np.float32)
        if not np.isfinite(tensor).all():
            raise FabulaError(f"The model's weight '{name}' is not finite; fetch it again.")
        if tensor.ndim == 1:
            packed[name] = tensor
            continue
        codes, packed[name + SCALE] = quantise(tensor)
        whole = codes.reshape(len(codes), -1)[:, : tensor.shape[1]]
        packed[name] = np.ascontiguousarray(whole)
    place = folder / PACKED
    write_atomic(place, save(packed, metadata={"format": "fabula int8", "block": str(BLOCK)}))
    return place


def with_floats(folder: Path) -> Path:
    """The folder, or a copy in the user's cache whose weights torch can read.

    The copy has the folder's files (not its subfolders), and is known by the digest of them all.

    Raises:
        FabulaError: the weights are damaged, or the cache cannot be written to.
    """
    if not (folder / PACKED).is_file() or weight_files(folder) != [folder / PACKED]:
        return folder
    from safetensors.numpy import save

    from fabula.story.files import write_atomic

    root = cache_folder()
    try:
        beside = sorted(p for p in folder.iterdir() if p.is_file() and p.name != PACKED)
        digests = [f"{p.name} {digest_file(p)}" for p in (folder / PACKED, *beside)]
        place = root / f"model-{combine([VERSION, *digests])[:16]}"
        names = [FLOATS, *(p.name for p in beside)]

        def whole() -> bool:
            return all((place / name).is_file() for name in names)

        if whole():
            return place
        halves = {}
        shape = read_shape(folder, read_config(folder))
        with np.errstate(over="ignore"):
            for name, tensor in read_weights(folder, shape)[0].items():
                halves[name] = tensor.astype(np.float16)
                if not np.isfinite(halves[name]).all():
                    raise FabulaError(f"The model's weight '{name}' is not finite; fetch it again.")
        root.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: nobody meets half a model, and two may write at once.
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            draft = Path(scratch) / "model"
            draft.mkdir()
            for path in beside:
                # Without its mode: a read-only installation must not make a read-only draft.
                shutil.copyfile(path, draft / path.name)
            write_atomic(draft / FLOATS, save(halves, metadata={"format": "pt"}))
            if place.exists() and not whole():
                shutil.rmtree(place)
            try:
                draft.rename(place)
            except OSError:
                if not whole():
                    raise
    except OSError as error:
        raise FabulaError(
            f"The weights of {folder} cannot be written out for torch in {root} "
            f"({error.strerror or error}); set FABULA_CACHE to a folder that can be written to."
        ) from None
    return place


def cache_folder() -> Path:
    """Where Fabula keeps what it can make again: FABULA_CACHE, or the user's cache folder.

    Raises:
        FabulaError: this user has no home folder.
    """
    chosen = os.environ.get("FABULA_CACHE")
    try:
        if chosen:
            return Path(chosen).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fabula"
    except RuntimeError as error:
        raise FabulaError(
            f"There is no cache folder ({error}); set FABULA_CACHE to one that can be written to."
        ) from None
