"""The fortune curve of a text, and how well it fits the six shapes, beside a null.

Reagan et al. 2016 find six shapes in novels, with a lexicon over windows of 10,000 words. A
short story has no such window: here each sentence is scored with VADER (Hutto & Gilbert 2014),
the scores are smoothed over the story with a Gaussian kernel and read at `POINTS` places. Such
a curve is mostly noise for one story of 500 words, so it comes with the same curve of the
story's own sentences in shuffled order: a band, and a p value.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading.text import clip, scan_one
from fabula.story.brief import ARCS, Model

Floats = npt.NDArray[np.float64]

POINTS = 20
WIDTH = 0.1
SHUFFLES = 200


class ArcReading(Model):
    """The shape of a text's fortune.

    Attributes:
        curve: smoothed valence at 20 places from beginning to end, VADER's compound, -1 to 1.
        low: 5th percentile of the curves of the shuffled text, at the same places.
        high: 95th percentile of the same.
        fit: correlation of the curve with each of the six shapes, -1 to 1.
        order: the six shapes from the best to the worst fitting.
        p: share of shuffled texts whose curve swings at least as far as this one's; above
            0.05 the curve cannot be told from noise.
    """

    curve: list[float]
    low: list[float]
    high: list[float]
    fit: dict[str, float]
    order: list[str]
    p: float

    def rank(self, arc: str) -> int:
        """Place of a shape among the six, 1 (fits best) to 6."""
        return self.order.index(arc) + 1


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def shapes(points: int = POINTS) -> dict[str, Floats]:
    """The six shapes as curves of zero mean and unit length, shape [points] each.

    Cosines, the first modes of a smooth curve: half a turn is a rise, a whole one a hole, one
    and a half a cinderella; the other three are their mirror images.
    """
    t = (np.arange(points) + 0.5) / points
    modes = {"rags to riches": 1, "man in a hole": 2, "cinderella": 3}
    mirror = {
        "rags to riches": "riches to rags",
        "man in a hole": "icarus",
        "cinderella": "oedipus",
    }
    curves: dict[str, Floats] = {}
    for arc, mode in modes.items():
        # cos falls first: a rise starts low (minus), a hole starts high (plus).
        sign = 1.0 if mode == 2 else -1.0
        curve = sign * np.cos(np.pi * mode * t)
        curves[arc] = curve / np.linalg.norm(curve)
        curves[mirror[arc]] = -curves[arc]
    return {arc: curves[arc] for arc in ARCS}


def valence(sentences: list[str]) -> Floats:
    """VADER's compound score of each sentence, -1 to 1, shape [sentences]."""
    analyser = _vader()
    return np.array([analyser.polarity_scores(s[:2_000])["compound"] for s in sentences])


@lru_cache(maxsize=256)
def _kernel(places: int) -> Floats:
    """Weights that turn `places` sentence scores into the curve, shape [POINTS, places]."""
    at = (np.arange(POINTS) + 0.5) / POINTS
    own = (np.arange(places) + 0.5) / places
    weights = np.exp(-0.5 * ((at[:, None] - own[None]) / WIDTH) ** 2)
    normed: Floats = weights / weights.sum(axis=1, keepdims=True)
    return normed


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, as written."""
    text = clip(text)
    words = scan_one(text)
    spans = words.spans(0)
    return [text[spans[a][0] : spans[b - 1][1] + 1] for a, b in words.sentences(0)]


def read_arc(text: str, *, shuffles: int = SHUFFLES, seed: int = 0) -> ArcReading | None:
    """Read the fortune curve of a text; None for a text of fewer than five sentences.

    Args:
        text: the story.
        shuffles: how many times its sentences are shuffled for the null.
        seed: of the shuffles; same text and seed, same result.
    """
    sentences = split_sentences(text)
    if len(sentences) < 5:
        return None
    return arc_of_scores(valence(sentences), shuffles=shuffles, seed=seed)


def arc_of_scores(scores: Floats, *, shuffles: int = SHUFFLES, seed: int = 0) -> ArcReading:
    """Read a fortune curve from sentence scores, shape [sentences]."""
    kernel = _kernel(len(scores))
    curve = kernel @ scores
    generator = np.random.default_rng(seed)
    shuffled = np.stack([generator.permutation(scores) for _ in range(shuffles)], axis=1)
    null = kernel @ shuffled
    low, high = np.percentile(null, [5, 95], axis=1)
    swings = null.std(axis=0)
    p = (1 + int((swings >= curve.std() - 1e-12).sum())) / (1 + shuffles)
    centred = curve - curve.mean()
    length = float(np.linalg.norm(centred))
    fit = {
        arc: float(centred @ shape) / length if length > 1e-9 else 0.0
        for arc, shape in shapes().items()
    }
    return ArcReading(
        curve=[round(float(v), 4) for v in curve],
        low=[round(float(v), 4) for v in low],
        high=[round(float(v), 4) for v in high],
        fit={arc: round(value, 4) for arc, value in fit.items()},
        order=sorted(fit, key=lambda arc: -fit[arc]),
        p=round(p, 4),
    )
