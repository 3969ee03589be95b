"""What every engine can do: scores for a batch over a shared prefix, and log-probabilities.

Token ids go in, scores (unnormalised log-probabilities, natural log) come out; sampling is the
writer's. A `Decoding` holds `rows` sequences that share a prefix whose keys and values were
computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Ids = Sequence[int]


class Decoding(Protocol):
    """Sequences being written side by side. All rows have the same length."""

    @property
    def length(self) -> int:
        """Tokens of each row so far, prefix included."""

    @property
    def scores(self) -> Scores:
        """Next-token scores after the last token, shape [rows, vocabulary], float32."""

    def step(self, tokens: npt.NDArray[np.int64]) -> Scores:
        """Append one token to each row (shape [rows]) and return the new `scores`."""

    def fork(self, row: int, length: int, tail: Ids, rows: int) -> Decoding:
        """Continue one row: its first `length` tokens, then `tail`, shared by `rows` new rows.

        Keys and values of the first `length` tokens are reused; only `tail` (at least one
        token) is computed.
        """


class Engine(Protocol):
    """A language model that can be asked for scores."""

    name: str
    """Name or path the model was opened by."""
    weights: str
    """Digest of the weights and adapter (sha256, hex)."""
    vocabulary: int
    """Number of scores a position has."""
    context: int
    """Longest sequence in tokens."""
    bos: int | None
    """Beginning-of-sequence id, put once in front of every document."""
    eos: int
    """End-of-sequence id."""

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: no special token is added, and none can be typed."""

    def decode(self, ids: Ids) -> str:
        """Text of token ids; special tokens are dropped."""

    def start(self, prefix: Ids, rows: int) -> Decoding:
        """Compute the prefix (with its BOS) once and share it between rows.

        Raises:
            FabulaError: the prefix does not fit the context.
        """

    def log_probabilities(
        self, prefix: Ids, continuations: Sequence[Ids]
    ) -> list[npt.NDArray[np.float32]]:
        """log p(token | prefix and tokens before), natural log, one array a continuation."""
