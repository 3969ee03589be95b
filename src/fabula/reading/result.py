"""What a reading is: a brief, the evidence for each of its fields, and how sure one can be."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fabula.story.brief import Brief, Model


class Evidence(Model):
    """Where a text shows a field of the brief.

    Attributes:
        field: path into the brief, e.g. ``characters.0.traits.1``, ``setting.place``, ``arc``.
        value: the value read.
        start: first character of the span.
        end: one past its last character.
        text: what stands there.
        confidence: of the value, 0 to 1.
    """

    field: str
    value: str
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    text: str
    confidence: Annotated[float, Field(ge=0, le=1)]


class Reading(Model):
    """A brief read out of a text."""

    brief: Brief
    evidence: list[Evidence] = []
    confidence: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
