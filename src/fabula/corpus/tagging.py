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
    fields: dict[str, Any],
    *,
    words: int,
    title: str | None,
    premise: str | None,
) -> Brief:
    """A brief of what was read, with what the source knows added.

    What would contradict the rest (more things to include than the length allows) is left out.

    Args:
        fields: of a brief; not changed.
        words: in the text.
        title, premise: as the source gives them, if it does.
    """
    data = {**fields, "length": rounded_length(words)}
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


def brief_json(brief: Brief) -> str:
    """A brief as it stands in a corpus: JSON without what is empty."""
    return brief.model_dump_json(exclude_none=True, exclude_defaults=True)
