"""Genre, tone, arc and ending of a text: multinomial logistic regression, decoded together.

A label's score is linear in `features.Features`; which blocks it uses stands in `RECIPES`. The
arc and the ending constrain each other (a fall has no happy end), and so do genre and tone:
each pair is decoded by its joint score, with a table of how often the two go together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading.features import BLOCKS, Features
from fabula.reading.linear import softmax
from fabula.reading.store import weights
from fabula.reading.times import ERAS
from fabula.story.brief import ARCS, ENDINGS, FALLING_ARCS, GENRES, RISING_ARCS, TONES

Floats = npt.NDArray[np.float64]

CLASSES: dict[str, tuple[str, ...]] = {
    "genre": GENRES,
    "tone": TONES,
    "arc": ARCS,
    "ending": ENDINGS,
    "era": tuple(name for name, _ in ERAS),
}
PAIRS = (("arc", "ending"), ("genre", "tone"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a label is read: the weight of each block of features, and what it was fitted with.

    Chosen by cross-validation on the train split.

    Attributes:
        meaning: weight of the five fifths' vectors.
        whole: weight of the whole text's vector.
        mood: weight of the moods of the fifths.
        terms: weight of each block of terms.
        l2: penalty.
        outlines: weight of the train split's outlines as further examples.
        planned_l2: penalty of the weights that planned labels give, from which the fit starts.
    """

    meaning: float
    whole: float
    mood: float
    terms: dict[str, float]
    l2: float
    outlines: float
    planned_l2: float


RECIPES = {
    "genre": Recipe(0.0, 1.0, 0.0, {"words": 1.0}, 3e-4, 0.0, 3e-5),
    "tone": Recipe(0.0, 1.0, 0.0, {"words": 1.0}, 3e-4, 0.0, 1e-4),
    "arc": Recipe(1.5, 0.0, 0.5, {"mode 1": 1.0, "mode 2": 1.0, "mode 3": 1.0}, 1e-3, 0.3, 3e-5),
    "ending": Recipe(1.5, 0.0, 0.0, {"words": 1.0, "last": 1.0}, 1e-3, 0.0, 3e-5),
    "era": Recipe(0.0, 1.0, 0.0, {"words": 1.0}, 3e-4, 0.0, 3e-5),
}


def dense_part(features: Features, recipe: Recipe, mean: Floats, scale: Floats) -> Floats:
    """The features of a recipe that are not terms, weighted, shape [texts, d]."""
    parts: list[npt.NDArray[np.floating[Any]]] = []
    texts = len(features)
    if recipe.meaning:
        fifths = features.meaning.shape[1]
        parts.append(features.meaning.reshape(texts, -1) * (recipe.meaning / fifths**0.5))
    if recipe.whole:
        parts.append(features.whole * recipe.whole)
    if recipe.mood:
        mood = (features.mood.reshape(texts, -1) - mean) / scale
        parts.append(np.clip(mood, -4, 4) * (recipe.mood / mood.shape[1] ** 0.5))
    return np.concatenate(parts, axis=1).astype(np.float64)


@cache
def term_weights(label: str, block: str) -> npt.NDArray[np.float32]:
    """Weights of the terms of a block, shape [terms, classes]."""
    w = weights()
    stored = w[f"{label}_{block.replace(' ', '_')}"]
    scale = w[f"{label}_{block.replace(' ', '_')}_scale"]
    result: npt.NDArray[np.float32] = stored.astype(np.float32) * scale
    return result


@cache
def contrast(label: str, block: str) -> npt.NDArray[np.float32]:
    """What a term says for a class rather than for the others, shape [classes, terms]."""
    matrix = term_weights(label, block)
    return np.ascontiguousarray((matrix - matrix.mean(axis=1, keepdims=True)).T)


@cache
def _all_terms() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], dict[str, slice]]:
    """The weights of every label's terms side by side.

    Returns:
        The weights, shape [terms, columns]; the block that each column belongs to; and each
        label's columns, one run of its classes after the other for its blocks.
    """
    parts, blocks, places, start = [], [], {}, 0
    for label, recipe in RECIPES.items():
        for block, weight in recipe.terms.items():
            matrix = term_weights(label, block) * np.float32(weight)
            parts.append(matrix)
            blocks += [BLOCKS.index(block)] * matrix.shape[1]
        places[label] = slice(start, len(blocks))
        start = len(blocks)
    return np.concatenate(parts, axis=1), np.array(blocks), places


@cache
def _dense(label: str) -> tuple[Floats, Floats]:
    """Weights of a label's features that are not terms, and its bias."""
    w = weights()
    return w[f"{label}_dense"].astype(np.float64), w[f"{label}_bias"].astype(np.float64)


def all_scores(features: Features) -> dict[str, Floats]:
    """Log-probabilities up to a constant of each class of each label, [texts, classes] each."""
    w = weights()
    table, blocks, places = _all_terms()
    own = np.arange(len(blocks))
    sums = np.zeros((len(features), len(blocks)), dtype=np.float32)
    edges = features.edges.tolist()
    for text, (a, b) in enumerate(pairwise(edges)):
        sums[text] = (features.values[:, a:b] @ table.take(features.terms[a:b], axis=0))[
            blocks, own
        ]
    result = {}
    for label, recipe in RECIPES.items():
        dense = dense_part(features, recipe, w["mood_mean"], w["mood_scale"])
        slopes, bias = _dense(label)
        found = bias + dense @ slopes
        said = sums[:, places[label]].reshape(len(features), len(recipe.terms), found.shape[1])
        result[label] = found + said.sum(axis=1)
    return result


def contradicts(arc: str, ending: str) -> bool:
    """Whether no brief may ask for both."""
    return (ending == "happy" and arc in FALLING_ARCS) or (ending == "sad" and arc in RISING_ARCS)


@cache
def _coupling(first: str, second: str) -> Floats:
    coupling: Floats = weights()[f"{first}_{second}"].astype(np.float64)
    return np.where(forbidden(), -np.inf, coupling) if first == "arc" else coupling


@cache
def forbidden() -> npt.NDArray[np.bool_]:
    """Pairs of arc and ending that contradict each other, shape [arcs, endings]."""
    return np.array([[contradicts(a, e) for e in ENDINGS] for a in ARCS])


def decode(first: Floats, second: Floats, coupling: Floats) -> tuple[Floats, Floats]:
    """Marginal probabilities of two coupled labels.

    Args:
        first: scores of one label, shape [texts, a].
        second: scores of the other, shape [texts, b].
        coupling: how much more often than by chance the two go together (log), shape [a, b];
            minus infinity forbids.

    Returns:
        Probabilities of shape [texts, a] and [texts, b].
    """
    joint = first[:, :, None] + second[:, None] + coupling
    joint = softmax(joint.reshape(len(first), -1)).reshape(joint.shape)
    return joint.sum(axis=2), joint.sum(axis=1)


def probabilities(scores: Mapping[str, Floats]) -> dict[str, Floats]:
    """Probability of every class of the labels that are decoded in pairs, [texts, classes] each.

    Args:
        scores: of `all_scores`.
    """
    result: dict[str, Floats] = {}
    for first, second in PAIRS:
        result[first], result[second] = decode(
            scores[first], scores[second], _coupling(first, second)
        )
    return result


def predict(features: Features, text: int = 0) -> dict[str, dict[str, float]]:
    """Probability of every class of every label but the era, of one of the texts."""
    return {
        label: dict(zip(CLASSES[label], map(float, p[text]), strict=True))
        for label, p in probabilities(all_scores(features)).items()
    }
