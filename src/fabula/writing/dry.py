"""DRY: "don't repeat yourself", a penalty on tokens that would prolong a verbatim repeat.

Where the last n tokens already stand earlier in the story, the token that followed them there
loses multiplier * base ** (n - allowed) from its score once n >= allowed (p-e-w, pull request
5677 of text-generation-webui). Unlike a repetition penalty it leaves single words alone, and
unlike a ban on repeated n-grams it grows with the length of the repeat.

Two things differ from the original: the matches are kept up to date token by token instead of
being searched anew at each step, and only the story's own text counts as history, never the
brief, whose words are meant to be repeated.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from fabula.engines.protocol import Scores

LONGEST = 50


class Dry:
    """The repeats in a batch of rows that share a history.

    Args:
        history: tokens of the story so far.
        rows: rows being written.
        breakers: tokens over which no match reaches: line ends, quotation marks, and the names
            a brief asks for.
    """

    def __init__(
        self,
        history: Sequence[int],
        rows: int,
        breakers: Iterable[int],
        multiplier: float,
        base: float,
        allowed: int,
    ) -> None:
        self.multiplier, self.base, self.allowed = multiplier, base, allowed
        self.breakers = frozenset(breakers)
        shared: defaultdict[int, list[int]] = defaultdict(list)
        for place, token in enumerate(history):
            shared[token].append(place)
        self.shared = dict(shared)
        self.texts = [list(history) for _ in range(rows)]
        self.places: list[defaultdict[int, list[int]]] = [defaultdict(list) for _ in range(rows)]
        # matches[row][p] = n: the last n tokens of the row also stand right before place p.
        self.matches: list[dict[int, int]] = [{} for _ in range(rows)]

    def append(self, row: int, token: int) -> None:
        """Tell what was written in a row."""
        text, places, old = self.texts[row], self.places[row], self.matches[row]
        if token in self.breakers:
            self.matches[row] = {}
        else:
            earlier = (*self.shared.get(token, ()), *places.get(token, ()))
            self.matches[row] = {p + 1: old.get(p, 0) + 1 for p in earlier}
        places[token].append(len(text))
        text.append(token)

    def penalties(self, row: int) -> dict[int, float]:
        """What each token that would prolong a repeat in this row loses."""
        longest: dict[int, int] = {}
        text = self.texts[row]
        for place, length in self.matches[row].items():
            if length >= self.allowed:
                token = text[place]
                longest[token] = max(length, longest.get(token, 0))
        return {
            token: self.multiplier * self.base ** (min(length, LONGEST) - self.allowed)
            for token, length in longest.items()
            if token not in self.breakers
        }

    def apply(self, scores: Scores) -> None:
        """Take the penalties off the scores, in place."""
        for row in range(len(scores)):
            for token, penalty in self.penalties(row).items():
                scores[row, token] -= np.float32(penalty)
