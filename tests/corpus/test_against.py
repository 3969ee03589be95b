"""The leak check against files that are named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from made_stories import story

from conftest import Files, Preparer
from fabula.cli import main
from fabula.corpus import load_corpus, open_source
from fabula.errors import FabulaError


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["fabula", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def source(jsonl: Files) -> Path:
    return jsonl([{"id": f"s{n}", "prompt": f"P {n}", "story": story(n, 40)} for n in range(60)])


@pytest.fixture
def benchmark(jsonl: Files) -> Path:
    excerpt = " ".join(story(30, 40).split()[20:140])
    rows = [{"prompt": "Other", "story": story(n, 40)} for n in (3, 5)]
    rows += [{"prompt": "Another", "story": f"{excerpt} {story(900, 40)}"}]
    rows += [{"prompt": "p 7", "story": story(901, 40)}, {"prompt": "Free", "story": story(902)}]
    return jsonl(rows, "benchmark.jsonl")


def test_what_is_in_a_test_file_falls(
    prep: Preparer, tmp_path: Path, source: Path, benchmark: Path
) -> None:
    manifest = prep(source, against=[open_source(str(benchmark), set())])
    dropped = manifest["sources"][0]["dropped"]
    assert {reason: one["stories"] for reason, one in dropped.items()} == {
        "same text as one it is checked against": 2,
        "shares a passage with one it is checked against": 1,
        "shares its prompt with one it is checked against": 1,
    }
    (checked,) = manifest["against"]
    assert checked["stories"] == 5
    assert checked["found"]["shares its prompt with one it is checked against"] == {
        "stories": 1,
        "example": "benchmark: benchmark.jsonl:4",
    }
    assert checked["files"][0]["sha256"] == hashlib.sha256(benchmark.read_bytes()).hexdigest()
    for paper in ("CARD.md", "REPORT.html"):
        told = (tmp_path / "out" / paper).read_text()
        assert "Checked against 5 stories of benchmark, benchmark.jsonl (sha256" in told
        assert "2 same text as one it is checked against" in told
    ids = {i for s in ("train", "valid", "test") for i in load_rows(tmp_path / "out", s)}
    assert len(ids) == 56
    assert not ids & {f"stories-s{n}" for n in (3, 5, 7, 30)}


def load_rows(folder: Path, split: str) -> list[str]:
    try:
        ids: list[str] = load_corpus(folder, split)["id"].to_pylist()
    except FabulaError:
        return []
    return ids


def test_the_command_says_what_it_checked(
    source: Path, benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    assert run(monkeypatch, "prepare", source, "--against", benchmark, "-o", out) == 0
    assert "Checked against 5 of benchmark: 4 found." in capsys.readouterr().out
    # What it made is clean of it, as the other command confirms.
    assert run(monkeypatch, "corpus", out, "--against", benchmark) == 0
    assert "nothing of it is in the corpus" in capsys.readouterr().out
    assert run(monkeypatch, "corpus", out, "--against", source, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    found = told["against"][0]["found"]
    assert found["same text as one it is checked against"]["stories"] == 56


def test_a_corpus_can_be_checked_against_anothers_test_split(
    prep: Preparer, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prep(source, out="one", valid=0.2, test=0.2)
    prep(source, out="two", valid=0.2, test=0.2, seed=5)
    test = tmp_path / "one" / "test.parquet"
    held_out = load_rows(tmp_path / "one", "test")
    manifest = prep(source, out="three", against=[open_source(str(test), set())])
    assert sum(one["stories"] for one in manifest["against"][0]["found"].values()) == len(held_out)
    assert run(monkeypatch, "corpus", tmp_path / "two", "--against", test) == 1
    assert run(monkeypatch, "corpus", tmp_path / "three", "--against", test) == 0


def test_a_prepared_corpus_is_asked_for_its_prompts_not_its_briefs(
    prep: Preparer, jsonl: Files, source: Path, tmp_path: Path
) -> None:
    prep(jsonl([{"prompt": "p 7!", "story": story(500, 40)}], "other.jsonl"), out="one", test=0.9)
    made = [p for p in (tmp_path / "one").glob("*.parquet") if load_rows(tmp_path / "one", p.stem)]
    manifest = prep(source, against=[open_source(str(made[0]), set())])
    found = manifest["against"][0]["found"]
    assert found["shares its prompt with one it is checked against"]["stories"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "nowhere.jsonl"], "nowhere.jsonl: no such file or folder"),
        (["--against", "tales:x"], "'tales' is not a kind of source"),
    ],
)
def test_a_test_file_that_cannot_be_read_is_a_sentence(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str,
) -> None:  # fmt: skip
    assert run(monkeypatch, "prepare", source, "-o", tmp_path / "out", *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_corpus_is_a_sentence(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, "corpus", tmp_path, "--against", source) == 2
    assert "is not a prepared corpus: it has no train.parquet" in capsys.readouterr().err
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no more")
    assert run(monkeypatch, "corpus", tmp_path, "--against", source) == 2
    assert "train.parquet is damaged or not of a corpus" in capsys.readouterr().err
