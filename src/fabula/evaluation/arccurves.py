"""Mean fortune curves of many stories that were asked for the same arc, with their null band.

One short story's curve is mostly noise; whether arcs can be asked for shows in the mean of many.
The band is where the mean of the same stories lies when each has its sentences shuffled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.evaluation.portrait import Portrait
from fabula.reading.arcs import arc_of_scores
from fabula.story import ARCS

SHUFFLES = 100


@dataclass(frozen=True)
class ArcCurve:
    """The mean curve for one arc.

    Attributes:
        arc: the arc asked for.
        stories: number of stories in the mean.
        curve: mean valence at 20 places from beginning to end, -1 to 1.
        low: 2.5th percentile of the mean of shuffled stories.
        high: 97.5th percentile of the same.
    """

    arc: str
    stories: int
    curve: list[float]
    low: list[float]
    high: list[float]


def mean_arcs(
    portraits: Sequence[Portrait], asked: Sequence[str | None], seed: int, shuffles: int = SHUFFLES
) -> list[ArcCurve]:
    """Mean curve and null band by the arc asked for; arcs that nobody asked for are left out."""
    rng = np.random.default_rng(seed)
    found = []
    for arc in ARCS:
        chosen = [
            p for p, a in zip(portraits, asked, strict=True) if a == arc and p.arc is not None
        ]
        if not chosen:
            continue
        null = np.array(
            [
                np.mean(
                    [arc_of_scores(rng.permutation(p.scores), shuffles=1).curve for p in chosen],
                    axis=0,
                )
                for _ in range(shuffles)
            ]
        )
        low, high = np.percentile(null, [2.5, 97.5], axis=0)
        curve = np.mean([p.arc.curve for p in chosen if p.arc is not None], axis=0)
        found.append(ArcCurve(arc, len(chosen), _plain(curve), _plain(low), _plain(high)))
    return found


def _plain(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(v), 4) for v in values]
