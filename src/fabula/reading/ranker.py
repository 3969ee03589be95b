"""A ranker: the chance that a candidate is the one, by logistic regression on its features."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fabula.reading.linear import fit_logistic
from fabula.reading.store import weights

Floats = npt.NDArray[np.float64]
L2 = 1e-3


def fit_ranker(name: str, rows: Floats, right: npt.NDArray[np.int64]) -> dict[str, Floats]:
    """Fit a ranker.

    Args:
        name: prefix of its arrays.
        rows: features of the candidates, shape [candidates, features].
        right: 1 where a candidate is right, else 0, shape [candidates].

    Returns:
        Arrays to store: weights and bias on the unscaled features, as one column each.
    """
    mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    w, b = fit_logistic((rows - mean) / scale, right, 2, L2)
    slope = (w[:, 1] - w[:, 0]) / scale
    return {f"{name}_w": slope, f"{name}_b": np.array(b[1] - b[0] - mean @ slope)}


def chances(
    name: str, rows: Floats, arrays: Mapping[str, npt.NDArray[np.generic]] | None = None
) -> Floats:
    """Chance of each candidate, 0 to 1, shape [candidates]; by the shipped arrays if None."""
    store = weights() if arrays is None else arrays
    slope, bias = np.asarray(store[f"{name}_w"], float), np.asarray(store[f"{name}_b"], float)
    result: Floats = 1 / (1 + np.exp(-np.clip(rows @ slope + bias, -50, 50)))
    return result
