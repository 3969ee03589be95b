"""What a linear model sees of a text: words, where they stand, and the meaning of each fifth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading.store import weights
from fabula.reading.text import Words
from fabula.reading.vocabulary import Vocabulary, pair_sign, vocabulary

FIFTHS = 5
MOODS = 3
MODES = 3  # half-turns of a cosine over the story: rise, hole, cinderella (see arcs.py)
BLOCKS = ("words", "last", "mode 1", "mode 2", "mode 3")
LAST = 0.8  # where the last fifth begins

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the features are looked up in.

    Attributes:
        senses: of each word that has a vector its meaning, times its weight, and its moods:
            valence (VADER), rising fortune, falling fortune; shape [words, size + MOODS].
        rarity: inverse document frequency of each term (a word or a pair), shape [terms].
    """

    senses: Floats
    rarity: Floats

    @classmethod
    def of(
        cls,
        vectors: npt.NDArray[np.int8],
        word_weights: Floats,
        moods: npt.NDArray[np.floating[Any]],
        rarity: Floats,
    ) -> Tables:
        """Tables of word vectors as bytes, their weights, moods, and rarity of the terms."""
        meaning = vectors.astype(np.float32) / 127 * word_weights[:, None]
        senses = np.concatenate([meaning, moods.astype(np.float32)], axis=1)
        return cls(senses, rarity.astype(np.float32))


@cache
def tables() -> Tables:
    """The shipped tables, ready for use."""
    w = weights()
    return Tables.of(w["vectors"], w["word_weights"], w["moods"], w["rarity"])


@dataclass(frozen=True, slots=True)
class Features:
    """Texts as a linear model sees them; `d` texts, `k` terms in all of them.

    Attributes:
        meaning: unit vectors, one for each fifth, shape [d, FIFTHS, size].
        whole: unit vector of all of it, shape [d, size].
        mood: mean of the words' moods in each fifth, shape [d, FIFTHS, 3].
        edges: where each text's terms begin in the arrays below, shape [d + 1].
        terms: the terms that occur, distinct in each text, rising, shape [k].
        values: their value in each of BLOCKS; of each text a unit vector, shape [len(BLOCKS), k].
        lengths: what the values of each text were divided by, shape [len(BLOCKS), d].
        columns: the term that each word is, -1 for none, shape [words].
        pairs: the term that each word is together with the next one, shape [words - 1].
    """

    meaning: Floats
    whole: Floats
    mood: Floats
    edges: Ints
    terms: Ints
    values: Floats
    lengths: Floats
    columns: Ints
    pairs: Ints

    def __len__(self) -> int:
        return len(self.whole)


def _unit(rows: Floats) -> Floats:
    length = np.sqrt((rows * rows).sum(axis=-1, keepdims=True))
    result: Floats = rows / np.maximum(length, 1e-9)
    return result


def _sum_by(groups: Ints, rows: Ints, table: Floats, count: int) -> Floats:
    """Sum the rows of a table by groups, shape [count, columns].

    Args:
        groups: group of each row, in order.
        rows: which row of the table.
        table: shape [rows, columns].
        count: groups.
    """
    result = np.zeros((count, table.shape[1]), dtype=np.float32)
    if len(groups):
        starts = np.flatnonzero(np.diff(groups, prepend=-1))
        ends = [*starts[1:].tolist(), len(groups)]
        ones = np.ones(len(groups), dtype=np.float32)
        # Group by group, because what is gathered stays in the cache; and as a product, because
        # `np.add.reduceat` over narrow rows takes ten times as long.
        for group, a, b in zip(groups[starts].tolist(), starts.tolist(), ends, strict=True):
            np.dot(ones[: b - a], table.take(rows[a:b], axis=0), out=result[group])
    return result


def extract(words: Words, found: Tables | None = None) -> Features:
    """The features of a batch of texts."""
    # By the vocabulary that numbered the words: the shipped one may have begun anew since.
    return _extract(words.low, words.at(), words.first, words.vocabulary, found or tables())


