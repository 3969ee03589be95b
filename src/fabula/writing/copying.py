"""Copied text: the longest run of words that a passage shares with the sample corpus.

A run of at least 2k - 1 words contains one of the passage's own aligned blocks of k words, so
that only every k-th block has to be looked up, and only hits are followed to their full length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache, cached_property
from importlib.resources import files

from fabula.story.stock import stock_words
from fabula.story.trees import own_trees, tree_paths

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, apostrophes straight."""
    return _WORD.findall(text.lower().replace("’", "'"))


class Originals:
    """Texts that must not be copied."""

    def __init__(self, texts: Iterable[str]) -> None:
        # A newline is in no word: no run crosses from one text into the next.
        self.body = "\n".join(f" {' '.join(words_of(t))} " for t in texts)

    @cached_property
    def lexicon(self) -> frozenset[str]:
        """Every word of the texts, lower-case."""
        return frozenset(self.body.split())

    def longest_run(self, text: str, least: int) -> str:
        """The longest shared run of at least `least` words, as words; empty if there is none."""
        words = words_of(text)
        block = max((least + 1) // 2, 1)
        best: tuple[int, int] = (0, 0)
        for at in range(0, len(words) - block + 1, block):
            if (best[0] <= at and at + block <= best[1]) or not self._has(words[at : at + block]):
                continue
            for leftwards in (True, False):
                first, last = self._spread(words, at, at + block, leftwards)
                if last - first > best[1] - best[0]:
                    best = (first, last)
        return " ".join(words[best[0] : best[1]]) if best[1] - best[0] >= least else ""

    def _has(self, words: list[str]) -> bool:
        return f" {' '.join(words)} " in self.body

    def _spread(self, words: list[str], first: int, last: int, left: bool) -> tuple[int, int]:
        """Widen a shared block word by word, one way first and then the other."""
        for leftwards in (left, not left):
            if leftwards:
                while first and self._has(words[first - 1 : last]):
                    first -= 1
            else:
                while last < len(words) and self._has(words[first : last + 1]):
                    last += 1
        return first, last


@cache
def sample_originals() -> Originals:
    """The stories of the sample corpus (read without validation, for speed)."""
    raw = files("fabula.data").joinpath("original.jsonl").read_text(encoding="utf-8")
    rows = (json.loads(line) for line in raw.split("\n") if line)
    return Originals(" ".join(b["text"] for b in row["beats"]) for row in rows)


@cache
def known_words() -> frozenset[str]:
    """Words of all stories that come with the package, those that the trees can tell among them."""
    trees = (path.read_text(encoding="utf-8") for path in tree_paths(own_trees()))
    told = frozenset(words_of(" ".join([*trees, stock_words()])))
    return sample_originals().lexicon | told
