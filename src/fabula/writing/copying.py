"""Copied text: the longest run of words a passage shares with what the small model learnt from.

The sample corpus and the story trees hold some four million different runs of `WINDOW` words. They
are kept as a Bloom filter of one hash (Bloom 1970): a bit for each of 2^25 hash values. About one
run in nine that is nowhere in them seems to be; a longer run is taken for shared where all its
windows seem to be, which happens to one of 11 words (6 windows) by chance once in 500,000.
`Guard` keeps a run from growing while it is written: a token that would prolong it past the limit
is not drawn (MemFree decoding; Ippolito et al. 2023, *Preventing generation of verbatim
memorization in language models gives a false sense of privacy*).

`python -m fabula.writing.originals` makes the file anew after the sample or a tree has changed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from fabula.engines.protocol import Scores

WINDOW = 6
"""Words of a run that is looked up."""
BITS = 25
LIKELIEST = 48
"""Tokens looked at: the cuts of the writer's own settings hardly ever leave more."""
FILE = "wordings.npz"
# A word that the next token may go on with: "won", "won'".
_OPEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*['’]?\Z")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
Bits = npt.NDArray[np.uint8]


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, apostrophes straight."""
    return _WORD.findall(text.lower().replace("’", "'"))


def finished_words(text: str) -> tuple[list[str], str]:
    """(the finished words of a text that is being written, the word that may still go on)."""
    going_on = _OPEN.search(text)
    if going_on is None:
        return words_of(text), ""
    return words_of(text[: going_on.start()]), going_on[0]


def windows_of(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """All runs of `WINDOW` words, in order."""
    return (words[i : i + WINDOW] for i in range(len(words) - WINDOW + 1))


def _hash(words: Sequence[str]) -> int:
    value: int = zlib.crc32(" ".join(words).encode()) & (2**BITS - 1)
    return value


class Originals:
    """Texts that must not be copied, as runs of `WINDOW` words.

    Attributes:
        bits: packed, 2^BITS / 8 bytes.
        lexicon: every word of the texts, lower-case.
    """

    def __init__(self, bits: Bits, lexicon: frozenset[str]) -> None:
        self.bits = bits
        self.lexicon = lexicon

    @classmethod
    def of(cls, texts: Iterable[str]) -> Originals:
        """Learn some texts; no run crosses from one into the next."""
        words = [words_of(text) for text in texts]
        return cls(
            marked(window for w in words for window in windows_of(w)),
            frozenset(word for w in words for word in w),
        )

    def longest_run(self, text: str, least: int) -> str:
        """The longest shared run of at least `least` words, as words; empty if there is none.

        Args:
            least: at least `WINDOW`.
        """
        words = words_of(text)
        best, run = (0, 0), 0
        for at, window in enumerate(windows_of(words)):
            run = run + 1 if self._known(window) else 0
            if run and run + WINDOW - 1 > best[1] - best[0]:
                best = (at - run + 1, at + WINDOW)
        return " ".join(words[best[0] : best[1]]) if best[1] - best[0] >= least else ""

    def ends_shared(self, words: Sequence[str]) -> bool:
        """Whether the last `WINDOW` of some words are a run of the texts."""
        return len(words) >= WINDOW and self._known(words[-WINDOW:])

    def _known(self, window: Sequence[str]) -> bool:
        value = _hash(window)
        return bool(self.bits[value >> 3] >> (value & 7) & 1)


class Guard:
    """The runs of a batch of rows that are being written, none of which grows too long.

    Args:
        originals: what must not be copied.
        rows: rows being written.
        piece: text of a token.
        most: words that a run may have, at least `WINDOW`.
    """

    def __init__(
        self, originals: Originals, rows: int, piece: Callable[[int], str], most: int
    ) -> None:
        self.originals, self.piece, self.most = originals, piece, most
        self.words: list[list[str]] = [[] for _ in range(rows)]
        self.runs = [0] * rows
        self.unfinished = [""] * rows

    def append(self, row: int, token: int) -> None:
        """Tell what was written in a row."""
        finished, self.unfinished[row] = finished_words(self.unfinished[row] + self.piece(token))
        self.runs[row] = self._run(row, finished)
        self.words[row] += finished

    def apply(self, scores: Scores) -> None:
        """Keep the likeliest tokens from prolonging a run of `most` words, in place."""
        for row in range(len(scores)):
            unfinished = words_of(self.unfinished[row])
            if self.runs[row] + len(unfinished) < self.most:
                continue
            # What is too long already (a phrase that was put in) may still end.
            longest = max(self.most, self.runs[row], self._run(row, unfinished))
            looked = min(LIKELIEST, len(scores[row]))
            for token in np.argpartition(scores[row], -looked)[-looked:]:
                ahead = words_of(self.unfinished[row] + self.piece(int(token)))
                if self._run(row, ahead) > longest:
                    scores[row, token] = -np.inf

    def _run(self, row: int, more: Sequence[str]) -> int:
        """Words of the run with which a row would end after some more words."""
        run, words = self.runs[row], list(self.words[row][1 - WINDOW :])
        for word in more:
            words.append(word)
            run = max(run + 1, WINDOW) if self.originals.ends_shared(words) else 0
        return run


def marked(windows: Iterable[Sequence[str]]) -> Bits:
    """The filter of some runs of words."""
    bits = np.zeros(2**BITS, dtype=np.uint8)
    bits[np.fromiter((_hash(w) for w in windows), dtype=np.int64)] = 1
    return np.packbits(bits, bitorder="little")


@cache
def sample_originals() -> Originals:
    """The sample corpus and the story trees of the package."""
    with files("fabula.data").joinpath(FILE).open("rb") as file, np.load(file) as kept:
        lexicon = bytes(kept["lexicon"]).decode("utf-8").split("\n")
        return Originals(kept["bits"], frozenset(lexicon))


def known_words() -> frozenset[str]:
    """Words of all stories that come with the package, those that the trees can tell among them."""
    return sample_originals().lexicon
