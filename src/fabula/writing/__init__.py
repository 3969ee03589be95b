"""Writing: from a brief to an outline, candidates, a story and its receipt, over any engine."""

from __future__ import annotations

from fabula.writing.events import BeatPlanned, Event, Finished, Note, PassageChosen, PremiseChosen
from fabula.writing.receipt import receipt as check_receipt
from fabula.writing.settings import Weights, WriterSettings
from fabula.writing.writer import Writer

__all__ = [
    "BeatPlanned",
    "Event",
    "Finished",
    "Note",
    "PassageChosen",
    "PremiseChosen",
    "Weights",
    "Writer",
    "WriterSettings",
    "check_receipt",
]
