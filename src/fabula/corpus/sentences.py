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

from fabula.corpus.fingerprint import span_hashes
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
    _word_starts: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.text)

    def words(self, start: Ints, end: Ints) -> Ints:
        """Words (runs of what is no space) that begin between two places of the batch."""
        return (self._word_starts[end] - self._word_starts[start]).astype(np.int64)

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
        numbers = span_hashes(_lower()[codes], start, end)
        return np.searchsorted(self.start, start, side="right") - 1, numbers


def find_sentences(texts: Sequence[str]) -> Sentences:
    """Find the sentences of some texts."""
    joined = "\x00".join(texts) + "\x00"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kinds = _classes()[np.minimum(codes, _PLANE - 1)]
    sizes = np.array([len(text) for text in texts], dtype=np.int64)
    finish = np.cumsum(sizes + 1) - 1  # the mark after each text
    base = finish - sizes
    space = kinds & _SPACE != 0
    # Runs of white space: only there a sentence can end.
    turns = np.flatnonzero(space[1:] != space[:-1]) + 1
    turns = np.append(0, turns) if space[:1].any() else turns
    opens_run, after_run = turns[::2], turns[1::2]
    lines = _count(kinds & _NEWLINE != 0)
    breaks = lines[after_run] > lines[opens_run]
    # Back over what closes to the stop; on over what opens to the capital.
    stop = _step(kinds, opens_run - 1, _CLOSES, -1)
    capital = _step(kinds, after_run, _OPENS, 1)
    ends = (kinds[stop] & _STOP != 0) & (kinds[capital] & _BEGINS != 0) & (opens_run > 0)
    sure = np.flatnonzero(ends)
    for run in sure[_short_word_before(kinds, stop[sure])].tolist():
        at = int(opens_run[run])
        if _ABBREVIATION.search(joined, max(0, at - 6), at):
            ends[run] = breaks[run] = False
    cut = np.flatnonzero(ends | breaks)
    # Every text begins a sentence, and every cut.
    start = np.concatenate([base, after_run[cut]])
    text = np.concatenate([np.arange(len(texts)), np.searchsorted(finish, opens_run[cut])])
    opens = np.concatenate([np.ones(len(texts), dtype=bool), breaks[cut]])
    order = np.lexsort((start, text))
    # A text's last sentence ends where its last white space begins, if it ends in such.
    last = np.searchsorted(after_run, finish)
    trailing = np.append(after_run, -1)[last] == finish
    final = np.where(trailing, np.append(opens_run, -1)[last], finish)
    start, text, opens = start[order], text[order], opens[order]
    end = np.empty(len(start), dtype=np.int64)
    is_last = np.append(text[1:] != text[:-1], True)[: len(text)]
    end[~is_last] = opens_run[cut]
    end[is_last] = final[text[is_last]]
    # A paragraph that holds nothing hands its beginning on to the next one.
    keep = end > start
    paragraph = np.maximum.accumulate(np.where(opens, np.arange(len(start)), 0))
    head = start[paragraph]
    start, end, text, opens, head = (x[keep] for x in (start, end, text, opens, head))
    fresh: Bools = np.append(True, head[1:] != head[:-1])[: len(head)]
    quotes = _count(kinds & _QUOTE != 0)
    blank = space
    blank[finish] = True
    begins = ~blank
    begins[1:] &= blank[:-1]
    return Sentences(
        list(texts), base, np.searchsorted(text, np.arange(len(texts) + 1)), text, start, end,
        np.logical_or(opens, fresh), (quotes[start] - quotes[head]) % 2 == 1,
        quotes[end] > quotes[start],
        kinds, codes, _count(begins),
    )  # fmt: skip


def _count(which: Bools) -> npt.NDArray[np.int32]:
    """How many of the characters before each place are such, shape [characters + 1]."""
    result = np.zeros(len(which) + 1, dtype=np.int32)
    np.cumsum(which, dtype=np.int32, out=result[1:])
    return result


def _step(kinds: npt.NDArray[np.uint8], places: Ints, kind: int, by: int) -> Ints:
    """Each place moved over the characters of a kind, one way or the other."""
    places = np.maximum(places, 0)
    going = np.flatnonzero(kinds[places] & kind != 0)
    while len(going):
        places[going] += by
        going = going[(places[going] >= 0) & (kinds[places[going]] & kind != 0)]
    return np.maximum(places, 0)


def _short_word_before(kinds: npt.NDArray[np.uint8], stop: Ints) -> Bools:
    """Whether the word before each stop is short enough for an abbreviation."""
    length = np.zeros(len(stop), dtype=np.int64)
    going = np.flatnonzero(stop > 0)
    for back in range(1, _LONGEST_ABBREVIATION + 2):
        place = stop[going] - back
        going = going[(place >= 0) & (kinds[np.maximum(place, 0)] & _LETTER != 0)]
        length[going] = back
    result: Bools = (length > 0) & (length <= _LONGEST_ABBREVIATION)
    return result


def have_five_sentences(texts: Sequence[str]) -> Bools:
    """Whether there can be one sentence a beat, shape [texts]; a text's head usually tells."""
    found = np.diff(find_sentences([text[:2_000] for text in texts]).edges) >= len(FREYTAG)
    unsure = np.flatnonzero(~found)
    whole = find_sentences([texts[n] for n in unsure.tolist()])
    found[unsure] = np.diff(whole.edges) >= len(FREYTAG)
    return found
