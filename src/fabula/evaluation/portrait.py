"""What one text shows by itself: length, repetition, diversity, fortune curve, ending."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fabula.evaluation.bootstrap import Floats
from fabula.evaluation.texts import distinct, ends_on_a_sentence, written_words
from fabula.reading.arcs import ArcReading, arc_of_scores, split_sentences, valence
from fabula.reading.features import extract
from fabula.reading.labels import predict
from fabula.reading.read import FEWEST_WORDS
from fabula.reading.repetition import repetition
from fabula.reading.text import clip, scan

FEWEST_SENTENCES = 5


@dataclass(frozen=True)
class Portrait:
    """Figures of one text; None where the text is too short for one.

    Attributes:
        words: written words.
        loops: whether any 8 words occur 3 times.
        repeated_4: share of 4-grams that occurred before, 0 to 1.
        distinct: distinct-1, -2 and -3 among the first 150 words.
        whole: whether it stops at the end of a sentence.
        scores: VADER's compound of each sentence, -1 to 1.
        arc: the fortune curve with its null.
        read_arc: the likeliest arc by the reading, whatever the curve.
        end_lift: mean score of the last fifth of the sentences minus the mean of the rest.
    """

    words: int
    loops: bool
    repeated_4: float
    distinct: tuple[float | None, float | None, float | None]
    whole: bool
    scores: Floats
    arc: ArcReading | None
    read_arc: str | None
    end_lift: float | None


def end_lift(scores: Floats) -> float | None:
    """Mean of the last fifth of sentence scores minus the mean of the rest; None below five.

    Positive: the story ends brighter than it was. Human stories lie near zero, stories of
    instruction-tuned models well above.
    """
    if len(scores) < FEWEST_SENTENCES:
        return None
    last = max(1, round(len(scores) / 5))
    return float(np.mean(scores[-last:]) - np.mean(scores[:-last]))


def read_arc(text: str) -> str | None:
    """The likeliest of the six arcs by the reading; None for a text too short to be read."""
    words = scan([clip(text)])
    if len(words) < FEWEST_WORDS:
        return None
    chances = predict(extract(words))["arc"]
    return max(chances, key=lambda arc: chances[arc])


def portray(text: str) -> Portrait:
    """Look at one text."""
    again = repetition(text)
    scores = valence(split_sentences(text))
    return Portrait(
        words=written_words(text),
        loops=bool(again.loops),
        repeated_4=again.repeated_4,
        distinct=(distinct(text, 1), distinct(text, 2), distinct(text, 3)),
        whole=ends_on_a_sentence(text),
        scores=scores,
        arc=arc_of_scores(scores) if len(scores) >= FEWEST_SENTENCES else None,
        read_arc=read_arc(text),
        end_lift=end_lift(scores),
    )
