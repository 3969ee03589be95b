"""Who is in a text: every run of capitals and every "the miller" that could be a character."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fabula.reading.phrases import HONORIFICS
from fabula.reading.text import Document
from fabula.reading.words import KIN, LANDS, NAMING, NEVER_NAMES, PERSONS, SPEECH

_PLACE_CUES = frozenset("in to at from near toward towards through across into on".split())
_PLACE_TAILS = frozenset(
    "river street road lane hotel station island islands mountain mountains lake sea valley bay "
    "harbor harbour town city village square bridge house hall school company hill hills county "
    "creek pass fort park avenue ocean forest castle inn ship line".split()
)
_DETERMINERS = frozenset("the a an his her my our their this that your another".split())
_SUBJECTS = frozenset("he she his her".split())
_BREAKS = frozenset(
    "and but or of in on at to by for with from was is were had has who that as than so then "
    "when not be been she he it they i you we said up down out into over".split()
)
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
    "is a land", "plural and only opens", "bare title", "lone before comma",
)  # fmt: skip


@dataclass(slots=True)
class Entity:
    """A possible character: where a text names it, and how.

    Attributes:
        key: the word that identifies it, lower-case.
        described: whether it is known by a description ("the old miller") only.
        mentions: word ranges, end exclusive, in order.
        forms: the ways it is named, with counts.
    """

    key: str
    described: bool
    mentions: list[tuple[int, int]] = field(default_factory=list)
    forms: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The form used most, the longer one where two are level."""
        return max(self.forms, key=lambda f: (self.forms[f], len(f)))


def _capital(word: str) -> bool:
    return word[0].isupper() and (len(word) == 1 or not word.isupper())


def _named(doc: Document, known: frozenset[str]) -> list[tuple[int, int]]:
    """Word ranges of runs of capitals that name something."""
    inside: Counter[str] = Counter()
    opening: Counter[str] = Counter()
    lower: Counter[str] = Counter()
    capitals: list[int] = []
    for i, word in enumerate(doc.words):
        key = doc.lower[i]
        if not _capital(word):
            lower[key] += 1
            continue
        capitals.append(i)
        if doc.opens[i]:
            opening[key] += 1
        else:
            inside[key] += 1

    def names(key: str) -> bool:
        if key in NEVER_NAMES:
            return False
        if inside[key]:
            return inside[key] + opening[key] > lower[key] / 2 or key not in known
        return key not in known and lower[key] == 0 and key.split("'")[0] not in NEVER_NAMES

    runs: list[tuple[int, int]] = []
    taken = -1
    for i in capitals:
        if i <= taken:
            continue
        key = doc.lower[i]
        leads = key in HONORIFICS or (not doc.opens[i] and key not in NEVER_NAMES)
        if not names(key) and not leads:
            continue
        end = i + 1
        while (
            end < len(doc.words)
            and _capital(doc.words[end])
            and doc.before[end] == ""
            and not doc.possessive[end - 1]
            and doc.lower[end] not in NEVER_NAMES
        ):
            end += 1
        if any(names(doc.lower[k]) for k in range(i, end)):
            runs.append((i, end))
            taken = end - 1
    return runs


def _described(doc: Document) -> list[tuple[int, int]]:
    """Word ranges of "the old miller": a determiner, at most two words, a person."""
    found = []
    for i, key in enumerate(doc.lower):
        if key not in PERSONS or doc.words[i][0].isupper():
            continue
        first = i
        while first > 0 and i - first < 3 and doc.before[first] == "":
            first -= 1
            if doc.lower[first] in _DETERMINERS:
                # "my dear fellow" is how one is spoken to, and says nothing of who it is.
                if not doc.spoken[first] or doc.lower[first] in {"the", "a", "an"}:
                    found.append((first, i + 1))
                break
            if doc.lower[first] in _BREAKS or doc.possessive[first]:
                break
    return found


def find_entities(doc: Document, known: frozenset[str]) -> list[Entity]:
    """Everybody (and everything with a capital) in a text.

    Args:
        doc: the text.
        known: common words, which a capital at a sentence's beginning does not make a name.
    """
    runs = _named(doc, known)
    owner: dict[str, str] = {}
    for first, end in runs:
        given = [doc.lower[k] for k in range(first, end) if doc.lower[k] not in HONORIFICS]
        if len(given) > 1:
            for part in given:
                owner.setdefault(part, given[0])
    entities: dict[str, Entity] = {}
    for first, end in runs:
        parts = [doc.lower[k] for k in range(first, end)]
        given = [p for p in parts if p not in HONORIFICS] or parts[-1:]
        key = owner.get(given[0], given[0])
        entity = entities.setdefault(key, Entity(key, described=False))
        entity.mentions.append((first, end))
        entity.forms[" ".join(doc.words[first:end])] += 1
    for first, end in _described(doc):
        key = doc.lower[end - 1]
        if key in entities and not entities[key].described:
            entities[key].mentions.append((first, end))
            continue
        entity = entities.setdefault(key, Entity(key, described=True))
        entity.mentions.append((first, end))
        words = doc.lower[first:end]
        if words[0] in {"a", "an", "this", "that", "another"}:
            words = ["the", *words[1:]]
        entity.forms[" ".join(words)] += 1
    for entity in entities.values():
        entity.mentions.sort()
    return sorted(entities.values(), key=lambda e: (-len(e.mentions), e.mentions[0]))


