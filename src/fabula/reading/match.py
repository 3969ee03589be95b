"""When a value read counts as the one labelled: used to fit and to score, so told in one place."""

from __future__ import annotations

import re

from fabula.reading.inflection import singular
from fabula.reading.phrases import name_parts

_WORD = re.compile(r"[^\W_]+")
_EMPTY = frozenset(
    "a an the in on at of to and by with for from s his her its my our one over into".split()
)


def _parts(name: str) -> frozenset[str]:
    words = {w for p in name_parts(name) for w in _WORD.findall(p.casefold())}
    return frozenset(singular(w) for w in words - {"s", "the", "a", "his", "her", "my"})


def same_name(one: str, other: str) -> bool:
    """Whether two names can be one person's: the given parts of one are all in the other."""
    a, b = _parts(one), _parts(other)
    return bool(a and b) and (a <= b or b <= a)


def content(phrase: str) -> frozenset[str]:
    """The words of a phrase that mean something, in the singular."""
    return frozenset(singular(w) for w in _WORD.findall(phrase.casefold()) if w not in _EMPTY)


def overlap(one: str | None, other: str | None) -> float:
    """F1 of the meaning words that two phrases share, 0 to 1."""
    a, b = content(one or ""), content(other or "")
    shared = len(a & b)
    return 2 * shared / (len(a) + len(b)) if shared else 0.0


def same_thing(one: str, other: str) -> bool:
    """Whether two short phrases name one thing: the meaning words of one are all in the other."""
    a, b = content(one), content(other)
    return bool(a and b) and (a <= b or b <= a)
