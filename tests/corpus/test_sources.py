"""Every kind of source, read and recognised."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_stories import story

from fabula.corpus import open_source
from fabula.corpus.source import Row
from fabula.corpus.tables import parse_mapping
from fabula.errors import FabulaError
from fabula.story.sample import load_sample

Files = Callable[..., Path]


def rows(argument: str | Path, **options: object) -> list[Row]:
    return list(open_source(str(argument), set(), **options).rows())  # type: ignore[arg-type]


def test_the_sample_keeps_labels_and_splits() -> None:
    source = open_source("sample", set())
    found = list(source.rows())
    assert len(found) == len(load_sample())
    assert source.licence == "Apache-2.0"
    assert not source.research_only
    assert {r.id for r in found if r.split == "test"} == {s.id for s in load_sample("test")}
    assert all(r.gold for r in found)


def test_the_published_folder(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("valid", 1)):
        (tmp_path / f"{split}.wp_source").write_text("[ WP ] A kite .\n" * count)
        (tmp_path / f"{split}.wp_target").write_text("It flew. <newline> Far.\n" * count)
    source = open_source(str(tmp_path), set())
    found = list(source.rows())
    assert source.kind == "writingprompts"
    assert source.research_only
    assert [r.split for r in found] == ["train"] * 3 + ["valid"]
    assert found[2].origin == "train.wp_target:3"
    assert found[0].published
    assert found[-1].share <= 1


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".bz2"])
def test_json_lines_compressed_or_not(tmp_path: Path, suffix: str) -> None:
    raw = json.dumps({"prompt": "A kite.", "story": story(1)}).encode() + b"\n\n"
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}[suffix]
    path = tmp_path / f"my stories.jsonl{suffix}"
    path.write_bytes(pack(raw))
    source = open_source(str(path), set())
    (row,) = source.rows()
    assert (row.prompt, row.text) == ("A kite.", story(1))
    assert source.name == "my-stories"


def test_compression_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "stories.jsonl"
    path.write_bytes(gzip.compress(b'{"text": "A kite."}\n'))
    assert rows(path)[0].text == "A kite."


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "stories.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["Title", "Author", "Text"])
        writer.writerow(["Kite", "Bram", 'One, "two"\nthree; four'])
        writer.writerow(["Bell", "", "Five"])
    found = rows(path)
    assert [r.text for r in found] == ['One, "two"\nthree; four', "Five"]
    assert [r.origin for r in found] == ["stories.csv:2", "stories.csv:4"]
    assert (found[0].title, found[0].author, found[1].author) == ("Kite", "Bram", None)


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "stories.parquet"
    table = pa.table(
        {"id": [7, 8], "premise": ["A kite.", None], "body": ["Up.", None], "score": [1.0, 2.0]}
    )
    pq.write_table(table, path)
    found = rows(path)
    assert [(r.id, r.prompt, r.text) for r in found] == [("7", "A kite.", "Up."), ("8", None, "")]


def test_columns_are_mapped_and_splits_kept(jsonl: Files) -> None:
    path = jsonl(
        [
            {"q": "A kite.", "chosen": "Up.", "rejected": "Down.", "split": "validation"},
            {"q": "A bell.", "chosen": "Ding.", "rejected": "Dong.", "split": "other"},
        ]
    )
    found = rows(path, mapping=parse_mapping("prompt=q, text=chosen"))
    assert [(r.prompt, r.text, r.split) for r in found] == [
        ("A kite.", "Up.", "valid"),
        ("A bell.", "Ding.", None),
    ]


def test_text_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "tales"
    (folder / "deep").mkdir(parents=True)
    (folder / "the_kite.txt").write_text("Up.\n\nDown.")
    (folder / "deep" / "bell.txt").write_text("Ding.")
    (folder / "notes.md").write_text("Not a story.")
    found = rows(folder)
    assert [(r.id, r.title, r.text) for r in found] == [
        ("deep/bell", "bell", "Ding."),
        ("the_kite", "the kite", "Up.\n\nDown."),
    ]
    assert rows(folder / "the_kite.txt")[0].text == "Up.\n\nDown."


def test_fairytale_layout_is_recognised(jsonl: Files) -> None:
    path = jsonl([{"title": "Kite", "sections": ["Up.", "Down."], "questions": []}])
    assert open_source(str(path), set()).kind == "fairytale"
    (row,) = rows(path)
    assert (row.title, row.text) == ("Kite", "Up.\n\nDown.")


def test_gold_format_is_recognised_and_kept(jsonl: Files) -> None:
    labelled = load_sample("train")[0]
    path = jsonl([labelled.model_dump()])
    assert open_source(str(path), set()).kind == "gold"
    (row,) = rows(path)
    assert row.gold is not None
    assert row.split is None
    assert json.loads(row.gold) == labelled.model_dump()


def test_a_prefix_names_the_kind(tmp_path: Path) -> None:
    path = tmp_path / "stories.data"
    path.write_text("Up.")
    assert open_source(f"text:{path}", set()).kind == "text"
    assert open_source(str(path), set(), kind="text").kind == "text"


def test_names_are_unique_and_licences_are_matched(jsonl: Files, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = jsonl([{"text": "Up."}], "kites.jsonl")
    two = jsonl([{"text": "Up."}], "other/kites.jsonl")
    taken: set[str] = set()
    licences = {"kites-2": "CC0", "": "my own"}
    sources = [open_source(str(p), taken, licences=licences) for p in (one, two)]
    assert [(s.name, s.licence) for s in sources] == [("kites", "my own"), ("kites-2", "CC0")]
    assert "unknown" in open_source(str(one), set()).licence


def test_a_copy_of_writingprompts_is_for_research(jsonl: Files) -> None:
    assert open_source(str(jsonl([{"text": "Up."}], "WritingPrompts_a.jsonl")), set()).research_only


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("story", "role=column"),
        ("stroy=text", "did you mean 'story'"),
        ("prompt=", "role=column"),
    ],
)
def test_mappings_that_are_none(text: str, part: str) -> None:
    with pytest.raises(FabulaError, match=part):
        parse_mapping(text)
