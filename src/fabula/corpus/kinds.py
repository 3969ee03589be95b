"""Which kind of source a command-line argument names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

from fabula.corpus import fairytale, hub, structured
from fabula.corpus.archives import archive_rows, is_archive
from fabula.corpus.layouts import gold_rows, peek_layout, sample_rows, tree_files, tree_rows
from fabula.corpus.published import wp_files, wp_rows
from fabula.corpus.shards import TABLES, shard_files, shard_rows, table_kind
from fabula.corpus.source import Row, Source
from fabula.corpus.tables import csv_rows, jsonl_rows, parquet_rows, read_csv
from fabula.corpus.textfiles import starts_as_gutenberg, text_files, text_rows
from fabula.errors import FabulaError
from fabula.story import sample
from fabula.story.trees import SUFFIX, own_trees, tree_paths

KINDS = {
    "sample": "the original stories in this package, with gold labels",
    "writingprompts": "a folder or .tar.gz of train|valid|test.wp_source and .wp_target",
    "hub": "a data set of the hub, OWNER/NAME or OWNER/NAME@CONFIG, or saved by save_to_disk",
    "jsonl": "JSON lines, with a column for the story (.gz, .xz and .bz2 too), or a folder of them",
    "csv": "CSV or TSV with a header line, or a folder of them",
    "parquet": "a Parquet file, or a folder of them",
    "text": "a text file, or a folder of .txt files, one story each",
    "gutenberg": "Project Gutenberg's plain text, or a folder of it; collections are cut",
    "rocstories": "ROCStories' CSV: five sentences, one a beat",
    "storycloze": "the Story Cloze Test's CSV: four sentences and the right ending",
    "fairytale": "FairytaleQA: its folder, or JSON lines of title, sections, questions",
    "gold": "JSON lines in the format of our own labelled stories",
    "trees": "'trees', the story trees in this package, or a folder of .tree files",
}
UNKNOWN_LICENCE = "unknown; say it with --licence"
RESEARCH_LICENCE = "research only (text of Reddit's users)"
GUTENBERG_LICENCE = "public domain in the USA, unless the book's header says otherwise"
_SUFFIXES = {".txt": "text", SUFFIX: "trees"}
_WP = re.compile(r"(train|valid|test)\.wp_(source|target)")


def recognise(path: Path) -> str:
    """The kind of a file or folder, by its layout and name.

    Raises:
        FabulaError: there is nothing, or nothing that is known, or several kinds at once.
    """
    if not path.exists():
        raise FabulaError(f"{path}: no such file or folder.")
    if path.is_dir():
        return _recognise_folder(path)
    if is_archive(path):
        return "writingprompts"
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in (".gz", ".xz", ".bz2")]
    kind = table_kind(path) or (_SUFFIXES.get(suffixes[-1]) if suffixes else None)
    if kind is None:
        raise FabulaError(
            f"{path}: what kind of source is it? Write KIND:{path.name}, with one of: "
            f"{', '.join(KINDS)}."
        )
    return _look_inside(path, kind)


def _look_inside(path: Path, kind: str) -> str:
    """Which layout a file has that is named as a table or text."""
    if kind == "jsonl":
        return peek_layout(path)
    if kind == "text" and starts_as_gutenberg(path):
        return "gutenberg"
    if kind == "csv":
        header, _ = read_csv(path)
        if not structured.lacks(header, structured.ROC_COLUMNS):
            return "rocstories"
        if not structured.lacks(header, structured.CLOZE_COLUMNS[:-1]):
            return "storycloze"
    return kind


def _recognise_folder(path: Path) -> str:
    try:
        names = [p.name for p in path.iterdir()]
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
    if any(map(_WP.fullmatch, names)):
        return "writingprompts"
    if {"manifest.json", "train.parquet"} <= set(names):
        raise FabulaError(f"{path} is a corpus already; name what it was prepared from.")
    if tree_paths(path):
        return "trees"
    if hub.is_saved(path):
        return "hub"
    if next(path.rglob(f"*{fairytale.STORY_SUFFIX}"), None) is not None:
        return "fairytale"
    found = {kind: files for kind in TABLES if (files := _try(shard_files, path, kind))}
    if texts := _try(text_files, path):
        found["text"] = texts
    if len(found) > 1:
        raise FabulaError(
            f"{path} holds files of several kinds; write KIND:{path} with one of: "
            f"{', '.join(found)}."
        )
    for kind, files in found.items():
        return _look_inside(files[0], kind)
    return "text"


def _try(find: Callable[..., list[Path]], *arguments: object) -> list[Path]:
    try:
        return find(*arguments)
    except FabulaError:
        return []


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
    if kind is None and not ours:
        kind = recognise(Path(argument))
    if kind == "hub":
        name = _name(Path(argument.replace("@", "-")), None, taken)
        licence = _stated(licences, name) or _hub_licence(argument)
        rows = partial(hub.hub_rows, argument, mapping or {})
        return Source(kind, name, hub.hub_files(argument), licence, rows)
    if ours:
        path = own_trees() if kind == "trees" else Path(str(files("fabula.data")))
    else:
        path = Path(argument)
        if not path.exists():
            raise FabulaError(f"{path}: no such file or folder.")
    assert kind is not None
    name = _name(path, "sample" if kind == "sample" else None, taken)
    licence = _stated(licences, name) or _licence(ours, kind, name)
    return Source(
        kind, name, _files(kind, path), licence, _rows(kind, path, mapping or {}),
        columns=mapping or {},
    )  # fmt: skip


def _stated(licences: dict[str, str] | None, name: str) -> str | None:
    licences = licences or {}
    return licences.get(name) or licences.get("")


def _licence(ours: bool, kind: str, name: str) -> str:
    if ours:
        return "Apache-2.0"
    if kind == "writingprompts" or "writingprompts" in re.sub(r"[\W_]", "", name):
        return RESEARCH_LICENCE
    return GUTENBERG_LICENCE if kind == "gutenberg" else UNKNOWN_LICENCE


def _hub_licence(argument: str) -> str:
    licence = _licence(False, "hub", argument.lower())
    return licence if licence != UNKNOWN_LICENCE else hub.hub_licence(argument) or licence


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
        return wp_files(path) if path.is_dir() else [path]
    if kind == "trees":
        return tree_files(path)
    if kind == "sample":
        return [path / name for name in sample.FILES]
    if kind in TABLES:
        return shard_files(path, kind)
    if kind == "gold":
        return shard_files(path, "jsonl")
    if kind == "fairytale":
        return [*fairytale.tale_files(path), *fairytale.question_files(path)]
    return text_files(path) if kind in ("text", "gutenberg") else [path]


def _rows(kind: str, path: Path, mapping: dict[str, str]) -> Callable[[], Iterator[Row]]:
    if kind == "sample":
        return sample_rows
    if kind in TABLES:
        table = {"jsonl": jsonl_rows, "csv": csv_rows, "parquet": parquet_rows}[kind]
        return partial(shard_rows, path, kind, partial(table, mapping=mapping))
    if kind == "gold":
        return partial(shard_rows, path, "jsonl", gold_rows)
    plain = {
        "writingprompts": wp_rows if path.is_dir() else archive_rows,
        "text": text_rows,
        "gutenberg": text_rows,
        "rocstories": structured.roc_rows,
        "storycloze": structured.cloze_rows,
        "fairytale": fairytale.fairytale_rows,
        "trees": tree_rows,
    }
    return partial(plain[kind], path)
