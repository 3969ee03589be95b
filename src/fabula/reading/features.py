"""What a linear model sees of a text: words, where they stand, and the meaning of each fifth."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fabula.reading.text import Document

FIFTHS = 5
MODES = 3  # half-turns of a cosine over the story: rise, hole, cinderella (see arcs.py)
BLOCKS = ("words", "last", "mode 1", "mode 2", "mode 3")
LAST = 0.8  # where the last fifth begins

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the features are looked up in.

    Attributes:
        words: row of each word in `vectors`.
        vectors: meaning of a word, times its weight, shape [words, size].
        moods: valence (VADER), rising fortune, falling fortune of a word, shape [words, 3].
        terms: column of each word and pair of words.
        rarity: inverse document frequency of each term, shape [terms].
    """

    words: dict[str, int]
    vectors: Floats
    moods: Floats
    terms: dict[str, int]
    rarity: Floats


@dataclass(frozen=True, slots=True)
class Features:
    """One text as a linear model sees it.

    Attributes:
        meaning: unit vectors, one for each fifth, shape [FIFTHS, size].
        whole: unit vector of all of it, shape [size].
        mood: mean of `Tables.moods` in each fifth, shape [FIFTHS, 3].
        terms: the terms that occur, distinct, shape [k].
        values: their value in each of BLOCKS, each row of unit length, shape [len(BLOCKS), k].
        columns: the term that each word is, -1 for none, shape [words].
    """

    meaning: Floats
    whole: Floats
    mood: Floats
    terms: npt.NDArray[np.int64]
    values: Floats
    columns: npt.NDArray[np.int64]


def _unit(rows: Floats) -> Floats:
    length = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    result: Floats = rows / np.maximum(length, 1e-9)
    return result


def _sum_by(groups: npt.NDArray[np.int64], rows: Floats, count: int) -> Floats:
    """Sum rows that share a group number, shape [count, columns]; groups are in order."""
    result = np.zeros((count, rows.shape[1]), dtype=np.float32)
    if len(groups):
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        result[groups[starts]] = np.add.reduceat(rows, starts, axis=0)
    return result


def extract(doc: Document, tables: Tables) -> Features:
    """The features of a text."""
    return extract_words(doc.lower, np.arange(len(doc)) / max(1, len(doc)), tables)


def extract_words(lower: list[str], at: npt.NDArray[np.float64], tables: Tables) -> Features:
    """The features of words at places from 0 to 1 (in order) of a story."""
    find = tables.words.get
    rows = np.array([find(w, -1) for w in lower], dtype=np.int64)
    known = rows >= 0
    fifth = np.minimum((at * FIFTHS).astype(np.int64), FIFTHS - 1)
    ids, part = rows[known], fifth[known]
    sums = _sum_by(part, tables.vectors[ids], FIFTHS)
    mood = _sum_by(part, tables.moods[ids], FIFTHS)
    counts = np.bincount(fifth, minlength=FIFTHS)[:, None]
    seek = tables.terms.get
    found = [seek(w, -1) for w in lower]
    found += [seek(f"{a} {b}", -1) for a, b in pairwise(lower)]
    columns = np.array(found, dtype=np.int64)
    place = np.concatenate([at, at[:-1]]) if len(at) else at
    hit = columns >= 0
    terms, inverse = np.unique(columns[hit], return_inverse=True)
    place = place[hit]
    k = len(terms)
    count = np.bincount(inverse, minlength=k)
    values = np.stack(
        [
            np.log1p(count),
            np.bincount(inverse, weights=place > LAST, minlength=k),
            *(
                np.bincount(inverse, weights=np.cos(np.pi * m * place), minlength=k)
                for m in range(1, MODES + 1)
            ),
        ]
    ).astype(np.float32)
    return Features(
        meaning=_unit(sums),
        whole=_unit(sums.sum(axis=0)),
        mood=(mood / np.maximum(counts, 1)).astype(np.float32),
        terms=terms,
        values=_unit(values * tables.rarity[terms]),
        columns=columns[: len(lower)],
    )
