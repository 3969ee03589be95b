"""What makes two texts the same, or nearly: an exact digest and a MinHash signature.

Shingles are five words long, hashed all at once: with prefix sums H of byte * B**i modulo 2**64,
the hash of bytes s..e is (H[e] - H[s]) * B**-s, so that no word passes through Python. The
signature (Broder 1997) is datasketch's.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.errors import MissingExtra

PERMUTATIONS = 128
SHINGLE_WORDS = 5
_BASE = np.uint64(0x9E3779B97F4A7C15)
_NOT_WORD = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """Lower case, words only, one space between: what layout and punctuation cannot change."""
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
    up, down = _powers(1 << max(12, int(len(raw)).bit_length()))
    sums = np.zeros(len(raw) + 1, dtype=np.uint64)
    np.cumsum(raw * up[: len(raw)], out=sums[1:], dtype=np.uint64)
    starts = np.concatenate([[0], np.flatnonzero(raw == ord(" ")) + 1])
    run = min(SHINGLE_WORDS, len(starts) - 1)
    begin, end = starts[:-run], starts[run:]
    return (sums[end] - sums[begin]) * down[begin]


@cache
def _blank() -> Any:
    try:
        from datasketch import MinHash
    except ImportError:
        raise MissingExtra("Finding near duplicates", "corpus") from None
    return MinHash(num_perm=PERMUTATIONS, hashfunc=int, scheme="affine32")


def signature(normalised: str) -> bytes:
    """The MinHash signature, `PERMUTATIONS` unsigned 32-bit numbers."""
    minhash = _blank().copy()
    minhash.update_batch((shingle_hashes(normalised) >> np.uint64(32)).tolist())
    return np.asarray(minhash.hashvalues, dtype=np.uint32).tobytes()
