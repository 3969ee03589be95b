"""Which texts share a passage: sampled shingles in text order, and a join of neighbours.

Of every `WINDOW` shingles in a row the one of least hash is kept (winnowing: Schleimer, Wilkerson
and Aiken 2003), which is 2 in `WINDOW` + 1, or about 38 of a story of 560 words. What is kept of a
passage depends on the passage alone, so that every reprint keeps the same: of 60 words or more at
least two shingles that follow each other. Two texts share a passage if they share such
neighbours, at the same distance; one shared shingle is no sign, because stories are full of
common phrases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.corpus.arrays import distinct

WINDOW = 28
_GAP_BITS = 5
_GAP = np.uint32((1 << _GAP_BITS) - 1)
_LAST = np.uint64(2**32 - 1)

MAX_STORIES = 50
"""Neighbours that stand in more texts than so many are boilerplate, and join nothing."""

_BLOCK = 1 << 20
_WAITING = 1 << 22


def sample(mixed: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64]) -> list[bytes]:
    """The sampled shingles of many texts.

    Args:
        mixed: well mixed hashes of all shingles of all texts, in order.
        starts: where each text begins in them, and where the last ends, shape [texts + 1].

    Returns:
        For each text unsigned 32-bit numbers, little-endian, in text order: 27 bits of a hash,
        and 5 of its distance in words from the one kept before it (0 for the first).
    """
    # The window's least high half; of equal ones the last, as its place counts downwards.
    keys = (mixed & ~_LAST) | (_LAST - np.arange(len(mixed), dtype=np.uint64))
    least = keys
    for reach in (1, 2, 4, 8):
        least = np.minimum(least[:-reach], least[reach:])
    rest = WINDOW - 16
    least = np.minimum(least[:-rest], least[rest:])
    sizes = np.diff(starts)
    long = sizes >= WINDOW
    # A window starts wherever the text goes on for as long as it is.
    edges = np.zeros(len(mixed) + 1, dtype=np.int32)
    np.add.at(edges, starts[:-1][long], 1)
    np.add.at(edges, (starts[1:] - WINDOW + 1)[long], -1)
    windows = least[np.cumsum(edges)[: len(least)].astype(bool)]
    windows = windows[np.append(True, windows[1:] != windows[:-1])[: len(windows)]]
    # A text shorter than the window is one window.
    small = [keys[starts[n] : starts[n + 1]].min() for n in np.flatnonzero(~long).tolist()]
    places = np.sort(_LAST - (np.append(windows, np.array(small, np.uint64)) & _LAST))
    places = places.astype(np.int64)
    firsts = np.searchsorted(places, starts)
    gaps = np.diff(places, prepend=0)
    gaps[firsts[:-1]] = 0
    values = (mixed[places].astype(np.uint32) << np.uint32(_GAP_BITS)) | gaps.astype(np.uint32)
    raw = values.astype("<u4").tobytes()
    bounds = (4 * firsts).tolist()
    return [raw[bounds[n] : bounds[n + 1]] for n in range(len(sizes))]


@dataclass(slots=True)
class Samples:
    """The sampled shingles of many texts, as columns.

    Attributes:
        values: of all texts, one after the other.
        starts: where each text begins in them, and where the last ends, shape [texts + 1].
    """

    values: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, samples: Sequence[bytes]) -> Samples:
        """From what `sample` gave."""
        sizes = np.array([len(one) // 4 for one in samples], dtype=np.int64)
        return cls(
            np.frombuffer(b"".join(samples), dtype="<u4"),
            np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        )

    @classmethod
    def together(cls, parts: Sequence[Samples]) -> Samples:
        """The texts of several."""
        sizes = np.concatenate([np.zeros(1, np.int64), *(part.sizes() for part in parts)])
        values = np.concatenate([np.zeros(0, np.uint32), *(part.values for part in parts)])
        return cls(values, np.cumsum(sizes))

    def of_texts(self, texts: npt.NDArray[np.int64]) -> Samples:
        """Some of the texts, in another order perhaps."""
        sizes = self.sizes()[texts]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        owner = np.repeat(np.arange(len(texts)), sizes)
        inside = np.arange(len(owner)) - starts[owner]
        return Samples(self.values[self.starts[texts][owner] + inside], starts)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Sampled shingles of each text, shape [texts]."""
        return np.diff(self.starts)


@dataclass(slots=True)
class SharedPassages:
    """Pairs of texts that share a passage; all arrays are of shape [pairs].

    Attributes:
        first, second: places of the two texts, first < second, pairs in order.
        words: how much of what they share was seen, in words; what they share is longer by some
            `WINDOW` words, because nothing is sampled right at a passage's ends.
        boilerplate: some neighbours stood in more than `MAX_STORIES` texts and were passed over.
    """

    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    boilerplate: bool

    def select(self, keep: npt.NDArray[np.bool_]) -> SharedPassages:
        """Some of the pairs."""
        return SharedPassages(
            self.first[keep], self.second[keep], self.words[keep], self.boilerplate
        )


