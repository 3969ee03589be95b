"""Where a text shows a label: the sentences that raise its score most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabula.reading.features import BLOCKS, Features
from fabula.reading.labels import CLASSES, RECIPES, contrast
from fabula.reading.text import Words

SHOWN = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """A sentence (word range, end exclusive) and how much its words raise the label's score."""

    first: int
    end: int
    weight: float


def telling_moments(
    words: Words, features: Features, label: str, value: str, doc: int = 0
) -> list[Moment]:
    """The sentences of a text whose words speak most for a value of a label, in order.

    Args:
        words: the texts.
        features: their features.
        label: one of `labels.CLASSES`.
        value: one of its classes.
        doc: which text.
    """
    column = CLASSES[label].index(value)
    mine = slice(int(features.edges[doc]), int(features.edges[doc + 1]))
    terms = features.terms[mine]
    gain = np.zeros(len(terms))
    for block, weight in RECIPES[label].terms.items():
        points = contrast(label, block)[column, terms]
        gain += weight * points * features.values[BLOCKS.index(block), mine]
    begin, end = int(words.first[doc]), int(words.first[doc + 1])
    columns = features.columns[begin:end]
    row = np.searchsorted(terms, columns)
    row = np.minimum(row, len(terms) - 1) if len(terms) else row * 0
    known = columns >= 0
    worth = np.zeros(end - begin)
    worth[known] = gain[row[known]]
    ranges = words.sentences(doc)
    starts = np.array([a - begin for a, _ in ranges])
    sizes = np.array([b - a for a, b in ranges])
    weight_of = np.add.reduceat(worth, starts) / np.sqrt(sizes + 4)
    best = [int(k) for k in np.argsort(-weight_of)[:SHOWN] if weight_of[k] > 0]
    return [Moment(*ranges[k], float(weight_of[k])) for k in sorted(best)]
