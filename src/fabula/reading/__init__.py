"""Reading: from a text, what a brief would say of it, with the evidence as spans."""

from __future__ import annotations

from fabula.reading.arcs import ArcReading, read_arc, shapes, split_sentences, valence
from fabula.reading.phrases import find_name, find_phrase, find_place
from fabula.reading.pov import point_of_view
from fabula.reading.read import read, read_all, read_fields
from fabula.reading.repetition import Loop, Repetition, repetition
from fabula.reading.result import Evidence, Reading

__all__ = [
    "ArcReading",
    "Evidence",
    "Loop",
    "Reading",
    "Repetition",
    "find_name",
    "find_phrase",
    "find_place",
    "point_of_view",
    "read",
    "read_all",
    "read_arc",
    "read_fields",
    "repetition",
    "shapes",
    "split_sentences",
    "valence",
]
