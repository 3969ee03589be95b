"""The embedded engine: Llama models in 8 bits on onnxruntime, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.engines.digest import combine
from fabula.engines.graph import Precision
from fabula.engines.hardware import default_threads
from fabula.engines.load import graph_inputs, start_session
from fabula.engines.protocol import Ids, Scores
from fabula.engines.runtime import onnxruntime
from fabula.engines.shape import Shape, read_config, read_shape, rotary
from fabula.engines.tokens import Tokens
from fabula.engines.weights import merge_adapter, read_weights
from fabula.errors import FabulaError

CHUNK = 256
"""Most tokens computed at once: bounds the memory of attention and of scores."""
GROWTH = 256
"""A cache grows by at least so many tokens."""


class EmbeddedEngine:
    """A Llama model (with a LoRA adapter or without) on onnxruntime.

    Scores of a row do not depend on the rows beside it beyond float32 rounding; with the same
    calls in the same order they are the same bits.
    """

    def __init__(
        self,
        name: str,
        weights: str,
        shape: Shape,
        session: Any,
        tokens: Tokens,
        bos: int | None,
        eos: int,
    ) -> None:
        self.name = name
        self.weights = weights
        self.shape = shape
        self.session = session
        self.vocabulary = shape.vocabulary
        self.context = shape.context
        self.bos = bos
        self.eos = eos
        self.encode = tokens.encode
        self.decode = tokens.decode

    @classmethod
    def open(
        cls,
        folder: str | Path,
        adapter: str | Path | None = None,
        name: str | None = None,
        precision: Precision = "int8",
        threads: int | None = None,
    ) -> EmbeddedEngine:
        """Open a model folder (Hugging Face layout, plus the graph of `graph.write_graph`).

        Args:
            folder: the base model.
            adapter: a PEFT LoRA folder, merged into the weights.
            name: what the engine calls itself; by default the adapter or the folder.
            precision: "int8" is about three times as fast as "float32".
            threads: of the runtime; by default the cores at hand, at most four.

        Raises:
            Unsupported: a model or an adapter that only the transformers engine can run.
            FabulaError: a file is missing, damaged, or does not fit the others.
        """
        folder = Path(folder)
        config = read_config(folder)
        shape = read_shape(folder, config)
        tokens = Tokens.open(folder)
        tokens.check(shape.vocabulary, folder)
        bos, eos = tokens.special(folder, config)
        tensors, digest = read_weights(folder, shape)
        if adapter is not None:
            digest = combine([digest, merge_adapter(tensors, Path(adapter))])
        feeds = graph_inputs(shape, tensors, precision)
        feeds["cos"], feeds["sin"] = rotary(shape, config, folder)
        session = start_session(folder, shape, feeds, precision, threads or default_threads())
        return cls(name or str(adapter or folder), digest, shape, session, tokens, bos, eos)

    def start(self, prefix: Ids, rows: int) -> EmbeddedDecoding:
        """Compute the prefix once and share it between rows (see `protocol.Engine`)."""
        first = EmbeddedDecoding(self, 1)
        first.feed(prefix)
        return first if rows == 1 else first.spread(rows)

    def log_probabilities(
        self, prefix: Ids, continuations: Sequence[Ids]
    ) -> list[npt.NDArray[np.float32]]:
        """Natural log-probability of each token of each continuation after the prefix."""
        decoding = EmbeddedDecoding(self, 1)
        decoding.feed(prefix)
        after_prefix = decoding.scores
        results = []
        for continuation in continuations:
            # The cache beyond the prefix is simply written over by the next continuation.
            decoding.length = len(prefix)
            scores = np.concatenate(
                [after_prefix, *decoding.chunks(continuation[:-1], every_position=True)]
            )
            results.append(pick(scores, continuation))
        return results


def pick(scores: Scores, tokens: Ids) -> npt.NDArray[np.float32]:
    """Log-probabilities of tokens under the scores [len(tokens), vocabulary] before each."""
    if not len(tokens):
        return np.zeros(0, dtype=np.float32)
    top = scores.max(axis=1)
    total = np.log(np.exp(scores - top[:, None]).sum(axis=1))
    chosen = scores[np.arange(len(tokens)), np.asarray(tokens)]
    result: npt.NDArray[np.float32] = chosen - top - total
    return result


class EmbeddedDecoding:
    """Sequences written side by side, their keys and values in memory shared with the runtime."""

    def __init__(self, engine: EmbeddedEngine, rows: int) -> None:
        self.engine = engine
        self.rows = rows
        self.length = 0
        self._capacity = 0
        self._cache: list[npt.NDArray[np.float32]] = []
        self.scores: Scores = np.zeros((rows, engine.vocabulary), dtype=np.float32)
        """Next-token scores after the last token, [rows, vocabulary]."""
        self._scores = np.zeros_like(self.scores)
        self._tokens = np.zeros((rows, 1), dtype=np.int64)
        self._last = np.zeros(rows, dtype=np.int32)
        self._total = np.zeros((), dtype=np.int32)
        self._select = np.arange(rows, dtype=np.int64)
        self._step_bound = False
        self._shared: dict[str, Any] = {}
        self._binding = engine.session.io_binding()

    def step(self, tokens: npt.NDArray[np.int64]) -> Scores:
        """Append one token to each row and return the new scores."""
        if tokens.shape != (self.rows,):
            raise ValueError(f"step takes one token for each of {self.rows} rows")
        self._reserve(1)
        if not self._step_bound:
            self._bind(self._tokens, self._select, self._scores)
            self._step_bound = True
        self._tokens[:, 0] = tokens
        self._run(1)
        # A copy, so that scores that were handed out stay what they were.
        self.scores = self._scores.copy()
        return self.scores

    def fork(self, row: int, length: int, tail: Ids, rows: int) -> EmbeddedDecoding:
        """Continue one row's first `length` tokens and `tail` in new rows."""
        if not 0 < length <= self.length or not len(tail):
            raise ValueError("a fork keeps at least one token and adds at least one")
        first = EmbeddedDecoding(self.engine, 1)
        first._copy_from(self, row, length)
        first.feed(tail)
        return first if rows == 1 else first.spread(rows)

    def feed(self, tokens: Ids) -> None:
        """Append tokens to the only row."""
        if not len(tokens):
            raise ValueError("a prefix holds at least one token")
        self.scores = self.chunks(tokens)[-1]

    def chunks(self, tokens: Ids, every_position: bool = False) -> list[Scores]:
        """Append tokens to the only row, some at a time.

        Returns:
            For each chunk the scores after its last token, or after every one.
        """
        self._reserve(len(tokens))
        found = []
        for start in range(0, len(tokens), CHUNK):
            part = np.array([tokens[start : start + CHUNK]], dtype=np.int64)
            new = part.shape[1]
            select = np.arange(0 if every_position else new - 1, new, dtype=np.int64)
            scores = np.empty((len(select), self.engine.vocabulary), dtype=np.float32)
            self._bind(part, select, scores)
            self._run(new)
            found.append(scores)
        self._step_bound = False
        return found

    def spread(self, rows: int) -> EmbeddedDecoding:
        """New rows that continue this only row."""
        wide = EmbeddedDecoding(self.engine, rows)
        wide._copy_from(self, 0, self.length)
        wide.scores = np.repeat(self.scores, rows, axis=0)
        return wide

    def _copy_from(self, other: EmbeddedDecoding, row: int, length: int) -> None:
        self._reserve(length)
        for mine, theirs in zip(self._cache, other._cache, strict=True):
            mine[:, :, :length] = theirs[row, :, :length]
        self.length = length

    def _reserve(self, new: int) -> None:
        """Make room for new tokens in the cache.

        Raises:
            FabulaError: the sequence would outgrow the model's context.
        """
        needed, shape = self.length + new, self.engine.shape
        if needed > shape.context:
            raise FabulaError(
                f"The text needs {needed} tokens, but the model '{self.engine.name}' sees at most "
                f"{shape.context}: shorten the brief or the story."
            )
        if needed <= self._capacity:
            return
        capacity = min(shape.context, max(2 * self._capacity, needed + GROWTH))
        size = (self.rows, shape.key_value_heads, capacity, shape.head_size)
        grown = [np.empty(size, dtype=np.float32) for _ in range(2 * shape.layers)]
        for new_part, old_part in zip(grown, self._cache, strict=False):
            new_part[:, :, : self.length] = old_part[:, :, : self.length]
        self._cache, self._capacity = grown, capacity
        for number, array in enumerate(grown):
            name = f"{'value' if number % 2 else 'key'}.{number // 2}"
            shared = self._share(name, array)
            self._binding.bind_ortvalue_input(name, shared)
            self._binding.bind_ortvalue_output(name + ".new", shared)
        self._binding.bind_ortvalue_input("last", self._share("last", self._last))
        self._binding.bind_ortvalue_input("total", self._share("total", self._total))

    def _bind(
        self, tokens: npt.NDArray[np.int64], select: npt.NDArray[np.int64], scores: Scores
    ) -> None:
        self._binding.bind_ortvalue_input("tokens", self._share("tokens", tokens))
        self._binding.bind_ortvalue_input("select", self._share("select", select))
        self._binding.bind_ortvalue_output("scores", self._share("scores", scores))

    def _share(self, name: str, array: npt.NDArray[Any]) -> Any:
        """The runtime's view of an array's memory; the array lives as long as it is bound."""
        self._shared[name] = onnxruntime().OrtValue.ortvalue_from_numpy(array)
        return self._shared[name]

    def _run(self, new: int) -> None:
        self.length += new
        self._last[:] = self.length - 1
        self._total[...] = self.length
        self.engine.session.run_with_iobinding(self._binding)
