"""Our own word lists by topic (`lists.txt`), and the moods of words."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

MOODS = ("valence", "fortune up", "fortune down")


def stem(word: str) -> str:
    """Cut the inflection off an English word, so that "lost", "loses" differ but "cries" = "cried".

    A rough cut: it only has to treat both sides of a comparison alike.
    """
    for ending, instead in (
        ("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""),
        ("ly", ""),
    ):  # fmt: skip
        long_enough = len(word) - len(ending) >= 3
        if word.endswith(ending) and long_enough and not (ending == "s" and word.endswith("ss")):
            word = word[: len(word) - len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


@cache
def topics() -> dict[str, frozenset[str]]:
    """Stems of each list of `lists.txt`."""
    text = files("fabula.data").joinpath("reading", "lists.txt").read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    current: set[str] = set()
    for line in text.split("\n"):
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), set())
        elif line and not line.startswith("#"):
            current.update(stem(w) for w in line.split())
    return {name: frozenset(stems) for name, stems in found.items()}


def moods(words: list[str]) -> npt.NDArray[np.float64]:
    """Valence (VADER's lexicon, -1 to 1) and membership of the two fortune lists, [words, 3]."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    valence: dict[str, float] = SentimentIntensityAnalyzer().lexicon
    up, down = topics()["fortune up"], topics()["fortune down"]
    return np.array(
        [[valence.get(w, 0.0) / 4, float(stem(w) in up), float(stem(w) in down)] for w in words]
    )
