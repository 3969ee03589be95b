"""Fitting genre, tone, arc and ending on the sample corpus's train split.

In two steps: a model of the terms alone is fitted to the many stories that carry what their writers
had planned; what the annotated stories say otherwise is then fitted to its residual, with a penalty
on the distance to it (a Gaussian prior that is centred on the first model's weights).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.errors import MissingExtra
from fabula.reading.features import BLOCKS, Features, Tables, extract, extract_words
from fabula.reading.labels import CLASSES, PAIRS, RECIPES, Recipe, decode, dense_part, forbidden
from fabula.reading.linear import fit_logistic, softmax
from fabula.reading.text import lower_words, scan
from fabula.reading.times import era
from fabula.reading.vocabulary import Vocabulary, vocabulary
from fabula.story.sample import LabelledStory

Floats = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[np.generic]]

FOLDS = 5
RARE = 15  # a term has to occur in so many stories
STEPS = 60  # of the fit to planned labels: more of them change no figure
TRUSTED = 3.0  # pseudo-count of the coupling tables


def choose_terms(stories: Sequence[LabelledStory]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Words and pairs of words that occur in at least RARE stories, and their rarity."""
    count: Counter[str] = Counter()
    for story in stories:
        lower = lower_words(story.text)
        pairs = (f"{a} {b}" for a, b in pairwise(lower))
        count.update({*lower, *pairs})
    terms = sorted(t for t, c in count.items() if c >= RARE)
    rarity = np.log(len(stories) / np.array([count[t] for t in terms]))
    return terms, np.maximum(rarity, 0.05).astype(np.float32)


def outline_features(
    stories: Sequence[LabelledStory], tables: Tables, known: Vocabulary
) -> Features:
    """Outlines as if they were texts: each beat's sentence fills a fifth."""
    texts: list[list[str]] = []
    places: list[Floats] = []
    for story in stories:
        beats = [lower_words(beat.summary) for beat in story.beats]
        texts.append([word for words in beats for word in words])
        places.append(
            np.concatenate([(n + np.arange(len(w)) / len(w)) / len(beats)
                            for n, w in enumerate(beats)])
        )  # fmt: skip
    return extract_words(texts, places, tables, known)


class Design:
    """The examples of one label as a matrix, in the space they span; `said` are its terms."""

    def __init__(
        self, parts: Sequence[Features], recipe: Recipe, terms: int, mean: Floats, scale: Floats
    ) -> None:
        dense = np.concatenate([dense_part(f, recipe, mean, scale) for f in parts])
        self.said = term_rows(parts, recipe, terms)
        self.splits = dense.shape[1] + terms * np.arange(len(recipe.terms))
        self.full = sparse().hstack([sparse().csr_matrix(dense), self.said]).tocsr()
        values, vectors = np.linalg.eigh((self.full @ self.full.T).toarray())
        keep = values > 1e-6 * values.max()
        # Rows in the space spanned by the examples: an L2 penalty means the same there.
        self.rows: Floats = vectors[:, keep] * np.sqrt(values[keep])
        self._turn = vectors[:, keep] / np.sqrt(values[keep])

    def explicit(self, w: Floats, b: Floats) -> tuple[list[Floats], Floats]:
        """Weights on the features themselves, block by block, and the bias."""
        return np.split(self.full.T @ (self._turn @ w), self.splits, axis=0), b


def sparse() -> Any:
    """scipy's sparse matrices.

    Raises:
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy import sparse as found
    except ImportError:
        raise MissingExtra("Fitting the reading", "eval") from None
    return found


def term_rows(parts: Sequence[Features], recipe: Recipe, terms: int) -> Any:
    """A recipe's blocks of terms side by side, a scipy.sparse matrix of [examples, columns]."""
    blocks = [
        sparse().vstack(
            [sparse().csr_matrix((weight * f.values[BLOCKS.index(block)], f.terms, f.edges),
                                  shape=(len(f), terms)) for f in parts]
        )
        for block, weight in recipe.terms.items()
    ]  # fmt: skip
    return sparse().hstack(blocks).tocsr()


@dataclass(frozen=True, slots=True)
class Planned:
    """Stories that carry what their writers set out to write.

    Attributes:
        stories: the stories.
        weights: how much each counts.
        features: as a linear model sees them.
    """

    stories: Sequence[LabelledStory]
    weights: Floats
    features: Features

    @classmethod
    def of(
        cls,
        stories: Sequence[LabelledStory],
        weights: Sequence[float],
        tables: Tables,
        known: Vocabulary | None = None,
    ) -> Planned:
        """Ready to be fitted to."""
        words = scan([s.text for s in stories], known or vocabulary())
        return cls(stories, np.array(weights), extract(words, tables))

    def fit(self, label: str, recipe: Recipe, terms: int) -> tuple[Floats, Floats]:
        """Weights of the recipe's terms, shape [columns, classes], and biases."""
        labels = np.array([_gold(s, label) for s in self.stories])
        use = labels >= 0
        rows = term_rows([self.features], recipe, terms)[use]
        return fit_logistic(
            rows, labels[use], len(CLASSES[label]), recipe.planned_l2, self.weights[use],
            steps=STEPS,
        )  # fmt: skip


def _gold(story: LabelledStory, label: str) -> int:
    """Class of a story; -1 where its label says nothing of it."""
    if label == "era":
        found = era(story.setting.time or "")
        return -1 if found is None else found
    return CLASSES[label].index(getattr(story, label))


