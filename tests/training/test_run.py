"""A run from start to end: exact resume, damaged checkpoints, signals, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training import checkpoint
from fabula.training import models as models_room
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, Outcome, train
from fabula.training.trainer import StoryTrainer

torch = pytest.importorskip("torch")


class Told(Announce):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def start(runs: Path, data: dict[str, Any], resume: bool = False, **more: Any) -> Outcome:
    return train(Recipe.model_validate(data), runs, resume, more.pop("told", Announce()), **more)


def weights(outcome_or_folder: Outcome | Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    folder = outcome_or_folder if isinstance(outcome_or_folder, Path) else outcome_or_folder.folder
    newest = checkpoint.found(folder / "checkpoints")[0]
    return {n: t.clone() for n, t in load_file(newest / "weights.safetensors").items()}


def equal(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Let the run be asked to stop, as a signal does, after a number of steps."""
    monkeypatch.setattr(
        StoryTrainer,
        "asked_to_stop",
        property(lambda self: lambda: self.counts.step >= steps, lambda self, value: None),
        raising=False,
    )


STORM = {
    "optimiser": {"name": "muon", "learning_rate": 3e-3},
    "schedule": {"name": "wsd", "warmup": 0.2},
    "evaluation": {"every": 3, "max_documents": 3},
}


