"""Linear models in plain numpy: multinomial logistic regression with an L2 penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def softmax(scores: Floats) -> Floats:
    """Probabilities of scores, over the last axis."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def minimise(
    function: Callable[[Floats], tuple[float, Floats]], start: Floats, steps: int = 300
) -> Floats:
    """Minimise a smooth function by L-BFGS (Liu & Nocedal 1989) with a backtracking search.

    Args:
        function: value and gradient at a point.
        start: where to begin, shape [n].
        steps: at most this many.
    """
    point = start.copy()
    value, gradient = function(point)
    moves: list[tuple[Floats, Floats, float]] = []
    for _ in range(steps):
        direction = -gradient
        weights = []
        for s, y, rho in reversed(moves):
            alpha = rho * (s @ direction)
            direction = direction - alpha * y
            weights.append(alpha)
        if moves:
            s, y, _ = moves[-1]
            direction = direction * (s @ y) / (y @ y)
        for (s, y, rho), alpha in zip(moves, reversed(weights), strict=True):
            direction = direction + s * (alpha - rho * (y @ direction))
        slope = float(gradient @ direction)
        if slope >= -1e-12:
            break
        step = 1.0 if moves else 1.0 / max(1.0, float(np.linalg.norm(gradient)))
        for _ in range(30):
            trial = point + step * direction
            new_value, new_gradient = function(trial)
            if new_value <= value + 1e-4 * step * slope:
                break
            step /= 2
        else:
            break
        s, y = trial - point, new_gradient - gradient
        if s @ y > 1e-12:
            moves = [*moves[-9:], (s, y, 1 / float(s @ y))]
        done = abs(value - new_value) <= 1e-9 * max(1.0, abs(value))
        point, value, gradient = trial, new_value, new_gradient
        if done:
            break
    return point


def fit_logistic(
    rows: Any,
    labels: npt.NDArray[np.int64],
    classes: int,
    l2: float,
    weights: Floats | None = None,
    *,
    offset: Floats | float = 0.0,
    steps: int = 300,
) -> tuple[Floats, Floats]:
    """Fit a multinomial logistic regression.

    Args:
        rows: features, an array or a scipy.sparse matrix of shape [examples, features].
        labels: class of each row, shape [examples].
        classes: number of classes.
        l2: penalty on the squared weights (not on the biases).
        weights: of the examples, shape [examples]; even if None.
        offset: scores that are added to each row's, shape [examples, classes].
        steps: at most so many steps.

    Returns:
        Weights of shape [features, classes] and biases of shape [classes].
    """
    n, d = rows.shape
    share = np.full(n, 1 / n) if weights is None else weights / weights.sum()
    target = np.eye(classes)[labels]

    def loss(flat: Floats) -> tuple[float, Floats]:
        w, b = flat[: d * classes].reshape(d, classes), flat[d * classes :]
        p = softmax(rows @ w.astype(rows.dtype) + b + offset)
        value = -float(share @ np.log(p[np.arange(n), labels] + 1e-300)) + l2 / 2 * float(
            (w * w).sum()
        )
        error = (p - target) * share[:, None]
        slope = rows.T @ error.astype(rows.dtype) + l2 * w
        return value, np.concatenate([slope.ravel(), error.sum(axis=0)])

    flat = minimise(loss, np.zeros(d * classes + classes), steps)
    return flat[: d * classes].reshape(d, classes), flat[d * classes :]
