"""What reading has learnt: arrays and word lists shipped with the package, without pickle."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.errors import FabulaError

WEIGHTS = "weights.npz"
LEXICON = "lexicon.json"


@cache
def weights() -> dict[str, npt.NDArray[Any]]:
    """The fitted arrays, by name.

    Raises:
        FabulaError: the file is missing or damaged.
    """
    try:
        raw = files("fabula.data").joinpath("reading", WEIGHTS).read_bytes()
        with np.load(BytesIO(raw), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, KeyError) as error:
        raise FabulaError(_broken(WEIGHTS, error)) from None


@cache
def lexicon() -> dict[str, Any]:
    """The learnt word lists, by name.

    Raises:
        FabulaError: the file is missing or damaged.
    """
    try:
        raw = files("fabula.data").joinpath("reading", LEXICON).read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(raw)
    except (OSError, ValueError) as error:
        raise FabulaError(_broken(LEXICON, error)) from None
    return data


@cache
def known_words() -> frozenset[str]:
    """Common words: a capital at the beginning of a sentence does not make them names."""
    return frozenset(lexicon()["known"].split())


def _broken(name: str, error: Exception) -> str:
    return (
        f"The reading model's file {name} is missing or damaged ({type(error).__name__}); "
        "install Fabula again, or run 'fabula read --fit'."
    )
