"""When a story takes place: written out, or the era its words belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.classes import SEASONS
from fabula.reading.text import Words

# The eras a text is sorted into when it does not say when it happens: what a brief would call
# them, and the pattern by which the sample's labels are sorted.
ERAS: tuple[tuple[str, str], ...] = (
    ("once upon a time", r"\bonce\b"),
    ("the near future", r"near future"),
    ("the far future", r"future|\b2[1-9]\d\d\b|\b20[3-9]\d\b"),
    ("the present day", r"present|modern|recent|today|\b20[0-2]\d|\b199\d"),
    ("the 1960s", r"\b19[6-8]\d"),
    ("the 1950s", r"\b19[45]\d"),
    ("the 1930s", r"\b19[23]\d"),
    ("the 1900s", r"\b19[01]\d|a hundred years ago"),
    ("the 1880s", r"\b18[6-9]\d|old west|frontier"),
    ("the 1800s", r"\b1[78]\d\d|age of sail|wooden ship"),
    (
        "the Middle Ages",
        r"\b[4-9]\d\d\b|\b1[0-6]\d\d\b|middle ages|medieval|knights|rome|roman|egypt",
    ),
    ("long ago", r"\bago\b|\bage\b|days of|ancient|century|dragon|before"),
)
_YEAR = re.compile(
    r"\b(?:in|of|year|since|until|from|summer|winter|spring|autumn)\s+(?:the\s+year\s+)?"
    r"((?:1[0-9]|20)\d\d)\b(?!\s+(?:men|women|steps|people|miles|feet))"
)
_WRITTEN = re.compile(
    r"\b(?:once upon a time|the (?:1[0-9]|20)\d0s|long,? long ago|(?:a hundred|many) years ago"
    r"|the middle ages)\b"
)
_SIGNS = ("upon a time", "0s", " ago", "middle ages")


def era(time: str) -> int | None:
    """The era a label belongs to, or None where it names only a season or a span."""
    low = time.lower()
    return next((i for i, (_, pattern) in enumerate(ERAS) if re.search(pattern, low)), None)


def written(text: str) -> tuple[str, int, int] | None:
    """A time that the text itself gives: value, first character, one past the last."""
    head = text[:20_000].lower()
    match = _WRITTEN.search(head) if any(sign in head for sign in _SIGNS) else None
    if match:
        return match[0], *match.span()
    match = _YEAR.search(text, 0, 20_000)
    return (match[1], *match.span(1)) if match else None


def maybe_written(words: Words) -> list[bool]:
    """Whether each text has a word without which `written` finds nothing."""
    found = np.zeros(len(words.texts), dtype=bool)
    found[words.doc[words.bits & classes.DATED != 0]] = True
    return found.tolist()


def seasons(words: Words) -> dict[int, tuple[str, int]]:
    """By text, the season named more than the others together: it, and a word that names it."""
    code = words.vocabulary.column("season")[words.low].astype(np.int64)
    at = np.flatnonzero(code)
    texts, kinds = len(words.texts), len(SEASONS) + 1
    count = np.bincount(words.doc[at] * kinds + np.abs(code[at]), minlength=texts * kinds)
    count = count.reshape(texts, kinds)
    sure = at[code[at] > 0]
    named = np.zeros((texts, kinds), dtype=bool)
    named[words.doc[sure], code[sure]] = True
    best = np.where(named, count, 0).argmax(axis=1)
    enough = np.take_along_axis(count, best[:, None], 1)[:, 0] * 2 > count.sum(axis=1)
    found: dict[int, tuple[str, int]] = {}
    for i in sure[(code[sure] == best[words.doc[sure]]) & enough[words.doc[sure]]].tolist():
        found.setdefault(int(words.doc[i]), (SEASONS[code[i] - 1], i))
    return found


def best_era(probability: Mapping[str, float]) -> tuple[str, float]:
    """The likeliest era and its probability."""
    name = max(probability, key=lambda k: probability[k])
    return name, probability[name]


def probabilities(scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """Probability of each era from scores of shape [eras]."""
    p = np.exp(scores - scores.max())
    p /= p.sum()
    return {name: float(v) for (name, _), v in zip(ERAS, p, strict=True)}
