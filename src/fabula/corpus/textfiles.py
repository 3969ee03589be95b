"""Text files: one story each, or the stories of a Project Gutenberg collection."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from fabula.corpus.gutenberg import is_gutenberg, read_header, stories_of
from fabula.corpus.lines import read_lines
from fabula.corpus.source import Row
from fabula.errors import FabulaError

_LATIN = {
    "iso-8859-1": "latin-1", "iso8859-1": "latin-1", "iso latin-1": "latin-1",
    "iso-latin-1": "latin-1", "latin-1": "latin-1", "latin1": "latin-1",
    "windows-1252": "cp1252", "cp-1252": "cp1252", "cp1252": "cp1252",
}  # fmt: skip
"""Encodings that Project Gutenberg's older headers name."""

_OPENING = re.compile(r"(?i)project gutenberg(?:'s)? (?:e-?text|e-?book)")
_PEEK_LINES = 60


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
    """One story a file, whose name is its title; a Project Gutenberg collection is cut.

    A file that is faulty is one faulty row.
    """
    files = text_files(path)
    for number, file in enumerate(files):
        place = file.relative_to(path).as_posix() if path.is_dir() else file.name
        row = Row(
            origin=f"{place}:1",
            id=place.removesuffix(".txt"),
            title=file.stem.replace("_", " ").strip() or None,
            share=number / len(files),
        )
        try:
            row.text = _read(file, place, row)
        except FabulaError:
            if len(files) == 1:
                raise
            row.reason = "file is empty, binary or cannot be read"
        if row.reason is None and is_gutenberg(row.text):
            yield from _gutenberg_rows(row, place)
        else:
            yield row


def _read(file: Path, place: str, row: Row, encoding: str = "utf-8") -> str:
    lines: list[str] = []
    for line in read_lines(file, encoding):
        if line.fault:
            said = read_header("\n".join(lines)).encoding or ""
            other = _LATIN.get(said.lower())
            if encoding == "utf-8" and other is not None and "UTF-8" in line.fault:
                return _read(file, place, row, other)
            row.origin, row.reason = f"{place}:{line.number}", line.fault
            break
        lines.append(line.text)
    return "\n".join(lines)


def _gutenberg_rows(row: Row, place: str) -> Iterator[Row]:
    stories = stories_of(row.text)
    if len(stories) == 1:
        # Cleaning takes the header off, and counts it.
        story = stories[0]
        row.title, row.author = story.title or row.title, story.author
        yield row
        return
    for number, story in enumerate(stories, 1):
        yield Row(
            origin=f"{place}:{story.line}",
            id=f"{row.id}-{number:03d}",
            text=story.text,
            title=story.title,
            author=story.author,
            share=row.share,
        )


def starts_as_gutenberg(file: Path) -> bool:
    """Whether a text file begins as Project Gutenberg's do."""
    lines: list[str] = []
    try:
        for line in read_lines(file, "latin-1"):
            lines.append(line.text)
            if line.number == _PEEK_LINES:
                break
    except FabulaError:
        return False
    return _OPENING.search("\n".join(lines)) is not None