def _folds(count: int, seed: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(count) % FOLDS


def held_out_scores(
    design: Design,
    labels: npt.NDArray[np.int64],
    classes: int,
    recipe: Recipe,
    seed: int,
    offset: Floats,
) -> Floats:
    """Scores of each story by a model that was not fitted on it, shape [stories, classes]."""
    n = len(labels)
    copies = len(design.rows) // n
    fold = _folds(n, seed)
    result = np.zeros((n, classes))
    example = np.concatenate([np.ones(n), np.full(n * (copies - 1), recipe.outlines)])
    for k in range(FOLDS):
        use = np.tile((fold != k) & (labels >= 0), copies)
        w, b = fit_logistic(
            design.rows[use], np.tile(labels, copies)[use], classes, recipe.l2, example[use],
            offset=offset[use],
        )  # fmt: skip
        result[fold == k] = (design.rows[:n] @ w + b + offset[:n])[fold == k]
    return result


def temperature(scores: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Factor on held-out scores that makes them likeliest (Guo et al. 2017, inverted)."""
    factors = np.geomspace(0.2, 5.0, 60)
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    rows = np.arange(len(labels))
    losses = [-np.log(softmax(scores * f)[rows, labels] + 1e-300).mean() for f in factors]
    return float(factors[int(np.argmin(losses))])


def coupling(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], a: int, b: int) -> Floats:
    """Log of how much more often than by chance two labels go together, shape [a, b]."""
    table = np.zeros((a, b))
    np.add.at(table, (first, second), 1)
    chance = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    chance = np.maximum(chance, 1e-6)
    trust = TRUSTED * chance / chance.mean()
    result: Floats = np.log((table + trust) / (chance + trust))
    return result


def _bytes(matrix: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    scale = np.abs(matrix).max(axis=0) / 127 + 1e-12
    return np.round(matrix / scale).astype(np.int8), scale.astype(np.float32)


def fit_labels(
    stories: Sequence[LabelledStory],
    tables: Tables,
    known: Vocabulary | None = None,
    planned: Planned | None = None,
) -> tuple[Arrays, dict[str, float]]:
    """Fit all labels.

    Args:
        stories: annotated from their text.
        tables: what the features are looked up in.
        known: the vocabulary by whose numbers; the shipped one if None.
        planned: further stories, from whose fit the annotated ones' starts.

    Returns:
        The arrays to store, and the cross-validated accuracy of each label.
    """
    known = known or vocabulary()
    features = extract(scan([s.text for s in stories], known), tables)
    outlines = outline_features(stories, tables, known)
    moods = features.mood.reshape(len(stories), -1).astype(np.float64)
    mean, scale = moods.mean(axis=0), moods.std(axis=0) + 1e-6
    arrays: Arrays = {"mood_mean": mean.astype(np.float32), "mood_scale": scale.astype(np.float32)}
    held_out: dict[str, Floats] = {}
    gold: dict[str, npt.NDArray[np.int64]] = {}
    for label, recipe in RECIPES.items():
        classes = CLASSES[label]
        labels = np.array([_gold(s, label) for s in stories])
        parts = [features, outlines] if recipe.outlines else [features]
        design = Design(parts, recipe, len(tables.rarity), mean, scale)
        columns = len(tables.rarity) * len(recipe.terms)
        start, level = np.zeros((columns, len(classes))), np.zeros(len(classes))
        if planned is not None:
            start, level = planned.fit(label, recipe, len(tables.rarity))
        offset = design.said @ start + level
        scores = held_out_scores(design, labels, len(classes), recipe, 0, offset)
        factor = temperature(scores, labels)
        held_out[label], gold[label] = scores * factor, labels
        copies = len(parts)
        example = np.concatenate(
            [np.ones(len(labels)), np.full(len(labels) * (copies - 1), recipe.outlines)]
        )
        use = np.tile(labels >= 0, copies)
        w, b = fit_logistic(
            design.rows[use], np.tile(labels, copies)[use], len(classes), recipe.l2, example[use],
            offset=offset[use],
        )  # fmt: skip
        (dense, *blocks), bias = design.explicit(w * factor, (b + level) * factor)
        begun = np.split(start * factor, len(recipe.terms))
        blocks = [own + more for own, more in zip(blocks, begun, strict=True)]
        arrays[f"{label}_bias"] = bias.astype(np.float32)
        arrays[f"{label}_dense"] = dense.astype(np.float16)
        for block, matrix in zip(recipe.terms, blocks, strict=True):
            name = f"{label}_{block.replace(' ', '_')}"
            arrays[name], arrays[f"{name}_scale"] = _bytes(matrix)
    report: dict[str, float] = {}
    dated = gold["era"] >= 0
    report["era"] = float((held_out["era"].argmax(axis=1) == gold["era"])[dated].mean())
    for first, second in PAIRS:
        table = coupling(gold[first], gold[second], len(CLASSES[first]), len(CLASSES[second]))
        arrays[f"{first}_{second}"] = table.astype(np.float32)
        if first == "arc":
            table = np.where(forbidden(), -np.inf, table)
        one, other = decode(held_out[first], held_out[second], table)
        report[first] = float(np.mean(one.argmax(axis=1) == gold[first]))
        report[second] = float(np.mean(other.argmax(axis=1) == gold[second]))
        report[f"{first} alone"] = float((held_out[first].argmax(axis=1) == gold[first]).mean())
        report[f"{second} alone"] = float((held_out[second].argmax(axis=1) == gold[second]).mean())
    return arrays, report
