"""Where a story takes place: nouns of places, ranked by how the text treats them."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fabula.reading.text import Document
from fabula.reading.words import LANDS, PLACES

_IN = frozenset("in at on inside through across above behind near by below".split())
_TO = frozenset("to into from toward of".split())
_WHERE = frozenset("in on of to from near at".split())
_DETERMINERS = frozenset("the a an my our his her their its your this that".split())
_PARTS = re.compile(
    r"\s+(?:in|on|by|of|above|below|near|at|behind|beside|under|with|for|between|and|out|that|to"
    r"|over|from|into)\s+|,\s*",
)
FEATURES = (
    "log count", "share", "first position", "in", "to", "the", "a", "first fifth", "spread",
    "prior", "rank", "spoken", "opening sentence", "part of a name", "modified", "prior x count",
)  # fmt: skip


@dataclass(slots=True)
class Place:
    """A possible place: its noun, and where it stands (word ranges, end exclusive)."""

    head: str
    mentions: list[tuple[int, int]] = field(default_factory=list)


def singular(word: str) -> str:
    """The singular of a noun, near enough to compare two of them."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def heads(place: str) -> list[str]:
    """The head nouns of a place phrase: ``"a bakery in a tall town"`` has bakery and town."""
    chunks = (c.lower().split() for c in _PARTS.split(place))
    return [singular(c[-1].removesuffix("'s")) for c in chunks if c]


def learn_priors(stories: list[tuple[str, Document]]) -> dict[str, float]:
    """How telling each place noun is: log odds that it is the place where it occurs.

    Args:
        stories: the gold place and the text of each story.
    """
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for place, doc in stories:
        seen = {singular(w) for w in doc.lower}
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


def candidates(
    doc: Document, priors: Mapping[str, float], modifiers: frozenset[str]
) -> list[Place]:
    """Every place noun of a text, with its phrase; only `modifiers` may stand before the noun."""
    found: dict[str, Place] = {}
    for i, word in enumerate(doc.lower):
        head = word if word in priors else singular(word)
        if head not in priors:
            continue
        first = i
        while first > 0 and i - first < 3 and doc.before[first] == "" and not doc.opens[first]:
            previous = doc.lower[first - 1]
            if previous in _DETERMINERS:
                first -= 1
                break
            if previous not in modifiers or doc.possessive[first - 1]:
                break
            first -= 1
        found.setdefault(head, Place(head)).mentions.append((first, i + 1))
    return list(found.values())


def features(
    doc: Document, places: list[Place], priors: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """What speaks for each place, shape [places, len(FEATURES)]."""
    rows = np.zeros((len(places), len(FEATURES)))
    size = max(1, len(doc))
    total = sum(len(p.mentions) for p in places) or 1
    order = sorted(range(len(places)), key=lambda i: -len(places[i].mentions))
    rank = {index: position for position, index in enumerate(order)}
    for r, place in enumerate(places):
        n = len(place.mentions)
        tally: defaultdict[str, float] = defaultdict(float)
        for a, b in place.mentions:
            lead = doc.lower[a]
            ahead = doc.lower[a - 1] if a and doc.before[a] == "" else ""
            tally["in"] += ahead in _IN
            tally["to"] += ahead in _TO
            tally["the"] += lead == "the"
            tally["a"] += lead in {"a", "an"}
            tally["early"] += a < size / 5
            tally["spoken"] += doc.spoken[a]
            tally["opening"] += doc.sentence[a] == 0
            tally["name"] += doc.words[b - 1][0].isupper()
            tally["modified"] += b - a > 2
        prior = priors[place.head]
        rows[r] = (
            math.log1p(n), n / total, place.mentions[0][0] / size, tally["in"] / n,
            tally["to"] / n, tally["the"] / n, tally["a"] / n, min(tally["early"], 2),
            len({5 * a // size for a, _ in place.mentions}) / 5, prior, 1 / (1 + rank[r]),
            tally["spoken"] / n, tally["opening"], tally["name"] / n, tally["modified"] / n,
            prior * math.log1p(n),
        )  # fmt: skip
    return rows


def phrase(doc: Document, place: Place) -> str:
    """How to say the place: as it is first named, with "a" for any determiner.

    A first mention introduces ("a crooked mill"), later ones are bare ("the mill").
    """
    first, end = place.mentions[0]
    words = doc.lower[first:end]
    value = " ".join(words[1:] if words[0] in _DETERMINERS else words)
    if words[-1] != place.head:
        return f"the {value}"
    return ("an " if value[0] in "aeiou" else "a ") + value


def land(doc: Document) -> int | None:
    """Position of the first well-known country or city that something happens in."""
    for i in range(1, len(doc)):
        if doc.lower[i] in LANDS and doc.words[i][0].isupper() and doc.lower[i - 1] in _WHERE:
            return i
    return None
