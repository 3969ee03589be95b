"""Things that occur: short, concrete phrases, verbatim, that a reader could wish for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.groups import count_in, edges, fifths_in, spread
from fabula.reading.text import Words

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEATURES = (
    "log count", "head count", "spread", "first position", "last fifth", "length",
    "starts with the", "starts with a", "starts with a number", "rarity of head",
    "mean rarity", "modified", "head comes back", "spoken", "prior of head", "possessor",
    "follows a verb of having", "prior x count", "opening sentence", "ends its clause",
)  # fmt: skip
LAST = 0.8  # where the last fifth begins


@dataclass(frozen=True, slots=True)
class Things:
    """Short noun phrases of a batch of texts.

    Attributes:
        first, end: word ranges, end exclusive, shape [things].
    """

    first: Ints
    end: Ints


def candidates(words: Words) -> Things:
    """Short noun phrases: a known noun with one to three words before it."""
    bits, doc = words.bits, words.doc
    owns = words.vocabulary.column("owns")[words.form]
    noun = bits & classes.NOUNS != 0
    heads = noun & (bits & classes.TIMES == 0)
    # Where the next word is a noun too, the head is further on.
    further = np.zeros(len(words), dtype=bool)
    further[:-1] = noun[1:] & (words.gap[1:] == 0) & ~owns[:-1] & (doc[1:] == doc[:-1])
    at = np.flatnonzero(heads & ~further)
    begin = words.first[doc[at]]
    first, active = at.copy(), np.ones(len(at), dtype=bool)
    for _ in range(3):
        active &= (first > begin) & (words.gap[first] == 0)
        before = bits[first - 1]
        leads = active & (before & classes.THING_DETERMINERS != 0)
        active &= leads | (before & (classes.MODIFIERS | classes.NUMBERS) != 0)
        first = first - active
        active &= ~leads
    keep = (first < at) & (bits[first] & classes.POINTING == 0)
    first, at = first[keep], at[keep]
    bare = (bits[first] & classes.THING_DETERMINERS != 0) & (at - first >= 2)
    return Things(first + bare, at + 1)


def features(words: Words, things: Things) -> Floats:
    """What speaks for each phrase, shape [things, len(FEATURES)]."""
    a, b = things.first, things.end
    if not len(a):
        return np.zeros((0, len(FEATURES)))
    vocabulary, bits = words.vocabulary, words.bits
    size = len(vocabulary.words)
    owns = vocabulary.column("owns")[words.form]
    rarity = vocabulary.column("rarity")
    doc, head = words.doc[a], words.low[b - 1]
    # Every place where a head noun stands in its text.
    is_head = np.zeros(size, dtype=bool)
    is_head[head] = True
    standing = np.flatnonzero(is_head[words.low])
    code = words.doc[standing] * size + words.low[standing]
    unique, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    at = words.within(standing)
    fifths = fifths_in(inverse, len(unique), at)
    last = np.zeros(len(unique))
    np.maximum.at(last, inverse, at)
    mine = np.searchsorted(unique, doc * size + head)
    phrase, member = spread(a, b)
    rare = rarity[words.low]
    # Phrases of the same words, by a mixed number.
    mixed = np.zeros(len(a), dtype=np.uint64)
    starts = np.cumsum(b - a) - (b - a)
    for step in range(4):
        longer = b - a > step
        word = words.low[member[np.minimum(starts + step, len(member) - 1)]].astype(np.uint64)
        mixed = np.where(
            longer, (mixed + word + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15), mixed
        )
    mixed ^= doc.astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    _, same, times = np.unique(mixed, return_inverse=True, return_counts=True)
    lead = bits[a]
    begin, finish = words.first[doc], words.first[doc + 1]
    ahead = np.where(a > begin, bits[a - 1], 0)
    second = np.where(a > begin + 1, bits[a - 2], 0)
    length = (b - a).astype(np.float64)
    starts_low = lead & classes.LEADS != 0
    n = counts[mine].astype(np.float64)
    prior = vocabulary.column("noun")[head]
    possessed = count_in(phrase, len(a), owns[member]) > 0
    following = words.gap[np.minimum(b, len(words) - 1)] != 0
    columns = (
        np.log1p(times[same]), np.log1p(n), fifths[mine], words.within(a), last[mine] > LAST,
        length, lead & classes.THE != 0, lead & classes.A != 0, lead & classes.NUMBERS != 0,
        rare[b - 1], count_in(phrase, len(a), rare[member]) / length, length - starts_low > 1,
        n > 1, words.spoken[a], prior, (lead & classes.POSSESSORS != 0) | possessed,
        (ahead | second) & classes.HAVING != 0, prior * np.log1p(n),
        words.sentence[a] == words.sentence[begin], (b < finish) & following,
    )  # fmt: skip
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def best_first(words: Words, things: Things, chance: Floats) -> tuple[Ints, Ints]:
    """The phrases of each text, the likeliest first.

    Returns:
        An order of the phrases, and where each text's begin in it, shape [texts + 1].
    """
    doc = words.doc[things.first]
    order = np.lexsort((-chance, doc))
    return order, edges(doc[order], len(words.texts))