def test_two_runs_of_one_recipe_are_bitwise_equal(corpus: Path, tmp_path: Path) -> None:
    data = recipe_data(corpus, **STORM)
    one, two = (start(tmp_path / n, data) for n in ("a", "b"))
    assert equal(weights(one), weights(two))
    other = start(tmp_path / "c", {**data, "seed": 1})
    assert not equal(weights(one), weights(other))


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_a_stopped_run_goes_on_bitwise_equal(
    method: str,
    corpus: Path,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also with dropout, whose random state is part of a checkpoint."""
    base = {} if method == "full" else {"base_model": str(models["llama"]), "method": method}
    data = recipe_data(corpus, **STORM, **base, steps=7, lora={"dropout": 0.2})
    straight = start(tmp_path / "straight", data)
    runs = tmp_path / "stopped"
    for steps in (2, 5):
        with monkeypatch.context() as patched:
            stop_after(patched, steps)
            outcome = start(runs, data, resume=steps == 5)
            assert not outcome.finished
            assert outcome.model is None
            assert outcome.counts.step == steps
    resumed = start(runs, data, resume=True)
    assert resumed.finished
    assert equal(weights(straight), weights(resumed))

    def figures(outcome: Outcome) -> list[tuple[Any, ...]]:
        lines = map(json.loads, (outcome.folder / "metrics.jsonl").read_text().splitlines())
        keys = ("step", "loss", "eval_loss", "learning_rate", "tokens", "loss_tokens", "dropped")
        return sorted({tuple(line.get(k) for k in keys) for line in lines}, key=str)

    assert figures(straight) == [
        f for f in figures(resumed) if f[2] is None or f[0] in (0, 3, 6, 7)
    ]
    assert resumed.counts.tokens == straight.counts.tokens


def test_killed_in_mid_step_the_run_goes_on_bitwise_equal(corpus: Path, tmp_path: Path) -> None:
    """A real process, ended by SIGKILL in its seventh step, two after its checkpoint."""
    data = recipe_data(corpus, **STORM, steps=9, checkpoint={"every": 5})
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(data))
    straight = start(tmp_path / "straight", data)
    runs = tmp_path / "killed"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(recipe), str(runs)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (runs / "tiny" / "final").exists()
    told = Told()
    resumed = start(runs, data, resume=True, told=told)
    assert any("Going on from step 5" in note for note in told.notes)
    assert equal(weights(straight), weights(resumed))


KILLED = """
import os, signal, sys
from pathlib import Path

import torch

from fabula.training.recipe import load_recipe
from fabula.training.run import Announce, train
from fabula.training.trainer import StoryTrainer

torch.set_num_threads(1)
count = StoryTrainer.count_step

def die(self):
    count(self)
    if self.counts.step == 7:
        os.kill(os.getpid(), signal.SIGKILL)

StoryTrainer.count_step = die
train(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), False, Announce())
"""


class Signals(Announce):
    """Sends this process a signal after some steps."""

    def __init__(self, number: signal.Signals, step: int) -> None:
        self.number, self.step = number, step

    def metrics(self, line: dict[str, Any], progress: float) -> None:
        if line["step"] == self.step and "loss" in line:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_of_the_last_step(
    number: signal.Signals, corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(corpus, steps=50, evaluation={"max_documents": 0})
    before = signal.getsignal(number)
    outcome = start(tmp_path, data, told=Signals(number, 3))
    assert signal.getsignal(number) is before
    assert not outcome.finished
    assert 3 <= outcome.counts.step <= 4
    newest, _ = checkpoint.newest_whole(outcome.folder / "checkpoints")
    assert newest is not None
    assert checkpoint.read_state(newest).step == outcome.counts.step


def test_a_damaged_checkpoint_is_seen_and_the_one_before_it_used(
    corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(corpus, steps=4, checkpoint={"every": 2, "keep": 2})
    whole = start(tmp_path, data)
    expected = weights(whole)
    newest = checkpoint.found(whole.folder / "checkpoints")[0]
    target = newest / "weights.safetensors"
    raw = bytearray(target.read_bytes())
    raw[-3] ^= 1
    target.write_bytes(raw)
    told = Told()
    again = start(tmp_path, data, resume=True, told=told)
    assert any("step-0000004 is damaged (weights.safetensors" in n for n in told.notes)
    assert any("Going on from step 2" in n for n in told.notes)
    assert equal(expected, weights(again))
    for path in checkpoint.found(whole.folder / "checkpoints"):
        (path / "optimiser.safetensors").unlink()
    with pytest.raises(FabulaError, match="No checkpoint"):
        start(tmp_path, data, resume=True)


def test_bfloat16_learns_and_the_dtype_that_was_measured_stays_on_resume(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus, dtype="auto", steps=6)
    monkeypatch.setattr(models_room, "bfloat16_pays", lambda: True)
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        start(tmp_path, data)
    written = yaml.safe_load((tmp_path / "tiny" / "recipe.yaml").read_text())
    assert written["dtype"] == "bfloat16"
    monkeypatch.setattr(models_room, "bfloat16_pays", lambda: False)
    outcome = start(tmp_path, data, resume=True)
    written = yaml.safe_load((tmp_path / "tiny" / "recipe.yaml").read_text())
    assert written["dtype"] == "bfloat16"
    assert outcome.before is not None
    assert outcome.after is not None
    assert outcome.after.loss < outcome.before.loss - 0.05


def test_old_checkpoints_go_and_the_newest_stay(corpus: Path, tmp_path: Path) -> None:
    outcome = start(tmp_path, recipe_data(corpus, checkpoint={"every": 1, "keep": 2}))
    names = [p.name for p in checkpoint.found(outcome.folder / "checkpoints")]
    assert names == ["step-0000004", "step-0000003"]


def test_a_full_disk_is_told_and_leaves_the_checkpoints_whole(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus, checkpoint={"every": 1})
    real = checkpoint._sync

    def full(path: Path) -> None:
        if "0000003" in str(path):
            raise OSError(28, "No space left on device")
        real(path)

    monkeypatch.setattr(checkpoint, "_sync", full)
    with pytest.raises(FabulaError, match=r"No space left on device.*--resume"):
        start(tmp_path, data)
    monkeypatch.undo()
    folder = tmp_path / "tiny" / "checkpoints"
    assert sorted(p.name for p in folder.iterdir()) == ["step-0000001", "step-0000002"]
    assert start(tmp_path, data, resume=True).finished


def test_a_loss_that_is_no_number_stops_and_names_the_documents(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus, optimiser={"learning_rate": 0.9, "clip": 0}, steps=60)
    real = StoryTrainer.compute_loss

    def broken(self: StoryTrainer, *args: Any, **kwargs: Any) -> Any:
        loss = real(self, *args, **kwargs)
        return loss * float("nan") if self.counts.step == 2 else loss

    monkeypatch.setattr(StoryTrainer, "compute_loss", broken)
    with pytest.raises(FabulaError, match=r"loss of step 3 is nan \(documents [a-z]-\d+"):
        start(tmp_path, data)


def test_accumulation_gives_the_same_losses_as_the_large_batch(
    corpus: Path, tmp_path: Path
) -> None:
    """Unpacked, so that both see the same rows in the same order."""
    data = recipe_data(corpus, packing=False, batch_size=4, steps=3)
    losses = []
    for size in (1, 4):
        outcome = start(tmp_path / str(size), {**data, "micro_batch_size": size})
        lines = map(json.loads, (outcome.folder / "metrics.jsonl").read_text().splitlines())
        losses.append([line["loss"] for line in lines if "loss" in line])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_run_limited_by_time_ends_in_time_and_anneals_to_its_end(
    corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(corpus, steps=None, max_minutes=0.02, evaluation={"max_documents": 0})
    data["schedule"] = {"name": "linear", "warmup": 0.1}
    outcome = start(tmp_path, data)
    assert outcome.finished
    assert 1.2 <= outcome.counts.seconds < 10
    lines = [json.loads(x) for x in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines]
    assert max(rates) > 5 * rates[-1]


def test_a_run_limited_by_epochs_sees_each_story_so_often(corpus: Path, tmp_path: Path) -> None:
    data = recipe_data(corpus, steps=None, epochs=1.5, evaluation={"max_documents": 0})
    outcome = start(tmp_path, data)
    assert 1.5 <= outcome.counts.epochs < 1.6
    assert 55 <= outcome.counts.documents + outcome.counts.dropped <= 80


def test_the_folder_of_a_run_tells_everything(corpus: Path, tmp_path: Path) -> None:
    outcome = start(tmp_path, recipe_data(corpus, save_dtype="float16"))
    names = {p.name for p in outcome.folder.iterdir()}
    assert {"recipe.yaml", "metrics.jsonl", "loss.png", "CARD.md", "final", "checkpoints"} <= names
    assert (outcome.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    card = (outcome.folder / "CARD.md").read_text()
    for fact in ("40", "Apache-2.0", "bits per byte", "fabula train", "tiny", "before", "after"):
        assert fact in card
    lines = [json.loads(x) for x in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    for line in steps:
        assert line["loss_tokens"] < line["tokens"]
        assert {"learning_rate", "tokens_per_second", "memory_mb", "padding"} <= line.keys()
    assert [line["step"] for line in lines if "eval_loss" in line] == [0, 4]


def test_the_model_of_a_full_run_is_what_the_embedded_engine_opens(
    corpus: Path, tmp_path: Path
) -> None:
    from safetensors import safe_open

    from fabula.engines import open_engine

    outcome = start(tmp_path, recipe_data(corpus, save_dtype="float16"))
    assert outcome.model is not None
    with safe_open(outcome.model / "model.safetensors", "pt") as file:
        assert {file.get_tensor(k).dtype for k in file.keys()} == {torch.float16}  # noqa: SIM118
    engine = open_engine(outcome.model)
    assert (engine.bos, engine.eos, engine.vocabulary, engine.context) == (0, 1, 700, 512)
    assert engine.decode(engine.encode("<|end|> Mara")) == "<|end|> Mara"


def test_a_run_is_not_overwritten_unless_forced(corpus: Path, tmp_path: Path) -> None:
    data = recipe_data(corpus)
    start(tmp_path, data)
    with pytest.raises(FabulaError, match=r"exists; go on with it by --resume"):
        start(tmp_path, data)
    assert start(tmp_path, {**data, "seed": 5}, force=True).finished
    with pytest.raises(FabulaError, match="another 'seed'"):
        start(tmp_path, data, resume=True)
    with pytest.raises(FabulaError, match="no run to resume"):
        start(tmp_path, {**data, "name": "nowhere"}, resume=True)


def refused(tmp_path: Path, data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FabulaError) as caught:
        start(tmp_path / "runs", data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs" / "tiny").exists()


def test_data_that_are_missing_or_broken_are_refused_before_time_is_spent(
    corpus: Path, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    refused(tmp_path, recipe_data(tmp_path / "none"), "no corpus folder")
    broken = tmp_path / "broken"
    shutil.copytree(corpus, broken)
    raw = (broken / "train.parquet").read_bytes()
    (broken / "train.parquet").write_bytes(raw[: len(raw) // 2])
    refused(tmp_path, recipe_data(broken), "train.parquet")
    shutil.copy(corpus / "train.parquet", broken / "train.parquet")
    (broken / "valid.parquet").unlink()
    refused(tmp_path, recipe_data(broken), "valid.parquet")
    table = pq.read_table(corpus / "train.parquet")
    pq.write_table(table.slice(0, 0), broken / "valid.parquet")
    refused(tmp_path, recipe_data(broken), "valid split")
    pq.write_table(table.slice(0, 0), broken / "train.parquet")
    refused(tmp_path, recipe_data(broken), "train split")
    pq.write_table(table.drop_columns(["passages"]), broken / "train.parquet")
    refused(tmp_path, recipe_data(broken), "passages")


def test_models_that_cannot_be_had_are_refused_before_time_is_spent(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    def with_base(base: str, **more: Any) -> dict[str, Any]:
        return recipe_data(corpus, base_model=base, **more)

    refused(tmp_path, with_base("./no/such/model"), "no such model folder")
    refused(tmp_path, with_base("nobody/no-such-model"), "nobody/no-such-model")
    long = with_base(str(models["llama"]), sequence_length=1024)
    refused(tmp_path, long, "reads at most 512 tokens")
    damaged = tmp_path / "damaged"
    shutil.copytree(models["llama"], damaged)
    raw = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(raw[:-100])
    refused(tmp_path, with_base(str(damaged)), "cannot be read")
    shutil.copy(models["llama"] / "model.safetensors", damaged)
    (damaged / "tokenizer.json").write_text("{")
    refused(tmp_path, with_base(str(damaged)), "tokenizer")
    wrong = with_base(str(models["llama"]), method="lora", lora={"target": ["no_such_layer"]})
    refused(tmp_path, wrong, "no_such_layer")


def test_gated_and_unknown_hub_models_say_what_to_do() -> None:
    from fabula.training.hub import explain_load

    class GatedRepoError(Exception):
        pass

    class RepositoryNotFoundError(Exception):
        pass

    name = "meta-llama/Llama-2-7b-hf"
    outer = OSError("cannot load")
    outer.__cause__ = GatedRepoError("403")
    assert "accept its licence at https://huggingface.co/" + name in str(
        explain_load(outer, name, "model")
    )
    outer.__cause__ = RepositoryNotFoundError("404")
    assert "neither a folder here nor a model on the hub" in str(explain_load(outer, name, "model"))
    offline = explain_load(OSError("We couldn't connect"), name, "model")
    assert "the hub cannot be reached" in str(offline)


def test_the_first_sitting_may_be_lost_before_its_first_checkpoint(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus)
    straight = start(tmp_path / "straight", data)
    with monkeypatch.context() as patched:
        patched.setattr(StoryTrainer, "count_step", _die)
        with pytest.raises(RuntimeError, match="power cut"):
            start(tmp_path, data)
    assert (tmp_path / "tiny" / "recipe.yaml").exists() or not (tmp_path / "tiny").exists()
    resumed = start(tmp_path, data, resume=(tmp_path / "tiny").exists())
    assert equal(weights(straight), weights(resumed))


def _die(self: StoryTrainer) -> None:
    raise RuntimeError("power cut")


def test_a_student_learns_more_like_its_teacher(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    """A student of a teacher alone agrees with it better than one of the text alone."""
    from fabula.training.heldout import HeldOut
    from fabula.training.loss import choose
    from fabula.training.models import load_base
    from fabula.training.packing import collate
    from fabula.training.tokenizer import open_tokenizer

    data = recipe_data(corpus, steps=12, name="teacher")
    data["init"] = {**data["init"], "tokenizer": str(tokenizer_folder), "vocab_size": 700}
    teacher = start(tmp_path, data).model
    plain = start(tmp_path, {**data, "name": "plain", "seed": 1})
    taught = {**data, "name": "taught", "seed": 1}
    taught["teacher"] = {"models": [str(teacher)], "share": 1.0}
    student = start(tmp_path, taught)
    recipe = Recipe.model_validate(data)
    held_out = HeldOut(recipe, open_tokenizer(str(tokenizer_folder)), 2)
    batch = collate([held_out.documents], 2, 1.0)

    def scores(folder: Path | None) -> Any:
        model = load_base(str(folder), recipe).eval()
        of = choose(model, 700)
        with torch.no_grad():
            out, _, _ = of._scored(batch)
            return model.get_output_embeddings()(out).log_softmax(dim=-1)

    meant = scores(teacher)
    apart = [
        float((meant.exp() * (meant - scores(o.model))).sum(dim=-1).mean())
        for o in (plain, student)
    ]
    assert apart[1] < 0.9 * apart[0]


def test_the_embedded_models_tokenizer_may_be_named(corpus: Path, tmp_path: Path) -> None:
    from fabula.engines import open_engine
    from fabula.training.tokenizer import open_tokenizer

    data = recipe_data(corpus, steps=1)
    data["init"] = {**data["init"], "tokenizer": "embedded"}
    left = open_tokenizer(str(start(tmp_path, data).model))
    embedded = open_engine()
    text = "Mara lived in a lighthouse."
    assert left.vocabulary == embedded.vocabulary
    assert left.encode_batch([text]) == [list(embedded.encode(text))]


def test_a_teacher_of_another_tokenizer_is_refused(
    corpus: Path, tokenizer_folder: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    data = recipe_data(corpus, teacher={"models": [str(models["llama"])]})
    with pytest.raises(FabulaError, match="another tokenizer"):
        start(tmp_path, data)
    with pytest.raises(FabulaError, match="no-such-folder"):
        start(tmp_path, {**data, "teacher": {"models": ["no-such-folder"]}})
    with pytest.raises(ValueError, match="has a teacher"):
        Recipe.model_validate(
            recipe_data(corpus, base_model="x", method="lora", teacher={"models": ["y"]})
        )
