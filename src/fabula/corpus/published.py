"""WritingPrompts as its authors publish it: train|valid|test.wp_source and .wp_target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fabula.corpus.lines import Line, count_lines, open_bytes, read_lines
from fabula.corpus.schema import SPLITS
from fabula.corpus.source import Row
from fabula.errors import FabulaError


def wp_files(folder: Path) -> list[Path]:
    """The files of the layout that are there, source before target, split by split.

    Raises:
        FabulaError: none, or one half of a pair is missing.
    """
    files: list[Path] = []
    for split in SPLITS:
        pair = [folder / f"{split}.wp_{half}" for half in ("source", "target")]
        present = [p.is_file() for p in pair]
        if all(present):
            files += pair
        elif any(present):
            missing, other = pair if present[1] else pair[::-1]
            raise FabulaError(f"{missing} is missing, though {other.name} is there.")
    if not files:
        raise FabulaError(
            f"{folder} has no train, valid or test.wp_source and .wp_target; "
            "is it the WritingPrompts folder?"
        )
    return files


def wp_row(split: str, place: str, prompt: Line, story: Line, share: float) -> Row:
    """The row of a prompt and its story.

    Args:
        split: their split.
        place: the file of the story.
        prompt, story: the same line of two files.
        share: how much of all splits was read by then.
    """
    return Row(
        origin=f"{place}:{story.number}",
        id=f"{split}-{story.number:06d}",
        text=story.text,
        prompt=prompt.text,
        split=split,
        reason=story.fault or (prompt.fault and f"prompt: {prompt.fault}"),
        published=True,
        share=share,
    )


def _count(path: Path) -> int:
    with open_bytes(path) as (stream, _):
        return count_lines(stream)


def wp_rows(folder: Path) -> Iterator[Row]:
    """Prompt and story, line by line.

    Raises:
        FabulaError: the two files of a split have different numbers of lines.
    """
    files = wp_files(folder)
    pairs = list(zip(files[::2], files[1::2], strict=True))
    for source, target in pairs:
        counts = [_count(path) for path in (source, target)]
        if counts[0] != counts[1]:
            raise FabulaError(
                f"{source} has {counts[0]:,} lines and {target.name} has {counts[1]:,}; each "
                "prompt needs its story on the same line, so fetch the two files again."
            )
    for number, (source, target) in enumerate(pairs):
        split = source.stem
        for prompt, story in zip(read_lines(source), read_lines(target), strict=True):
            yield wp_row(split, target.name, prompt, story, (number + story.share) / len(pairs))
