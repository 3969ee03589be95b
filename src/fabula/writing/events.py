"""What a writer tells while it writes, in this order."""

from __future__ import annotations

from dataclasses import dataclass

from fabula.story import Story


@dataclass(frozen=True)
class Note:
    """Something the reader should know before or while reading."""

    text: str


@dataclass(frozen=True)
class PremiseChosen:
    """The brief had no premise; this is the one."""

    text: str


@dataclass(frozen=True)
class BeatPlanned:
    """One sentence of the outline is decided."""

    number: int
    beat: str
    summary: str


@dataclass(frozen=True)
class PassageChosen:
    """One passage is decided."""

    number: int
    beat: str
    text: str


@dataclass(frozen=True)
class Finished:
    """The story is complete, its receipt included."""

    story: Story


Event = Note | PremiseChosen | BeatPlanned | PassageChosen | Finished
