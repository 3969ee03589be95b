"""When a story takes place: written out, or the era its words belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fabula.reading.text import Document

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
SEASONS = ("spring", "summer", "autumn", "winter")
_SEASON_OF = {
    **{s: s for s in SEASONS}, "fall": "", "snow": "winter", "midwinter": "winter",
    "december": "winter", "january": "winter", "february": "winter", "april": "spring",
    "july": "summer", "august": "summer", "june": "summer", "october": "autumn",
    "november": "autumn", "september": "autumn", "harvest": "autumn",
}  # fmt: skip
_YEAR = re.compile(
    r"\b(?:in|of|year|since|until|from|summer|winter|spring|autumn)\s+(?:the\s+year\s+)?"
    r"((?:1[0-9]|20)\d\d)\b(?!\s+(?:men|women|steps|people|miles|feet))"
)
_WRITTEN = re.compile(
    r"\b(?:once upon a time|the (?:1[0-9]|20)\d0s|long,? long ago|(?:a hundred|many) years ago"
    r"|the middle ages)\b",
    re.IGNORECASE,
)


def era(time: str) -> int | None:
    """The era a label belongs to, or None where it names only a season or a span."""
    low = time.lower()
    return next((i for i, (_, pattern) in enumerate(ERAS) if re.search(pattern, low)), None)


def written(doc: Document) -> tuple[str, int, int] | None:
    """A time that the text itself gives: value, first character, one past the last."""
    match = _WRITTEN.search(doc.text, 0, 20_000)
    if match:
        return match[0].lower(), *match.span()
    match = _YEAR.search(doc.text, 0, 20_000)
    return (match[1], *match.span(1)) if match else None


def season(doc: Document) -> tuple[str, int] | None:
    """The season named, if one is named more than the others together: it, and a word's place."""
    hits: dict[str, list[int]] = {}
    for i, word in enumerate(doc.lower):
        name = _SEASON_OF.get(word)
        if name:
            hits.setdefault(name, []).append(i)
    named = {s for s in hits if any(doc.lower[i] == s for i in hits[s])}
    if not named:
        return None
    best = max(named, key=lambda s: len(hits[s]))
    if len(hits[best]) * 2 <= sum(map(len, hits.values())):
        return None
    return best, next(i for i in hits[best] if doc.lower[i] == best)


def best_era(probability: Mapping[str, float]) -> tuple[str, float]:
    """The likeliest era and its probability."""
    name = max(probability, key=lambda k: probability[k])
    return name, probability[name]


def probabilities(scores: npt.NDArray[np.float64]) -> dict[str, float]:
    """Probability of each era from scores of shape [eras]."""
    p = np.exp(scores - scores.max())
    p /= p.sum()
    return {name: float(v) for (name, _), v in zip(ERAS, p, strict=True)}
