"""Where and when: place phrases ranked, and times written out or taken from their cues."""

from __future__ import annotations

import re
from collections import Counter

from fabula.reading.text import Document
from fabula.reading.words import PLACES

_IN = frozenset("in at on to into from near of inside above across through behind".split())
_KEEP = frozenset("the a an".split())
_BREAK = frozenset("and but or of in on at to by for with from was is were had this that".split())

_TIMES = re.compile(
    r"once upon a time|long(?:, long)? ago|many years ago|a hundred years ago"
    r"|(?:the )?(?:spring|summer|autumn|fall|winter) of 1\d{3}"
    r"|(?<!\d)(?:1[0-9]|20)\d\ds?(?!\d)"
    r"|the (?:year )?(?:nineteen|twenty)[- ]\w+"
    r"|the (?:age|days|time|war|night|winter|summer|spring|autumn) of [a-z]+(?: [a-z]+)?"
    r"|(?:last|that|this|one|every|the first|all) (?:spring|summer|autumn|winter|night|morning)"
    r"|midwinter|midsummer|christmas|halloween|(?:spring|summer|autumn|winter)"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december)"
    r"(?! i\b)",
    re.IGNORECASE,
)


def place_of(doc: Document) -> tuple[str, int, int, float] | None:
    """The likeliest place: phrase, first and end word, confidence."""
    score: Counter[str] = Counter()
    where: dict[str, tuple[int, int]] = {}
    size = max(1, len(doc))
    for i, key in enumerate(doc.lower):
        head = key if key in PLACES else key[:-1] if key[:-1] in PLACES else None
        if head is None:
            continue
        first = i
        while first > 0 and i - first < 3 and doc.before[first] == "":
            previous = doc.lower[first - 1]
            if previous in _BREAK:
                break
            first -= 1
            if previous in _KEEP:
                break
        ahead = doc.lower[first - 1] if first else ""
        score[head] += 1.0 + (ahead in _IN) + 2.0 * (i / size < 0.25)  # type: ignore[assignment]
        if head not in where or (i - first > where[head][1] - 1 - where[head][0]):
            where.setdefault(head, (first, i + 1))
    if not score:
        return None
    head, best = score.most_common(1)[0]
    first, end = where[head]
    words = doc.lower[first:end]
    return " ".join(words), first, end, float(best / sum(score.values()))


def time_of(doc: Document) -> tuple[str, int, int, float] | None:
    """The likeliest time: phrase, first and end character, confidence."""
    match = _TIMES.search(doc.text)
    if match is None:
        return None
    return match[0].lower(), match.start(), match.end(), 0.4
