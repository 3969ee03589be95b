"""What somebody is like: trait words said of a character."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.entities import Entity
from fabula.reading.text import Document

TRAIT_CHANCE = 0.12  # least chance of a trait word being a trait of somebody

_TOO_PLAIN = frozenset(
    "old young big small soft attached trusted busy tired fond rich poor".split()
)
_BE = frozenset(
    "was were is are am be been being felt feel feels grew became become seemed looked so too "
    "very as more most quite rather always never still only such".split()
)
_NOT = frozenset("not never no wasn't isn't weren't don't nor without hardly".split())
_PRONOUNS = frozenset("he she i they you him her me".split())
_PERSONAL = frozenset(
    "man woman boy girl child fellow creature king queen mother father heart face voice smile "
    "eyes hands soul".split()
)
FEATURES = (
    "prior", "occurrences", "after to be", "negated", "near a name", "near a pronoun",
    "before a name", "before a person", "spoken", "adverb", "first position",
    "sentence names somebody", "prior x after to be", "prior x before a name", "of the lead",
    "prior x near a pronoun",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait word in the text: the trait, the word's place, and whose it seems to be."""

    trait: str
    at: int
    owner: int


def forms(trait: str) -> list[str]:
    """A trait word and the adverb made of it."""
    if trait.endswith("y") and len(trait) > 3:
        adverb = trait[:-1] + "ily"
    elif trait.endswith("le"):
        adverb = trait[:-1] + "y"
    elif trait.endswith("ic"):
        adverb = trait + "ally"
    else:
        adverb = trait + "ly"
    return [trait, adverb]


def learn_priors(
    stories: Sequence[tuple[set[str], Document]], own: frozenset[str]
) -> dict[str, float]:
    """Log odds that a trait word, where it occurs, is a trait somebody is given.

    Args:
        stories: the gold traits of a story, and its text.
        own: trait words of our own, for those the labels do not hold.
    """
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for gold, doc in stories:
        seen = set(doc.lower)
        occurs.update(seen)
        right.update(t for t in gold if seen & set(forms(t)))
    labelled = Counter(t for gold, _ in stories for t in gold if t.isalpha())
    words = own | {t for t, c in labelled.items() if c >= 2 and t not in _TOO_PLAIN}
    base = sum(right[w] for w in words) / max(1, sum(occurs[w] for w in words))
    priors = {}
    for word in words:
        share = (right[word] + 3 * base) / (max(occurs[word], right[word]) + 3)
        priors[word] = round(math.log(share / (1 - min(share, 0.99))), 3)
    return priors


def index(priors: Mapping[str, float]) -> dict[str, str]:
    """Trait of each of its forms."""
    table: dict[str, str] = {}
    for trait in sorted(priors):
        for form in forms(trait):
            table.setdefault(form, trait)
    table.update({trait: trait for trait in priors})
    return table


def candidates(
    doc: Document, cast: Sequence[Entity], table: Mapping[str, str], first_person: bool
) -> list[Trait]:
    """Trait words of a text, each with the character (position in the cast) it is nearest to.

    In the first person the narrator is the first of the cast.
    """
    where: dict[int, list[tuple[int, int]]] = {}
    for number, entity in enumerate(cast):
        for a, b in entity.mentions:
            where.setdefault(doc.sentence[a], []).append((a, number))
            if b - a > 4:
                break
    found = []
    for i, word in enumerate(doc.lower):
        trait = table.get(word)
        if trait is None or (doc.words[i][0].isupper() and not doc.opens[i]):
            continue
        found.append(Trait(trait, i, _owner(doc, i, where, first_person)))
    return found


def _owner(
    doc: Document, at: int, where: Mapping[int, list[tuple[int, int]]], first_person: bool
) -> int:
    here = where.get(doc.sentence[at], [])
    if here:
        return min(here, key=lambda m: (abs(m[0] - at) + 3 * (m[0] > at + 1), m[1]))[1]
    if first_person and not doc.spoken[at]:
        window = doc.lower[max(0, at - 6) : at]
        if "i" in window or "my" in window or "me" in window:
            return 0
    before = [m for s in range(doc.sentence[at] - 1, doc.sentence[at] - 3, -1)
              for m in where.get(s, [])]  # fmt: skip
    return before[0][1] if before else 0


def features(
    doc: Document, traits: Sequence[Trait], cast: Sequence[Entity], priors: Mapping[str, float]
) -> npt.NDArray[np.float64]:
    """What speaks for each being a trait of its owner, shape [traits, len(FEATURES)]."""
    rows = np.zeros((len(traits), len(FEATURES)))
    named = {k for e in cast for a, b in e.mentions for k in range(a, b)}
    spoken_of = {doc.sentence[a] for e in cast for a, _ in e.mentions}
    count = Counter(t.trait for t in traits)
    size = max(1, len(doc))
    for r, t in enumerate(traits):
        i, prior = t.at, priors[t.trait]
        back = doc.lower[max(0, i - 4) : i]
        be = float(bool(back) and (back[-1] in _BE or (len(back) > 1 and back[-2] in _BE)))
        ahead = range(i + 1, min(i + 3, size))
        name = float(any(k in named for k in ahead))
        pronoun = float(bool(_PRONOUNS & set(back)))
        rows[r] = (
            prior, math.log1p(count[t.trait]), be, float(bool(_NOT & set(back[-3:]))),
            float(any(k in named for k in range(max(0, i - 5), i))), pronoun, name,
            float(i + 1 < size and doc.lower[i + 1] in _PERSONAL), float(doc.spoken[i]),
            float(doc.lower[i] != t.trait), i / size, float(doc.sentence[i] in spoken_of),
            prior * be, prior * name, float(t.owner == 0), prior * pronoun,
        )  # fmt: skip
    return rows
