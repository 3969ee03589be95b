"""Tables in many files: a folder of Parquet, JSON lines or CSV shards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from fabula.corpus.source import Row
from fabula.corpus.tables import SPLIT_NAMES
from fabula.errors import FabulaError

TABLES = {
    "parquet": (".parquet",),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "csv": (".csv", ".tsv"),
}
PACKED = (".gz", ".xz", ".bz2")
_SPLIT = re.compile(r"(train|valid|validation|val|dev|test)(?![a-z0-9])", re.I)


def table_kind(path: Path) -> str | None:
    """Which kind of table a file's name says it is."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return next((kind for kind, ends in TABLES.items() if last in ends), None)


def shard_files(path: Path, kind: str) -> list[Path]:
    """The table that is named, or all of a kind under a folder, in the order of their names.

    Files and folders whose names begin with a dot or an underscore are not looked at: programs
    that write shards leave their own notes there.

    Raises:
        FabulaError: the folder has none, or cannot be read.
    """
    if not path.is_dir():
        return [path]
    try:
        found = sorted(p for p in path.rglob("*") if table_kind(p) == kind and _ours(p, path))
        next(path.iterdir(), None)
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
    if not found:
        raise FabulaError(
            f"{path} is a folder without {' or '.join(TABLES[kind])} files; name the files or "
            "their kind."
        )
    return found


def _ours(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    return path.is_file() and not any(part.startswith((".", "_")) for part in parts)


def shard_rows(path: Path, kind: str, rows: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a table, or of all shards of a folder.

    A shard named for a split ("train-00000-of-00002.parquet"), or in a folder that is, gives it
    to its rows, where they have none of their own.

    Args:
        path: the file or folder.
        kind: of the table.
        rows: reads one file.
    """
    if not path.is_dir():
        yield from rows(path)
        return
    files = shard_files(path, kind)
    for number, file in enumerate(files):
        place = file.relative_to(path)
        split = _split_of(place)
        for row in rows(file):
            row.origin = place.as_posix() + row.origin[len(file.name) :]
            row.share = (number + row.share) / len(files)
            keep_split(row, row.split or split)
            yield row


def _split_of(place: Path) -> str | None:
    for part in reversed(place.parts):
        if match := _SPLIT.match(part):
            return SPLIT_NAMES.get(match[1].lower(), match[1].lower())
    return None


def keep_split(row: Row, split: str | None) -> None:
    """Give a row its split; ids that are counted anew in each split stay apart."""
    row.split = split
    if row.id and split is not None:
        row.id = f"{split}-{row.id}"
