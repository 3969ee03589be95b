"""What a source is: a kind, a place, a licence, and rows that carry where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from fabula.corpus.schema import RAW
from fabula.errors import FabulaError

BATCH_ROWS = 256


@dataclass(slots=True)
class Row:
    """One story as a source tells it, before any cleaning; see `schema.RAW`."""

    origin: str
    text: str = ""
    id: str = ""
    prompt: str | None = None
    title: str | None = None
    author: str | None = None
    split: str | None = None
    gold: str | None = None
    given: str | None = None
    reason: str | None = None
    published: bool = False
    share: float = 0.0
    """How much of the source was read by then, 0 to 1; for the time left."""


@dataclass
class Source:
    """One source on the command line.

    Attributes:
        kind: one of `kinds.KINDS`.
        name: short name, unique in this corpus; it opens the ids of its stories.
        files: every file it reads, for the manifest's digests.
        licence: what the source may be used for.
        rows: makes the rows anew on each call; raises FabulaError where the file is at fault.
        share: how much of it was read so far, 0 to 1.
        columns: role -> column, where a table's were named.
    """

    kind: str
    name: str
    files: list[Path]
    licence: str
    rows: Callable[[], Iterator[Row]] = field(repr=False)
    share: float = 0.0
    columns: dict[str, str] = field(default_factory=dict)

    @property
    def research_only(self) -> bool:
        """True where the licence says so: nothing trained on it may be shipped."""
        return "research" in self.licence.lower()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow batches of `schema.RAW`.

        Raises:
            FabulaError: the source cannot be read, or has no rows.
        """
        pending: list[Row] = []
        number = 0
        for row in self.rows():
            number += 1
            self.share = row.share
            row.id = f"{self.name}-{row.id or f'{number:06d}'}" if self.kind != "sample" else row.id
            pending.append(row)
            if len(pending) == BATCH_ROWS:
                yield self._batch(pending)
                pending = []
        if pending:
            yield self._batch(pending)
        if not number:
            raise FabulaError(f"{self.place} holds no stories.")

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        return str(self.files[0]) if self.files and self.kind != "hub" else self.name

    @property
    def size(self) -> int:
        """Bytes of its files, as they lie on disk."""
        return sum(file.stat().st_size for file in self.files)

    def file_records(self) -> list[dict[str, Any]]:
        """Name, size and sha256 of each file, for a manifest."""
        return [
            {"name": f.name, "bytes": f.stat().st_size, "sha256": file_digest(f)}
            for f in self.files
        ]

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        try:
            return self._arrow(rows)
        except UnicodeEncodeError:
            # "\\ud800" is fine JSON, but no text.
            for row in rows:
                for name in _TEXTS:
                    value = getattr(row, name)
                    if value is not None and not _is_text(value):
                        setattr(row, name, None if name not in ("id", "text") else "")
                        row.reason = row.reason or "half a character (lone surrogate) in the text"
                row.id = row.id or f"{self.name}-at-{row.origin}"
            return self._arrow(rows)

    def _arrow(self, rows: list[Row]) -> pa.RecordBatch:
        columns = {
            name: [getattr(row, name) for row in rows]
            for name in RAW.names
            if name not in ("source", "licence")
        }
        columns["source"] = [self.name] * len(rows)
        columns["licence"] = [self.licence] * len(rows)
        return pa.RecordBatch.from_pydict(columns, schema=RAW)


_TEXTS = ("id", "text", "prompt", "title", "author", "gold", "given", "origin")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def file_digest(path: Path) -> str:
    """Sha256 of a file, hex.

    Raises:
        FabulaError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
