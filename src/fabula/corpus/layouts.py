"""Sources with a layout of their own: our gold format, FairytaleQA, folders of text, the sample."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from fabula.corpus.lines import read_lines
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


def fairytale_rows(path: Path) -> Iterator[Row]:
    """Tales in FairytaleQA's layout: a title, sections, and questions with answers."""
    for line, record in json_records(path):
        row = Row(origin=f"{path.name}:{line.number}", share=line.share)
        if isinstance(record, str):
            row.reason = record
        else:
            sections, title = record.get("sections"), record.get("title")
            row.title = title if isinstance(title, str) else None
            if isinstance(sections, list) and all(isinstance(s, str) for s in sections):
                row.text = "\n\n".join(sections)
            else:
                row.reason = "sections are not a list of texts"
        yield row


def text_files(path: Path) -> list[Path]:
    """A text file, or all .txt files under a folder, in the order of their names.

    Raises:
        FabulaError: the folder has none, or cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        files = sorted(p for p in path.rglob("*.txt") if p.is_file())
        # rglob passes over folders that it may not enter.
        next(path.iterdir(), None)
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
    if not files:
        raise FabulaError(f"{path} is a folder without .txt files; name the files or their kind.")
    return files


def text_rows(path: Path) -> Iterator[Row]:
    """One story a file; its name is its title. A file that is faulty is one faulty row."""
    files = text_files(path)
    for number, file in enumerate(files):
        place = file.relative_to(path).as_posix() if path.is_dir() else file.name
        title = file.stem.replace("_", " ").strip()
        row = Row(origin=f"{place}:1", id=place.removesuffix(".txt"), title=title or None)
        row.share = number / len(files)
        lines: list[str] = []
        try:
            for line in read_lines(file):
                if line.fault:
                    row.origin, row.reason = f"{place}:{line.number}", line.fault
                    break
                lines.append(line.text)
        except FabulaError:
            if len(files) == 1:
                raise
            row.reason = "file is empty, binary or cannot be read"
        row.text = "\n".join(lines)
        yield row


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
