"""The sentences of a batch of texts, found on the characters of all of them at once.

A sentence ends at white space that holds a line's end, or that stands between a stop (with what
closes a quotation or bracket after it) and a capital or figure (with what opens one before it).
"Mr. Lowe" and "J. Lowe" go on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fabula.story import FREYTAG

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Col|Gen|Lt|Sgt|Rev|Jr|Sr|vs|No)|\b[A-Z])\.$"
)
_LONGEST_ABBREVIATION = 4
_SPACE, _STOP, _CLOSES, _OPENS, _BEGINS, _LETTER, _NEWLINE, _QUOTE = (1 << n for n in range(8))
_PLANE = 1 << 16
_FEWEST_LETTERS = 4
_BASE = np.uint64(0x9E3779B97F4A7C15)


@cache
def _classes() -> npt.NDArray[np.uint8]:
    """What each character of the basic plane is, as bits; the last stands for all beyond it."""
    table = np.zeros(_PLANE, dtype=np.uint8)
    for bit, characters in (
        (_STOP, ".!?…"),
        (_CLOSES, "\"'”’)]*"),
        (_OPENS, "\"'“‘([*"),
        (_BEGINS, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
        (_NEWLINE, "\n"),
        (_QUOTE, '"'),
    ):
        table[[ord(c) for c in characters]] |= bit
    every = [chr(n) for n in range(_PLANE - 1)]
    table[[n for n, c in enumerate(every) if c.isspace()]] |= _SPACE
    table[[n for n, c in enumerate(every) if c.isalnum() and not c.isdecimal()]] |= _LETTER
    table[_PLANE - 1] = _LETTER
    return table


@cache
def _lower() -> npt.NDArray[np.uint32]:
    """The lower case of each character of the basic plane."""
    return np.array([ord(chr(n).lower()[0]) for n in range(_PLANE)], dtype=np.uint32)


@cache
def _powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    inverse = np.uint64(pow(int(_BASE), -1, 2**64))
    up, down = (np.full(size, b, dtype=np.uint64) for b in (_BASE, inverse))
    up[0] = down[0] = 1
    return np.multiply.accumulate(up), np.multiply.accumulate(down)


@dataclass(frozen=True, slots=True)
class Sentences:
    """The sentences of a batch of `t` texts, `n` in all, in order.

    Attributes:
        texts: the texts.
        base: where each text begins among the characters of the batch, shape [t].
        edges: where each text's sentences begin, shape [t + 1].
        text: which text each is in, shape [n].
        start, end: its characters in the batch, end exclusive, shape [n]. Together the sentences
            cover all of a text but the space between them.
        opens_paragraph: shape [n].
        inside_speech: whether quotation marks were open before it, shape [n].
        quotes: whether a quotation mark stands in it, shape [n].
    """

    texts: list[str]
    base: Ints
    edges: Ints
    text: Ints
    start: Ints
    end: Ints
    opens_paragraph: Bools
    inside_speech: Bools
    quotes: Bools
    _kinds: npt.NDArray[np.uint8]
    _codes: npt.NDArray[np.uint32]
    _word_starts: Ints

    def __len__(self) -> int:
        return len(self.text)

    def words(self, start: Ints, end: Ints) -> Ints:
        """Words (runs of what is no space) that begin between two places of the batch."""
        return self._word_starts[end] - self._word_starts[start]

    def string(self, text: int, start: int, end: int) -> str:
        """What stands between two places of the batch, both in one text."""
        base = int(self.base[text])
        return self.texts[text][start - base : end - base]

    def content_words(self) -> tuple[Ints, npt.NDArray[np.uint64]]:
        """Every word of four letters and more, in order.

        Returns:
            The sentence that it is in, and a number that equal words (in any case) share.
        """
        letters = np.append(self._kinds & _LETTER != 0, False)
        turns = np.flatnonzero(letters[1:] != letters[:-1]) + 1
        if letters[:1].any():
            turns = np.append(0, turns)
        start, end = turns[::2], turns[1::2]
        long = end - start >= _FEWEST_LETTERS
        start, end = start[long], end[long]
        codes = np.minimum(self._codes, _PLANE - 1)
        up, down = _powers(1 << max(16, len(codes).bit_length()))
        sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum(_lower()[codes] * up[: len(codes)], out=sums[1:])
        numbers = (sums[end] - sums[start]) * down[start]
        return np.searchsorted(self.start, start, side="right") - 1, numbers


def find_sentences(texts: Sequence[str]) -> Sentences:
    """Find the sentences of some texts."""
    joined = "\x00".join(texts) + "\x00"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _classes()[np.minimum(codes, _PLANE - 1)]
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    finish = np.cumsum(sizes + 1) - 1  # the mark after each text
    base = finish - sizes
    mark = np.zeros(len(kinds), dtype=bool)
    mark[finish] = True
    place = np.arange(len(kinds))
    space = kinds & _SPACE != 0
    first_of_run = np.flatnonzero(space & ~np.append(False, space[:-1]))
    after_run = np.flatnonzero(space & ~np.append(space[1:], False)) + 1
    lines = np.cumsum(np.append(0, kinds & _NEWLINE != 0))
    quotes = np.cumsum(np.append(0, kinds & _QUOTE != 0))
    breaks = lines[after_run] > lines[first_of_run]
    # Back over what closes to the stop; on over what opens to the capital.
    back = np.maximum.accumulate(np.where(kinds & _CLOSES == 0, place, -1))
    stop = back[np.maximum(first_of_run - 1, 0)]
    on = np.minimum.accumulate(np.where(kinds & _OPENS == 0, place, len(kinds))[::-1])[::-1]
    ends = (
        (first_of_run > 0)
        & (stop >= 0)
        & (kinds[np.maximum(stop, 0)] & _STOP != 0)
        & (kinds[on[after_run]] & _BEGINS != 0)
    )
    for run in np.flatnonzero(ends & _short_word_before(kinds, stop, place)).tolist():
        at = int(first_of_run[run])
        if _ABBREVIATION.search(joined, max(0, at - 6), at):
            ends[run] = breaks[run] = False
    cut = np.flatnonzero(ends | breaks)
    cut_text = np.searchsorted(finish, first_of_run[cut])
    # Every text begins a sentence, and every cut.
    start = np.concatenate([base, after_run[cut]])
    text = np.concatenate([np.arange(len(texts)), cut_text])
    opens = np.concatenate([np.ones(len(texts), dtype=bool), breaks[cut]])
    order = np.lexsort((start, text))
    start, text, opens = start[order], text[order], opens[order]
    solid = np.maximum.accumulate(np.where(space | mark, -1, place))
    following = np.append(start[1:], len(kinds))
    last = np.minimum(following, finish[text]) - 1
    end = np.where(last >= start, solid[np.maximum(last, 0)] + 1, start)
    # A paragraph that holds nothing hands its beginning on to the next one.
    keep = end > start
    paragraph = np.maximum.accumulate(np.where(opens, np.arange(len(start)), 0))
    head = start[paragraph]
    start, end, text, opens, head = (x[keep] for x in (start, end, text, opens, head))
    fresh = np.append(True, head[1:] != head[:-1]) if len(head) else opens
    blank = space | mark
    begins = ~blank & np.append(True, blank[:-1])
    return Sentences(
        list(texts), base, np.searchsorted(text, np.arange(len(texts) + 1)), text, start, end,
        opens | fresh, (quotes[start] - quotes[head]) % 2 == 1, quotes[end] > quotes[start],
        kinds, codes, np.cumsum(np.append(0, begins)),
    )  # fmt: skip


def _short_word_before(kinds: npt.NDArray[np.uint8], stop: Ints, place: Ints) -> Bools:
    """Whether the word before each stop is short enough for an abbreviation."""
    gap = np.maximum.accumulate(np.where(kinds & _LETTER == 0, place, -1))
    before = np.maximum(stop - 1, 0)
    length = before - gap[before]
    result: Bools = (length > 0) & (length <= _LONGEST_ABBREVIATION)
    return result


def have_five_sentences(texts: Sequence[str]) -> Bools:
    """Whether there can be one sentence a beat, shape [texts]; a text's head usually tells."""
    found = np.diff(find_sentences([text[:2_000] for text in texts]).edges) >= len(FREYTAG)
    unsure = np.flatnonzero(~found)
    whole = find_sentences([texts[n] for n in unsure.tolist()])
    found[unsure] = np.diff(whole.edges) >= len(FREYTAG)
    return found
