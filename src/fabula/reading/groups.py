"""Sums over groups of entries, a whole batch at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
FIFTHS = 5


def spread(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """All members of some ranges.

    Args:
        starts, ends: of each range, end exclusive, shape [ranges].

    Returns:
        For each member, the range that it belongs to and itself, shape [members] each.
    """
    sizes = np.maximum(ends - starts, 0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return owner, np.arange(len(owner)) - before[owner] + starts[owner]


def count_in(groups: Ints, size: int, which: npt.NDArray[Any]) -> Floats:
    """How often something holds in each group, shape [size]."""
    return np.bincount(groups, which, size).astype(np.float64)


def fifths_in(groups: Ints, size: int, at: Floats) -> Floats:
    """In how many fifths of its text each group has members, as a share, shape [size]."""
    fifth = np.minimum((at * FIFTHS).astype(np.int64), FIFTHS - 1)
    seen = np.zeros(size * FIFTHS, dtype=bool)
    seen[groups * FIFTHS + fifth] = True
    result: Floats = seen.reshape(size, FIFTHS).sum(axis=1) / FIFTHS
    return result


def rank_in(keys: tuple[npt.NDArray[Any], ...], doc: Ints) -> tuple[Ints, Ints]:
    """Order entries within their texts.

    Args:
        keys: what to order by, the most important first.
        doc: text of each entry.

    Returns:
        The order (texts one after the other), and each entry's rank in its text from 0.
    """
    order = np.lexsort((*keys[::-1], doc))
    sorted_doc = doc[order]
    new = np.flatnonzero(np.diff(sorted_doc, prepend=-1))
    start = np.zeros(len(order), dtype=np.int64)
    start[new] = new
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.maximum.accumulate(start)
    return order, rank


def edges(sorted_groups: Ints, size: int) -> Ints:
    """Where each group begins among sorted entries, shape [size + 1]."""
    return np.searchsorted(sorted_groups, np.arange(size + 1))
