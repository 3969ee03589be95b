"""The brief of a story: gold labels where there are any, else what `reading` reads in the text."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from fabula.story import Brief
from fabula.story.brief import MAX_LINE, MAX_PREMISE

MIN_CONFIDENCE = 0.5


def rounded_length(words: int) -> int:
    """A length as a reader would ask for it: tens below 100 words, fifties above."""
    step = 10 if words < 100 else 50
    return min(20_000, max(20, round(words / step) * step))


def complete(
    brief: Brief,
    *,
    words: int,
    title: str | None,
    premise: str | None,
    drop: frozenset[str] = frozenset(),
) -> Brief:
    """A brief with what the source knows added, and without the fields in `drop`.

    What would contradict the rest (more things to include than the length allows) is left out.
    """
    data: dict[str, Any] = brief.model_dump(exclude=set(drop), exclude_none=True)
    data["length"] = rounded_length(words)
    if title and len(title) <= MAX_LINE:
        data["title"] = title
    if premise and len(premise) <= MAX_PREMISE:
        data["premise"] = premise
    for spare in (None, "must_include", "arc", "title", "premise"):
        if spare is not None:
            data.pop(spare, None)
        try:
            return Brief.model_validate(data)
        except ValidationError:
            continue
    return Brief(length=data["length"])


def read_brief(text: str, min_confidence: float) -> Brief:
    """What `reading` is sure enough of."""
    from fabula.reading import read

    return read(text, min_confidence=min_confidence).brief
