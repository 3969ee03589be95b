"""Figures with intervals: every metric is a function of sums over stories, resampled by prompt.

A `Statistic` holds, for each story, the numbers whose *sums* the metric needs (bits and bytes,
n-gram counts, a score and a one), and how the sums combine. So one drawing of stories gives the
metric, its floor, the human figure and another model's figure on the same stories, and
differences are paired (paired bootstrap: Efron & Tibshirani 1993, ch. 13; Koehn 2004,
*Statistical significance tests for machine translation evaluation*). Stories that share a
prompt are drawn together, because they are not independent (cluster bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Combine = Callable[[Floats], Floats]

RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval at `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Statistic:
    """A metric as a function of sums.

    Attributes:
        columns: shape [stories, k]; the numbers that are summed over stories.
        combine: sums of shape [draws, k] -> the metric, shape [draws]; NaN where undefined.
        share: whether it is a percentage of yes among yes and no: of `columns`, the second
            counts the answers.
    """

    columns: Floats
    combine: Combine
    share: bool = False

    def at(self, weights: Floats) -> Floats:
        """The metric under weights of shape [draws, stories], shape [draws]."""
        return self.combine(weights @ self.columns)

    @property
    def value(self) -> float | None:
        """The metric on the stories as they are; None where it is undefined."""
        return number(self.at(np.ones((1, len(self.columns))))[0])


def number(value: Any) -> float | None:
    """A float for JSON: NaN and infinity become None."""
    value = float(value)
    return value if np.isfinite(value) else None


def _quotient(sums: Floats) -> Floats:
    out: Floats = np.full(len(sums), np.nan)
    np.divide(sums[:, 0], sums[:, 1], out=out, where=sums[:, 1] > 0)
    return out


def mean(values: Sequence[float | None]) -> Statistic:
    """Mean over the stories that have a value (None: this story does not count)."""
    rows = [(0.0, 0.0) if v is None else (float(v), 1.0) for v in values]
    return Statistic(np.array(rows, dtype=np.float64).reshape(-1, 2), _quotient)


def share(answers: Sequence[bool | None]) -> Statistic:
    """Percentage of yes among the stories that have an answer."""
    return replace(mean([None if a is None else 100.0 * a for a in answers]), share=True)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Statistic:
    """Sum over sum: a share of all wishes, bits per byte."""
    pair = np.array([numerators, denominators], dtype=np.float64).T
    return Statistic(pair.reshape(-1, 2), _quotient)


def exp_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Statistic:
    """exp(sum / sum): a corpus perplexity."""

    def combine(sums: Floats) -> Floats:
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(_quotient(sums)), dtype=np.float64)

    return Statistic(ratio(numerators, denominators).columns, combine)


class Resamples:
    """Seeded drawings of whole prompts, shared by all metrics of one evaluation."""

    def __init__(self, groups: Sequence[Hashable], seed: int, count: int = RESAMPLES) -> None:
        """Draw `count` times as many prompts as there are, with replacement."""
        order: dict[Hashable, int] = {}
        member = np.array([order.setdefault(g, len(order)) for g in groups], dtype=np.int64)
        self._member = member
        rng = np.random.default_rng(seed)
        self.clusters = len(order)
        draws = rng.multinomial(
            self.clusters, np.full(self.clusters, 1 / max(self.clusters, 1)), size=count
        )
        self.weights: Floats = draws[:, member].astype(np.float64)

    def interval(self, *terms: tuple[float, Statistic]) -> Interval | None:
        """Interval of a weighted sum of metrics, e.g. a lift: ``(1, matched), (-1, floor)``.

        Where nobody (or everybody) said yes, drawing again cannot show how sure that is: the
        interval of such a share is the exact one (Clopper & Pearson 1934), prompts as trials.

        Returns None with fewer than two prompts, where the sum is undefined in most draws, or
        where a sum of several, or a share in between, is the same in all of them.
        """
        if self.clusters < 2:
            return None
        draws = sum((factor * s.at(self.weights) for factor, s in terms), start=np.float64(0.0))
        draws = np.asarray(draws)[np.isfinite(draws)]
        if len(draws) < len(self.weights) / 2:
            return None
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        if low == high and len(terms) > 1:
            return None
        if low == high and terms[0][1].share:
            return self._exact(float(low), terms[0][1]) if low in (0, 100) else None
        return Interval(float(low), float(high))

    def _exact(self, percent: float, statistic: Statistic) -> Interval:
        """The exact interval of 0 or 100 percent."""
        trials = len(np.unique(self._member[statistic.columns[:, 1] > 0]))
        far = 100 * (1 - ((1 - LEVEL) / 2) ** (1 / trials))
        return Interval(0.0, far) if percent < 50 else Interval(100 - far, 100.0)


def average(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of several metrics of one kind, e.g. of the floors of several derangements."""
    widths = [s.columns.shape[1] for s in statistics]
    edges = np.cumsum([0, *widths])

    def combine(sums: Floats) -> Floats:
        parts = [
            s.combine(sums[:, a:b])
            for s, a, b in zip(statistics, edges[:-1], edges[1:], strict=True)
        ]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float64)

    return Statistic(np.concatenate([s.columns for s in statistics], axis=1), combine)


def derangements(groups: Sequence[Hashable], count: int, seed: int) -> list[list[int]]:
    """Pairings of every story with a story of another prompt.

    Prompts are shuffled, the stories of one prompt stay neighbours, and the row is turned by at
    least the largest prompt's size: nobody can meet his own prompt.

    Args:
        groups: the prompt of each story.
        count: how many pairings; equal ones are dropped, so small sets may give fewer.
        seed: of the shuffles.

    Returns:
        Lists `p` with ``groups[p[i]] != groups[i]`` for every i; each is a permutation. Empty
        if one prompt has more than half of the stories.
    """
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    n, largest = len(groups), max((len(m) for m in members.values()), default=0)
    if len(members) < 2 or 2 * largest > n:
        return []
    rng = np.random.default_rng(seed)
    keys = list(members)
    found: list[list[int]] = []
    for _ in range(4 * count):
        row = [i for k in rng.permutation(len(keys)) for i in members[keys[k]]]
        turn = int(rng.integers(largest, n - largest + 1))
        pairing = [0] * n
        for place, i in enumerate(row):
            pairing[i] = row[(place + turn) % n]
        if pairing not in found:
            found.append(pairing)
        if len(found) == count:
            break
    return found


def quantile(values: Sequence[float | None], q: float) -> Statistic:
    """A quantile: the smallest value that at least a share q does not exceed.

    Args:
        values: None leaves the story out.
        q: 0 to 1; 1 is the maximum.
    """
    levels = np.array(sorted({v for v in values if v is not None} or {0.0}), dtype=np.float64)
    counts = np.zeros((len(values), len(levels)))
    for i, value in enumerate(values):
        if value is not None:
            counts[i, np.searchsorted(levels, value)] = 1

    def combine(sums: Floats) -> Floats:
        total = sums.sum(axis=1)
        reached = np.cumsum(sums, axis=1) >= q * total[:, None] - 1e-9
        found = levels[reached.argmax(axis=1)]
        return np.asarray(np.where(total > 0, found, np.nan), dtype=np.float64)

    return Statistic(counts, combine)
