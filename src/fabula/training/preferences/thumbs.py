"""Thumbs: stories of which a reader said yes or no, from a file, or on the model's own.

A file has one JSON object a line: `prompt` (a brief as the model sees it), `completion` (what
follows: outline and passages) and `label` or `thumb`: true or "up", false or "down"; `id` may be
given. A line with `chosen` and `rejected` instead, as in a file of pairs, is a thumb up and a thumb
down. Without a file the base model writes for the briefs of training stories, and the receipts give
the thumbs: to a brief's best and worst story, or to each by a threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fabula.corpus.augment import Example
from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.story import render_brief, render_completion
from fabula.story.files import validate
from fabula.training.preferences.drawing import draw_lines, drawn_lines
from fabula.training.preferences.pairs import (
    Pair,
    brief_of,
    draw_pair,
    read_objects,
    read_pair,
    samples_for,
    worth,
)
from fabula.training.recipe import Preferences

SAID = {"up": True, "down": False}
MOST_UPS = 4 / 3
"""Largest ratio of the weighted ups to the weighted downs (arXiv:2402.01306, equation 8); the
smallest is 1."""


class Thumb(BaseModel):
    """A story and what a reader said of it.

    Attributes:
        id: names it where something is wrong with it.
        prompt: the brief as the model sees it.
        completion: outline and passages in the text format.
        label: True is a thumb up.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    prompt: str
    completion: str = Field(min_length=1)
    label: bool

    @model_validator(mode="before")
    @classmethod
    def _said(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if "label" in data and "thumb" in data:
            raise ValueError("has both 'label' and 'thumb'; give one of them")
        said = data.get("label", data.get("thumb"))
        label = SAID.get(said, said) if isinstance(said, str) else said
        if not isinstance(label, bool):
            raise ValueError("needs 'label' or 'thumb': true or false, \"up\" or \"down\"")
        return {**data, "label": label}


def of_pair(pair: Pair) -> list[Thumb]:
    """A pair as a thumb up and a thumb down."""
    return [
        Thumb(id=f"{pair.id} {name}", prompt=pair.prompt, completion=text, label=label)
        for name, text, label in (("up", pair.chosen, True), ("down", pair.rejected, False))
    ]


def read_thumbs(path: Path) -> list[Thumb]:
    """The thumbs of a file, or of a file of pairs.

    Raises:
        FabulaError: unreadable, empty, or a line that is neither; names the line.
    """
    found: list[Thumb] = []
    for number, where, data in read_objects(path):
        if isinstance(data, dict) and ("chosen" in data or "rejected" in data):
            found += of_pair(read_pair(number, where, data))
            continue
        thumb = validate(Thumb, data, where)
        found.append(thumb if thumb.id else thumb.model_copy(update={"id": f"line {number}"}))
    if not found:
        raise FabulaError(f"{path} has no thumbs; give one JSON object a line.")
    return found


def draw_thumbs(
    engine: Engine, example: Example, preferences: Preferences, seed: int
) -> list[Thumb]:
    """Let the model write for the brief of a story, and its receipts say what is good."""
    if preferences.threshold is None:
        pair = draw_pair(engine, example, preferences, seed)
        return [] if pair is None else of_pair(pair)
    return [
        Thumb(
            id=f"{example.id} {number}",
            prompt=render_brief(brief_of(example)),
            completion=render_completion(story.outline, story.passages),
            label=worth(story) >= preferences.threshold,
        )
        for number, story in enumerate(samples_for(engine, example, preferences, seed))
    ]


def write_thumbs(
    engine: Engine,
    examples: Sequence[Example],
    preferences: Preferences,
    path: Path,
    tick: Callable[[int, int], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Draw thumbs for the briefs of stories, and add them to a file; see `draw_lines`."""

    def line_of(number: int, example: Example) -> dict[str, Any]:
        drawn = draw_thumbs(engine, example, preferences, number)
        return {"id": example.id, "thumbs": [thumb.model_dump() for thumb in drawn]}

    return draw_lines(path, examples, line_of, tick, stop)


def drawn_thumbs(path: Path) -> list[Thumb]:
    """The thumbs of a file that `write_thumbs` has written; it may have none."""
    return [Thumb.model_validate(t) for line in drawn_lines(path) for t in line["thumbs"]]


def balance(ups: int, downs: int, preferences: Preferences) -> tuple[float, float]:
    """Weights of a thumb up and of a thumb down.

    What the recipe leaves open is chosen so that weighted ups are 1 to 4/3 times weighted downs
    (arXiv:2402.01306, equation 8), by raising the weight of the rarer side as little as that takes.

    Args:
        ups, downs: their numbers, at least 1 each.
    """
    up, down = preferences.desirable, preferences.undesirable
    if up is not None and down is not None:
        return up, down
    if up is not None:
        return up, min(max(1.0, up * ups / downs / MOST_UPS), up * ups / downs)
    if down is not None:
        return min(max(1.0, down * downs / ups), MOST_UPS * down * downs / ups), down
    ratio = ups / downs
    return max(1.0, 1 / ratio), max(1.0, ratio / MOST_UPS)
