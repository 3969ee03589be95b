"""From sources to a corpus on disk, and back through others' readers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_stories import story

from fabula.cli import main
from fabula.corpus import example_rows, load_corpus
from fabula.errors import FabulaError
from fabula.story import (
    Outline,
    Passage,
    parse_brief,
    parse_completion,
    render_brief,
    render_completion,
)
from fabula.story.sample import load_sample

Preparer = Callable[..., dict[str, Any]]
Files = Callable[..., Path]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture
def mixed(jsonl: Files, tmp_path: Path) -> list[Path]:
    """A table with prompts, long stories and duplicates, and a published folder."""
    rows = [
        {"prompt": f"Prompt {n % 30} of a kite.", "story": story(n, 18 if n % 5 else 150)}
        for n in range(90)
    ]
    table = jsonl([*rows, rows[0], {"prompt": "x", "story": "[removed]"}])
    folder = tmp_path / "wp"
    folder.mkdir()
    for split, first in (("train", 200), ("valid", 300), ("test", 400)):
        numbers = range(first, first + 12)
        (folder / f"{split}.wp_source").write_text(
            "".join(f"[ WP ] Somebody found {n} keys .\n" for n in numbers)
        )
        (folder / f"{split}.wp_target").write_text(
            "".join(story(n).replace("\n\n", " <newline> ") + "\n" for n in numbers)
        )
    return [table, folder]


def test_the_sample_goes_straight_through(sample_corpus: tuple[Path, dict[str, Any]]) -> None:
    out, manifest = sample_corpus
    assert manifest["splits"] == {
        split: len(load_sample(split)) for split in ("train", "valid", "test")
    }
    assert manifest["splits"]["valid"] == 644
    assert manifest["splits"]["test"] == 90
    labelled = {s.id: s for s in load_sample()}
    for split in ("train", "valid", "test"):
        for row in example_rows(load_corpus(out, split)):
            gold = labelled[row.id]
            assert row.gold
            assert row.text == gold.text
            assert row.outline == gold.outline
            assert row.passages == gold.passages
            assert row.premise == gold.premise == row.brief.premise
            assert row.brief == gold.brief.model_copy(update={"length": row.brief.length})


def test_prompt_and_completion_are_the_one_format(
    prep: Preparer, tmp_path: Path, mixed: list[Path]
) -> None:
    prep(*mixed, valid=0.1, test=0.1)
    seen = 0
    for split in ("train", "valid", "test"):
        for row in example_rows(load_corpus(tmp_path / "out", split)):
            assert row.prompt == render_brief(row.brief)
            assert row.completion == render_completion(row.outline, row.passages)
            assert parse_brief(row.prompt) == row.brief
            assert parse_completion(row.completion) == (None, row.outline, row.passages)
            assert isinstance(row.outline, Outline)
            assert all(isinstance(p, Passage) for p in row.passages)
            assert "\n\n".join(p.text for p in row.passages).split() == row.text.split()
            assert row.words == len(row.text.split())
            assert not row.gold
            seen += 1
    assert seen > 120


def test_counts_add_up(prep: Preparer, mixed: list[Path]) -> None:
    manifest = prep(*mixed)
    for source in manifest["sources"]:
        dropped = sum(d["stories"] for d in source["dropped"].values())
        assert source["read"] == source["kept"] + dropped
        assert source["documents"] == sum(source["splits"].values())
    table, folder = manifest["sources"]
    assert set(table["dropped"]) == {"exact duplicate", "post was removed or deleted"}
    assert table["documents"] > table["kept"]
    assert folder["splits"] == {"train": 12, "valid": 12, "test": 12}
    assert set(manifest["leaks"].values()) == {0}
    assert manifest["research_only"]


def test_stories_of_a_prompt_share_a_split(
    prep: Preparer, tmp_path: Path, mixed: list[Path]
) -> None:
    prep(*mixed, valid=0.2, test=0.2)
    homes: dict[str, set[str]] = {}
    for split in ("train", "valid", "test"):
        for row in example_rows(load_corpus(tmp_path / "out", split)):
            homes.setdefault(row.prompt_id, set()).add(split)
    assert all(len(splits) == 1 for splits in homes.values())
    assert {s for splits in homes.values() for s in splits} == {"train", "valid", "test"}


def test_long_stories_are_split_or_dropped(prep: Preparer, mixed: list[Path]) -> None:
    split = prep(mixed[0], max_words=500)
    dropped = prep(mixed[0], max_words=500, long="drop", out="short")
    assert split["sources"][0]["documents"] > split["sources"][0]["kept"]
    assert dropped["sources"][0]["dropped"]["over 500 words"]["stories"] == 19


def test_same_input_same_bytes_whatever_the_workers(
    prep: Preparer, tmp_path: Path, mixed: list[Path]
) -> None:
    prep(*mixed, out="one", workers=1)
    prep(*mixed, out="two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_manifest_and_card_name_no_path(prep: Preparer, tmp_path: Path, mixed: list[Path]) -> None:
    prep(*mixed, licences={"stories": "my own"})
    papers = [(tmp_path / "out" / n).read_text() for n in ("manifest.json", "CARD.md")]
    assert not any(str(tmp_path) in paper for paper in papers)
    assert "my own" in papers[1]
    assert "For research only" in papers[1]
    manifest = json.loads(papers[0])
    assert all(len(f["sha256"]) == 64 for s in manifest["sources"] for f in s["files"])


def test_a_place_that_is_taken(prep: Preparer, tmp_path: Path, mixed: list[Path]) -> None:
    prep(mixed[0])
    before = contents(tmp_path / "out")
    with pytest.raises(FabulaError, match="exists already; add --force"):
        prep(mixed[1])
    assert contents(tmp_path / "out") == before
    prep(mixed[1], force=True)
    assert contents(tmp_path / "out") != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep")
    with pytest.raises(FabulaError, match="not a prepared corpus"):
        prep("sample", out="mine", force=True)
    (tmp_path / "file").write_text("keep")
    with pytest.raises(FabulaError, match="not a folder"):
        prep("sample", out="file", force=True)
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {"out", "mine", "file", "stories.jsonl", "wp"}


def test_others_read_it(prep: Preparer, tmp_path: Path, mixed: list[Path]) -> None:
    import datasets
    import duckdb
    import pandas as pd
    import polars as pl

    prep(*mixed, valid=0.1, test=0.1)
    names = ("train", "valid", "test")
    files = {s: str(tmp_path / "out" / f"{s}.parquet") for s in names}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    for split in names:
        table = load_corpus(tmp_path / "out", split)
        assert loaded[split].num_rows == table.num_rows == len(pd.read_parquet(files[split]))
        frame = pl.read_parquet(files[split])
        assert frame["id"].to_list() == table["id"].to_pylist()
        assert frame["outline"][0][0]["beat"] == "exposition"
        query = f"select count(*), sum(words), min(len(passages)) from '{files[split]}'"
        ((rows, words, fewest),) = duckdb.connect().execute(query).fetchall()
        assert (rows, words) == (table.num_rows, sum(table["words"].to_pylist()))
        assert fewest >= 1
        # TRL's prompt-completion form.
        assert isinstance(loaded[split][0]["prompt"], str)
        assert isinstance(loaded[split][0]["completion"], str)
        assert loaded[split][0]["outline"][0]["beat"] == "exposition"


def test_plain_trl_trains_on_it(
    prep: Preparer, tmp_path: Path, mixed: list[Path], tiny_model: Path
) -> None:
    """Nothing of Fabula between the corpus and the trainer."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    prep(*mixed, max_words=200)
    train = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out" / "train.parquet"), split="train",
        cache_dir=str(tmp_path / "cache"),
    ).select_columns(["prompt", "completion"])  # fmt: skip
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        processing_class=AutoTokenizer.from_pretrained(tiny_model),
        train_dataset=train,
        args=SFTConfig(
            output_dir=str(tmp_path / "run"), max_steps=8, per_device_train_batch_size=4,
            max_length=256, learning_rate=1e-2, logging_steps=1, report_to=[], use_cpu=True,
            save_strategy="no", gradient_checkpointing=False, bf16=False,
        ),
    )  # fmt: skip
    trainer.train()
    losses = [step["loss"] for step in trainer.state.log_history if "loss" in step]
    assert len(losses) == 8
    assert losses[-1] < losses[0] - 0.1


