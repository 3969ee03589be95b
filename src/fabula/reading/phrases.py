"""Finding a wished phrase in a text: names by any given part, nouns in singular or plural."""

from __future__ import annotations

import re
from functools import lru_cache

from fabula.story import Span

HONORIFICS = frozenset(
    "mr mrs ms miss mister dr doctor sir lord lady dame madam madame monsieur mademoiselle "
    "señor señora señorita signor signora herr frau king queen prince princess emperor empress "
    "duke duchess count countess baron captain colonel general major sergeant corporal "
    "lieutenant commander admiral professor master mistress father mother brother sister uncle "
    "aunt auntie grandmother grandfather grandma grandpa granny nana widow old big little young "
    "judge sheriff marshal deputy nurse inspector detective chef cook bosun mayor bishop "
    "reverend saint postmaster operator chief boss officer president senator judge".split()
)
_ARTICLES = frozenset("a an the some one his her their my our your its".split())
_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)*", re.UNICODE)
_ENDS = "s|es|'s|’s|s'|s’"


def _loose(word: str) -> str:
    """A pattern for a word with either apostrophe."""
    return re.escape(word.replace("’", "'")).replace("'", "['’]")


@lru_cache(maxsize=4096)
def _verbatim(phrase: str) -> re.Pattern[str] | None:
    parts = phrase.split()
    if not parts:
        return None
    body = r"\s+".join(_loose(p) for p in parts)
    left = r"(?<!\w)" if parts[0][0].isalnum() else ""
    right = r"(?!\w)" if parts[-1][-1].isalnum() else ""
    return re.compile(left + body + right, re.IGNORECASE)


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes", "ves")):
        return word[:-2]
    return word[:-1] if len(word) > 2 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=4096)
def _inflected(phrase: str) -> re.Pattern[str] | None:
    words = [w for w in _WORD.findall(phrase) if w.casefold() not in _ARTICLES]
    if not words:
        return None
    *rest, last = words
    stem = _singular(last.casefold())
    forms = {stem, last.casefold()}
    if stem.endswith("y"):
        forms.add(stem[:-1] + "ies")
    if stem.endswith(("f", "fe")):
        forms.add(stem.rstrip("e")[:-1] + "ves")
    head = "(?:" + "|".join(map(_loose, sorted(forms, key=len, reverse=True))) + ")"
    body = r"[\s-]+".join([*map(_loose, rest), head + f"(?:{_ENDS})?"])
    return re.compile(r"(?<!\w)" + body + r"(?!\w)", re.IGNORECASE)


def _spans(pattern: re.Pattern[str] | None, text: str) -> list[Span]:
    if pattern is None:
        return []
    return [Span(start=m.start(), end=m.end(), text=m[0]) for m in pattern.finditer(text)]


def find_phrase(text: str, phrase: str) -> list[Span]:
    """Where a phrase occurs: word-bounded, any case, any white space between its words.

    If it occurs nowhere as given, it is looked for without its article and with its last word
    in the singular, plural or genitive.
    """
    return _spans(_verbatim(phrase), text) or _spans(_inflected(phrase), text)


def name_parts(name: str) -> list[str]:
    """The parts of a name by which a text may call its bearer, most telling first."""
    words = [w for w in name.split() if w]
    given = [
        w
        for w in words
        if w.casefold().rstrip(".") not in HONORIFICS and w.casefold() not in _ARTICLES
    ]
    return given or words


def find_name(text: str, name: str) -> list[Span]:
    """Where a character is named: by the whole name, else by any given part of it.

    ``"Madam Oke"`` is found as ``"Oke"``; ``"the old miller"`` as ``"miller"``.
    """
    whole = find_phrase(text, name)
    if whole:
        return whole
    for part in name_parts(name):
        pattern = re.compile(r"(?<!\w)" + _loose(part) + r"(?:['’]s)?(?!\w)", re.IGNORECASE)
        found = [
            Span(start=m.start(), end=m.end(), text=m[0])
            for m in pattern.finditer(text)
            if not part[0].isupper() or m[0][0].isupper()
        ]
        if found:
            return found
    return []


def find_place(text: str, place: str) -> list[Span]:
    """Where a place is shown: by the whole phrase, else by its head noun or any proper name."""
    whole = find_phrase(text, place)
    if whole:
        return whole
    head, *rest = re.split(
        r"\s+(?:in|on|by|of|above|below|near|at|behind|beside|under|with|for|between|and)\s+", place
    )
    candidates = [head.split()[-1]] if head.split() else []
    candidates += [w for w in place.split()[1:] if w[0].isupper()]
    candidates += [part.split()[-1] for part in rest if part.split()]
    for candidate in candidates:
        found = find_phrase(text, candidate)
        if found:
            return found
    return []
