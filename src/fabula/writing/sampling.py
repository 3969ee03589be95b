"""Sampling: one token for each row of a batch of scores, in vectorised numpy.

Three cuts, each on the full distribution at temperature 1, of which a token must survive all:

- top-k: among the k most probable tokens (Fan et al. 2018);
- top-p: in the smallest set of most probable tokens that holds the mass p (Holtzman et al. 2020);
- min-p: at least min_p times as probable as the best token (Nguyen et al. 2024).

The temperature then reshapes what survived (temperature last, so that it never lets in tokens
that the model itself holds for noise). The vocabulary is never sorted: min-p, or else a partial
selection (`np.argpartition`), takes the few tokens that can survive, and only those are ordered.
"""

from __future__ import annotations

import zlib
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fabula.engines.protocol import Scores

FIRST_POOL = 128


class Cuts(Protocol):
    """The part of the settings that sampling reads."""

    @property
    def temperature(self) -> float:
        """Of the survivors."""

    @property
    def top_k(self) -> int:
        """0 is off."""

    @property
    def top_p(self) -> float:
        """1 is off."""

    @property
    def min_p(self) -> float:
        """0 is off."""


def dice(seed: int, purpose: str, number: int = 0) -> np.random.Generator:
    """The random numbers of one decision: they depend on nothing but these three."""
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number]))
    )


def log_sum_exp(scores: Scores) -> npt.NDArray[np.float32]:
    """Log of the summed exponentials of each row: subtract it to get log-probabilities."""
    peak = scores.max(axis=1)
    total: npt.NDArray[np.float32] = np.exp(scores - peak[:, None]).sum(axis=1)
    norm: npt.NDArray[np.float32] = peak + np.log(total)
    return norm


def survivors(scores: Scores, cuts: Cuts) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The tokens that survive the cuts, best first, and their probabilities.

    Args:
        scores: unnormalised log-probabilities, [rows, vocabulary]; -inf bans a token.

    Returns:
        ids [rows, pool] and probabilities at temperature 1 [rows, pool], 0 where cut. Equal
        scores stand in the order of their ids, so that no platform's selection shows.
    """
    rows, vocabulary = scores.shape
    relative = np.exp(scores - scores.max(axis=1, keepdims=True))
    total = relative.sum(axis=1, dtype=np.float64)[:, None]
    limit = min(cuts.top_k or vocabulary, vocabulary)
    if cuts.min_p > 0:
        ids, kept = _likely(relative, cuts.min_p)
        order = np.argsort(-kept, axis=1, kind="stable")[:, :limit]
        ids = np.take_along_axis(ids, order, axis=1)
        kept = np.take_along_axis(kept, order, axis=1)
        p = kept / total
        return ids, _alive(p, kept, cuts)
    pool = min(limit, FIRST_POOL)
    while True:
        if pool < vocabulary:
            ids = np.argpartition(relative, vocabulary - pool, axis=1)[:, vocabulary - pool :]
            ids.sort(axis=1)
        else:
            ids = np.broadcast_to(np.arange(vocabulary), (rows, vocabulary))
        kept = np.take_along_axis(relative, ids, axis=1)
        order = np.argsort(-kept, axis=1, kind="stable")
        ids = np.take_along_axis(ids, order, axis=1)
        kept = np.take_along_axis(kept, order, axis=1)
        p = kept / total
        before = np.cumsum(p, axis=1) - p
        # A flat distribution needs a wider pool before its mass reaches top-p.
        if pool == limit or bool((before[:, -1] + p[:, -1] >= cuts.top_p).all()):
            break
        pool = min(pool * 8, limit)
    return ids.astype(np.int64), _alive(p, kept, cuts)


def _likely(
    relative: Scores, least: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The tokens at least so probable beside the best, by id, and how probable: [rows, most].

    Rows that have fewer are filled up with tokens of probability 0.
    """
    likely = relative >= least
    counts = likely.sum(axis=1)
    row, token = np.nonzero(likely)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(relative), int(counts.max()))
    ids, kept = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    ids[row, place] = token
    kept[row, place] = relative[row, token]
    return ids, kept


def _alive(
    p: npt.NDArray[np.float64], kept: npt.NDArray[np.float32], cuts: Cuts
) -> npt.NDArray[np.float64]:
    """The probabilities [rows, pool], best first, 0 where top-p or min-p cuts."""
    before = np.cumsum(p, axis=1) - p
    alive = (before < cuts.top_p) & (kept >= cuts.min_p)
    alive[:, 0] = True
    return np.where(alive, p, 0.0)


def sample(
    scores: Scores, cuts: Cuts, rng: np.random.Generator, losses: Scores | None = None
) -> npt.NDArray[np.int64]:
    """Draw one token a row, shape [rows]; exactly one random number is used for each row.

    Args:
        scores: as for `survivors`.
        cuts: the settings.
        rng: the random numbers.
        losses: taken off the scores of those that survived the cuts, [rows, vocabulary]; so they
            reorder what the model holds for possible, and let nothing else in.
    """
    chance = rng.random(len(scores))
    ids, p = survivors(scores, cuts)
    if losses is not None:
        p = p * np.exp(-np.take_along_axis(losses, ids, axis=1))
    if cuts.temperature == 0:
        best = p.argmax(axis=1)
        return np.take_along_axis(ids, best[:, None], axis=1)[:, 0]
    p = p / p.max(axis=1, keepdims=True)
    if cuts.temperature != 1:
        p = p ** (1 / cuts.temperature)
    mass = np.cumsum(p, axis=1)
    place = (mass <= chance[:, None] * mass[:, -1:]).sum(axis=1)
    # Rounding may lead past the last survivor.
    last = p.shape[1] - 1 - np.argmax(p[:, ::-1] > 0, axis=1)
    place = np.minimum(place, last)
    return np.take_along_axis(ids, place[:, None], axis=1)[:, 0]
