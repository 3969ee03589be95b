"""Copied text: the longest run of words a passage shares with what the small model learnt from.

The sample corpus and the story trees hold some four million different runs of `WINDOW` words. They
are kept as a Bloom filter of one hash (Bloom 1970): a bit for each of 2^24 hash values. About one
run in five that is nowhere in them seems to be; a longer run is taken for shared where all its
windows seem to be, which happens to one of 11 words (6 windows) by chance once in 15,000.

`python -m fabula.writing.originals` makes the file anew after the sample or a tree has changed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

WINDOW = 6
"""Words of a run that is looked up."""
BITS = 24
FILE = "wordings.npz"
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
Bits = npt.NDArray[np.uint8]


def words_of(text: str) -> list[str]:
    """The words of a text, lower-case, apostrophes straight."""
    return _WORD.findall(text.lower().replace("’", "'"))


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
            value = _hash(window)
            run = run + 1 if self.bits[value >> 3] >> (value & 7) & 1 else 0
            if run and run + WINDOW - 1 > best[1] - best[0]:
                best = (at - run + 1, at + WINDOW)
        return " ".join(words[best[0] : best[1]]) if best[1] - best[0] >= least else ""


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
