"""A real little engine for tests: an interpolated trigram model with a cache of its prefix.

It learns the text format from the sample corpus (training split) in about a second, so that the
writer can be tried without torch and without a model file. The cache gives words of the brief
more weight, as a neural model would, so that guidance has something to work on.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from copy import copy
from functools import cache

import numpy as np
import numpy.typing as npt

from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample

BOS, EOS, PAD, BYTES = 0, 1, 2, 3
_PIECE = re.compile(r"\n|#| ?[^\W_]+| ?[^\w\s]|\s|_", re.UNICODE)


class NgramEngine:
    """Implements `fabula.engines.protocol.Engine`."""

    name = "trigram"
    weights = "0" * 64
    bos: int | None = BOS
    eos = EOS

    def __init__(self, documents: Sequence[tuple[str, str]]) -> None:
        self.context = 1024
        counts = Counter(p for d in documents for part in d for p in _PIECE.findall(part))
        words = sorted(p for p, n in counts.items() if n > 1 or len(p) == 1)
        self.pieces = ["", "", "", *(chr(b) for b in range(256)), *words]
        self.ids = {p: i for i, p in enumerate(self.pieces) if i >= BYTES + 256}
        self.vocabulary = len(self.pieces)
        one = np.full(self.vocabulary, 0.01)
        one[BYTES : BYTES + 256] = 1e-6
        one[[BOS, PAD]] = 1e-9
        follow: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        for prompt, completion in documents:
            ids = [BOS, *self.encode(prompt), *self.encode(completion), EOS]
            for at in range(1, len(ids)):
                one[ids[at]] += 1
                for n in (1, 2, 3):
                    if at >= n:
                        follow[tuple(ids[at - n : at])][ids[at]] += 1
        self.one = one / one.sum()
        self.follow = {
            key: (np.fromiter(c.keys(), int), np.fromiter(c.values(), float) / c.total(), c.total())
            for key, c in follow.items()
        }

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in _PIECE.findall(text):
            known = self.ids.get(piece)
            ids += [known] if known else [BYTES + b for b in piece.encode("utf-8", "replace")]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        out = bytearray()
        for i in ids:
            if BYTES <= i < BYTES + 256:
                out.append(i - BYTES)
            else:
                out += self.pieces[i].encode()
        return out.decode("utf-8", "replace")

    def next_scores(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        p = self.one.copy()
        for n in (1, 2, 3):
            found = self.follow.get(tuple(ids[-n:]))
            if found is not None and len(ids) >= n:
                # Witten-Bell: the more different successors, the more the shorter context counts.
                keys, share, total = found
                back = len(keys) / (len(keys) + total)
                p *= back
                p[keys] += share * (1 - back)
        words = [i for i in ids if i >= BYTES + 256 and len(self.pieces[i]) > 4]
        np.add.at(p, words, 0.05 / max(len(words), 1))
        return np.log(p).astype(np.float32)

    def start(self, prefix: Sequence[int], rows: int) -> NgramDecoding:
        return NgramDecoding(self, [list(prefix) for _ in range(rows)])

    def log_probabilities(
        self, prefix: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[npt.NDArray[np.float32]]:
        out = []
        for tokens in continuations:
            ids, row = list(prefix), []
            for token in tokens:
                scores = self.next_scores(ids)
                row.append(scores[token] - np.log(np.exp(scores).sum()))
                ids.append(token)
            out.append(np.array(row, dtype=np.float32))
        return out


class NgramDecoding:
    """Implements `fabula.engines.protocol.Decoding`."""

    def __init__(self, engine: NgramEngine, texts: list[list[int]]) -> None:
        self.engine, self.texts = engine, texts
        # Equal rows have equal scores: computed once.
        first = engine.next_scores(texts[0])
        self._scores = np.stack([first for _ in texts])

    @property
    def length(self) -> int:
        return len(self.texts[0])

    @property
    def scores(self) -> npt.NDArray[np.float32]:
        return self._scores

    def step(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        assert self.length < self.engine.context, "the writer left the context"
        for text, token in zip(self.texts, tokens, strict=True):
            text.append(int(token))
        self._scores = np.stack([self.engine.next_scores(t) for t in self.texts])
        return self._scores

    def fork(self, row: int, length: int, tail: Sequence[int], rows: int) -> NgramDecoding:
        assert 0 < length <= self.length
        assert len(tail) > 0
        ids = [*self.texts[row][:length], *tail]
        assert len(ids) < self.engine.context, "the writer left the context"
        return NgramDecoding(self.engine, [list(ids) for _ in range(rows)])


@cache
def _learnt() -> NgramEngine:
    stories = load_sample("train")
    documents = [(render_brief(s.brief), render_completion(s.outline, s.passages)) for s in stories]
    return NgramEngine(documents)


def trigram(context: int = 1024) -> NgramEngine:
    """The engine, with a context of a given length."""
    engine = copy(_learnt())
    engine.context = context
    return engine
