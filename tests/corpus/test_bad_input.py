"""Bad input: one clear sentence with its place, and nothing left behind; or skipped and counted."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_stories import story

from fabula.corpus import load_corpus
from fabula.corpus.schema import CORPUS
from fabula.errors import FabulaError
from fabula.story.sample import load_sample

Preparer = Callable[..., dict[str, Any]]
GOOD = [{"text": story(n)} for n in range(40)]


def lines(rows: list[Any]) -> bytes:
    return b"".join(
        (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
    )


def gold(**changes: Any) -> dict[str, Any]:
    return {**load_sample("train")[0].model_dump(), **changes}


def parquet(**columns: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue().to_pybytes())


WHOLE_XZ = lzma.compress(lines(GOOD))
WHOLE_GZ = gzip.compress(lines(GOOD))
WHOLE_PARQUET = parquet(text=[g["text"] for g in GOOD])

# File name, its bytes, and what the one sentence must say.
REFUSED: list[tuple[str, bytes, list[str]]] = [
    ("empty.jsonl", b"", ["empty.jsonl", "is empty"]),
    ("empty.csv", b"", ["empty.csv", "is empty"]),
    ("empty.txt", b"", ["empty.txt", "is empty"]),
    ("blank.jsonl", b"\n\n \n", ["blank.jsonl", "holds no stories"]),
    ("header.csv", b"text,title\n", ["header.csv", "holds no stories"]),
    ("cut.jsonl.xz", WHOLE_XZ[:-200], ["cut.jsonl.xz", "damaged or truncated"]),
    ("cut.jsonl.gz", WHOLE_GZ[:-200], ["cut.jsonl.gz", "damaged or truncated"]),
    ("bad.jsonl.gz", WHOLE_GZ[:60] + b"\xff" * 60 + WHOLE_GZ[120:], ["bad.jsonl.gz", "damaged"]),
    ("bad.jsonl.xz", WHOLE_XZ[:60] + b"\xff" * 60 + WHOLE_XZ[120:], ["bad.jsonl.xz", "damaged"]),
    ("cut.parquet", WHOLE_PARQUET[:-100], ["cut.parquet", "damaged or not Parquet"]),
    ("empty.parquet", b"", ["empty.parquet", "damaged or not Parquet"]),
    ("text.parquet", b"this is no parquet", ["text.parquet", "damaged or not Parquet"]),
    ("none.parquet", parquet(text=pa.array([], pa.string())), ["holds no stories"]),
    ("wrong.parquet", parquet(a=["x"], b=["y"]), ["which column is the story", "'a', 'b'"]),
    ("wrong.jsonl", lines([{"a": 1, "b": 2}]), ["which column", "'a', 'b'", "--columns"]),
    ("wrong.csv", b"a,b\n1,2\n", ["which column is the story", "'a', 'b'"]),
    ("twice.csv", b"text,text\na,b\n", ["line 1", "'text' stands twice"]),
    ("open.csv", b'text\n"never closed\n', ["open.csv", "unexpected end of data"]),
    ("latin.csv", b"text\ncaf\xe9\n", ["latin.csv, line 2", "not UTF-8"]),
    ("nul.csv", b"text\na\0b\n", ["nul.csv, line 2", "NUL"]),
    ("binary.txt", bytes(range(256)) * 40, ["binary.txt", "binary file"]),
    ("binary.jsonl", b"\0" * 4096, ["binary.jsonl", "binary file"]),
    ("really.jsonl", WHOLE_PARQUET, ["really.jsonl", "binary file"]),
    ("array.jsonl", b'[{"text": "a"}]\n', ["array.jsonl, line 1", "JSON array"]),
    ("pretty.json", b'{\n "text": "a"\n}\n', ["pretty.json", "several lines"]),
    ("prose.jsonl", b"Once upon a time\n", ["prose.jsonl, line 1", "not JSON"]),
    ("numbers.jsonl", b"1\n2\n", ["numbers.jsonl, line 1", "not a JSON object"]),
    ("mostly.jsonl", lines([*GOOD[:6], *[b"{broken"] * 5]), ["5 of the 11 rows", "mostly.jsonl:7"]),
    ("short.jsonl", lines([{"text": "Too short."}] * 3), ["No story is left", "under 40 words"]),
    ("stories.unknown", b"text", ["what kind of source", "KIND:stories.unknown"]),
]


@pytest.mark.parametrize(("name", "content", "says"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(
    tmp_path: Path, prep: Preparer, name: str, content: bytes, says: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FabulaError) as refusal:
        prep(tmp_path / name)
    message = str(refusal.value)
    assert all(part in message for part in says), message
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert [p.name for p in tmp_path.iterdir()] == [name]


# Bad rows among forty good ones, and the reason they are counted under.
SKIPPED: list[tuple[str, Any, str]] = [
    ("not JSON", b'{"text": "cut', "line is not JSON"),
    ("not an object", b"[1, 2]", "line is not a JSON object"),
    ("not UTF-8", b'{"text": "caf\xe9"}', "line is not UTF-8"),
    ("NUL", b'{"text": "a\0b"}', "NUL byte in the line"),
    ("too deep", b"[" * 100_000, "line is not JSON"),
    ("a number for a story", {"text": 5}, "story is not text"),
    ("a list for a story", {"text": ["a", "b"]}, "story is not text"),
    ("no story", {"title": "Kite"}, "text is empty"),
    ("null", {"text": None}, "text is empty"),
    ("blank", {"text": " \n\t"}, "text is empty"),
    ("too short", {"text": "A kite flew."}, "under 40 words"),
    ("one endless sentence", {"text": "and so it went " * 60}, "fewer than five sentences"),
    ("the same again", {"text": story(3)}, "exact duplicate"),
    ("nearly the same", {"text": story(3).replace("One day", "Once")}, "near duplicate"),
    ("a line of 11 MB", b'{"text": "' + b"a " * 5_500_000 + b'"}', "line over 10 MB"),
]


@pytest.mark.parametrize(("what", "row", "reason"), SKIPPED, ids=[s[0] for s in SKIPPED])
def test_skipped_and_counted(
    tmp_path: Path, prep: Preparer, what: str, row: Any, reason: str
) -> None:
    (tmp_path / "stories.jsonl").write_bytes(lines([*GOOD[:20], row, *GOOD[20:]]))
    (source,) = prep(tmp_path / "stories.jsonl")["sources"]
    assert source["dropped"] == {reason: {"stories": 1, "example": "stories.jsonl:21"}}
    assert (source["read"], source["kept"]) == (41, 40)


def test_a_line_of_50_mb_is_passed_over(tmp_path: Path, prep: Preparer) -> None:
    path = tmp_path / "stories.jsonl"
    path.write_bytes(
        lines(GOOD[:20]) + b'{"text": "' + b"a" * 50_000_000 + b'"}\n' + lines(GOOD[20:])
    )
    (source,) = prep(path)["sources"]
    assert source["dropped"] == {"line over 10 MB": {"stories": 1, "example": "stories.jsonl:21"}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"arc": "zigzag"}, "gold labels: arc"),
        ({"title": None}, "gold labels: title"),
        ({"mood": "odd"}, "gold labels: mood"),
        ({"beats": []}, "gold labels"),
        ({"arc": "icarus", "ending": "happy"}, "gold labels"),
    ],
)
def test_wrong_gold_labels_are_counted(
    tmp_path: Path, prep: Preparer, change: dict[str, Any], reason: str
) -> None:
    good = [s.model_dump() for s in load_sample("train")[1:30]]
    (tmp_path / "gold.jsonl").write_bytes(lines([*good, gold(**change)]))
    (source,) = prep(tmp_path / "gold.jsonl")["sources"]
    ((found, dropped),) = source["dropped"].items()
    assert found.startswith(reason)
    assert dropped == {"stories": 1, "example": "gold.jsonl:30"}


def test_doubled_ids_are_counted(tmp_path: Path, prep: Preparer) -> None:
    rows = [{"id": f"s{n}", **row} for n, row in enumerate(GOOD)] + [
        {"id": "s3", "text": story(99)}
    ]
    (tmp_path / "stories.jsonl").write_bytes(lines(rows))
    (source,) = prep(tmp_path / "stories.jsonl")["sources"]
    assert source["dropped"] == {"duplicate id": {"stories": 1, "example": "stories.jsonl:41"}}


def test_wrong_number_of_cells_is_counted(tmp_path: Path, prep: Preparer) -> None:
    table = "".join(f'{n},"{story(n)}"\n' for n in range(30)) + "30,a,b\n"
    (tmp_path / "stories.csv").write_text("id,text\n" + table)
    (source,) = prep(tmp_path / "stories.csv")["sources"]
    assert source["dropped"]["wrong number of cells"]["stories"] == 1


def test_a_faulty_file_in_a_folder_is_counted(tmp_path: Path, prep: Preparer) -> None:
    folder = tmp_path / "tales"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02}.txt").write_text(story(number))
    (folder / "empty.txt").write_text("")
    (folder / "latin.txt").write_bytes(b"One.\ncaf\xe9\n")
    (source,) = prep(folder)["sources"]
    assert source["dropped"] == {
        "file is empty, binary or cannot be read": {"stories": 1, "example": "empty.txt:1"},
        "line is not UTF-8": {"stories": 1, "example": "latin.txt:2"},
    }


def test_mismatched_line_counts_name_both_files(tmp_path: Path, prep: Preparer) -> None:
    folder = tmp_path / "wp"
    folder.mkdir()
    (folder / "train.wp_source").write_text("[ WP ] A kite .\n" * 1_200)
    (folder / "train.wp_target").write_text("It flew .\n" * 1_199)
    with pytest.raises(FabulaError, match=r"train.wp_source has 1,200 .*train.wp_target has 1,199"):
        prep(folder)


def test_half_a_pair_is_refused(tmp_path: Path, prep: Preparer) -> None:
    folder = tmp_path / "wp"
    folder.mkdir()
    (folder / "valid.wp_target").write_text("It flew .\n")
    with pytest.raises(FabulaError, match=r"valid.wp_source is missing, though valid.wp_target"):
        prep(folder)
    with pytest.raises(FabulaError, match="no train, valid or test"):
        prep(f"writingprompts:{tmp_path}")


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("nowhere.jsonl", "no such file"),
        ("jsonl:nowhere.jsonl", "no such file"),
        ("jsnl:stories.jsonl", "did you mean 'jsonl'"),
        ("somewhere:stories", "is not a kind"),
    ],
)
def test_sources_that_are_none(prep: Preparer, argument: str, says: str) -> None:
    with pytest.raises(FabulaError, match=says):
        prep(argument)
    with pytest.raises(FabulaError, match="is not a kind"):
        prep("sample.jsonl", kind="novel")


def test_a_folder_without_stories(tmp_path: Path, prep: Preparer) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FabulaError, match=r"folder without .txt files"):
        prep(tmp_path / "empty")
    with pytest.raises(FabulaError, match="is a folder"):
        prep(f"jsonl:{tmp_path / 'empty'}")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read(tmp_path: Path, prep: Preparer) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    with pytest.raises(FabulaError, match="ermission denied"):
        prep(closed)


def test_mapped_columns_that_are_not_there(tmp_path: Path, prep: Preparer) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines([{"prompts": "x", "text": "y"}]))
    with pytest.raises(FabulaError, match=r"no column 'promts'.*did you mean 'prompts'"):
        prep(tmp_path / "a.jsonl", mapping={"prompt": "promts"})


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.1), (0.0, 1.0), (float("nan"), 0.1)])
def test_shares_that_leave_nothing(prep: Preparer, shares: tuple[float, float]) -> None:
    with pytest.raises(FabulaError, match="shares"):
        prep("sample", valid=shares[0], test=shares[1])


# What load_corpus says of folders that are no corpus.
def corpus_of(folder: Path, table: pa.Table) -> Path:
    folder.mkdir()
    pq.write_table(table, folder / "train.parquet")
    return folder


def test_load_corpus_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(FabulaError, match="not a prepared corpus"):
        load_corpus(tmp_path / "nowhere", "train")
    empty = corpus_of(tmp_path / "empty", CORPUS.empty_table())
    with pytest.raises(FabulaError, match="holds no stories"):
        load_corpus(empty, "train")
    with pytest.raises(FabulaError, match=r"has no test.parquet"):
        load_corpus(empty, "test")
    with pytest.raises(FabulaError, match="'dev' is not a split"):
        load_corpus(empty, "dev")
    other = corpus_of(tmp_path / "other", pa.table({"id": ["a"]}))
    with pytest.raises(FabulaError, match="no column 'source'"):
        load_corpus(other, "train")
    typed = (
        CORPUS.empty_table()
        .drop_columns(["words"])
        .append_column("words", pa.array([], pa.string()))
    )
    with pytest.raises(FabulaError, match="'words' is string, not int32"):
        load_corpus(corpus_of(tmp_path / "typed", typed), "train")


@pytest.mark.parametrize("keep", [0, 3, 100, 0.3, 0.9])
def test_load_corpus_refuses_truncated_files(
    tmp_path: Path, sample_corpus: tuple[Path, Any], keep: float
) -> None:
    shutil.copytree(sample_corpus[0], tmp_path / "out")
    file = tmp_path / "out" / "valid.parquet"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(keep if keep >= 1 else keep * len(raw))])
    with pytest.raises(FabulaError, match="damaged or not Parquet"):
        load_corpus(tmp_path / "out", "valid")


def test_load_corpus_notices_damage_in_the_middle(
    tmp_path: Path, sample_corpus: tuple[Path, Any]
) -> None:
    shutil.copytree(sample_corpus[0], tmp_path / "out")
    file = tmp_path / "out" / "valid.parquet"
    raw = bytearray(file.read_bytes())
    raw[200:1200] = b"\xff" * 1000
    file.write_bytes(raw)
    with pytest.raises(FabulaError, match="damaged or not Parquet"):
        load_corpus(tmp_path / "out", "valid")
