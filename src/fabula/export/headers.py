"""What safetensors files hold, told from their headers: shapes and types, no weights."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from fabula.engines.weights import weight_files
from fabula.errors import FabulaError

FLOATS = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float32"}
"""Types of numbers in safetensors -> torch's (double precision is read as float32)."""
Header = dict[str, tuple[tuple[int, ...], str]]


def read_header(path: Path) -> Header:
    """Name -> (shape, type) of the tensors of a file.

    Raises:
        FabulaError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {n: (tuple(s.get_shape()), str(s.get_dtype())) for n, s in slices.items()}
    except (OSError, SafetensorError) as error:
        raise FabulaError(f"'{path}' is missing or damaged ({error}).") from None


def weights_of(folder: Path, config: dict[str, Any]) -> tuple[int, str]:
    """Parameters of a model folder, and the type that most of them are stored in.

    Raises:
        FabulaError: a file is missing or damaged, or the weights are quantised.
    """
    kinds: Counter[str] = Counter()
    for path in weight_files(folder):
        for shape, kind in read_header(path).values():
            kinds[kind] += math.prod(shape)
    stored = kinds.most_common(1)[0][0]
    if config.get("quantization_config") or stored not in FLOATS:
        raise FabulaError(
            f"The weights of '{folder}' are quantised, and merging into quantised weights spoils "
            "both: name the 16-bit model that they were made from by --base."
        )
    return sum(kinds.values()), FLOATS[stored]
