"""What somebody is like: trait words said of a character."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.cast import Cast
from fabula.reading.groups import spread
from fabula.reading.inflection import with_adverb
from fabula.reading.text import Words

TRAIT_CHANCE = 0.12  # least chance of a trait word being a trait of somebody

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_TOO_PLAIN = frozenset(
    "old young big small soft attached trusted busy tired fond rich poor".split()
)
FEATURES = (
    "prior", "occurrences", "after to be", "negated", "near a name", "near a pronoun",
    "before a name", "before a person", "spoken", "adverb", "first position",
    "sentence names somebody", "prior x after to be", "prior x before a name", "of the lead",
    "prior x near a pronoun",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Traits:
    """Trait words of a batch of texts.

    Attributes:
        trait: number into the vocabulary's traits, shape [found].
        at: the word, shape [found].
        owner: which of its text's characters it seems to be said of, shape [found].
    """

    trait: Ints
    at: Ints
    owner: Ints


def learn_priors(
    stories: Sequence[tuple[set[str], frozenset[str]]], own: frozenset[str]
) -> dict[str, float]:
    """Log odds that a trait word, where it occurs, is a trait somebody is given.

    Args:
        stories: the gold traits of a story, and the words of its text.
        own: trait words of our own, for those the labels do not hold.
    """
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for gold, seen in stories:
        occurs.update(seen)
        right.update(t for t in gold if seen & set(with_adverb(t)))
    labelled = Counter(t for gold, _ in stories for t in gold if t.isalpha())
    words = own | {t for t, c in labelled.items() if c >= 2 and t not in _TOO_PLAIN}
    base = sum(right[w] for w in words) / max(1, sum(occurs[w] for w in words))
    priors = {}
    for word in words:
        share = (right[word] + 3 * base) / (max(occurs[word], right[word]) + 3)
        priors[word] = round(math.log(share / (1 - min(share, 0.99))), 3)
    return priors


class _Mentions:
    """Where the characters of a cast are named, in the order of the words."""

    def __init__(self, cast: Cast) -> None:
        edges = cast.entities.edges
        member, mention = spread(edges[cast.entity], edges[cast.entity + 1])
        order = np.argsort(cast.entities.first[mention], kind="stable")
        self.first = cast.entities.first[mention][order]
        self.end = cast.entities.end[mention][order]
        self.place = cast.place[member][order]
        self.sentence = cast.entities.words.sentence[self.first]

    def of_sentences(self, sentences: Ints) -> tuple[Ints, Ints]:
        """The mentions in each of some sentences: which of them, which mention."""
        return spread(
            np.searchsorted(self.sentence, sentences),
            np.searchsorted(self.sentence, sentences, side="right"),
        )


def candidates(words: Words, cast: Cast, first_person: Bools) -> Traits:
    """Trait words of texts that have a cast, each with the character it is nearest to.

    In the first person the narrator is the first of the cast.
    """
    trait = words.vocabulary.column("trait")[words.low]
    upper = words.vocabulary.column("upper")[words.form]
    peopled = np.zeros(len(words.texts), dtype=bool)
    peopled[cast.doc] = True
    at = np.flatnonzero((trait >= 0) & (~upper | words.opens) & peopled[words.doc])
    return Traits(trait[at], at, _owners(words, at, cast, first_person))


def _owners(words: Words, at: Ints, cast: Cast, first_person: Bools) -> Ints:
    mentions = _Mentions(cast)
    far = 1 << 40
    # In its own sentence: the nearest, those before it rather than those after it.
    which, mention = mentions.of_sentences(words.sentence[at])
    distance = mentions.first[mention] - at[which]
    cost = (np.abs(distance) + 3 * (distance > 1)) * 64 + mentions.place[mention]
    best = np.full(len(at), far)
    np.minimum.at(best, which, cost)
    owner = np.where(best < far, best % 64, -1)
    # Else the narrator's, who speaks of himself just before it.
    me = np.cumsum(np.append(0, words.bits & classes.ME != 0))
    begin = np.maximum(at - 6, words.first[words.doc[at]])
    mine = first_person[words.doc[at]] & ~words.spoken[at] & (me[at] > me[begin])
    owner = np.where((owner < 0) & mine, 0, owner)
    # Else of the foremost who is named in one of the two sentences before.
    for back in (1, 2):
        which, mention = mentions.of_sentences(words.sentence[at] - back)
        same = words.doc[mentions.first[mention]] == words.doc[at[which]]
        best = np.full(len(at), far)
        np.minimum.at(best, which[same], mentions.place[mention][same])
        owner = np.where((owner < 0) & (best < far), best, owner)
    return np.maximum(owner, 0)


def features(words: Words, found: Traits, cast: Cast, priors: Floats) -> Floats:
    """What speaks for each being a trait of its owner, shape [found, len(FEATURES)].

    Args:
        words: the texts.
        found: of `candidates`.
        cast: as there.
        priors: log odds of each trait of the vocabulary.
    """
    mentions = _Mentions(cast)
    named = np.zeros(len(words), dtype=bool)
    named[spread(mentions.first, mentions.end)[1]] = True
    spoken_of = np.isin(words.sentence[found.at], mentions.sentence)
    at, doc = found.at, words.doc[found.at]
    code = doc * max(1, len(words.vocabulary.traits)) + found.trait
    _, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    begin, finish = words.first[doc], words.first[doc + 1]

    def any_of(which: Bools, start: Ints, end: Ints) -> Bools:
        total = np.cumsum(np.append(0, which))
        result: Bools = total[end] > total[np.minimum(start, end)]
        return result

    bits = words.bits
    back = np.maximum(begin, at - 4)
    be = any_of(bits & classes.BEING != 0, np.maximum(begin, at - 2), at).astype(np.float64)
    name = any_of(named, at + 1, np.maximum(np.minimum(at + 3, finish), at + 1)).astype(np.float64)
    pronoun = any_of(bits & classes.PRONOUNS != 0, back, at).astype(np.float64)
    prior = priors[found.trait]
    after = np.where(at + 1 < finish, bits[np.minimum(at + 1, len(words) - 1)], 0)
    columns = (
        prior, np.log1p(counts[inverse]), be,
        any_of(bits & classes.NOT != 0, np.maximum(begin, at - 3), at),
        any_of(named, np.maximum(begin, at - 5), at), pronoun, name,
        after & classes.PERSONAL != 0, words.spoken[at],
        words.vocabulary.column("adverb")[words.low[at]], words.within(at), spoken_of,
        prior * be, prior * name, found.owner == 0, prior * pronoun,
    )  # fmt: skip
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)
