"""Where a story takes place: nouns of places, ranked by how the text treats them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.groups import count_in, edges, fifths_in, rank_in
from fabula.reading.inflection import singular
from fabula.reading.text import Words
from fabula.reading.words import PLACES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_PARTS = re.compile(
    r"\s+(?:in|on|by|of|above|below|near|at|behind|beside|under|with|for|between|and|out|that|to"
    r"|over|from|into)\s+|,\s*",
)
FEATURES = (
    "log count", "share", "first position", "in", "to", "the", "a", "first fifth", "spread",
    "prior", "rank", "spoken", "opening sentence", "part of a name", "modified", "prior x count",
)  # fmt: skip


@dataclass(slots=True)
class Places:
    """The possible places of a batch of texts, text by text, in the order they are named.

    Attributes:
        words: the texts.
        doc: text of each, shape [places].
        head: its noun, a number into the vocabulary's places, shape [places].
        edges: where the mentions of each begin in the arrays below, shape [places + 1].
        first, end: word ranges of the mentions, in order, shape [mentions].
    """

    words: Words
    doc: Ints
    head: Ints
    edges: Ints
    first: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.doc)

    def noun(self, place: int) -> str:
        """The head noun, in the singular."""
        names: list[str] = self.words.vocabulary.places
        return names[int(self.head[place])]

    def mentions(self, place: int) -> list[tuple[int, int]]:
        """Word ranges, end exclusive, in order."""
        part = slice(int(self.edges[place]), int(self.edges[place + 1]))
        return list(zip(self.first[part].tolist(), self.end[part].tolist(), strict=True))

    def phrase(self, place: int) -> str:
        """How to say the place: as it is first named, with "a" for any determiner.

        A first mention introduces ("a crooked mill"), later ones are bare ("the mill").
        """
        words = self.words
        first, end = self.mentions(place)[0]
        said = [words.lower(i) for i in range(first, end)]
        bare = said[1:] if words.bits[first] & classes.PLACE_DETERMINERS else said
        value = " ".join(bare)
        if said[-1] != self.noun(place):
            return f"the {value}"
        return ("an " if value[0] in "aeiou" else "a ") + value


def heads(place: str) -> list[str]:
    """The head nouns of a place phrase: ``"a bakery in a tall town"`` has bakery and town."""
    chunks = (c.lower().split() for c in _PARTS.split(place))
    return [singular(c[-1].removesuffix("'s")) for c in chunks if c]


def learn_priors(stories: Sequence[tuple[str, Sequence[str]]]) -> dict[str, float]:
    """How telling each place noun is: log odds that it is the place where it occurs.

    Args:
        stories: the gold place of each story, and the words of its text.
    """
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for place, lower in stories:
        seen = {singular(w) for w in lower}
        gold = set(heads(place))
        occurs.update(seen)
        right.update(gold & seen)
    own = {singular(p) for p in PLACES}
    nouns = {h for place, _ in stories for h in heads(place) if len(h) > 2} | own
    total = sum(right[n] for n in nouns) / max(1, sum(occurs[n] for n in nouns))
    priors = {}
    for noun in nouns:
        share = (right[noun] + 2 * total) / (occurs[noun] + 2)
        if noun in own or right[noun] >= 2:
            priors[noun] = round(math.log(share / (1 - share)), 3)
    return priors


def candidates(words: Words) -> Places:
    """Every place noun of some texts, with its phrase; only modifiers may stand before the noun."""
    place = words.vocabulary.column("place")[words.low]
    owns = words.vocabulary.column("owns")[words.form]
    at = np.flatnonzero(place >= 0)
    begin = words.first[words.doc[at]]
    first, active = at.copy(), np.ones(len(at), dtype=bool)
    for _ in range(3):
        active &= (first > begin) & (words.gap[first] == 0) & ~words.opens[first]
        bits = words.bits[first - 1]
        leads = active & (bits & classes.PLACE_DETERMINERS != 0)
        active &= leads | ((bits & classes.MODIFIERS != 0) & ~owns[first - 1])
        first = first - active
        active &= ~leads
    size = max(1, len(words.vocabulary.places))
    code = words.doc[at] * size + place[at]
    unique, earliest, inverse = np.unique(code, return_index=True, return_inverse=True)
    order, _ = rank_in((earliest,), unique // size)
    place_of = np.empty(len(unique), dtype=np.int64)
    place_of[order] = np.arange(len(unique))
    which = place_of[inverse]
    by_place = np.argsort(which, kind="stable")
    return Places(
        words, (unique // size)[order], (unique % size)[order],
        edges(which[by_place], len(unique)), first[by_place], at[by_place] + 1,
    )  # fmt: skip


def features(places: Places, priors: Floats) -> Floats:
    """What speaks for each place, shape [places, len(FEATURES)].

    Args:
        places: of `candidates`.
        priors: log odds of each noun of the vocabulary's places.
    """
    words, count = places.words, len(places)
    if not count:
        return np.zeros((0, len(FEATURES)))
    counts = np.diff(places.edges)
    place = np.repeat(np.arange(count), counts)
    a, b = places.first, places.end
    doc, bits = words.doc[a], words.bits
    upper = words.vocabulary.column("upper")[words.form]
    lead = bits[a]
    ahead = np.where((a > words.first[doc]) & (words.gap[a] == 0), bits[a - 1], 0)
    at = words.within(a)
    opening = words.sentence[a] == words.sentence[words.first[doc]]
    n = counts.astype(np.float64)
    total = np.bincount(places.doc, n, len(words.texts))
    _, rank = rank_in((-n,), places.doc)

    def tally(which: npt.NDArray[np.bool_]) -> Floats:
        return count_in(place, count, which)

    prior, logn = priors[places.head], np.log1p(n)
    columns = (
        logn, n / total[places.doc], at[places.edges[:-1]],
        tally(ahead & classes.WITHIN != 0) / n, tally(ahead & classes.TOWARDS != 0) / n,
        tally(lead & classes.THE != 0) / n, tally(lead & classes.A != 0) / n,
        np.minimum(tally(at < 1 / 5), 2), fifths_in(place, count, at), prior, 1 / (1 + rank),
        tally(words.spoken[a]) / n, tally(opening), tally(upper[b - 1]) / n,
        tally(b - a > 2) / n, prior * logn,
    )  # fmt: skip
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def lands(words: Words) -> dict[int, int]:
    """The first well-known country or city of each text that something happens in, by text."""
    upper = words.vocabulary.column("upper")[words.form]
    at = np.flatnonzero((words.bits & classes.LANDS != 0) & upper)
    at = at[at > words.first[words.doc[at]]]
    at = at[words.bits[at - 1] & classes.WHERE != 0]
    docs, earliest = np.unique(words.doc[at], return_index=True)
    return dict(zip(docs.tolist(), at[earliest].tolist(), strict=True))
