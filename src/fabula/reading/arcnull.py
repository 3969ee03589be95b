"""Whether the arc read in a text lies in the order of its sentences.

A short story read in any order has a likeliest arc, too. So the probability of the arc that was
read is set beside that of the likeliest arc of the same sentences in shuffled orders, and the arc
is believed where hardly any order has one as likely: a permutation test (Fisher 1935), one a text,
with the smallest p that `SHUFFLES` orders can give at `LEVEL`. (Beside the same arc in the other
orders, a quarter of shuffled texts would pass: their arc was chosen because it is likely there.)
Words of a sentence are taken to stand where its middle is, and the length of a text's feature
vectors to be that of its own order; both are near enough (the tests say how near), and make a
shuffle a small product instead of a reading.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from fabula.reading.features import BLOCKS, FIFTHS, MODES, MOODS, Features, Tables, tables
from fabula.reading.labels import RECIPES, term_weights
from fabula.reading.linear import softmax
from fabula.reading.store import weights
from fabula.reading.text import Words

SHUFFLES = 39
LEVEL = 0.05

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@cache
def _orders(sentences: int) -> Ints:
    """The order itself, then `SHUFFLES` others, shape [1 + SHUFFLES, sentences]."""
    dice = np.random.default_rng(sentences)
    own = np.arange(sentences)
    return np.stack([own, *(dice.permutation(sentences) for _ in range(SHUFFLES))])


@cache
def _slopes() -> tuple[Floats, Floats, Floats, Floats]:
    """The arc's weights: of the fifths' meaning, of their moods, and its bias and moods' scale."""
    w, recipe = weights(), RECIPES["arc"]
    dense = w["arc_dense"].astype(np.float64)
    size = dense.shape[0] - FIFTHS * MOODS
    meaning = dense[:size] * (recipe.meaning / FIFTHS**0.5)
    mood = dense[size:] * (recipe.mood / (FIFTHS * MOODS) ** 0.5)
    return meaning, mood, w["arc_bias"].astype(np.float64), w["mood_scale"].astype(np.float64)


@cache
def _terms() -> npt.NDArray[np.float32]:
    """Weights of the terms, times their rarity, mode by mode, shape [terms + 1, modes * arcs].

    The last row is that of a word that is no term.
    """
    table = np.concatenate([term_weights("arc", f"mode {m}") for m in range(1, MODES + 1)], axis=1)
    table = table * tables().rarity[:, None]
    return np.concatenate([table, np.zeros((1, table.shape[1]), dtype=np.float32)])


def beats_null(words: Words, features: Features, doc: int, arc: int) -> bool:
    """Whether an arc is likelier in a text's own order than in nearly all others.

    Args:
        words: a batch of texts.
        features: theirs, by the shipped tables.
        doc: which text.
        arc: number of the arc that was read in it.
    """
    return p_value(words, features, doc, arc) <= LEVEL


def p_value(words: Words, features: Features, doc: int, arc: int) -> float:
    """Share of orders, the text's own among them, whose likeliest arc is as likely as this one."""
    found = tables()
    begin, end = int(words.first[doc]), int(words.first[doc + 1])
    if end - begin < FIFTHS or words.sentence[end - 1] - words.sentence[begin] + 1 < FIFTHS:
        return 1.0
    sentence = words.sentence[begin:end] - words.sentence[begin]
    count = int(sentence[-1]) + 1
    sizes = np.bincount(sentence, minlength=count)
    orders = _orders(count)
    # Where each sentence's middle comes to stand in each order, 0 to 1.
    ends = np.cumsum(sizes[orders], axis=1)
    middle = np.empty(orders.shape)
    np.put_along_axis(middle, orders, (ends - sizes[orders] / 2) / (end - begin), axis=1)
    starts = np.flatnonzero(np.diff(sentence, prepend=-1))
    scores = _term_scores(features, doc, begin, end, starts, middle)
    scores = scores + _sense_scores(words, found, begin, end, starts, sizes, middle)
    chance = softmax(scores + _slopes()[2])
    return float((chance.max(axis=1) >= chance[0, arc] - 1e-12).mean())


def _term_scores(
    features: Features, doc: int, begin: int, end: int, starts: Ints, middle: Floats
) -> Floats:
    """What the terms say for each arc in each order, shape [orders, arcs]."""
    recipe, table = RECIPES["arc"], _terms()
    mine = slice(int(features.edges[doc]), int(features.edges[doc + 1]))
    said = table[features.columns[begin:end]]
    pairs = features.pairs[begin : end - 1]
    said[:-1] += table[pairs]
    said = np.add.reduceat(said, starts, axis=0).reshape(len(starts), MODES, -1)
    rarity = tables().rarity[features.terms[mine]]
    total = np.zeros((len(middle), said.shape[2]))
    for mode in range(MODES):
        block = f"mode {mode + 1}"
        wave = np.cos(np.pi * (mode + 1) * middle)
        # Values are of unit length: what they were divided by can be read off the sum of them.
        value = features.values[BLOCKS.index(block), mine] / rarity
        own = value @ table[features.terms[mine]].reshape(-1, MODES, said.shape[2])[:, mode]
        raw = wave[0] @ said[:, mode]
        length = abs(float(raw @ own)) / max(float(own @ own), 1e-12)
        total += recipe.terms[block] * (wave @ said[:, mode]) / max(length, 1e-9)
    return total


def _sense_scores(
    words: Words,
    found: Tables,
    begin: int,
    end: int,
    starts: Ints,
    sizes: Ints,
    middle: Floats,
) -> Floats:
    """What meaning and moods of the fifths say for each arc in each order, shape [orders, arcs]."""
    meaning, mood, _, scale = _slopes()
    rows = words.vocabulary.column("vector")[words.low[begin:end]]
    senses = found.senses[rows]
    senses[rows < 0] = 0
    sums = np.add.reduceat(senses, starts, axis=0)
    sums = np.concatenate([sums, sizes[:, None].astype(np.float32)], axis=1)
    fifth = np.minimum((middle * FIFTHS).astype(np.int64), FIFTHS - 1)
    inside = (fifth[:, None] == np.arange(FIFTHS)[None, :, None]).astype(np.float32)
    together = (inside.reshape(-1, len(sizes)) @ sums).reshape(len(middle), FIFTHS, -1)
    sense, moods = together[..., : -MOODS - 1], together[..., -MOODS - 1 : -1]
    length = np.sqrt((sense * sense).sum(axis=-1, keepdims=True))
    unit = (sense / np.maximum(length, 1e-9)).reshape(len(middle), -1)
    mean = (moods / np.maximum(together[..., -1:], 1)).reshape(len(middle), -1)
    centred = np.clip((mean - weights()["mood_mean"]) / scale, -4, 4)
    total: Floats = unit @ meaning + centred @ mood
    return total
