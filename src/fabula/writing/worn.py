"""Worn words: a content word loses weight once a story has said it several times.

Small models fall in love with a word ("the clock looked at the clock"), which DRY does not see:
no long run is repeated. Unlike the classic repetition penalty this one spares function words,
names and punctuation, gives every word some free uses, grows linearly after them, and only
reorders the tokens that survive the cuts of sampling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

SHORTEST = 4
FUNCTION_WORDS = frozenset(
    "about above across after again against almost along already also always among another any "
    "anything around asked away back because been before began behind being below beneath beside "
    "between beyond both came cannot could does doing done down during each either else enough "
    "even ever every everything from gave gone half have having hers herself himself into itself "
    "just knew last least left less like little long looked made many might mine more most much "
    "must myself near never next nobody none nothing once only onto other others ours over perhaps "
    "quite rather said same seemed shall should since some someone something soon still such than "
    "that their theirs them themselves then there these they thing things this those though "
    "through till toward towards told took turned under until upon very want well went were what "
    "whatever when where whether which while whom whose will with within without would yesterday "
    "your yours yourself".split()
)


def is_content(piece: str) -> bool:
    """Whether a token is (the beginning of) a word that tells something."""
    word = piece.strip().lower()
    return len(word) >= SHORTEST and word.isalpha() and word not in FUNCTION_WORDS


class Worn:
    """The penalties of a batch of rows that share a history.

    Args:
        history: tokens of the story so far.
        rows: rows being written.
        vocabulary: number of scores.
        spared: tokens that may come as often as they like, such as names.
        piece: text of a token.
        penalty: taken off for each use after the free ones.
        free: uses of a word that cost nothing.

    Attributes:
        losses: what to take off each score, float32 [rows, vocabulary].
    """

    def __init__(
        self,
        history: Sequence[int],
        rows: int,
        vocabulary: int,
        spared: Collection[int],
        piece: Callable[[int], str],
        penalty: float,
        free: int,
    ) -> None:
        self.spared, self.piece = spared, piece
        self.penalty, self.free = np.float32(penalty), free
        shared = Counter(history)
        self.counts = [shared.copy() for _ in range(rows)]
        self.losses = np.zeros((rows, vocabulary), dtype=np.float32)
        for token, uses in shared.items():
            if uses >= free and self._counts(token):
                self.losses[:, token] = self.penalty * (uses - free + 1)

    def _counts(self, token: int) -> bool:
        return token not in self.spared and is_content(self.piece(token))

    def append(self, row: int, token: int) -> None:
        """Tell what was written in a row."""
        uses = self.counts[row][token] = self.counts[row][token] + 1
        if uses >= self.free and self._counts(token):
            self.losses[row, token] += self.penalty
