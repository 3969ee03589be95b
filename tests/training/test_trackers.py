"""Trackers: refused where absent, and what TensorBoard has in its files."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path

import pytest
from test_run import Told, start, stop_after
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training.trackers import check_trackers

pytest.importorskip("torch")


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_an_absent_tracker_is_refused_before_anything_is_made(
    name: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(FabulaError, match=rf"report_to: {name} needs .*pip install {name}"):
        start(tmp_path, recipe_data(corpus, report_to=[name]))
    assert not (tmp_path / "tiny").exists()


def test_none_is_needed_where_none_is_asked_for() -> None:
    check_trackers([])


def test_tensorboard_has_all_figures_and_the_specimens_also_after_a_resumption(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    data = recipe_data(corpus, report_to=["tensorboard"], evaluation={"every": 2})
    data["specimens"] = {"tokens": 24, "briefs": [{"genre": "western"}]}
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        start(tmp_path, data)
    folder = start(tmp_path, data, resume=True).folder
    events = EventAccumulator(
        str(folder / "trackers" / "tensorboard"), {"scalars": 0, "tensors": 0}
    )
    events.Reload()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]

    def scalars(tag: str) -> dict[int, float]:
        return {event.step: event.value for event in events.Scalars(tag)}

    for tag, key in (
        ("train/loss", "loss"),
        ("train/learning_rate", "learning_rate"),
        ("train/tokens_per_second", "tokens_per_second"),
        ("eval/loss", "eval_loss"),
        ("eval/word_perplexity", "eval_word_perplexity"),
        ("eval/loop_rate", "eval_loop_rate"),
        ("eval/wishes_kept", "eval_wishes_kept"),
    ):
        expected = {line["step"]: line[key] for line in lines if key in line}
        assert scalars(tag) == pytest.approx(expected), tag
        assert len(expected) >= 3
    written = [json.loads(x) for x in (folder / "specimens.jsonl").read_text().splitlines()]
    shown = {
        event.step: event.tensor_proto.string_val[0].decode()
        for event in events.Tensors("specimen 1/text_summary")
    }
    assert list(shown) == [line["step"] for line in written] == [0, 2, 4]
    for line in written:
        text = line["specimens"][0]["passages"][-1][1]
        assert text.splitlines()[-1] in shown[line["step"]]


def test_a_broken_package_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "trackio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(str(package.parent))
    importlib.invalidate_caches()
    with pytest.raises(FabulaError, match=r"'trackio' cannot be loaded \(No module named 'nothing"):
        check_trackers(["trackio"])


def test_a_tracker_that_fails_ends_a_run_before_it_begins_and_is_left_out_later(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    data = recipe_data(corpus, report_to=["tensorboard"], evaluation={"max_documents": 0})
    file = tmp_path / "a-file"
    file.write_text("")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(file))
    with pytest.raises(FabulaError, match="report_to: tensorboard cannot begin"):
        start(tmp_path / "one", data)
    assert not (tmp_path / "one" / "tiny").exists()
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")

    from torch.utils.tensorboard import SummaryWriter

    def full(self: SummaryWriter, *args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    told = Told()
    assert start(tmp_path / "two", data, told=told).finished
    (said,) = [n for n in told.notes if "tensorboard" in n]
    assert "gets no more figures of this run" in said
    assert "No space left" in said
