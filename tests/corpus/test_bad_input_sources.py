"""Bad input of the sources: tables, shards, saved data sets, structured narratives, books."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sources import (
    CLOZE,
    QUESTIONS,
    ROC,
    cloze,
    collection,
    fairytale_folder,
    gutenberg,
    roc,
    table,
)
from made_stories import story

from fabula.corpus import open_source
from fabula.corpus.gutenberg import stories_of
from fabula.errors import FabulaError

Preparer = Callable[..., dict[str, Any]]
Files = dict[str, bytes]


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


def latin_parquet() -> bytes:
    raw = pa.array([story(n).encode() for n in range(20)] + [b"caf\xe9"])
    text = pa.StringArray.from_buffers(len(raw), raw.buffers()[1], raw.buffers()[2])
    return parquet(text=text)


def twice_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], ["text", "text"]), sink)
    return bytes(sink.getvalue().to_pybytes())


def lines(count: int, *more: bytes) -> bytes:
    good = [json.dumps({"text": story(n)}).encode() for n in range(count)]
    return b"".join(line + b"\n" for line in [*good, *more])


STATE = b'{"_data_files": [{"filename": "data.arrow"}], "_fingerprint": "x", "_format_type": null}'
STORY = "t/section-stories/train/kite-story.csv"
ASKED = "t/questions/train/kite-questions.csv"
TALE = table(["section", "text"], [[n, story(n)] for n in range(1, 7)])

# The files, what is named on the command line, and what the one sentence must say.
REFUSED: dict[str, tuple[Files, str, list[str]]] = {
    "a sentence column is missing": (
        {"roc.csv": table(ROC[:-1], [r[:-1] for r in roc(3)])},
        "rocstories:roc.csv",
        ["roc.csv, line 1", "no column 'sentence5'", "ROCStories"],
    ),
    "no sentence columns, kind not said": (
        {"roc.csv": table(ROC[:-1], [r[:-1] for r in roc(3)])},
        "roc.csv",
        ["roc.csv", "which column is the story", "'sentence4'"],
    ),
    "ROCStories without rows": ({"roc.csv": table(ROC, [])}, "roc.csv", ["holds no stories"]),
    "ROCStories not UTF-8": (
        {"roc.csv": table(ROC, roc(3)) + b"caf\xe9,b,c,d,e,f,g\r\n"},
        "roc.csv",
        ["roc.csv, line 5", "not UTF-8"],
    ),
    "ROCStories with a NUL": (
        {"roc.csv": table(ROC, roc(3)) + b"a,b\0,c,d,e,f,g\r\n"},
        "roc.csv",
        ["roc.csv, line 5", "NUL"],
    ),
    "ROCStories with an open quote": (
        {"roc.csv": table(ROC, roc(3)) + b'a,"b,c,d,e,f,g\r\n'},
        "roc.csv",
        ["roc.csv, line 5", "unexpected end"],
    ),
    "a column twice": (
        {"roc.csv": table([*ROC, "storyid"], [[*r, "x"] for r in roc(2)])},
        "roc.csv",
        ["roc.csv, line 1", "'storyid' stands twice"],
    ),
    "half of the rows lack a sentence": (
        {"roc.csv": table(ROC, [*roc(6), *([*r[:-1], ""] for r in roc(6))])},
        "roc.csv",
        ["6 of the 12 rows", "sentence5 is empty", "roc.csv:8"],
    ),
    "the blind Story Cloze Test": (
        {"cloze.csv": table(CLOZE[:-1], [r[:-1] for r in cloze(3)])},
        "cloze.csv",
        ["cloze.csv, line 1", "AnswerRightEnding", "set that has its answers"],
    ),
    "Story Cloze without an ending": (
        {"cloze.csv": table(CLOZE[:5], [r[:5] for r in cloze(3)])},
        "storycloze:cloze.csv",
        ["cloze.csv, line 1", "'RandomFifthSentenceQuiz1'"],
    ),
    "an empty table said to be Story Cloze": (
        {"cloze.csv": b""},
        "storycloze:cloze.csv",
        ["cloze.csv is empty"],
    ),
    "a folder without tales": ({"t/a.csv": b"a\n1\n"}, "fairytale:t", ["*-story.csv"]),
    "tales in sentences alone": (
        {"t/sentence-stories/a-story.csv": table(["sentence", "text"], [[1, "One."]])},
        "t",
        ["a-story.csv, line 1", "no column 'section'"],
    ),
    "tales without text": (
        {STORY: table(["section", "story"], [[1, "One."]])},
        "t",
        ["kite-story.csv, line 1", "no column 'text'"],
    ),
    "an empty tale": ({STORY: b""}, "t", ["kite-story.csv is empty"]),
    "a tale that is not UTF-8": (
        {STORY: TALE + b"7,caf\xe9\r\n"},
        "t",
        ["kite-story.csv, line", "not UTF-8"],
    ),
    "questions without answers": (
        {STORY: TALE, ASKED: table(QUESTIONS[:6], [[1, "local", 1, "character", "", "Who?"]])},
        "t",
        ["kite-questions.csv, line 1", "no column 'answer1'"],
    ),
    "questions with an open quote": (
        {STORY: TALE, ASKED: table(QUESTIONS, []) + b'1,local,1,"character\r\n'},
        "t",
        ["kite-questions.csv, line 2", "unexpected end"],
    ),
    "an empty file of questions": (
        {STORY: TALE, ASKED: b""},
        "t",
        ["kite-questions.csv is empty"],
    ),
    "shards and texts": (
        {"t/a.parquet": parquet(text=["x"]), "t/b.txt": b"Once."},
        "t",
        ["several kinds", "parquet, text"],
    ),
    "shards of two kinds": (
        {"t/a.parquet": parquet(text=["x"]), "t/b.jsonl": lines(1)},
        "t",
        ["several kinds", "parquet, jsonl"],
    ),
    "no shards of the kind that is said": (
        {"t/b.jsonl": lines(1)},
        "parquet:t",
        ["folder without .parquet files"],
    ),
    "a truncated shard": (
        {"t/a.parquet": parquet(text=["x"]), "t/b.parquet": parquet(text=["x"])[:-9]},
        "t",
        ["b.parquet", "damaged or not Parquet"],
    ),
    "a shard with other columns": (
        {"t/a.parquet": parquet(text=["x"]), "t/b.parquet": parquet(a=["x"])},
        "t",
        ["b.parquet", "which column is the story", "'a'"],
    ),
    "an empty shard of lines": (
        {"t/a.jsonl": lines(1), "t/b.jsonl": b""},
        "t",
        ["b.jsonl is empty"],
    ),
    "a Parquet column twice": (
        {"a.parquet": twice_parquet()},
        "a.parquet",
        ["a.parquet", "'text' stands twice"],
    ),
    "a corpus": (
        {"t/manifest.json": b"{}", "t/train.parquet": parquet(text=["x"])},
        "t",
        ["is a corpus already"],
    ),
    "a folder that save_to_disk did not write": ({"t/a.txt": b"x"}, "hub:t", ["save_to_disk"]),
    "no id of the hub": ({}, "hub:kites", ["hub:kites", "OWNER/NAME"]),
    "an id with too many parts": ({}, "hub:a/b/c", ["hub:a/b/c", "OWNER/NAME"]),
    "an empty id": ({}, "hub:", ["OWNER/NAME"]),
    "a saved data set without its data": (
        {"t/state.json": STATE, "t/dataset_info.json": b"{}"},
        "t",
        ["is damaged", "save it again"],
    ),
    "a saved data set whose notes are cut": (
        {"t/state.json": b"{", "t/dataset_info.json": b"{}"},
        "hub:t",
        ["is damaged", "save it again"],
    ),
    "a saved data set of splits that are gone": (
        {"t/dataset_dict.json": b'{"splits": ["train"]}'},
        "t",
        ["is damaged", "save it again"],
    ),
    "a saved data set whose Arrow file is damaged": (
        {"t/state.json": STATE, "t/dataset_info.json": b"{}", "t/data.arrow": b"x" * 99},
        "t",
        ["is damaged", "save it again"],
    ),
    "a book of nothing": (
        {"a.txt": gutenberg("").encode()},
        "gutenberg:a.txt",
        ["No story is left", "text is empty", "a.txt:1"],
    ),
    "a lone surrogate in most lines": (
        {"a.jsonl": b'{"text": "\\ud800"}\n' * 8},
        "a.jsonl",
        ["8 of the 8 rows", "half a character", "a.jsonl:1"],
    ),
    "mapped beats that are not there": (
        {"a.csv": table(["a", "b"], [["x", "y"]])},
        "a.csv",
        ["which column is the story"],
    ),
}


def lay(folder: Path, files: Files) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("case", REFUSED)
def test_refused(
    tmp_path: Path, prep: Preparer, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, argument, says = REFUSED[case]
    lay(tmp_path, files)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FabulaError) as refusal:
        prep(argument)
    message = str(refusal.value)
    assert all(part in message for part in says), message
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert sorted(tmp_path.rglob("*")) == before


# Among good ones: the files, the argument, the reason, and where it is.
SKIPPED: dict[str, tuple[Files, str, str, str]] = {
    "a sentence is missing": (
        {"roc.csv": table(ROC, [*roc(20), ["x", "T", "One.", "Two.", "", "Four.", "Five."]])},
        "roc.csv",
        "sentence3 is empty",
        "roc.csv:22",
    ),
    "a sentence is blank": (
        {"roc.csv": table(ROC, [*roc(20), ["x", "T", "One.", "Two.", " ", "Four.", "Five."]])},
        "roc.csv",
        "sentence3 is empty",
        "roc.csv:22",
    ),
    "a row is short": (
        {"roc.csv": table(ROC, [*roc(20), ["x", "T", "One."]])},
        "roc.csv",
        "wrong number of cells",
        "roc.csv:22",
    ),
    "a story id is there twice": (
        {"roc.csv": table(ROC, [*roc(20), ["id-3", *roc(30)[29][1:]]])},
        "roc.csv",
        "duplicate id",
        "roc.csv:22",
    ),
    "the right ending is none": (
        {"cloze.csv": table(CLOZE, [*cloze(20), [*cloze(21)[20][:-1], "3"]])},
        "cloze.csv",
        "AnswerRightEnding is neither 1 nor 2",
        "cloze.csv:22",
    ),
    "a sentence is a removed post": (
        {"roc.csv": table(ROC, [*roc(20), ["x", "T", *roc(30)[29][2:6], "[removed]"]])},
        "roc.csv",
        "post was removed or deleted",
        "roc.csv:22",
    ),
    "a beat is a number": (
        {
            "a.jsonl": b"".join(
                json.dumps({f"sentence{n + 1}": s for n, s in enumerate(r[2:])}).encode() + b"\n"
                for r in [*roc(20), ["x", "T", "One.", 2, "Three.", "Four.", "Five."]]
            )
        },
        "a.jsonl",
        "sentence2 is not text",
        "a.jsonl:21",
    ),
    "Parquet that is not UTF-8": (
        {"a.parquet": latin_parquet()},
        "a.parquet",
        "text is not UTF-8",
        "a.parquet:21",
    ),
    "half a character": (
        {"a.jsonl": lines(20, b'{"text": "A kite \\udc80 flew."}')},
        "a.jsonl",
        "half a character (lone surrogate) in the text",
        "a.jsonl:21",
    ),
    "a NUL in a shard": (
        {"t/a.jsonl": lines(20), "t/b.jsonl": b'{"text": "b"}\n{"text": "a\0b"}\n'},
        "t",
        "NUL byte in the line",
        "b.jsonl:2",
    ),
}


@pytest.mark.parametrize("case", SKIPPED)
def test_skipped_and_counted(
    tmp_path: Path, prep: Preparer, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, argument, reason, example = SKIPPED[case]
    lay(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    (source,) = prep(argument)["sources"]
    assert source["dropped"][reason] == {"stories": 1, "example": example}
    assert source["kept"] == 20


def test_a_faulty_tale_in_a_folder_is_counted(tmp_path: Path, prep: Preparer) -> None:
    folder = fairytale_folder(tmp_path, 12)
    sections = folder / "data-by-train-split" / "section-stories" / "train"
    (sections / "bad-story.csv").write_bytes(TALE + b"7\r\n")
    (sections / "void-story.csv").write_bytes(table(["section", "text"], [[1, " "]]))
    (source,) = prep(folder)["sources"]
    assert {reason: d["example"] for reason, d in source["dropped"].items()} == {
        "wrong number of cells": "data-by-train-split/section-stories/train/bad-story.csv:"
        + str(TALE.count(b"\n") + 1),
        "no sections": "data-by-train-split/section-stories/train/void-story.csv:1",
    }


BOOK = gutenberg(collection())


@settings(max_examples=150, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(BOOK)), min_size=1, max_size=4),
    noise=st.sampled_from(["", "***", "\n\n", "CONTENTS\n", "[", "The Red Kite\n", "*END*THE "]),
)
def test_no_book_is_too_odd(cuts: list[int], noise: str) -> None:
    """Parts of a book gone, or marks where none belong: still texts, of words of the book."""
    text = BOOK
    for at in cuts:
        text = text[:at] + noise + text[at + 97 :]
    found = stories_of(text)
    assert len(found) >= 1
    for each in found:
        assert 1 <= each.line <= text.count("\n") + 1
        # What stood in brackets goes, and may leave a word that was glued to it.
        assert all(word in text for word in each.text.split())


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(raw=st.binary(max_size=300), name=st.sampled_from(["a.csv", "a.jsonl", "a.txt", "a.tar"]))
def test_any_bytes_are_rows_or_one_sentence(tmp_path: Path, raw: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(raw)
    said = ""
    try:
        assert sum(b.num_rows for b in open_source(str(tmp_path / name), set()).batches()) > 0
    except FabulaError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or name in said
