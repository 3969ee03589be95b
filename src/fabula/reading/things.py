"""Things that occur: short, concrete phrases, verbatim, that a reader could wish for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.text import Document

_LEADS = frozenset("a an the his her my one two three four five six seven eight nine ten".split())
_NUMBERS = frozenset(
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty "
    "hundred thousand".split()
)
_DETERMINERS = frozenset("a an the his her my their our your its this that".split())
_POINTING = frozenset("this that your our their its".split())
_TIMES = frozenset(
    "second seconds minute minutes hour hours day days night nights morning evening noon "
    "midnight week weeks month months year years time times moment way".split()
)
FEATURES = (
    "log count", "head count", "spread", "first position", "last fifth", "length",
    "starts with the", "starts with a", "starts with a number", "rarity of head",
    "mean rarity", "modified", "head comes back", "spoken", "prior of head", "possessor",
    "follows a verb of having", "prior x count", "opening sentence", "ends its clause",
)  # fmt: skip
_HAVING = frozenset(
    "had found held carried wore took gave bought built kept made hung pulled picked stole".split()
)


@dataclass(frozen=True, slots=True)
class Thing:
    """A phrase: its words (end exclusive)."""

    first: int
    end: int


def candidates(doc: Document, nouns: Mapping[str, float], modifiers: frozenset[str]) -> list[Thing]:
    """Short noun phrases: a known noun with one to three words before it."""
    found: list[Thing] = []
    size = len(doc)
    for i, word in enumerate(doc.lower):
        if word not in nouns or word in _TIMES:
            continue
        if (
            i + 1 < size
            and doc.before[i + 1] == ""
            and doc.lower[i + 1] in nouns
            and (not doc.possessive[i])
        ):
            continue  # the head is further on
        first = i
        while first > 0 and i - first < 3 and doc.before[first] == "":
            previous = doc.lower[first - 1]
            if previous in _DETERMINERS:
                first -= 1
                break
            if previous not in modifiers and previous not in _NUMBERS:
                break
            first -= 1
        if first == i or doc.lower[first] in _POINTING:
            continue
        bare = first + 1 if doc.lower[first] in _DETERMINERS and i - first >= 2 else first
        found.append(Thing(bare, i + 1))
    return found


def features(
    doc: Document, things: list[Thing], nouns: Mapping[str, float], rarity: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """What speaks for each phrase, shape [things, len(FEATURES)]."""
    rows = np.zeros((len(things), len(FEATURES)))
    size = max(1, len(doc))
    places: dict[str, list[int]] = {}
    heads = {doc.lower[t.end - 1] for t in things}
    for i, word in enumerate(doc.lower):
        if word in heads:
            places.setdefault(word, []).append(i)
    phrases = Counter(" ".join(doc.lower[t.first : t.end]) for t in things)
    for r, t in enumerate(things):
        words = doc.lower[t.first : t.end]
        head, lead = words[-1], words[0]
        at = places[head]
        ahead = doc.lower[t.first - 1] if t.first else ""
        second = doc.lower[t.first - 2] if t.first > 1 else ""
        rare = [rarity.get(w, 6.0) for w in words]
        rows[r] = (
            math.log1p(phrases[" ".join(words)]), math.log1p(len(at)),
            len({5 * k // size for k in at}) / 5, t.first / size, float(at[-1] > 0.8 * size),
            len(words), float(lead == "the"), float(lead in {"a", "an"}),
            float(lead in _NUMBERS), rare[-1], sum(rare) / len(rare),
            float(len(words) - (lead in _LEADS) > 1), float(len(at) > 1),
            float(doc.spoken[t.first]),
            nouns[head],
            float(lead in {"his", "her", "my"} or any(doc.possessive[t.first : t.end])),
            float(ahead in _HAVING or second in _HAVING), nouns[head] * math.log1p(len(at)),
            float(doc.sentence[t.first] == 0),
            float(t.end < size and doc.before[t.end] != ""),
        )  # fmt: skip
    return rows
