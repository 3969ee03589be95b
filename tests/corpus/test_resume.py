"""Interrupted runs: nothing half-made is taken for whole, and going on gives the same bytes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_stories import story

from conftest import Files, Preparer
from fabula.corpus import draft as drafts
from fabula.corpus import pipeline
from fabula.corpus.folder import SplitWriter
from fabula.corpus.runners.cluster import RayRunner
from fabula.errors import Broken, FabulaError

STORIES = 700
"""Three batches; with one batch a shard, three shards."""


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def stop_at(step: str, least: int = 0) -> Callable[[str, int, int | None], None]:
    def progress(now: str, done: int, total: int | None) -> None:
        if now == step and done >= least:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def source(jsonl: Files) -> Path:
    return jsonl([{"prompt": f"Prompt {n // 2}", "story": story(n)} for n in range(STORIES)])


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SHARD_BATCHES", 1)


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / ".out-partial"


POINTS = [("clean", 1), ("clean", 300), ("clean", STORIES), ("compare", 0), ("tag", 0),
          ("tag", 300), ("tag", STORIES), ("write", 0), ("write", STORIES)]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_going_on_gives_the_same_bytes(
    prep: Preparer, tmp_path: Path, source: Path, partial: Path, workers: int
) -> None:
    prep(source, out="whole")
    # One run that is interrupted again and again, a little later each time.
    points = POINTS if workers == 1 else [("clean", 300), ("tag", 300)]
    for step, least in points:
        with pytest.raises(KeyboardInterrupt, match="--resume"):
            prep(source, resume=True, workers=workers, progress=stop_at(step, least))
        assert partial.is_dir()
        assert not (tmp_path / "out").exists()
    prep(source, resume=True, workers=workers)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not partial.exists()


def test_at_most_one_shard_is_lost(prep: Preparer, source: Path, partial: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("tag", 600))
    assert len(list(partial.glob("cleaned-*.arrow"))) == 3
    assert len(list(partial.glob("finished-*.arrow"))) >= 1
    seen: list[tuple[str, int]] = []
    prep(source, resume=True, progress=lambda step, done, _: seen.append((step, done)))
    first = next(done for step, done in seen if step == "tag")
    assert first >= 600 - 2 * 256


def test_an_interrupted_run_is_not_trampled_on(
    prep: Preparer, tmp_path: Path, source: Path, partial: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("tag"))
    before = contents(partial)
    with pytest.raises(FabulaError, match=r"interrupted run .* --resume .* --force"):
        prep(source)
    assert contents(partial) == before
    prep(source, force=True)
    assert not partial.exists()
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_nothing_to_go_on_with_begins(prep: Preparer, tmp_path: Path, source: Path) -> None:
    prep(source, resume=True)
    assert (tmp_path / "out" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"max_words": 300}, "--max-words was 700, and is 300 now"),
        ({"seed": 5}, "--seed was 0, and is 5 now"),
        ({"licences": {"": "CC0"}}, "licence of stories was unknown"),
        ({"mapping": {"story": "prompt"}}, "columns of stories was {}"),
    ],
)
def test_other_settings_are_refused(
    prep: Preparer, source: Path, partial: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    before = contents(partial)
    with pytest.raises(FabulaError, match="cannot be gone on with") as refusal:
        prep(source, resume=True, **changed)
    assert said in str(refusal.value)
    assert contents(partial) == before


def test_a_changed_source_is_refused(
    prep: Preparer, source: Path, partial: Path, jsonl: Files
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    source.write_bytes(source.read_bytes() + b"{}\n")
    with pytest.raises(FabulaError, match=r"stories\.jsonl has changed"):
        prep(source, resume=True)
    with pytest.raises(FabulaError, match="its sources were stories"):
        prep(jsonl([{"story": story(1)}], "other.jsonl"), resume=True)
    assert partial.is_dir()


def test_another_version_is_refused(prep: Preparer, source: Path, partial: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    state = json.loads((partial / "state.json").read_text())
    state["versions"]["pyarrow"] = "1.0"
    (partial / "state.json").write_text(json.dumps(state))
    with pytest.raises(FabulaError, match=r"pyarrow's version was 1\.0, and is "):
        prep(source, resume=True)


@pytest.mark.parametrize("harm", [b"", b"ARROW1\0\0 and then nothing", None])
def test_a_shard_that_is_not_whole_is_made_again(
    prep: Preparer, tmp_path: Path, source: Path, partial: Path, harm: bytes | None
) -> None:
    prep(source, out="whole")
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    shard = partial / "cleaned-00001.arrow"
    shard.write_bytes(shard.read_bytes()[:-100] if harm is None else harm)
    prep(source, resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_state_that_cannot_be_read_begins_anew(
    prep: Preparer, tmp_path: Path, source: Path, partial: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    (partial / "state.json").write_text("{")
    prep(source, resume=True)
    assert (tmp_path / "out" / "manifest.json").is_file()


@pytest.mark.parametrize("where", ["shard", "corpus"])
def test_a_full_disk_keeps_the_old_corpus_and_what_is_done(
    prep: Preparer, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    prep(source)
    before = contents(tmp_path / "out")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "shard":
            patch.setattr(drafts, "sync", full)
        else:
            patch.setattr(SplitWriter, "write", full)
        with pytest.raises(Broken, match=r"cannot write .*: No space left .* --resume"):
            prep(source, force=True)
    assert contents(tmp_path / "out") == before
    prep(source, force=True, resume=True)
    assert contents(tmp_path / "out") == before
    assert {p.name for p in tmp_path.iterdir()} == {"out", "stories.jsonl"}


def test_an_engine_that_cannot_be_had_leaves_what_is_done(
    prep: Preparer, source: Path, partial: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prep(source, progress=stop_at("compare"))
    before = contents(partial)
    with pytest.raises(FabulaError, match="no Ray cluster at"):
        prep(source, resume=True, runner=RayRunner("127.0.0.1:1"))
    assert contents(partial) == before


def test_a_fault_of_our_own_leaves_what_is_done(
    prep: Preparer, source: Path, partial: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "decide", wrong)
    with pytest.raises(ZeroDivisionError):
        prep(source)
    assert len(list(partial.glob("cleaned-*.arrow"))) == 3


def test_bad_input_leaves_nothing(prep: Preparer, tmp_path: Path, jsonl: Files) -> None:
    rows = [b"not json" if n % 3 == 0 else {"story": story(n)} for n in range(1, 600)]
    with pytest.raises(FabulaError, match="cannot be used"):
        prep(jsonl(rows))
    assert {p.name for p in tmp_path.iterdir()} == {"stories.jsonl"}


def test_two_runs_do_not_share_a_draft(prep: Preparer, source: Path) -> None:
    said: list[str] = []

    def again(step: str, done: int, total: int | None) -> None:
        if step == "compare":
            for driving in ({}, {"resume": True}, {"force": True}):
                with pytest.raises(FabulaError) as refusal:
                    prep(source, **driving)
                said.append(str(refusal.value))

    prep(source, progress=again)
    assert len(said) == 3
    assert all("Another run is preparing" in sentence for sentence in said)


def test_a_place_that_cannot_be_written(prep: Preparer, tmp_path: Path, source: Path) -> None:
    (tmp_path / "locked").write_text("a file, not a folder")
    with pytest.raises(FabulaError, match="cannot make"):
        prep(source, out="locked/out")