def _pronouns(doc: Document, entities: list[Entity]) -> tuple[list[int], list[int]]:
    """How many narrated "he" and "she" follow each entity as the last one named.

    Returns:
        For each entity, all such pronouns, and those in the next two sentences.
    """
    where = {a: number for number, e in enumerate(entities) if not e.described
             for a, _ in e.mentions}  # fmt: skip
    every, near = [0] * len(entities), [0] * len(entities)
    current = sentence = -1
    for i, word in enumerate(doc.lower):
        if i in where:
            if not doc.spoken[i]:
                current, sentence = where[i], doc.sentence[i]
        elif current >= 0 and word in _SUBJECTS and not doc.spoken[i]:
            every[current] += 1
            near[current] += doc.sentence[i] - sentence <= 2
    return every, near


def features(
    doc: Document, entities: list[Entity], known: frozenset[str], first_person: bool
) -> npt.NDArray[np.float64]:
    """What speaks for an entity being a character, shape [entities, len(FEATURES)]."""
    total = sum(len(e.mentions) for e in entities) or 1
    size = max(1, len(doc.words))
    best = max((len(e.mentions) for e in entities), default=0)
    named = [e for e in entities if not e.described]
    best_named = max((len(e.mentions) for e in named), default=0)
    low = {k for k, w in zip(doc.lower, doc.words, strict=True) if not w[0].isupper()}
    me = 1.0 if first_person else 0.0
    rows = np.zeros((len(entities), len(FEATURES)))
    last = len(doc.words) - 1
    every, near = _pronouns(doc, entities)
    referred = sum(every) or 1
    named_total = sum(len(e.mentions) for e in named) or 1
    opening = min((e.mentions[0][0] for e in entities), default=0)
    for rank, e in enumerate(entities):
        n = len(e.mentions)
        speaks = acts = placed = vocative = spoken = owns = titled = told = tail = the = mid = 0
        single = plural = subject = who = dies = heard = starts = commas = 0
        for a, b in e.mentions:
            after = doc.lower[b] if b <= last else ""
            ahead = doc.lower[a - 1] if a else ""
            gap_after = doc.before[b] if b <= last else "."
            gap = doc.before[a]
            spoken += doc.spoken[a]
            owns += doc.possessive[b - 1]
            single += b - a > 1
            titled += doc.lower[a] in HONORIFICS and (b - a > 1)
            mid += not doc.opens[a]
            subject += doc.opens[a] and not doc.spoken[a] and gap_after == "" and after in known
            who += after == "who"
            commas += "," in gap_after
            starts += doc.spoken[a] and '"' in gap and "," in gap_after
            dies += gap_after == "" and after in {"died", "drowned"}
            heard += doc.spoken[a] and gap_after != ""
            if gap_after == "" and (after in SPEECH or after.endswith("ed")):
                acts += 1
            speaks += (gap_after == "" and after in SPEECH) or (
                ahead in SPEECH and gap == "" and not doc.spoken[a]
            )
            placed += ahead in _PLACE_CUES and gap == ""
            the += ahead == "the" and gap == ""
            tail += (
                doc.lower[a] == "saint"
                or doc.lower[b - 1] in _PLACE_TAILS
                or (after in _PLACE_TAILS and gap_after == "")
            )
            if doc.spoken[a] and (("," in gap or '"' in gap or doc.opens[a]) and gap_after != ""):
                vocative += 1
            told += (ahead in NAMING and gap in {"", ","}) or (ahead == "i" and gap == ",")
            plural += doc.lower[b - 1].endswith("s")
        spread = len({int(5 * a / size) for a, _ in e.mentions}) / 5
        voc, sp, act = vocative / n, spoken / n, acts / n
        logn, first = math.log1p(n), e.mentions[0][0] / size
        desc = float(e.described)
        rows[rank] = (
            logn, n / total, float(e.mentions[0][0] == opening),
            spread, mid / n, speaks / n, act, placed / n, voc, sp, owns / n, titled / n,
            min(told, 2), tail / n, desc, float(e.key in KIN), the / n, float(e.key in low),
            first, 1 / (1 + rank), float(mid == 0), float(e.key in known), me, single / n,
            me * voc, me * sp, me * min(told, 2), me * act, me * logn, me * first, desc * logn,
            desc / (1 + rank), float(n == best), float(not e.described and n == best_named),
            float(not e.described and len(named) == 1), plural / n,
            subject / n, min(who, 1), every[rank] / referred, near[rank] / referred,
            float(doc.lower[e.mentions[0][0] - 1] in _PLACE_CUES) if e.mentions[0][0] else 0.0,
            (1 - desc) * n / named_total, e.mentions[-1][0] / size, me * heard / n,
            min(dies, 1), math.log1p(every[rank]), float(placed + tail >= n), float(spoken == n),
            float(n == 1), float(e.mentions[0][0] == opening) * logn, me * min(starts, 1),
            (1 - me) / (1 + rank), float(e.key in LANDS), float(mid == 0 and plural == n),
            float(e.key in HONORIFICS), commas / n,
        )  # fmt: skip
    return rows
