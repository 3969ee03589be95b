"""The sample corpus that comes with the package: original short stories with gold labels.

Its splits are fixed by id: nothing may train, tune or choose on `test`.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Literal

from fabula.story.brief import Arc, Brief, Ending, Model, PointOfView, Role, Setting
from fabula.story.story import Beat, Outline, Passage

Split = Literal["train", "valid", "test"]
FILES = ("original.jsonl.xz", "plain.jsonl.xz", "simple.jsonl.xz")
"""In the folder of the package's data: the stories of the first editions, those in plain words, and
the simplest, which read like stories for small children. Packed, they are a fifth the size."""
FIRST_FILE = FILES[:1]
"""Where all of the test split and all annotated stories are: who wants these reads no more."""
TEST_STORIES = 90
VALID_STORIES = 30
FIRST_STORIES = 570
"""Stories of the first edition, among which the first held-out ones were drawn."""
PLAIN_ONE_IN = 32
"""Of the plainest stories, which the model learns last, one in so many is held out too (valid)."""
SIMPLE_WEIGHT = 0.2
"""What one of the simplest stories counts for in fitting the reading's labels."""
_SIMPLE = re.compile(r"b[a-z]-")
_PLAIN = re.compile(r"[ijlmno]-|[ab][a-z]-")


class LabelledTrait(Model):
    """A trait and the verbatim words that show it."""

    trait: str
    evidence: str


class LabelledCharacter(Model):
    """A character as the annotator labelled it."""

    name: str
    role: Role
    traits: list[LabelledTrait]


class LabelledBeat(Model):
    """One beat: its outline sentence and its text."""

    beat: str
    summary: str
    text: str


class LabelledStory(Model):
    """One story of the sample corpus, as it stands in its files."""

    id: str
    title: str
    premise: str
    characters: list[LabelledCharacter]
    setting: Setting
    genre: str
    tone: str
    arc: Arc
    ending: Ending
    point_of_view: PointOfView
    must_include: list[str]
    theme: str | None = None
    beats: list[LabelledBeat]

    @property
    def text(self) -> str:
        """The whole text: the beats, a blank line between them."""
        return "\n\n".join(b.text for b in self.beats)

    @property
    def outline(self) -> Outline:
        """The outline by which the story would be written."""
        return Outline(beats=[Beat(beat=b.beat, summary=b.summary) for b in self.beats])

    @property
    def passages(self) -> list[Passage]:
        """The text beat by beat."""
        return [Passage(beat=b.beat, text=b.text) for b in self.beats]

    @property
    def brief(self) -> Brief:
        """The brief a reader would have given, premise, title and theme among its wishes."""
        data: dict[str, Any] = self.model_dump(exclude={"id", "beats"})
        return Brief.model_validate(data)


def _split_key(story_id: str) -> str:
    return hashlib.sha256(f"fabula sample {story_id}".encode()).hexdigest()


@cache
def _file(name: str) -> tuple[LabelledStory, ...]:
    raw = lzma.decompress(files("fabula.data").joinpath(name).read_bytes()).decode()
    return tuple(LabelledStory.model_validate(json.loads(line)) for line in raw.split("\n") if line)


def _rows(names: Sequence[str] = FILES) -> Iterator[LabelledStory]:
    return (story for name in names for story in _file(name))


@cache
def _fixed_splits() -> dict[str, Split]:
    text = files("fabula.data").joinpath("splits.json").read_text(encoding="utf-8")
    fixed: dict[str, Split] = json.loads(text)
    return fixed


@cache
def split_of() -> dict[str, Split]:
    """The split of every story, by id: the lowest hashes are the test split, then valid."""
    fixed = _fixed_splits()
    return {story.id: fixed.get(story.id, "train") for story in _rows()}


def propose_splits() -> dict[str, Split]:
    """How `splits.json` was made; of the stories in between, all are for training."""
    ids = sorted((s.id for s in islice(_rows(), FIRST_STORIES)), key=_split_key)
    plain = (s.id for s in _rows() if _PLAIN.match(s.id))
    return {
        **dict.fromkeys(ids[:TEST_STORIES], "test"),
        **dict.fromkeys(ids[TEST_STORIES : TEST_STORIES + VALID_STORIES], "valid"),
        **{i: "valid" for i in plain if int(_split_key(i), 16) % PLAIN_ONE_IN == 0},
    }


def load_sample(split: Split | None = None) -> list[LabelledStory]:
    """The sample corpus, or one split of it, in file order."""
    return list(_iter(split))


def load_annotated() -> list[LabelledStory]:
    """The train split's stories of the first two editions, to which the reading is fitted.

    Their labels were made from the text, with evidence, and have a theme. Later stories carry what
    their writers had set out to write: good for learning to write, less so for learning to read.
    """
    return [story for story in _iter("train", FIRST_FILE) if story.theme is not None]


def load_planned() -> tuple[list[LabelledStory], list[float]]:
    """Stories that carry what their writers set out to write, and how much each counts.

    All of the train split that are not annotated. Simple stories show outright what they were
    written for, and read unlike the others, so they count for SIMPLE_WEIGHT.
    """
    planned = [story for story in load_sample("train") if story.theme is None]
    return planned, [SIMPLE_WEIGHT if _SIMPLE.match(s.id) else 1.0 for s in planned]


def _iter(split: Split | None, names: Sequence[str] = FILES) -> Iterator[LabelledStory]:
    fixed = _fixed_splits()
    names = FIRST_FILE if split == "test" else names
    return (s for s in _rows(names) if split is None or fixed.get(s.id, "train") == split)