# The command line.
def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["fabula", "prepare", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_command_prints_one_json_object(
    tmp_path: Path,
    jsonl: Files,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = jsonl([{"q": "A kite.", "a": story(n)} for n in range(30)])
    code = command(
        monkeypatch, path, "-o", tmp_path / "out", "--columns", "prompt=q,story=a",
        "--licence", "stories=CC0", "--workers", "1", "--json",
    )  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert printed["sources"][0]["licence"] == "CC0"
    assert printed == {
        "out": str(tmp_path / "out"),
        **json.loads((tmp_path / "out" / "manifest.json").read_text()),
    }


def test_the_command_shows_what_fell(
    tmp_path: Path,
    jsonl: Files,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = jsonl([*({"text": story(n)} for n in range(30)), {"text": story(4)}])
    assert command(monkeypatch, path, "-o", tmp_path / "out", "--workers", "1") == 0
    out = capsys.readouterr().out
    assert "exact duplicate" in out
    assert "stories.jsonl:31" in out
    assert "Shared between splits: 0 prompts" in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--long", "cut"], "--long is 'cut'"),
        (["--columns", "story"], "role=column"),
        (["--licence", "nobody=CC0"], "names 'nobody'"),
        (["--valid", "0.9", "--test", "0.2"], "shares"),
        (["--source-type", "novel"], "not a kind"),
    ],
)
def test_the_command_refuses(
    tmp_path: Path,
    jsonl: Files,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    path = jsonl([{"text": story(n)} for n in range(5)])
    assert command(monkeypatch, path, "-o", tmp_path / "out", *options, "--json") == 2
    captured = capsys.readouterr()
    assert says in json.loads(captured.out)["error"]
    assert captured.err.startswith("fabula: ")
    assert not (tmp_path / "out").exists()