def extract_words(
    texts: Sequence[Sequence[str]],
    at: Sequence[npt.NDArray[np.float64]],
    found: Tables | None = None,
    known: Vocabulary | None = None,
) -> Features:
    """The features of lower-case words at places from 0 to 1 (in order) of their stories."""
    known = known or vocabulary()
    number = known.lows.__getitem__
    low = np.array([number(w) for words in texts for w in words], dtype=np.int64)
    first = np.cumsum([0, *map(len, texts)])
    return _extract(low, np.concatenate([*at, np.zeros(0)]), first, known, found or tables())


def _extract(
    low: Ints, at: npt.NDArray[np.float64], first: Ints, known: Vocabulary, found: Tables
) -> Features:
    texts = len(first) - 1
    doc = np.repeat(np.arange(texts), np.diff(first))
    rows = known.column("vector")[low]
    fifth = doc * FIFTHS + np.minimum((at * FIFTHS).astype(np.int64), FIFTHS - 1)
    told = rows >= 0
    ids, part = rows[told], fifth[told]
    senses = _sum_by(part, ids, found.senses, texts * FIFTHS).reshape(texts, FIFTHS, -1)
    sums, mood = senses[..., :-MOODS], senses[..., -MOODS:]
    counts = np.bincount(fifth, minlength=texts * FIFTHS).reshape(texts, FIFTHS, 1)
    columns = known.column("term")[low]
    pairs = _pairs(low, doc, known)
    every = np.concatenate([columns, pairs])
    place = np.concatenate([at, at[:-1]])
    text = np.concatenate([doc, doc[:-1]])
    hit = every >= 0
    width = max(1, len(found.rarity))
    code = text[hit] * width + every[hit]
    # Half as wide numbers are sorted twice as fast.
    narrow = code.astype(np.int32) if texts * width < 2**31 else code
    unique, inverse = np.unique(narrow, return_inverse=True)
    terms, owner = (unique % width).astype(np.int64), (unique // width).astype(np.int64)
    place, k = place[hit], len(unique)
    wave = np.cos(np.pi * place)
    waves = (wave, 2 * wave * wave - 1, wave * (4 * wave * wave - 3))  # cosines of 1, 2, 3 times it
    values = np.stack(
        [
            np.log1p(np.bincount(inverse, minlength=k)),
            np.bincount(inverse, weights=place > LAST, minlength=k),
            *(np.bincount(inverse, weights=wave, minlength=k) for wave in waves),
        ]
    ).astype(np.float32)
    values *= found.rarity[terms]
    edges = np.searchsorted(owner, np.arange(texts + 1))
    square = np.zeros((len(BLOCKS), texts), dtype=np.float32)
    if k:
        heads = np.flatnonzero(np.diff(owner, prepend=-1))
        square[:, owner[heads]] = np.add.reduceat(values * values, heads, axis=1)
    lengths = np.maximum(np.sqrt(square), 1e-9)
    values /= lengths[:, owner]
    return Features(
        meaning=_unit(sums),
        whole=_unit(sums.sum(axis=1)),
        mood=(mood / np.maximum(counts, 1)).astype(np.float32),
        edges=edges,
        terms=terms,
        values=values,
        lengths=lengths,
        columns=columns,
        pairs=pairs,
    )


def _pairs(low: Ints, doc: Ints, known: Vocabulary) -> Ints:
    """The term that each word is together with the next one, -1 for none, shape [words - 1]."""
    if len(low) < 2:
        return np.zeros(0, dtype=np.int64)
    partner = known.column("paired")[low]
    result = np.full(len(low) - 1, -1, dtype=np.int64)
    both = np.flatnonzero((partner[:-1] >= 0) & (partner[1:] >= 0) & (doc[:-1] == doc[1:]))
    if len(known.pair_codes) and len(both):
        code = partner[both] * known.partners + partner[both + 1]
        # Most are no pair, which a look into a small table tells.
        maybe = known.pair_signs[pair_sign(code)]
        both, code = both[maybe], code[maybe]
        place = np.minimum(np.searchsorted(known.pair_codes, code), len(known.pair_codes) - 1)
        same = known.pair_codes[place] == code
        result[both[same]] = known.pair_terms[place[same]]
    return result
