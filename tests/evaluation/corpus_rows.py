"""A sample story as a row of a prepared corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabula.story import render_brief, render_completion
from fabula.story.sample import LabelledStory

MakeCorpus = Callable[..., Path]


def row(story: LabelledStory, prompt_id: str, **changes: Any) -> dict[str, Any]:
    """A sample story as a row of a prepared corpus."""
    brief = story.brief
    return {
        "id": story.id,
        "source": "sample",
        "licence": "Apache-2.0",
        "prompt_id": prompt_id,
        "prompt_tag": None,
        "title": story.title,
        "author": None,
        "brief": brief.model_dump_json(exclude_none=True),
        "premise": story.premise,
        "outline": [b.model_dump() for b in story.outline.beats],
        "passages": [p.model_dump() for p in story.passages],
        "text": story.text,
        "words": len(story.text.split()),
        "part": 1,
        "parts": 1,
        "gold": True,
        "prompt": render_brief(brief),
        "completion": render_completion(story.outline, story.passages),
    } | changes
