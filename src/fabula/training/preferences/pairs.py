"""Pairs of stories for one brief, of which one is better: a file of them, or the model's own.

A file has one JSON object a line: `prompt` (a brief as the model sees it), `chosen` and `rejected`
(what follows: outline and passages); `id` may be given. Without a file the base model writes
several stories for the brief of each training story, each a single sample without any choice among
candidates, and their receipts rank them: the best and the worst of a brief are a pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from fabula.corpus.augment import Example
from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.reading.repetition import repetition
from fabula.story import Brief, Story, render_brief, render_completion
from fabula.story.files import read_text, validate
from fabula.training.preferences.drawing import draw_lines, drawn_lines
from fabula.training.recipe import Preferences
from fabula.writing import Writer
from fabula.writing.settings import WriterSettings

MAX_PAIRS_BYTES = 2_000_000_000


class Pair(BaseModel):
    """Two stories for one brief.

    Attributes:
        id: names it where something is wrong with it.
        prompt: the brief as the model sees it.
        chosen: the better one: outline and passages in the text format.
        rejected: the other.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = ""
    prompt: str
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)


def read_objects(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Number, place in words and content of each line of a file of JSON lines that is not empty.

    Raises:
        FabulaError: unreadable, or a line that is no JSON; names it.
    """
    for number, line in enumerate(read_text(path, MAX_PAIRS_BYTES).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            yield number, where, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FabulaError(f"{where}: not JSON ({error}).") from None


def read_pair(number: int, where: str, data: Any) -> Pair:
    """A pair from what a line says.

    Raises:
        FabulaError: it is none, or its two stories are the same.
    """
    pair = validate(Pair, data, where)
    if pair.chosen == pair.rejected:
        raise FabulaError(f"{where}: 'chosen' and 'rejected' are the same; leave the line out.")
    return pair if pair.id else pair.model_copy(update={"id": f"line {number}"})


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a file.

    Raises:
        FabulaError: unreadable, empty, or a line that is no pair; names the line.
    """
    pairs = [read_pair(*line) for line in read_objects(path)]
    if not pairs:
        raise FabulaError(f"{path} has no pairs; give one JSON object a line.")
    return pairs


class Prompted(Protocol):
    """What stands under a brief."""

    @property
    def prompt(self) -> str:
        """The brief as the model sees it."""


P = TypeVar("P", bound=Prompted)


def parted(pairs: Sequence[P], share: float) -> tuple[list[P], list[P]]:
    """(learnt, held out): all of one prompt fall on one side, by the hash of the prompt."""

    def place(pair: P) -> float:
        digest = hashlib.sha256(f"fabula pairs {pair.prompt}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    return [p for p in pairs if place(p) >= share], [p for p in pairs if place(p) < share]


def single_samples(preferences: Preferences) -> WriterSettings:
    """Settings of a writer that draws each line and passage once and takes what comes."""
    return WriterSettings(
        decide=False,
        candidates=1,
        plans=1,
        by_sentence=False,
        insertions=0,
        temperature=preferences.temperature,
        plan_temperature=preferences.temperature,
    )


def worth(story: Story) -> float:
    """What a story is worth, by its receipt: the share of the wishes that it kept, 0 to 1.

    A story that repeats itself word by word, or that had to be cut off, is worth one less.
    """
    assert story.receipt is not None
    assert story.making is not None
    spoilt = bool(repetition(story.text).loops) or not story.making.ended
    return float(story.receipt.kept / max(len(story.receipt.wishes), 1) - spoilt)


def brief_of(example: Example) -> Brief:
    """What the model is asked for: the brief of a training story with its premise."""
    return example.brief.model_copy(update={"premise": example.premise})


def samples_for(
    engine: Engine, example: Example, preferences: Preferences, seed: int
) -> list[Story]:
    """Stories by the model for the brief of a story; none where the brief is empty."""
    brief = brief_of(example)
    if brief.is_empty:
        return []
    writer = Writer(engine, single_samples(preferences))
    first = seed * preferences.samples
    return [writer.write(brief, first + n) for n in range(preferences.samples)]


def draw_pair(engine: Engine, example: Example, preferences: Preferences, seed: int) -> Pair | None:
    """Let the model write for the brief of a story; None where no two differ by the margin."""
    stories = samples_for(engine, example, preferences, seed)
    if not stories:
        return None
    ranked = sorted(stories, key=worth)
    worst, best = ranked[0], ranked[-1]
    if worth(best) - worth(worst) < preferences.margin:
        return None
    return Pair(
        id=example.id,
        prompt=render_brief(brief_of(example)),
        chosen=render_completion(best.outline, best.passages),
        rejected=render_completion(worst.outline, worst.passages),
    )


def write_pairs(
    engine: Engine,
    examples: Sequence[Example],
    preferences: Preferences,
    path: Path,
    tick: Callable[[int, int], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Draw pairs for the briefs of stories, and add them to a file; see `draw_lines`."""

    def line_of(number: int, example: Example) -> dict[str, Any]:
        pair = draw_pair(engine, example, preferences, number)
        return pair.model_dump() if pair is not None else {"id": example.id}

    return draw_lines(path, examples, line_of, tick, stop)


def drawn_pairs(path: Path) -> list[Pair]:
    """The pairs of a file that `write_pairs` has written; it may have none."""
    return [Pair.model_validate(line) for line in drawn_lines(path) if "chosen" in line]
