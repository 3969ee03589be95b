"""Which kind of source a command-line argument names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

from fabula.corpus.layouts import (
    fairytale_rows,
    gold_rows,
    peek_layout,
    sample_rows,
    text_files,
    text_rows,
    tree_files,
    tree_rows,
)
from fabula.corpus.published import wp_files, wp_rows
from fabula.corpus.source import Row, Source
from fabula.corpus.tables import csv_rows, jsonl_rows, parquet_rows
from fabula.errors import FabulaError
from fabula.story import sample
from fabula.story.trees import SUFFIX, own_trees, tree_paths

KINDS = {
    "sample": "the original stories in this package, with gold labels",
    "writingprompts": "a folder of train|valid|test.wp_source and .wp_target",
    "jsonl": "JSON lines, with a column for the story (.gz, .xz and .bz2 too)",
    "csv": "CSV or TSV with a header line",
    "parquet": "a Parquet file",
    "text": "a text file, or a folder of .txt files, one story each",
    "fairytale": "JSON lines in FairytaleQA's layout: title, sections, questions",
    "gold": "JSON lines in the format of our own labelled stories",
    "trees": "'trees', the story trees in this package, or a folder of .tree files",
}
UNKNOWN_LICENCE = "unknown; say it with --licence"
RESEARCH_LICENCE = "research only (text of Reddit's users)"
_SUFFIXES = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv",
    ".parquet": "parquet", ".txt": "text", SUFFIX: "trees",
}  # fmt: skip


def recognise(path: Path) -> str:
    """The kind of a file or folder, by its layout and name.

    Raises:
        FabulaError: there is nothing, or nothing that is known.
    """
    if not path.exists():
        raise FabulaError(f"{path}: no such file or folder.")
    if path.is_dir():
        try:
            names = [p.name for p in path.iterdir()]
        except OSError as error:
            raise FabulaError(f"{path}: {error.strerror or error}.") from None
        if any(re.fullmatch(r"(train|valid|test)\.wp_(source|target)", n) for n in names):
            return "writingprompts"
        if tree_paths(path):
            return "trees"
        return "text"
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz", ".xz", ".bz2")]
    kind = _SUFFIXES.get(suffixes[-1]) if suffixes else None
    if kind is None:
        raise FabulaError(
            f"{path}: what kind of source is it? Write KIND:{path.name}, with one of: "
            f"{', '.join(KINDS)}."
        )
    return peek_layout(path) if kind == "jsonl" else kind


def open_source(
    argument: str,
    taken: set[str],
    *,
    kind: str | None = None,
    mapping: dict[str, str] | None = None,
    licences: dict[str, str] | None = None,
) -> Source:
    """A source from the command line: ``sample``, ``trees``, ``PATH`` or ``KIND:PATH``.

    Args:
        argument: what was typed.
        taken: names of the sources so far; the new one's is added.
        kind: its kind, where no prefix says it.
        mapping: role -> column, for tables.
        licences: licence by source name; the key "" is for all others.

    Raises:
        FabulaError: no such kind, file or layout.
    """
    head, colon, rest = argument.partition(":")
    if colon and head in KINDS:
        kind, argument = head, rest
    elif argument in ("sample", "trees") and kind is None:
        kind = argument
    elif colon and not Path(argument).exists() and re.fullmatch(r"[a-z]{3,}", head):
        near = difflib.get_close_matches(head, KINDS, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise FabulaError(
            f"'{head}' is not a kind of source; {hint}It is one of: {', '.join(KINDS)}."
        )
    if kind is not None and kind not in KINDS:
        raise FabulaError(f"'{kind}' is not a kind of source; it is one of: {', '.join(KINDS)}.")
    ours = kind == "sample" or (kind == "trees" and argument == "trees")
    if ours:
        path = own_trees() if kind == "trees" else Path(str(files("fabula.data")))
    else:
        path = Path(argument)
        if kind is None:
            kind = recognise(path)
        elif not path.exists():
            raise FabulaError(f"{path}: no such file or folder.")
    assert kind is not None
    name = _name(path, "sample" if kind == "sample" else None, taken)
    licences = licences or {}
    licence = licences.get(name) or licences.get("") or _licence(ours, kind, name)
    return Source(
        kind, name, _files(kind, path), licence, _rows(kind, path, mapping or {}),
        columns=mapping or {},
    )  # fmt: skip


def _licence(ours: bool, kind: str, name: str) -> str:
    if ours:
        return "Apache-2.0"
    if kind == "writingprompts" or "writingprompts" in name:
        return RESEARCH_LICENCE
    return UNKNOWN_LICENCE


def _name(path: Path, given: str | None, taken: set[str]) -> str:
    stem = given or re.sub(r"(\.[a-z0-9]{2,7}){1,2}$", "", path.resolve().name, flags=re.I)
    stem = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "source"
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _files(kind: str, path: Path) -> list[Path]:
    if kind == "writingprompts":
        return wp_files(path)
    if kind == "trees":
        return tree_files(path)
    if kind == "sample":
        return [path / name for name in sample.FILES]
    return text_files(path) if kind == "text" else [path]


def _rows(kind: str, path: Path, mapping: dict[str, str]) -> Callable[[], Iterator[Row]]:
    if kind == "sample":
        return sample_rows
    if kind in ("jsonl", "csv", "parquet"):
        table = {"jsonl": jsonl_rows, "csv": csv_rows, "parquet": parquet_rows}[kind]
        return partial(table, path, mapping)
    plain = {
        "writingprompts": wp_rows,
        "text": text_rows,
        "fairytale": fairytale_rows,
        "gold": gold_rows,
        "trees": tree_rows,
    }
    return partial(plain[kind], path)
