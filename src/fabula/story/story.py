"""The story: brief, outline, passages, receipt, and how it was made; one replayable object."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, computed_field

from fabula.story.brief import Brief, Line, Model

FREYTAG = ("exposition", "rising action", "climax", "falling action", "resolution")

_BEAT_NAME = re.compile(r"[a-z][a-z0-9 '-]{0,39}")
_RESERVED = frozenset({"outline"})


def _beat_name(value: str) -> str:
    if not _BEAT_NAME.fullmatch(value) or value.endswith(" ") or value in _RESERVED:
        raise ValueError("a beat's name is 1-40 lower-case letters, and not 'outline'")
    return value


def _passage_text(value: str) -> str:
    # Only "\n" parts lines in the text format; outer blank lines are layout, not text.
    value = value.replace("\r\n", "\n").strip()
    if not value:
        raise ValueError("a passage needs text")
    return value


BeatName = Annotated[str, AfterValidator(_beat_name)]
PassageText = Annotated[str, AfterValidator(_passage_text)]


class Beat(Model):
    """One part of the arc, with the sentence the outline gives it."""

    beat: BeatName
    summary: Annotated[str, Field(max_length=1_000), AfterValidator(_passage_text)]


class Outline(Model):
    """One sentence for each beat, in order (any number; Freytag's five by default)."""

    beats: Annotated[list[Beat], Field(min_length=1, max_length=64)]


class Passage(Model):
    """The text of one beat."""

    beat: BeatName
    text: PassageText


class Span(Model):
    """A place in a text: character offsets, end exclusive, and what stands there."""

    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    text: str


class Wish(Model):
    """One line of the receipt: a wish of the brief, kept or missed, and where one sees it."""

    wish: str
    value: str
    kept: bool
    spans: list[Span] = []
    note: str | None = None


class Receipt(Model):
    """Which wishes of the brief the story kept."""

    wishes: list[Wish] = []

    @property
    def kept(self) -> int:
        """Number of wishes kept."""
        return sum(w.kept for w in self.wishes)


class Making(Model):
    """All that is needed to make the same story again.

    Attributes:
        fabula: version of this package.
        model: name or path the writer was asked for.
        weights: digest of the weights (and adapter) that wrote it.
        seed: the seed.
        settings: every setting of planner, sampler and choice.
        rejected: the candidates that were not chosen, by beat.
        ended: whether the last passage came to its end by itself, rather than at a limit.
    """

    fabula: str
    model: str
    weights: str
    seed: int
    settings: dict[str, Any] = {}
    rejected: dict[str, list[str]] = {}
    ended: bool | None = None


class Story(Model):
    """A finished (or interrupted) story."""

    version: int = 1
    title: Line | None = None
    brief: Brief
    premise: str | None = None
    outline: Outline | None = None
    passages: list[Passage] = []
    receipt: Receipt | None = None
    making: Making | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def text(self) -> str:
        """The passages, a blank line between them; receipt spans count characters in this."""
        return "\n\n".join(p.text for p in self.passages)
