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

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fabula.reading.features import BLOCKS, FIFTHS, MODES, MOODS, Features, tables
from fabula.reading.labels import RECIPES, term_weights
from fabula.reading.linear import softmax
from fabula.reading.store import weights
from fabula.reading.text import Words

SHUFFLES = 39
LEVEL = 0.05
FIRST = 10  # orders that are tried before the rest
SLACK = 1e-12

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


@cache
def _senses() -> npt.NDArray[np.float32]:
    """Meaning and moods of the words that have a vector; the last row is that of one without."""
    found = tables().senses
    return np.concatenate([found, np.zeros((1, found.shape[1]), dtype=np.float32)])


def beats_null(words: Words, features: Features, doc: int, arc: int) -> bool:
    """Whether an arc is likelier in a text's own order than any arc in nearly all others.

    Args:
        words: a batch of texts.
        features: theirs, by the shipped tables.
        doc: which text.
        arc: number of the arc that was read in it.
    """
    text = _Sentences.of(words, features, doc)
    if text is None:
        return False
    orders, may = _orders(len(text.sizes)), int(LEVEL * (1 + SHUFFLES))
    # Most texts that fail are found out by the first few orders.
    least = text.chances(orders[:FIRST])
    as_good = least.max(axis=1) >= least[0, arc] - SLACK
    if as_good.sum() > may:
        return False
    more = text.chances(orders[FIRST:]).max(axis=1) >= least[0, arc] - SLACK
    return bool(as_good.sum() + more.sum() <= may)


def p_value(words: Words, features: Features, doc: int, arc: int) -> float:
    """Share of orders, the text's own among them, whose likeliest arc is as likely as this one."""
    text = _Sentences.of(words, features, doc)
    if text is None:
        return 1.0
    chance = text.chances(_orders(len(text.sizes)))
    return float((chance.max(axis=1) >= chance[0, arc] - SLACK).mean())


@dataclass(frozen=True, slots=True)
class _Sentences:
    """What each sentence of a text adds to the arcs' scores, wherever it stands.

    Attributes:
        sizes: words of each, shape [sentences].
        said: what its terms say, with the lengths of the blocks taken out, for each mode,
            shape [MODES, sentences, arcs].
        senses: sums of its words' meaning, moods, and count, shape [sentences, size + MOODS + 1].
    """

    sizes: Ints
    said: Floats
    senses: npt.NDArray[np.float32]

    @classmethod
    def of(cls, words: Words, features: Features, doc: int) -> _Sentences | None:
        """Of a text of a batch; None if it has too few sentences to have an arc."""
        begin, end = int(words.first[doc]), int(words.first[doc + 1])
        if end - begin < FIFTHS or words.sentence[end - 1] - words.sentence[begin] + 1 < FIFTHS:
            return None
        sentence = words.sentence[begin:end]
        starts = np.flatnonzero(sentence[1:] != sentence[:-1]) + 1
        starts = np.concatenate([np.zeros(1, np.int64), starts])
        sizes = np.diff(starts, append=end - begin)
        rows = words.vocabulary.column("vector")[words.low[begin:end]]
        sums = np.add.reduceat(_senses().take(rows, axis=0), starts, axis=0)
        sums = np.concatenate([sums, sizes[:, None].astype(np.float32)], axis=1)
        return cls(sizes, _said(features, doc, begin, end, starts), sums)

    def chances(self, orders: Ints) -> Floats:
        """The arcs' probabilities in each order, shape [orders, arcs]."""
        middle = _middles(self.sizes, orders)
        scores = self._term_scores(middle) + self._sense_scores(middle)
        return softmax(scores + _slopes()[2])

    def _term_scores(self, middle: Floats) -> Floats:
        total = np.zeros((len(middle), self.said.shape[2]))
        for wave, said in zip(_waves(middle), self.said, strict=True):
            total += wave @ said
        return total

    def _sense_scores(self, middle: Floats) -> Floats:
        meaning, mood, _, scale = _slopes()
        fifth = np.minimum((middle * FIFTHS).astype(np.int64), FIFTHS - 1)
        inside = (fifth[:, None] == np.arange(FIFTHS)[None, :, None]).astype(np.float32)
        together = inside.reshape(-1, len(self.sizes)) @ self.senses
        together = together.reshape(len(middle), FIFTHS, -1)
        sense, moods = together[..., : -MOODS - 1], together[..., -MOODS - 1 : -1]
        length = np.sqrt(np.einsum("...i,...i->...", sense, sense))[..., None]
        unit = (sense / np.maximum(length, 1e-9)).reshape(len(middle), -1)
        mean = (moods / np.maximum(together[..., -1:], 1)).reshape(len(middle), -1)
        centred = np.clip((mean - weights()["mood_mean"]) / scale, -4, 4)
        result: Floats = unit @ meaning + centred @ mood
        return result


def _middles(sizes: Ints, orders: Ints) -> Floats:
    """Where each sentence's middle comes to stand in each order, 0 to 1, shape as `orders`."""
    there = sizes[orders]
    middle = np.empty(orders.shape)
    ends = np.cumsum(there, axis=1)
    np.put_along_axis(middle, orders, (ends - there / 2) / sizes.sum(), axis=1)
    return middle


def _waves(middle: Floats) -> tuple[Floats, Floats, Floats]:
    """The cosines of one, two and three half-turns."""
    one = np.cos(np.pi * middle)
    square = one * one
    return one, 2 * square - 1, one * (4 * square - 3)


def _said(features: Features, doc: int, begin: int, end: int, starts: Ints) -> Floats:
    """What the terms of each sentence say for each arc, shape [MODES, sentences, arcs]."""
    table = _terms()
    said = table.take(features.columns[begin:end], axis=0)
    said[:-1] += table.take(features.pairs[begin : end - 1], axis=0)
    said = np.add.reduceat(said, starts, axis=0).reshape(len(starts), MODES, -1)
    scale = [RECIPES["arc"].terms[f"mode {m + 1}"] for m in range(MODES)]
    length = features.lengths[[BLOCKS.index(f"mode {m + 1}") for m in range(MODES)], doc]
    return np.moveaxis(said * (np.array(scale) / length)[:, None], 1, 0)
