"""Stories with places at which a reader has picked: the file, and its parting.

A file has one JSON object a line (it may be packed: `.xz`, `.gz`), a story each: `brief`,
`outline` and `passages` as in a story file, and `places`. At each place the model had several
candidates for what comes next; a reader said which is the best, and which are wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from fabula.corpus.lines import read_lines
from fabula.errors import FabulaError
from fabula.story import Brief, Outline, Passage
from fabula.story.brief import Model
from fabula.story.files import validate

Index = Annotated[int, Field(ge=0)]


def _told(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("has half a character (a lone surrogate); write it as UTF-8") from None
    return value


def _candidate(value: str) -> str:
    if not value.strip():
        raise ValueError("is blank; leave it out")
    return value.strip()


Text = Annotated[str, AfterValidator(_told)]
Candidate = Annotated[Text, Field(max_length=1_000), AfterValidator(_candidate)]


class Place(Model):
    """Where a reader picked.

    Attributes:
        part: number of the beat, from 0.
        plan: the candidates are lines of the outline; else they are the next sentence.
        said: what the beat's passage says before it.
        candidates: what could come next.
        best: number of the best of them, from 0.
        wrong: numbers of those that no careful writer would let stand, the worst first.
    """

    part: Index
    plan: bool = False
    said: Text = ""
    candidates: Annotated[list[Candidate], Field(min_length=2)]
    best: Index
    wrong: list[Index] = []

    @model_validator(mode="after")
    def _makes_sense(self) -> Place:
        count = len(self.candidates)
        if max(self.best, *self.wrong, 0) >= count:
            raise ValueError(f"points at a candidate that is not there: there are {count}, from 0")
        if self.best in self.wrong:
            raise ValueError("has a candidate that is both the best and wrong")
        if len(set(self.wrong)) < len(self.wrong):
            raise ValueError("names a wrong candidate twice")
        if len({" ".join(c.split()) for c in self.candidates}) < count:
            raise ValueError("has the same candidate twice")
        return self

    @property
    def rest(self) -> list[int]:
        """The candidates that are neither the best nor wrong."""
        return [i for i in range(len(self.candidates)) if i != self.best and i not in self.wrong]

    def fewer(self, wrong: int, rest: int) -> Place:
        """The place with the best candidate, and at most so many of the others."""
        kept = [self.best, *self.wrong[:wrong], *self.rest[:rest]]
        bad = range(1, 1 + len(self.wrong[:wrong]))
        chosen = [self.candidates[i] for i in kept]
        return self.model_copy(update={"candidates": chosen, "best": 0, "wrong": list(bad)})


class PickedStory(Model):
    """A story and its places.

    Attributes:
        id: names it where something is wrong with it.
        brief: as the model saw it.
        premise: that the model wrote itself, if it did.
        outline, passages: what was told in the end.
        places: in any order.
    """

    id: Text = ""
    brief: Brief
    premise: Text | None = None
    outline: Outline
    passages: list[Passage] = []
    places: Annotated[list[Place], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_its_parts(self) -> PickedStory:
        beats = len(self.outline.beats)
        for passage in self.passages:
            _told(passage.text)
        for number, place in enumerate(self.places, 1):
            if place.part >= beats:
                raise ValueError(
                    f"has a place ({number}) in part {place.part}, but {beats} parts, from 0"
                )
            if not place.plan and place.part > len(self.passages):
                raise ValueError(
                    f"has a place ({number}) in part {place.part}, but no passages before it"
                )
        return self


def read_picks(path: Path) -> list[PickedStory]:
    """The stories of a file.

    Raises:
        FabulaError: unreadable, empty, or a line that is no story with places; names the line.
    """
    stories = []
    for line in read_lines(path):
        if not line.text.strip() and line.fault is None:
            continue
        where = f"{path}, line {line.number}"
        if line.fault is not None:
            raise FabulaError(f"{where}: {line.fault}.")
        try:
            data = json.loads(line.text)
        except (ValueError, RecursionError) as error:
            raise FabulaError(f"{where}: not JSON ({error}).") from None
        story = validate(PickedStory, data, where)
        named = {"id": story.id or f"line {line.number}"}
        stories.append(story.model_copy(update=named))
    if not stories:
        raise FabulaError(f"{path} has no stories with places; give one JSON object a line.")
    return stories


def parted(
    stories: Sequence[PickedStory], share: float
) -> tuple[list[PickedStory], list[PickedStory]]:
    """(learnt, held out): a story falls on one side, by the hash of its id."""

    def place(story: PickedStory) -> float:
        digest = hashlib.sha256(f"fabula picks {story.id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    return [s for s in stories if place(s) >= share], [s for s in stories if place(s) < share]
