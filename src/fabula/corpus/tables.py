"""Tables of stories: JSON lines, CSV and Parquet, with a mapping of their columns."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fabula.corpus.given import Given, join_beats
from fabula.corpus.lines import Line, open_bytes, read_lines
from fabula.corpus.source import Row
from fabula.errors import FabulaError

# What people call these columns, best guess first.
GUESSES = {
    "story": ("story", "text", "completion", "response", "body", "content", "output"),
    "prompt": ("prompt", "premise", "writing_prompt", "instruction", "question", "wp_source"),
    "title": ("title", "storytitle", "story_title", "name"),
    "author": ("author", "writer"),
    "id": ("id", "storyid", "story_id"),
    "split": ("split",),
    # A story told in five sentences, as in ROCStories (Mostafazadeh et al. 2016).
    **{f"beat{n}": (f"sentence{n}", f"beat{n}") for n in range(1, 6)},
}
_BEATS = [f"beat{n}" for n in range(1, 6)]
PREPARED = frozenset({"brief", "premise", "completion", "text"})
"""Columns by which a prepared corpus is known."""
SPLIT_NAMES = {"validation": "valid", "dev": "valid", "val": "valid"}


def parse_mapping(text: str) -> dict[str, str]:
    """``prompt=q,story=a`` as a dict.

    Raises:
        FabulaError: not of that form, or a left side that is no role.
    """
    mapping: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        role, equals, column = (part.strip() for part in item.partition("="))
        if not equals or not column:
            raise FabulaError(f"--columns: '{item}' is not role=column, such as story=text.")
        role = {"text": "story", "premise": "prompt"}.get(role, role)
        if role not in GUESSES:
            near = difflib.get_close_matches(role, GUESSES, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise FabulaError(
                f"--columns: '{role}' is not a role; {hint}It is one of: {', '.join(GUESSES)}."
            )
        mapping[role] = column
    return mapping


def choose_columns(names: list[str], mapping: dict[str, str], where: str) -> dict[str, str]:
    """Which column plays which role: as mapped, else by its name.

    Raises:
        FabulaError: a mapped column is not there, or no column can be the story.
    """
    there = ", ".join(f"'{n}'" for n in names) or "none"
    for role, column in mapping.items():
        if column not in names:
            near = difflib.get_close_matches(column, names, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise FabulaError(
                f"{where}: no column '{column}' for the {role}; {hint}The columns are: {there}."
            )
    lower = {n.lower(): n for n in reversed(names)}
    chosen = dict(mapping)
    if set(names) >= PREPARED:
        # A corpus of our own, whose "prompt" is a whole brief.
        chosen.setdefault("prompt", "premise")
    for role, guesses in GUESSES.items():
        if role not in chosen:
            found = next((lower[g] for g in guesses if g in lower), None)
            if found is not None and found not in chosen.values():
                chosen[role] = found
    beats = [role for role in _BEATS if role in chosen]
    if "story" in chosen or len(beats) < len(_BEATS):
        chosen = {role: column for role, column in chosen.items() if role not in beats}
    if "story" not in chosen and len(beats) < len(_BEATS):
        raise FabulaError(
            f"{where}: which column is the story? The columns are: {there}. "
            "Say it with --columns story=NAME,prompt=NAME,title=NAME."
        )
    return chosen


def fill_row(row: Row, record: dict[str, Any], columns: dict[str, str]) -> None:
    """Put a table's record into a row; a story that is not text is a fault of that row.

    Args:
        row: to be filled.
        record: a value for each column.
        columns: role -> column, of `choose_columns`.
    """
    if _BEATS[0] in columns:
        fill_beats(row, {columns[role]: record.get(columns[role]) for role in _BEATS})
    for role, column in columns.items():
        value = record.get(column)
        if value is None or value == "" or role in _BEATS:
            continue
        if role == "id":
            row.id = str(value)
        elif not isinstance(value, str):
            if role == "story":
                row.reason = "story is not text"
        elif role == "story":
            row.text = value
        elif role == "split":
            name = SPLIT_NAMES.get(value.lower(), value.lower())
            row.split = name if name in ("train", "valid", "test") else None
        else:
            setattr(row, role, value)


def fill_beats(row: Row, beats: dict[str, Any]) -> None:
    """Make a story of its five beats.

    Args:
        row: to be filled.
        beats: column -> the text of a beat, in order.
    """
    for column, beat in beats.items():
        if beat is not None and not isinstance(beat, str):
            row.reason = f"{column} is not text"
            return
        if not beat or not beat.strip():
            row.reason = f"{column} is empty"
            return
    row.text, cuts = join_beats([" ".join(beat.split()) for beat in beats.values()])
    row.given = Given(cuts).dump()


def parse_json(line: Line) -> dict[str, Any] | str:
    """The object on a line, or what is wrong with it."""
    if line.fault:
        return line.fault
    try:
        value = json.loads(line.text)
    except (ValueError, RecursionError):
        return "line is not JSON"
    return value if isinstance(value, dict) else "line is not a JSON object"


def json_records(path: Path) -> Iterator[tuple[Line, dict[str, Any] | str]]:
    """Each line that is not blank, and its object (or fault).

    Raises:
        FabulaError: the file starts as one JSON array, or its first line is no object.
    """
    first = True
    for line in read_lines(path):
        if not line.fault and not line.text.strip():
            continue
        record = parse_json(line)
        if first and isinstance(record, str) and not line.fault:
            if line.text.lstrip().startswith("["):
                raise FabulaError(
                    f"{path}, line {line.number}: a JSON array; write one object a line instead."
                )
            if line.text.strip() != "{":
                raise FabulaError(
                    f"{path}, line {line.number}: {record}; one JSON object a line is needed."
                )
            raise FabulaError(
                f"{path}: an object over several lines; write each object on one line instead."
            )
        first = False
        yield line, record


def jsonl_rows(path: Path, mapping: dict[str, str]) -> Iterator[Row]:
    """Rows of a file of JSON lines."""
    columns: dict[str, str] | None = None
    for line, record in json_records(path):
        row = Row(origin=f"{path.name}:{line.number}")
        if isinstance(record, str):
            row.reason = record
        else:
            columns = columns or choose_columns(list(record), mapping, str(path))
            fill_row(row, record, columns)
        row.share = line.share
        yield row


def _csv_lines(lines: Iterable[Line], path: Path) -> Iterator[str]:
    for line in lines:
        if line.fault:
            # A quoted cell may span lines, so a bad line cannot be skipped alone.
            raise FabulaError(
                f"{path}, line {line.number}: {line.fault}; save the table as clean UTF-8."
            )
        yield line.text + "\n"


CsvRecord = tuple[int, dict[str, str] | str]


def read_csv(path: Path) -> tuple[list[str], Iterator[CsvRecord]]:
    """The columns of a CSV or TSV file, and its rows.

    Returns:
        The header, and for each row its line and either its cells by column or its fault. They
        raise FabulaError where the file is not UTF-8 or quotes never close.

    Raises:
        FabulaError: no header, or a column that stands twice.
    """
    csv.field_size_limit(50_000_000)
    with open_bytes(path) as (stream, _):
        head = stream.readline(100_000)
    delimiter = max("\t,;", key=lambda d: head.count(d.encode()))
    reader = csv.reader(_csv_lines(read_lines(path), path), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
    except csv.Error as error:
        raise FabulaError(f"{path}, line {reader.line_num}: {error}; mend the table.") from None
    _refuse_twice(header, f"{path}, line 1")
    return header, _csv_records(path, reader, header)


def _refuse_twice(header: list[str], where: str) -> None:
    if len(set(header)) != len(header):
        twice = next(n for n in header if header.count(n) > 1)
        raise FabulaError(f"{where}: the column '{twice}' stands twice; rename one.")


def _csv_records(path: Path, reader: Any, header: list[str]) -> Iterator[CsvRecord]:
    start = reader.line_num + 1
    try:
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(header):
                yield line, "wrong number of cells"
            else:
                yield line, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise FabulaError(f"{path}, line {reader.line_num}: {error}; mend the table.") from None


def csv_rows(path: Path, mapping: dict[str, str]) -> Iterator[Row]:
    """Rows of a CSV or TSV file with a header line.

    Raises:
        FabulaError: not UTF-8, doubled or missing columns, or quotes that never close.
    """
    header, records = read_csv(path)
    columns = choose_columns(header, mapping, str(path))
    for line, record in records:
        row = Row(origin=f"{path.name}:{line}")
        if isinstance(record, str):
            row.reason = record
        else:
            fill_row(row, record, columns)
        yield row


def parquet_rows(path: Path, mapping: dict[str, str]) -> Iterator[Row]:
    """Rows of a Parquet file, read in batches.

    Raises:
        FabulaError: damaged or truncated, or no column for the story.
    """
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        _refuse_twice(names, str(path))
        columns = choose_columns(names, mapping, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=list(columns.values())):
            for record in batch_records(batch):
                number += 1
                row = Row(origin=f"{path.name}:{number}", share=number / file.metadata.num_rows)
                if isinstance(record, str):
                    row.reason = record
                else:
                    fill_row(row, record, columns)
                yield row
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FabulaError(f"{path} is damaged or not Parquet ({reason}); fetch it again.") from None


def batch_records(batch: pa.RecordBatch) -> Iterator[dict[str, Any] | str]:
    """The rows of an Arrow batch as dicts; a row whose text is not UTF-8 as its fault."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for number in range(batch.num_rows):
            try:
                yield from batch.slice(number, 1).to_pylist()
            except UnicodeDecodeError:
                yield "text is not UTF-8"
