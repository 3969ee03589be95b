"""What makes two texts the same, or nearly: an exact digest and a MinHash signature.

Shingles are five words long, hashed all at once: with prefix sums H of byte * B**i modulo 2**64,
the hash of bytes s..e is (H[e] - H[s]) * B**-s, so that no word passes through Python. The
signature is MinHash (Broder 1997): the least value of each of 128 permutations.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache

import numpy as np
import numpy.typing as npt

PERMUTATIONS = 128
SHINGLE_WORDS = 5
_PIECE = 64
_BASE = np.uint64(0x9E3779B97F4A7C15)
_NOT_WORD = re.compile(r"[\W_]+")
_ASCII_WORDS = str.maketrans({chr(c): " " for c in range(128) if not chr(c).isalnum()})


def normalise(text: str) -> str:
    """Lower case, words only, one space between: what layout and punctuation cannot change."""
    if text.isascii():
        return " ".join(text.lower().translate(_ASCII_WORDS).split())
    return _NOT_WORD.sub(" ", text.casefold()).strip()


def digest(normalised: str) -> bytes:
    """16 bytes that equal texts share."""
    return hashlib.sha256(normalised.encode()).digest()[:16]


def prompt_id(prompt: str) -> str:
    """The group of a prompt: 16 hex digits of its normalised digest."""
    return digest(normalise(prompt)).hex()[:16]


@cache
def _powers(size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    inverse = np.uint64(pow(int(_BASE), -1, 2**64))
    up, down = (np.full(size, b, dtype=np.uint64) for b in (_BASE, inverse))
    up[0] = down[0] = 1
    return np.multiply.accumulate(up), np.multiply.accumulate(down)


def shingle_hashes(normalised: str) -> npt.NDArray[np.uint64]:
    """Hashes of all runs of five words, shape [words - 4] (of the whole text if shorter)."""
    raw = np.frombuffer(normalised.encode() + b" ", dtype=np.uint8)
    up, down = _powers(1 << max(12, len(raw).bit_length()))
    sums = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(raw * up[: len(raw)], out=sums[1:], dtype=np.uint64)
    starts = np.concatenate([[0], np.flatnonzero(raw == ord(" ")) + 1])
    run = min(SHINGLE_WORDS, len(starts) - 1)
    begin, end = starts[:-run], starts[run:]
    hashes: npt.NDArray[np.uint64] = (sums[end] - sums[begin]) * down[begin]
    return hashes


@cache
def _permutations() -> npt.NDArray[np.uint32]:
    """Odd factors and offsets of `PERMUTATIONS` affine maps modulo 2**32, shape [2, 128]."""
    raw = b"".join(
        hashlib.sha256(f"fabula minhash {n}".encode()).digest()[:8] for n in range(PERMUTATIONS)
    )
    maps = np.frombuffer(raw, dtype="<u4").reshape(PERMUTATIONS, 2).T.copy()
    maps[0] |= 1
    return maps


def signature(normalised: str) -> bytes:
    """The MinHash signature: `PERMUTATIONS` unsigned 32-bit numbers."""
    hashes = shingle_hashes(normalised)
    # Mix (Stafford's variant 13 of the murmur finaliser), because affine maps alone keep order.
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    short = (hashes >> np.uint64(32)).astype(np.uint32)
    factor, offset = _permutations()
    # In pieces that stay in the cache, which is half of the time.
    least = np.full(PERMUTATIONS, 2**32 - 1, dtype=np.uint32)
    for start in range(0, len(short), _PIECE):
        maps = short[start : start + _PIECE, None] * factor
        maps += offset
        np.minimum(least, maps.min(axis=0), out=least)
    return least.astype("<u4").tobytes()
