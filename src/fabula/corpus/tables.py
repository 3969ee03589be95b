"""Tables of stories: JSON lines, CSV and Parquet, with a mapping of their columns."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
}
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
    for role, guesses in GUESSES.items():
        if role not in chosen:
            found = next((lower[g] for g in guesses if g in lower), None)
            if found is not None and found not in chosen.values():
                chosen[role] = found
    if "story" not in chosen:
        raise FabulaError(
            f"{where}: which column is the story? The columns are: {there}. "
            "Say it with --columns story=NAME,prompt=NAME,title=NAME."
        )
    return chosen


def fill_row(row: Row, record: dict[str, Any], columns: dict[str, str]) -> None:
    """Put a table's record into a row; a story that is not text is a fault of that row."""
    for role, column in columns.items():
        value = record.get(column)
        if value is None or value == "":
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


def csv_rows(path: Path, mapping: dict[str, str]) -> Iterator[Row]:
    """Rows of a CSV or TSV file with a header line.

    Raises:
        FabulaError: not UTF-8, doubled or missing columns, or quotes that never close.
    """
    csv.field_size_limit(50_000_000)
    with open_bytes(path) as (stream, _):
        head = stream.readline(100_000)
    delimiter = max("\t,;", key=lambda d: head.count(d.encode()))
    reader = csv.reader(_csv_lines(read_lines(path), path), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        if len(set(header)) != len(header):
            twice = next(n for n in header if header.count(n) > 1)
            raise FabulaError(f"{path}, line 1: the column '{twice}' stands twice; rename one.")
        columns = choose_columns(header, mapping, str(path))
        start = reader.line_num + 1
        for cells in reader:
            origin, start = f"{path.name}:{start}", reader.line_num + 1
            if not cells:
                continue
            row = Row(origin=origin)
            if len(cells) != len(header):
                row.reason = "wrong number of cells"
            else:
                fill_row(row, dict(zip(header, cells, strict=True)), columns)
            yield row
    except csv.Error as error:
        raise FabulaError(f"{path}, line {reader.line_num}: {error}; mend the table.") from None


def parquet_rows(path: Path, mapping: dict[str, str]) -> Iterator[Row]:
    """Rows of a Parquet file, read in batches.

    Raises:
        FabulaError: damaged or truncated, or no column for the story.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        columns = choose_columns(file.schema_arrow.names, mapping, str(path))
        number = 0
        for batch in file.iter_batches(batch_size=1024, columns=list(columns.values())):
            for record in batch.to_pylist():
                number += 1
                row = Row(origin=f"{path.name}:{number}", share=number / file.metadata.num_rows)
                fill_row(row, record, columns)
                yield row
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FabulaError(f"{path} is damaged or not Parquet ({reason}); fetch it again.") from None
