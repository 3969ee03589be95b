"""Which of many texts are nearly the same: locality-sensitive hashing of MinHash signatures.

A signature is cut into 32 bands of 4 numbers (Indyk and Motwani 1998; Leskovec et al., *Mining of
Massive Datasets*, chapter 3): two texts of Jaccard similarity s share a band with probability
1 - (1 - s**4)**32, which is 0.56 at 0.4, 0.87 at 0.5 and over 0.9998 at 0.7. Bands are sorted as
whole columns, so that 300,000 texts take seconds and some 300 MB; an index of Python objects
(datasketch's) was measured at 2,000 texts a second and 12 kB a text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fabula.corpus.arrays import distinct
from fabula.corpus.fingerprint import PERMUTATIONS

BANDS = 32
ROWS = PERMUTATIONS // BANDS
MAX_RUN = 64
"""In a longer run of texts that share a band, each is compared with the first so many only."""


class Alike(NamedTuple):
    """Pairs of texts that are alike; the arrays are of shape [pairs].

    Attributes:
        first, second: places of the two texts, first < second, pairs in order.
        likeness: of the two, 0 to 1.
        crowded: more than `MAX_RUN` texts shared a band, so that pairs of them may be missing.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    likeness: npt.NDArray[np.float64]
    crowded: bool


def likeness(one: bytes, other: bytes) -> float:
    """Estimated Jaccard similarity of the texts behind two signatures, 0 to 1."""
    a, b = (np.frombuffer(s, dtype="<u4") for s in (one, other))
    return float(np.mean(a == b))


def alike_pairs(table: npt.NDArray[np.uint32], threshold: float, known: int | None = None) -> Alike:
    """Pairs of texts whose likeness is at least `threshold`.

    Args:
        table: signatures, one a text, shape [texts, PERMUTATIONS].
        threshold: 0 to 1; below about 0.4 pairs are missed.
        known: only pairs whose first is among the first so many texts.
    """
    size = max(1, len(table))
    bands = [_band_pairs(table, n, known) for n in range(BANDS)]
    codes = distinct(np.concatenate([pairs for pairs, _ in bands]))
    crowded = any(longest > MAX_RUN for _, longest in bands)
    del bands
    first, second = codes // size, codes % size
    similarity = np.empty(len(codes))
    for start in range(0, len(codes), 4096):
        part = slice(start, start + 4096)
        similarity[part] = (table[first[part]] == table[second[part]]).mean(axis=1)
    keep = similarity >= threshold
    return Alike(first[keep], second[keep], similarity[keep], crowded)


# Odd 64-bit numbers (digits of the golden ratio and of xxHash); a clash only costs a comparison.
_MIX = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63],
    dtype=np.uint64,
)


def _band_pairs(
    table: npt.NDArray[np.uint32], band: int, known: int | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Pairs that may share a band (first * texts + second), and the most texts that share one."""
    size = len(table)
    keys = (table[:, band * ROWS : (band + 1) * ROWS] * _MIX).sum(axis=1, dtype=np.uint64)
    # A stable sort, so that the members of a run stand in their own order.
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[:size])
    ends = np.append(starts[1:], size)
    found = [np.empty(0, dtype=np.int64)]
    runs = ends - starts > 1
    if known is not None:
        runs &= order[starts] < known
    for start, end in zip(starts[runs].tolist(), ends[runs].tolist(), strict=True):
        members = order[start:end]
        for place in range(min(MAX_RUN, len(members) - 1)):
            if known is not None and members[place] >= known:
                break
            found.append(members[place] * size + members[place + 1 :])
    return np.concatenate(found), int((ends - starts).max(initial=0))
