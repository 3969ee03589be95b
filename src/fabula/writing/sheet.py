"""The document being written, as tokens: read with the brief and, for guidance, without it.

A `Script` turns text into tokens for an engine. A `Sheet` is a batch of rows that continue one
document, with the scores of classifier-free guidance; forking it reuses keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.engines.protocol import Decoding, Engine, Scores
from fabula.story import Brief, render_brief


class Script:
    """Text and tokens of one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.newline = engine.encode("\n")
        self._pieces: dict[int, str] = {}
        self._openers: dict[str, frozenset[int]] = {}
        hashes = self.after_newline("# ")
        self.heading_start = hashes[0] if hashes else None

    def after_newline(self, text: str) -> list[int]:
        """Tokens of text that opens a line in the middle of a document.

        Encoding it alone would let SentencePiece put its dummy space in front.
        """
        both = self.engine.encode("\n" + text)
        n = len(self.newline)
        return both[n:] if both[:n] == self.newline else self.engine.encode(text)

    def after_word(self, text: str) -> list[int]:
        """Tokens of text that goes on after a word."""
        word = self.engine.encode("the")
        both = self.engine.encode("the" + text)
        return both[len(word) :] if both[: len(word)] == word else self.engine.encode(text)

    def _spaced(self, word: str) -> list[int]:
        return self.after_word(" " + word)

    def piece(self, token: int) -> str:
        """Text of a single token (cached; only a test for what it contains)."""
        text = self._pieces.get(token)
        if text is None:
            text = self._pieces[token] = self.engine.decode([token])
        return text

    def openers(self, word: str) -> frozenset[int]:
        """Tokens that begin a word: capitalised or not, after a space or not (cached)."""
        found = self._openers.get(word)
        if found is None:
            spelled = (word, word.capitalize())
            # Without a space a word stands after a line end or a quotation mark.
            ids = [ways(w)[:1] for w in spelled for ways in (self._spaced, self.after_newline)]
            found = self._openers[word] = frozenset(t for first in ids for t in first)
        return found

    def cut(self, ids: Sequence[int], text: str) -> tuple[int, list[int]]:
        """Where tokens that decode to more than `text` have to be cut to say just that.

        Returns:
            (kept, tail): the first `kept` tokens, then the tokens `tail`, say `text`.
        """
        kept = len(ids)
        while kept:
            said = self.engine.decode(ids[:kept])
            if text.startswith(said) and not said.endswith("\ufffd"):
                break
            kept -= 1
        else:
            said = ""
        rest = text[len(said) :]
        if not rest:
            return kept, []
        return kept, self.after_newline(rest) if kept else self.engine.encode(rest)

    def prompt(self, brief: Brief) -> list[int]:
        """Tokens of the prompt, with the one BOS in front."""
        ids = self.engine.encode(render_brief(brief))
        return ids if self.engine.bos is None else [self.engine.bos, *ids]


@dataclass
class Sheet:
    """Rows that continue one document.

    Attributes:
        briefed: the rows read after the brief.
        bare: the same rows read after an empty brief; None where guidance is off.
        guidance: weight of the difference.
    """

    briefed: Decoding
    bare: Decoding | None
    guidance: float

    @property
    def length(self) -> int:
        """Tokens of each row in the briefed document."""
        return self.briefed.length

    def step(self, tokens: npt.NDArray[np.int64]) -> None:
        """Append one token to each row."""
        self.briefed.step(tokens)
        if self.bare is not None:
            self.bare.step(tokens)

    def scores(self) -> tuple[Scores, Scores, Scores | None]:
        """(guided, briefed, bare) next-token scores; guided is the caller's to change."""
        briefed = self.briefed.scores
        if self.bare is None:
            return briefed.copy(), briefed, None
        bare = self.bare.scores
        return bare + np.float32(self.guidance) * (briefed - bare), briefed, bare

    def fork(self, row: int, back: int, tail: Sequence[int], rows: int) -> Sheet:
        """Continue one row without its last `back` tokens, with `tail`, in `rows` rows."""
        return Sheet(
            self.briefed.fork(row, self.briefed.length - back, tail, rows),
            None if self.bare is None else self.bare.fork(row, self.bare.length - back, tail, rows),
            self.guidance,
        )


def open_sheet(
    engine: Engine,
    prompt: Sequence[int],
    bare_prompt: Sequence[int],
    completion: Sequence[int],
    rows: int,
    guidance: float,
) -> Sheet:
    """Start a document: prompt and completion so far.

    Raises:
        FabulaError: it does not fit the engine's context.
    """
    bare = None if guidance == 1 else engine.start([*bare_prompt, *completion], rows)
    return Sheet(engine.start([*prompt, *completion], rows), bare, guidance)
