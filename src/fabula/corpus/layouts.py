"""Sources in the layouts of this project: the sample, its gold format, and story trees."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from fabula.corpus.source import Row
from fabula.corpus.tables import json_records
from fabula.errors import FabulaError
from fabula.story.sample import LabelledStory, load_sample, split_of
from fabula.story.trees import ARC_TURNS, SUFFIX, held_out, load_tree, tree_paths, walk


def sample_rows() -> Iterator[Row]:
    """The original stories that come with the package, in their fixed splits."""
    splits = split_of()
    for number, story in enumerate(load_sample(), 1):
        yield _gold_row(story, f"sample:{number}", splits[story.id])


def _gold_row(story: LabelledStory, origin: str, split: str | None) -> Row:
    return Row(
        origin=origin,
        id=story.id,
        text=story.text,
        prompt=story.premise,
        title=story.title,
        split=split,
        gold=story.model_dump_json(),
    )


def gold_rows(path: Path) -> Iterator[Row]:
    """Stories in the sample's own format, labels and beats checked and kept."""
    for line, record in json_records(path):
        origin = f"{path.name}:{line.number}"
        if isinstance(record, str):
            yield Row(origin=origin, reason=record)
            continue
        try:
            story = LabelledStory.model_validate(record)
            _ = story.brief, story.outline, story.passages
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the labels"
            yield Row(origin=origin, reason=f"gold labels: {place}: {first['msg'][:80]}")
            continue
        yield _gold_row(story, origin, None)


def tree_files(path: Path) -> list[Path]:
    """The story trees of a folder, or the one that is named.

    Raises:
        FabulaError: the folder has none.
    """
    found = tree_paths(path) if path.is_dir() else [path]
    if not found:
        raise FabulaError(f"{path}: there are no story trees (*{SUFFIX}) in it.")
    return found


def tree_rows(path: Path) -> Iterator[Row]:
    """One walk along each arc of each story tree, labelled by what was asked for.

    Raises:
        FabulaError: a tree is not well formed.
    """
    for file in tree_files(path):
        tree = load_tree(file)
        for arc in ARC_TURNS:
            story = walk(tree, arc, random.Random(f"{tree.name}/{arc}"))
            split = "valid" if held_out(tree) else "train"
            yield _gold_row(story, f"{file.name}: {arc}", split)


def peek_layout(path: Path) -> str:
    """Which kind of JSON lines a file holds: 'gold', 'fairytale' or 'jsonl'."""
    for _, record in json_records(path):
        if isinstance(record, dict):
            if {"beats", "characters", "premise"} <= record.keys():
                return "gold"
            if isinstance(record.get("sections"), list):
                return "fairytale"
            break
    return "jsonl"


def gold_story(text: str) -> LabelledStory:
    """A row's gold labels again."""
    return LabelledStory.model_validate(json.loads(text))
