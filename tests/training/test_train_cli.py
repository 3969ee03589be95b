"""The command line: what it prints, its exit codes, and the story before and after."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_recipe import recipe_data

from fabula.cli import main, train
from fabula.training.trainer import StoryTrainer

pytest.importorskip("torch")


@pytest.fixture
def fabula(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `fabula train` on recipe data; returns the exit code."""

    def call(data: dict[str, Any], *options: str) -> int:
        recipe = tmp_path / "r.yaml"
        recipe.write_text(yaml.safe_dump(data))
        runs = str(tmp_path / "runs")
        argv = ["fabula", "train", str(recipe), "--runs", runs, "--threads", "1", *options]
        monkeypatch.setattr(sys, "argv", argv)
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return call


def test_json_is_one_object_and_progress_goes_elsewhere(
    fabula: Any, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fabula(recipe_data(corpus), "--json", "--steps", "2") == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["finished"]
    assert result["steps"] == 2
    assert result["after"]["eval_loss"] < result["before"]["eval_loss"]
    assert Path(result["model"]).is_dir()
    assert "held-out loss" in printed.err
    assert "tok/s" in printed.err


def test_preferences_tell_their_own_figures(
    fabula: Any, models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    lines = [{"prompt": f"Place: {n}\n\n", "chosen": "She went.", "rejected": "Went she."}
             for n in range(30)]  # fmt: skip
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = recipe_data(tmp_path, base_model=str(models["llama"]), data=[], augmentation={})
    data["preferences"] = {"pairs": str(pairs), "held_out": 0.3}
    assert fabula(data) == 0
    printed = capsys.readouterr()
    assert "the better story preferred in 0.0%" in printed.err
    assert "share of pairs whose better story is preferred" in printed.out
    assert "Held out:" in printed.out
    assert " pairs" in printed.out


def test_an_adapter_tells_figures_and_a_story_before_and_after(
    fabula: Any, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fabula(recipe_data(corpus), "--name", "base") == 0
    base = tmp_path / "runs" / "base" / "final"
    data = recipe_data(corpus, base_model=str(base), method="qlora", name="adapter")
    data["sample_brief"] = {"genre": "ghost story", "point_of_view": "third"}
    capsys.readouterr()
    assert fabula(data) == 0
    printed = capsys.readouterr().out
    for words in ("word perplexity", "bits per byte", "before", "after", "the sample brief"):
        assert words in printed


def test_a_stopped_run_exits_with_1_and_says_how_to_go_on(
    fabula: Any, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stops = property(lambda self: lambda: self.counts.step >= 2, lambda self, value: None)
    monkeypatch.setattr(StoryTrainer, "asked_to_stop", stops, raising=False)
    assert fabula(recipe_data(corpus), "--json") == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["model"] is None
    assert "Stopped after step 2" in printed.err
    assert "--threads 1 --json --resume" in printed.err
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        ({"learning_rate": 1}, [], "unknown key 'learning_rate'"),
        ({"sample_brief": {"genr": "horror"}}, [], "did you mean 'genre'?"),
        ({}, ["--resume"], "There is no run to resume"),
        ({}, ["--resume", "--force"], "give one of them"),
        ({}, ["--base", "./nowhere"], "no such model folder"),
    ],
)
def test_refusals_are_one_sentence_and_exit_with_2(
    changes: dict[str, Any],
    options: list[str],
    sentence: str,
    fabula: Any,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*args: Any) -> str:
        raise AssertionError("a story was written before the refusal")

    monkeypatch.setattr(train, "_story", never)
    assert fabula(recipe_data(corpus, **changes), *options) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert sentence in error[-1]
    assert not (tmp_path / "runs" / "tiny").exists()


def test_several_processes_are_refused_before_anything_is_made(
    fabula: Any,
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert fabula(recipe_data(corpus)) == 2
    assert "WORLD_SIZE" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