def shared_passages(samples: Samples, least: int, known: int | None = None) -> SharedPassages:
    """Pairs of texts that share a passage of which at least `least` words were seen.

    Args:
        samples: of the texts.
        least: words, at least 6.
        known: only pairs whose first is among the first so many texts.
    """
    total = max(1, len(samples.starts) - 1)
    neighbours = _neighbours(samples)
    codes, gaps = np.empty(0, np.int64), np.empty(0, np.int64)
    pending, waiting = [(codes, gaps)], 0
    for pairs in _pairs(neighbours, total, known):
        pending.append(pairs)
        waiting += len(pairs[0])
        # Summed up when there is as much new as old, so that nothing is sorted often.
        if waiting > max(_WAITING, len(pending[0][0])):
            pending, waiting = [_sum_by(pending)], 0
    codes, gaps = _sum_by(pending)
    words = gaps + 5
    pairs_found = SharedPassages(
        codes // total, codes % total, words, bool((neighbours.sizes() > MAX_STORIES).any())
    )
    return pairs_found.select(words >= least)


def _sum_by(
    parts: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each code once, in order, and the sum of its gaps."""
    codes = np.concatenate([codes for codes, _ in parts])
    gaps = np.concatenate([gaps for _, gaps in parts])
    order = np.argsort(codes, kind="stable")
    codes, gaps = codes[order], gaps[order]
    firsts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1])[: len(codes)])
    if not len(firsts):
        return codes, gaps
    return codes[firsts], np.add.reduceat(gaps, firsts)


@dataclass(slots=True)
class _Neighbours:
    """Neighbours that stand in several texts, sorted; one row for each text they stand in.

    Attributes:
        texts: which text.
        gaps: distance of the two, in words.
        starts: where the rows of each pair of neighbours begin.
    """

    texts: npt.NDArray[np.int64]
    gaps: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    def sizes(self) -> npt.NDArray[np.int64]:
        """Texts of each."""
        return np.diff(np.append(self.starts, len(self.texts)))


def _neighbours(samples: Samples) -> _Neighbours:
    total = len(samples.starts) - 1
    none = np.empty(0, np.int64)
    if len(samples.values) < 2:
        return _Neighbours(none, none, none)
    keys = samples.values[:-1].astype(np.uint64) >> np.uint64(_GAP_BITS) << np.uint64(32)
    keys |= samples.values[1:]
    ordered = np.sort(keys)
    twice = distinct(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(twice):
        return _Neighbours(none, none, none)
    which = np.minimum(np.searchsorted(twice, keys), len(twice) - 1)
    places = np.flatnonzero(twice[which] == keys)
    del keys
    which = which[places]
    # The last of a text and the first of the next are no neighbours.
    gaps = (samples.values[places + 1] & _GAP).astype(np.int64)
    which, places, gaps = which[gaps > 0], places[gaps > 0], gaps[gaps > 0]
    texts = np.searchsorted(samples.starts, places, side="right") - 1
    # Once a text, however often it says so.
    _, firsts = np.unique(which * total + texts, return_index=True)
    which, texts, gaps = which[firsts], texts[firsts], gaps[firsts]
    starts = np.flatnonzero(np.append(True, which[1:] != which[:-1])[: len(which)])
    return _Neighbours(texts, gaps, starts)


def _pairs(
    neighbours: _Neighbours, total: int, known: int | None
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(first * total + second, distance of the neighbours) wherever two texts share neighbours."""
    sizes, starts, texts = neighbours.sizes(), neighbours.starts, neighbours.texts
    for size in range(2, MAX_STORIES + 1):
        runs = starts[sizes == size]
        one, other = np.triu_indices(size, 1)
        step = max(1, _BLOCK // len(one))
        for start in range(0, len(runs), step):
            rows = runs[start : start + step, None]
            first, second = texts[rows + one].ravel(), texts[rows + other].ravel()
            gap = np.repeat(neighbours.gaps[rows[:, 0]], len(one))
            if known is not None:
                first, second, gap = (a[first < known] for a in (first, second, gap))
            yield first * total + second, gap


def shared_counts(
    samples: Samples, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct sampled shingles that pairs of texts share, and that each of the two has.

    Args:
        samples: of the texts.
        first, second: places of the texts, shape [pairs].

    Returns:
        Three arrays of shape [pairs].
    """
    counts = np.zeros((3, len(first)), dtype=np.int64)
    if not len(first):
        return counts[0], counts[1], counts[2]
    sizes = samples.sizes()
    # Blocks of pairs with about as many shingles each.
    block = np.cumsum(sizes[first] + sizes[second]) // _BLOCK
    cuts = np.flatnonzero(np.diff(block, prepend=-1)).tolist()
    for start, end in zip(cuts, [*cuts[1:], len(first)], strict=True):
        one = _paired(samples, first[start:end])
        other = _paired(samples, second[start:end])
        both = np.intersect1d(one, other, assume_unique=True)
        for row, keys in enumerate((both, one, other)):
            found = np.bincount(keys >> np.int64(32 - _GAP_BITS), minlength=end - start)
            counts[row, start:end] = found
    return counts[0], counts[1], counts[2]


def _paired(samples: Samples, texts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(place among `texts`, hash) of every distinct shingle, as one number each."""
    sizes = samples.sizes()[texts]
    owner = np.repeat(np.arange(len(texts)), sizes)
    inside = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    values = samples.values[samples.starts[texts][owner] + inside] >> np.uint32(_GAP_BITS)
    return distinct(owner << np.int64(32 - _GAP_BITS) | values.astype(np.int64))
