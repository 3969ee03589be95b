"""Where a text shows a label: the sentences that raise its score most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabula.reading.features import BLOCKS, Features
from fabula.reading.labels import CLASSES, RECIPES, contrast
from fabula.reading.text import Document

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """A sentence (word range, end exclusive) and how much its words raise the label's score."""

    first: int
    end: int
    weight: float


def telling_moments(
    doc: Document, features: Features, label: str, value: str, ranges: list[tuple[int, int]]
) -> list[Moment]:
    """The sentences whose words speak most for a value of a label, in order of the text.

    Args:
        doc: the text.
        features: its features.
        label: one of `labels.CLASSES`.
        value: one of its classes.
        ranges: the sentences of the text.
    """
    column = CLASSES[label].index(value)
    gain = np.zeros(len(features.terms))
    for block, weight in RECIPES[label].terms.items():
        points = contrast(label, block)[column, features.terms]
        gain += weight * points * features.values[BLOCKS.index(block)]
    row = np.searchsorted(features.terms, features.columns)
    row = np.minimum(row, len(features.terms) - 1) if len(features.terms) else row * 0
    known = features.columns >= 0
    worth = np.zeros(len(doc))
    worth[known] = gain[row[known]]
    starts = np.array([a for a, _ in ranges])
    sizes = np.array([b - a for a, b in ranges])
    weight_of = np.add.reduceat(worth, starts) / np.sqrt(sizes + 4)
    best = [int(k) for k in np.argsort(-weight_of)[:SHOWN] if weight_of[k] > 0]
    return [Moment(*ranges[k], float(weight_of[k])) for k in sorted(best)]
