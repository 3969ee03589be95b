"""Weights in 8 bits on disk: half the size of float16, and what the embedded engine computes with.

`model.int8.safetensors` holds each matrix as `NAME` (uint8 codes [rows, columns], offset 128) and
`NAME.scale` (float32 [rows, blocks], one scale for `BLOCK` columns): a weight is (code - 128) *
scale, as in `fabula.engines.load`. Vectors stay as they are. torch reads no such file; for it
`with_floats` writes the weights out in float16, once, into the user's cache.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from fabula.engines.digest import digest_file
from fabula.engines.graph import BLOCK
from fabula.engines.load import quantise
from fabula.engines.shape import read_config, read_shape
from fabula.engines.weights import PACKED, SCALE, read_weights, weight_files
from fabula.errors import FabulaError

FLOATS = "model.safetensors"


def pack(folder: Path) -> Path:
    """Write a Llama model's weights in 8 bits beside those it has; return the file.

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

    Raises:
        FabulaError: the weights are damaged, or the cache cannot be written to.
    """
    if [path.name for path in weight_files(folder)] != [PACKED]:
        return folder
    root = cache_folder()
    place = root / f"model-{digest_file(folder / PACKED)[:16]}"
    if (place / FLOATS).is_file():
        return place
    from safetensors.numpy import save_file

    tensors, _ = read_weights(folder, read_shape(folder, read_config(folder)))
    try:
        root.mkdir(parents=True, exist_ok=True)
        # Written aside and renamed: nobody meets half a model, and two may write at once.
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            draft = Path(scratch) / "model"
            shutil.copytree(folder, draft, ignore=shutil.ignore_patterns(PACKED))
            halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
            save_file(halves, draft / FLOATS, metadata={"format": "pt"})
            try:
                draft.rename(place)
            except OSError:
                if not (place / FLOATS).is_file():
                    raise
    except OSError as error:
        raise FabulaError(
            f"The model's weights cannot be written out for torch in {root} ({error.strerror}); "
            "set FABULA_CACHE to a folder that can be written to."
        ) from None
    return place


def cache_folder() -> Path:
    """Where Fabula keeps what it can make again: FABULA_CACHE, or the user's cache folder."""
    chosen = os.environ.get("FABULA_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fabula"
