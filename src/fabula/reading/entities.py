"""Who is in a text: every run of capitals and every "the miller" that could be a character."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.groups import count_in, edges, fifths_in, rank_in, spread
from fabula.reading.text import Words
from fabula.reading.vocabulary import COMMA, QUOTE

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

FEATURES = (
    "log mentions", "share of mentions", "is first", "spread", "mid-sentence", "speaks", "acts",
    "after place preposition", "vocative", "share spoken", "possessive", "honorific",
    "introduced", "place tail", "described", "kin", "after the", "lower-case twin",
    "first position", "rank", "only opens", "known word", "first person", "several words",
    "first person x vocative", "first person x share spoken", "first person x named I",
    "first person x acts", "first person x log mentions", "first person x first position",
    "described x log mentions", "described x rank", "most frequent", "most frequent name",
    "only name", "plural owner", "opens as subject", "followed by who", "share of pronouns",
    "share of near pronouns", "first mention placed", "share among names", "named last",
    "first person x told in speech", "dies", "log pronouns", "only placed", "always spoken",
    "mentioned once", "first x mentions", "first person x opens speech", "rank x not first",
    "is a land", "plural and only opens", "bare title", "lone before comma", "log words of text",
    "log words of text x log mentions", "five mentions", "ten mentions",
)  # fmt: skip


@dataclass(slots=True)
class Entities:
    """The possible characters of a batch of texts, text by text, the most mentioned first.

    Attributes:
        words: the texts.
        doc: text of each, shape [entities].
        key: the word (its low) that identifies it, shape [entities].
        described: known by a description ("the old miller") only, shape [entities].
        edges: where the mentions of each begin in the arrays below, shape [entities + 1].
        first, end: word ranges of the mentions, in order, shape [mentions].
        names: whether a mention counts as a form of the name, shape [mentions].
    """

    words: Words
    doc: Ints
    key: Ints
    described: Bools
    edges: Ints
    first: Ints
    end: Ints
    names: Bools

    def __len__(self) -> int:
        return len(self.doc)

    @property
    def counts(self) -> Ints:
        """How often each is mentioned, shape [entities]."""
        return np.diff(self.edges)

    def mentions(self, entity: int) -> list[tuple[int, int]]:
        """Word ranges, end exclusive, in order."""
        part = slice(int(self.edges[entity]), int(self.edges[entity + 1]))
        return list(zip(self.first[part].tolist(), self.end[part].tolist(), strict=True))

    def forms(self, entity: int) -> Counter[str]:
        """The ways it is named, with counts."""
        part = slice(int(self.edges[entity]), int(self.edges[entity + 1]))
        words, found = self.words, Counter[str]()
        described = bool(self.described[entity])
        for first, end, counts in zip(
            self.first[part].tolist(), self.end[part].tolist(), self.names[part].tolist(),
            strict=True,
        ):  # fmt: skip
            if not counts:
                continue
            if described:
                said = [words.lower(i) for i in range(first, end)]
                if said[0] in ("a", "an", "this", "that", "another"):
                    said[0] = "the"
                found[" ".join(said)] += 1
            else:
                found[words.written(first, end)] += 1
        return found

    def name(self, entity: int) -> str:
        """The form used most, the longer one where two are level."""
        forms = self.forms(entity)
        return max(forms, key=lambda f: (forms[f], len(f)))


def _named(words: Words, capital: Bools) -> tuple[Ints, Ints]:
    """Word ranges of runs of capitals that name something."""
    low, bits, doc, opens = words.low, words.bits, words.doc, words.opens
    size = len(words.vocabulary.words)
    never = bits & classes.NEVER_NAMES != 0
    caps = np.flatnonzero(capital)
    # How each word of a text that is ever a capital there is written, by text and word.
    telling = caps[~never[caps]]
    keys, inverse = np.unique(doc[telling] * size + low[telling], return_inverse=True)
    inside = count_in(inverse, len(keys), ~opens[telling])
    opening = count_in(inverse, len(keys), opens[telling])
    ever = np.zeros(size, dtype=bool)
    ever[low[telling]] = True
    plain = np.flatnonzero(ever[low] & ~capital)
    plain_keys = doc[plain] * size + low[plain]
    place = np.minimum(np.searchsorted(keys, plain_keys), max(0, len(keys) - 1))
    same = keys[place] == plain_keys if len(keys) else np.zeros(0, dtype=bool)
    lower = np.bincount(place[same], minlength=len(keys))
    known = np.zeros(len(keys), dtype=bool)
    known[inverse] = bits[telling] & classes.KNOWN != 0
    base = np.zeros(len(keys), dtype=bool)
    base[inverse] = bits[telling] & classes.NEVER_BASE != 0
    names_key = np.where(
        inside > 0, (inside + opening > lower / 2) | ~known, ~known & (lower == 0) & ~base
    )
    names = np.zeros(len(words), dtype=bool)
    names[telling] = names_key[inverse]
    leads = names | (bits & classes.HONORIFICS != 0) | (~opens & ~never)
    # Capitals next to each other with nothing between are one chain; a run is what is left of a
    # chain from the first of its words that may begin a name.
    owns = words.vocabulary.column("owns")[words.form]
    if not len(caps):
        return caps, caps
    linked = np.zeros(len(caps), dtype=bool)
    after = caps[1:]
    linked[1:] = (
        (np.diff(caps) == 1) & (words.gap[after] == 0) & ~owns[after - 1] & ~never[after]
        & (doc[after] == doc[after - 1])
    )  # fmt: skip
    chain = np.flatnonzero(~linked)
    far = len(words)
    first = np.minimum.reduceat(np.where(leads[caps], caps, far), chain)
    any_name = np.maximum.reduceat(names[caps], chain)
    end = np.append(caps[chain[1:] - 1], caps[-1]) + 1
    keep = any_name & (first < far)
    return first[keep], end[keep]


def _described(words: Words) -> tuple[Ints, Ints]:
    """Word ranges of "the old miller": a determiner, at most two words, a person."""
    upper = words.vocabulary.column("upper")[words.form]
    owns = words.vocabulary.column("owns")[words.form]
    at = np.flatnonzero((words.bits & classes.PERSONS != 0) & ~upper)
    begin = words.first[words.doc[at]]
    first, active = at.copy(), np.ones(len(at), dtype=bool)
    found = np.zeros(len(at), dtype=bool)
    for _ in range(3):
        active &= first > begin
        active &= words.gap[first] == 0
        first = first - active
        bits = words.bits[first]
        leads = active & (bits & classes.DESCRIBING != 0)
        # "my dear fellow" is how one is spoken to, and says nothing of who it is.
        found |= leads & (~words.spoken[first] | (bits & classes.ARTICLES != 0))
        active &= ~leads & (bits & classes.BREAKS == 0) & ~owns[first]
    return first[found], at[found] + 1


def find_entities(words: Words) -> Entities:
    """Everybody (and everything with a capital) in a batch of texts."""
    low, bits, doc = words.low, words.bits, words.doc
    size = len(words.vocabulary.words)
    capital = words.vocabulary.column("capital")[words.form]
    first, end = _named(words, capital)
    honorific = bits & classes.HONORIFICS != 0
    # The given parts of each run: all but its titles.
    run, member = spread(first, end)
    given = ~honorific[member]
    parts = count_in(run, len(first), given)
    lead = np.full(len(first), len(words))
    np.minimum.at(lead, run[given], member[given])
    key = np.where(parts > 0, low[np.minimum(lead, len(words) - 1)], low[end - 1])
    # "Madam Oke Fell" makes Fell another word for Oke.
    several = given & (parts[run] > 1)
    owned = doc[member[several]] * size + low[member[several]]
    owners, at = np.unique(owned, return_index=True)
    owner = key[run[several]][at]
    if len(owners):
        wanted = doc[first] * size + key
        place = np.minimum(np.searchsorted(owners, wanted), len(owners) - 1)
        key = np.where(owners[place] == wanted, owner[place], key)
    d_first, d_end = _described(words)
    d_key = low[d_end - 1]
    all_first, all_end = np.concatenate([first, d_first]), np.concatenate([end, d_end])
    by_name = np.arange(len(all_first)) < len(first)
    code = doc[all_first] * size + np.concatenate([key, d_key])
    unique, inverse, counts = np.unique(code, return_inverse=True, return_counts=True)
    named = np.zeros(len(unique), dtype=bool)
    named[inverse[by_name]] = True
    earliest = np.full(len(unique), len(words))
    np.minimum.at(earliest, inverse, all_first)
    text = unique // size
    order, _ = rank_in((-counts, earliest), text)
    place_of = np.empty(len(unique), dtype=np.int64)
    place_of[order] = np.arange(len(unique))
    entity = place_of[inverse]
    by_entity = np.lexsort((all_end, all_first, entity))
    return Entities(
        words, text[order], (unique % size)[order], ~named[order],
        edges(entity[by_entity], len(unique)), all_first[by_entity], all_end[by_entity],
        (by_name | ~named[inverse])[by_entity],
    )  # fmt: skip


def _pronouns(entities: Entities, entity: Ints) -> tuple[Floats, Floats]:
    """How many narrated "he" and "she" follow each entity as the last one named.

    Returns:
        For each entity, all such pronouns, and those in the next two sentences.
    """
    words, count = entities.words, len(entities)
    named = ~entities.described[entity]
    starts, who = entities.first[named], entity[named]
    is_start = np.zeros(len(words), dtype=bool)
    is_start[starts] = True
    told = ~words.spoken[starts]
    order = np.argsort(starts[told], kind="stable")
    starts, who = starts[told][order], who[told][order]
    pronouns = np.flatnonzero((words.bits & classes.SUBJECTS != 0) & ~words.spoken & ~is_start)
    place = np.searchsorted(starts, pronouns) - 1
    pronouns, place = pronouns[place >= 0], place[place >= 0]
    here = words.doc[starts[place]] == words.doc[pronouns] if len(place) else place >= 0
    pronouns, place = pronouns[here], place[here]
    near = words.sentence[pronouns] - words.sentence[starts[place]] <= 2
    every = count_in(who[place], count, np.ones(len(place)))
    return every, count_in(who[place], count, near)


def features(entities: Entities, first_person: Bools) -> Floats:
    """What speaks for an entity being a character, shape [entities, len(FEATURES)].

    Args:
        entities: of `find_entities`.
        first_person: whether each text is told by a character, shape [texts].
    """
    words, e_doc = entities.words, entities.doc
    count, texts = len(entities), len(words.texts)
    if not count:
        return np.zeros((0, len(FEATURES)))
    n = entities.counts.astype(np.float64)
    entity = np.repeat(np.arange(count), entities.counts)
    a, b, doc = entities.first, entities.end, words.doc[entities.first]
    gap, bits, opens, spoken = words.gap, words.bits, words.opens, words.spoken
    owns = words.vocabulary.column("owns")[words.form]
    upper = words.vocabulary.column("upper")[words.form]
    last = len(words) - 1
    more = b < words.first[doc + 1]
    nb = np.minimum(b, last)
    after = np.where(more, bits[nb], 0)
    gap_after = np.where(more, gap[nb], 255)  # the end is a gap, too
    close_after = more & (gap_after == 0)
    ahead = np.where(a > words.first[doc], bits[a - 1], 0)
    near = gap[a] == 0
    comma_after = more & (gap_after & COMMA != 0)

    def share(which: Bools) -> Floats:
        return count_in(entity, count, which) / n

    def any_of(which: Bools) -> Floats:
        return np.minimum(count_in(entity, count, which), 1)

    speech_after = close_after & (after & classes.SPEECH != 0)
    placed_n = near & (ahead & classes.PLACE_CUES != 0)
    tail_n = (
        (bits[a] & classes.SAINT != 0) | (bits[b - 1] & classes.PLACE_TAILS != 0)
        | (close_after & (after & classes.PLACE_TAILS != 0))
    )  # fmt: skip
    called = gap[a] & (COMMA | QUOTE) != 0
    told = np.minimum(
        count_in(
            entity, count,
            ((ahead & classes.NAMING != 0) & (near | (gap[a] == COMMA)))
            | ((ahead & classes.I != 0) & (gap[a] == COMMA)),
        ), 2,
    )  # fmt: skip
    mid, sp = share(~opens[a]), share(spoken[a])
    voc = share(spoken[a] & (called | opens[a]) & (gap_after != 0))
    act = share(close_after & (after & (classes.SPEECH | classes.ENDS_ED) != 0))
    placed, tail = count_in(entity, count, placed_n), count_in(entity, count, tail_n)
    plural = share(bits[b - 1] & classes.ENDS_S != 0)
    every, close = _pronouns(entities, entity)
    heads = entities.edges[:-1]
    size = np.maximum(words.sizes, 1)[e_doc]
    begin = words.first[e_doc]
    first = (a[heads] - begin) / size
    finish = (a[entities.edges[1:] - 1] - begin) / size
    _, rank = rank_in((np.arange(count),), e_doc)
    named = ~entities.described
    desc = entities.described.astype(np.float64)
    me = first_person[e_doc].astype(np.float64)

    def of_text(value: npt.NDArray[np.number], keep: Bools | None = None) -> Floats:
        use = value if keep is None else value * keep
        return count_in(e_doc, texts, use)[e_doc]

    total = of_text(n)
    referred = np.maximum(of_text(every), 1)
    best, best_named = np.zeros(texts), np.zeros(texts)
    np.maximum.at(best, e_doc, n)
    np.maximum.at(best_named, e_doc, n * named)
    opening = np.full(texts, len(words))
    np.minimum.at(opening, e_doc, a[heads])
    is_first = (a[heads] == opening[e_doc]).astype(np.float64)
    keys = words.bits_of(entities.key)
    logn = np.log1p(n)
    first_ahead = np.where(a[heads] > begin, bits[a[heads] - 1], 0)
    rank1 = 1 / (1 + rank)
    columns = (
        logn, n / total, is_first, fifths_in(entity, count, words.within(a)), mid,
        share(speech_after | (near & (ahead & classes.SPEECH != 0) & ~spoken[a])), act,
        placed / n, voc, sp, share(owns[b - 1]),
        share((bits[a] & classes.HONORIFICS != 0) & (b - a > 1)), told, tail / n, desc,
        keys & classes.KIN != 0, share(near & (ahead & classes.THE != 0)),
        _twins(words, entities, upper), first, rank1, mid == 0, keys & classes.KNOWN != 0, me,
        share(b - a > 1), me * voc, me * sp, me * told, me * act, me * logn, me * first,
        desc * logn, desc * rank1, n == best[e_doc], named & (n == best_named[e_doc]),
        named & (of_text(named.astype(np.float64)) == 1), plural,
        share(opens[a] & ~spoken[a] & close_after & (after & classes.KNOWN != 0)),
        any_of(after & classes.WHO != 0), every / referred, close / referred,
        first_ahead & classes.PLACE_CUES != 0,
        (1 - desc) * n / np.maximum(of_text(n, named), 1), finish,
        me * share(spoken[a] & (gap_after != 0)), any_of(close_after & (after & classes.DIES != 0)),
        np.log1p(every), placed + tail >= n, sp == 1, n == 1, is_first * logn,
        me * any_of(spoken[a] & (gap[a] & QUOTE != 0) & comma_after), (1 - me) * rank1,
        keys & classes.LANDS != 0, (mid == 0) & (plural == 1), keys & classes.HONORIFICS != 0,
        share(comma_after), np.log(size), np.log(size) * logn, n >= 5, n >= 10,
    )  # fmt: skip
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def _twins(words: Words, entities: Entities, upper: Bools) -> Bools:
    """Whether an entity's word also stands in lower case in its text."""
    size = len(words.vocabulary.words)
    wanted = np.zeros(size, dtype=bool)
    wanted[entities.key] = True
    small = np.flatnonzero(wanted[words.low] & ~upper)
    return np.isin(entities.doc * size + entities.key, words.doc[small] * size + words.low[small])
