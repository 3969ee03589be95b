"""What makes two texts the same, or nearly, or lets one hold a passage of the other.

Shingles are five words long, hashed all at once: with prefix sums H of byte * B**i modulo 2**64,
the hash of bytes s..e is (H[e] - H[s]) * B**-s, so that no word passes through Python, and it
does not matter where a text stands: many are hashed as one. Of the hashes are made a MinHash
signature (Broder 1997: the least value of each of 128 permutations), which tells whole texts that
are alike, and a sample in text order (`passages.sample`), which tells passages.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fabula.corpus.passages import sample

PERMUTATIONS = 128
SHINGLE_WORDS = 5
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 8192
"""Words hashed, and shingles permuted, at a time: what a processor's cache holds."""
_PERMUTED = 1024
_WORD_BYTES = bytes(c if c > 127 or chr(c).isalnum() else 32 for c in range(256))
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_NOT_WORD = re.compile(r"[\W_]+")
_MANY = 50
"""Different characters beyond ASCII from which one pattern is faster than one pass for each."""


class Fingerprint(NamedTuple):
    """All that is kept of a text to compare it.

    Attributes:
        digest: 16 bytes that equal texts share.
        signature: `PERMUTATIONS` unsigned 32-bit numbers, little-endian.
        passages: sampled shingles, as `passages.sample` has them.
    """

    digest: bytes
    signature: bytes
    passages: bytes


def normalise(text: str) -> str:
    """Lower case, words only, one space between: what layout and punctuation cannot change."""
    text = text.casefold()
    if not text.isascii():
        odd = set(_NOT_ASCII.findall(text))
        if len(odd) > _MANY:
            return _NOT_WORD.sub(" ", text).strip()
        for character in odd:
            if not character.isalnum():
                text = text.replace(character, " ")
    # A word is what \w matches, less the underscore; bytes over 127 are letters of words by now.
    return b" ".join(text.encode().translate(_WORD_BYTES).split()).decode()


def digest(normalised: str) -> bytes:
    """16 bytes that equal texts share."""
    return hashlib.sha256(normalised.encode()).digest()[:16]


def prompt_id(prompt: str) -> str:
    """The group of a prompt: 16 hex digits of its normalised digest."""
    # A prompt without a word ("???") is its own group, not one with all others like it.
    return digest(normalise(prompt) or prompt).hex()[:16]


def fingerprints(normalised: Sequence[str]) -> list[Fingerprint]:
    """The fingerprints of many normalised texts, each as if it were alone."""
    hashes, starts = _all_hashes(normalised)
    mixed = _mix(hashes)
    short = (mixed >> np.uint64(32)).astype(np.uint32)
    bounds = starts.tolist()
    return [
        Fingerprint(digest(text), _least(short[bounds[n] : bounds[n + 1]]), passages)
        for n, (text, passages) in enumerate(zip(normalised, sample(mixed, starts), strict=True))
    ]


def shingle_hashes(normalised: str) -> npt.NDArray[np.uint64]:
    """Hashes of all runs of five words, shape [words - 4] (of the whole text if shorter)."""
    return _all_hashes([normalised])[0]


def signature(normalised: str) -> bytes:
    """The MinHash signature: `PERMUTATIONS` unsigned 32-bit numbers."""
    return _least((_mix(shingle_hashes(normalised)) >> np.uint64(32)).astype(np.uint32))


def _all_hashes(
    texts: Sequence[str],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Shingle hashes of all texts, one after the other, and where each begins [texts + 1]."""
    words = np.array([text.count(" ") + 1 for text in texts], dtype=np.int64)
    sizes = np.where(words < SHINGLE_WORDS, 1, words - SHINGLE_WORDS + 1)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    # Runs are made as if all texts were one; those that reach into the next text are left out.
    runs = _run_hashes(" ".join(texts))
    ends = np.cumsum(words)
    inside = np.ones(len(runs), dtype=bool)
    for back in range(1, SHINGLE_WORDS):
        cut = ends - back
        inside[cut[(cut >= 0) & (cut < len(runs))]] = False
    short = np.flatnonzero(words < SHINGLE_WORDS)
    if not len(short):
        return runs[inside], starts
    hashes = np.empty(starts[-1], dtype=np.uint64)
    whole = np.ones(len(hashes), dtype=bool)
    whole[starts[short]] = False
    hashes[whole] = runs[inside]
    for n in short.tolist():
        hashes[starts[n]] = _run_hashes(texts[n], int(words[n]))[0]
    return hashes, starts


def _run_hashes(text: str, run: int = SHINGLE_WORDS) -> npt.NDArray[np.uint64]:
    """Hashes of all runs of so many words, shape [max(0, words - run + 1)]."""
    raw = np.frombuffer(text.encode() + b" ", dtype=np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(raw == ord(" ")) + 1])
    hashes = np.empty(max(0, len(starts) - run), dtype=np.uint64)
    for first in range(0, len(hashes), _BLOCK):
        edges = starts[first : first + _BLOCK + run]
        part = raw[edges[0] : edges[-1]]
        edges = edges - edges[0]
        hashes[first : first + _BLOCK] = span_hashes(part, edges[:-run], edges[run:])
    return hashes


def span_hashes(
    values: npt.NDArray[np.unsignedinteger[Any]],
    begin: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
) -> npt.NDArray[np.uint64]:
    """A number for each of some spans of values, which equal spans share wherever they stand.

    Args:
        values: bytes or characters, shape [n].
        begin, end: of each span, end exclusive, shape [spans].
    """
    up, down = _powers(1 << max(16, len(values).bit_length()))
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.multiply(values, up[: len(values)], out=sums[1:])
    np.cumsum(sums, out=sums)
    hashes: npt.NDArray[np.uint64] = (sums[end] - sums[begin]) * down[begin]
    return hashes


@cache
def _powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    inverse = np.uint64(pow(int(_BASE), -1, 2**64))
    up, down = (np.full(size, b, dtype=np.uint64) for b in (_BASE, inverse))
    up[0] = down[0] = 1
    return np.multiply.accumulate(up), np.multiply.accumulate(down)


def _mix(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Stafford's variant 13 of the murmur finaliser, because affine maps alone keep order."""
    mixed = hashes ^ (hashes >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    return mixed


@cache
def _permutations() -> npt.NDArray[np.uint32]:
    """Odd factors and offsets of `PERMUTATIONS` affine maps modulo 2**32, shape [2, 128]."""
    raw = b"".join(
        hashlib.sha256(f"fabula minhash {n}".encode()).digest()[:8] for n in range(PERMUTATIONS)
    )
    maps = np.frombuffer(raw, dtype="<u4").reshape(PERMUTATIONS, 2).T.copy()
    maps[0] |= 1
    return maps


def _least(short: npt.NDArray[np.uint32]) -> bytes:
    """The least value of each permutation of some 32-bit hashes."""
    factor, offset = _permutations()
    buffer = np.empty((min(_PERMUTED, len(short)), PERMUTATIONS), dtype=np.uint32)
    least = np.full(PERMUTATIONS, 2**32 - 1, dtype=np.uint32)
    for first in range(0, len(short), _PERMUTED):
        part = short[first : first + _PERMUTED, None]
        values = buffer[: len(part)]
        np.multiply(part, factor, out=values)
        values += offset
        np.minimum(least, values.min(axis=0), out=least)
    return least.astype("<u4").tobytes()
