"""What a run survives: too little memory, SIGKILL at any step; and what it stops for."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import test_preferences
import test_thumbs
import yaml
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training import checkpoint
from fabula.training.heldout import HeldOut
from fabula.training.loss import LossOf, choose
from fabula.training.models import load_base
from fabula.training.packing import Document, collate, divided
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, Outcome, train
from fabula.training.tokenizer import open_tokenizer
from fabula.training.trainer import DIVERGED_STEPS, StoryTrainer

torch = pytest.importorskip("torch")
FULL = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 17 bytes"


class Told(Announce):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def start(runs: Path, data: dict[str, Any], resume: bool = False, told: Any = None) -> Outcome:
    return train(Recipe.model_validate(data), runs, resume, told or Announce())


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    newest = checkpoint.found(folder / "tiny/checkpoints")[0]
    return {n: t.clone() for n, t in load_file(newest / "weights.safetensors").items()}


def lines(folder: Path) -> list[dict[str, Any]]:
    raw = (folder / "tiny/metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, raw) if "loss" in line]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_the_parts_of_a_micro_batch_lose_what_it_loses(
    packed: bool, seed: int, models: dict[str, Path], corpus: Path
) -> None:
    rng = random.Random(seed)
    data = recipe_data(corpus, base_model=str(models["llama"]))
    loss_of = choose(load_base(str(models["llama"]), Recipe.model_validate(data)).eval(), 700)
    documents = []
    for number in range(rng.randint(1, 9)):
        ids = [rng.randrange(700) for _ in range(rng.randint(2, 120))]
        prompt = rng.randrange(len(ids) - 1)
        documents.append(Document(str(number), 0, ids, [-100] * prompt + ids[prompt:]))
    rows = [documents] if packed else [[d] for d in documents]
    batch = collate(rows, 2, rng.choice([0.0, 0.25]))
    expected = float(loss_of(batch))
    for parts in (2, 3, 4, 16):
        smaller = divided(batch, parts)
        assert 1 <= len(smaller) <= min(parts, len(documents))
        assert len(divided(batch, 16)) >= len(documents) - 2 or len(documents) > 8
        assert sum(float(loss_of(part)) for part in smaller) == pytest.approx(expected, rel=1e-5)
        tokens = [int(i) for p in smaller for i in p["input_ids"][p["weights"] != 0]]
        assert tokens == [int(i) for i in batch["input_ids"][batch["weights"] != 0]]


LIMITED = """
import resource, sys
from pathlib import Path

import torch

from fabula.training.recipe import load_recipe
from fabula.training.run import Announce, train
from fabula.training.sitting import sit
from fabula.training import run

torch.set_num_threads(1)


class Print(Announce):
    def note(self, text):
        print(text, flush=True)


def limited(*given, **more):
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[3]) * 2**20,) * 2)
    return sit(*given, **more)


run.sit = limited
train(load_recipe(Path(sys.argv[1])), Path(sys.argv[2]), False, Print())
"""


@pytest.mark.slow
def test_a_run_that_does_not_fit_memory_goes_on_in_parts_and_learns_the_same(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """A real process whose address space the system limits, so that PyTorch's allocator fails."""
    data = recipe_data(
        corpus, base_model=str(models["llama"]), micro_batch_size=32, batch_size=32, steps=3,
        evaluation={"max_documents": 0}, optimiser={"learning_rate": 1e-3},
    )  # fmt: skip
    start(tmp_path / "free", data)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(data))
    for room in (150, 100, 70, 50, 35):
        runs = tmp_path / f"limited-{room}"
        command = [sys.executable, "-c", LIMITED, str(recipe), str(runs), str(room)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "Memory ran out" in done.stdout and done.returncode == 0:
            break
    assert "Memory ran out in step 1 (" in done.stdout, done.stderr[-2000:]
    assert "allocate memory" in done.stdout
    assert "parts. The batch and the order of the data stay as they are." in done.stdout
    free, limited = lines(tmp_path / "free"), lines(runs)
    assert limited[-1]["divide"] > 1
    for one, two in zip(free, limited, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
        for key in ("step", "tokens", "loss_tokens", "padding", "epoch", "learning_rate"):
            assert two[key] == one[key]
    for name, tensor in weights(tmp_path / "free").items():
        assert torch.allclose(weights(runs)[name], tensor, atol=1e-4), name


KILLED = """
import os, signal, sys
from pathlib import Path

import torch

from fabula.training.loss import LossOf
from fabula.training.recipe import load_recipe
from fabula.training.run import Announce, train
from fabula.training.trainer import StoryTrainer

torch.set_num_threads(1)
recipe, runs, resume, die_at, *full_at = sys.argv[1:]
compute, count = StoryTrainer.compute_loss, StoryTrainer.count_step


def full(self, model, inputs, *given, **more):
    loss = compute(self, model, inputs, *given, **more)
    # Memory holds a micro-batch whole before these steps, then its half, then its quarter.
    room = 2 ** sum(int(step) <= self.counts.step for step in full_at)
    if self.counts.divide < room:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 17")
    return loss


def die(self):
    count(self)
    if self.counts.step == int(die_at):
        os.kill(os.getpid(), signal.SIGKILL)


StoryTrainer.compute_loss, StoryTrainer.count_step = full, die
train(load_recipe(Path(recipe)), Path(runs), resume == "True", Announce())
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_killed_at_random_steps_with_memory_running_out_it_ends_bitwise_the_same(
    seed: int, corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Real processes; the uninterrupted run meets the same lack of memory."""
    rng = random.Random(seed)
    data = recipe_data(
        corpus, base_model=str(models["gpt2"]), method="lora", lora={"dropout": 0.1},
        micro_batch_size=4, batch_size=8, steps=12, checkpoint={"every": 2},
        evaluation={"every": 5, "max_documents": 3},
    )  # fmt: skip
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(data))
    full_at = sorted(map(str, rng.sample(range(12), 2)), key=int)
    deaths = sorted(rng.sample(range(2, 12), 3))

    def go(runs: Path, resume: bool, die_at: int) -> int:
        given = [str(recipe), str(runs), str(resume), str(die_at), *full_at]
        return subprocess.run([sys.executable, "-c", KILLED, *given], check=False).returncode

    assert go(tmp_path / "straight", False, 99) == 0
    for number, die_at in enumerate(deaths):
        assert go(tmp_path / "killed", number > 0, die_at) == -signal.SIGKILL
    assert go(tmp_path / "killed", True, 99) == 0
    one, two = (weights(tmp_path / name) for name in ("straight", "killed"))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    newest = checkpoint.found(tmp_path / "killed/tiny/checkpoints")[0]
    assert checkpoint.read_state(newest).divide == 4
    assert [line["loss"] for line in lines(tmp_path / "straight")] == [
        line["loss"] for line in lines(tmp_path / "killed")
    ]


def run_out(monkeypatch: pytest.MonkeyPatch, until: int, kind: type = RuntimeError) -> None:
    """Memory runs out after the gradients of a micro-batch, until it is in so many parts."""
    real = StoryTrainer.compute_loss

    def full(self: StoryTrainer, model: Any, inputs: Any, *given: Any, **more: Any) -> Any:
        loss = real(self, model, inputs, *given, **more)
        if self.counts.divide < until and self.counts.step == 1:
            loss.backward()
            raise kind(FULL)
        return loss

    monkeypatch.setattr(StoryTrainer, "compute_loss", full)


@pytest.mark.parametrize("kind", [RuntimeError, torch.OutOfMemoryError])
def test_half_done_gradients_are_forgotten_and_the_parts_are_remembered(
    kind: type, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus, micro_batch_size=8, batch_size=16, steps=4)
    straight = start(tmp_path / "straight", data)
    run_out(monkeypatch, 4, kind)
    told = Told()
    outcome = start(tmp_path / "parts", data, told=told)
    assert outcome.finished
    assert sum("Memory ran out in step 2" in note for note in told.notes) == 2
    assert [line["divide"] for line in lines(tmp_path / "parts")] == [1, 4, 4, 4]
    for one, two in zip(lines(tmp_path / "straight"), lines(tmp_path / "parts"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
    assert outcome.counts.tokens == straight.counts.tokens
    # A resumed run goes on in parts.
    more = {**data, "steps": 6}
    start(tmp_path / "parts", more, resume=True)
    assert [line["divide"] for line in lines(tmp_path / "parts")][-2:] == [4, 4]


@pytest.mark.parametrize("what", ["pairs", "thumbs"])
def test_pairs_and_thumbs_too_are_computed_in_parts(
    what: str, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {"pairs": test_preferences, "thumbs": test_thumbs}[what]
    file = getattr(room, f"{what}_file")(tmp_path)
    recipe = room.recipe(
        models["llama"], file, method="lora", micro_batch_size=4, batch_size=8, steps=3
    )
    outcomes = [train(recipe, tmp_path / "straight", False, Announce())]
    run_out(monkeypatch, 4)
    outcomes.append(train(recipe, tmp_path / "parts", False, Announce()))
    found = []
    for outcome in outcomes:
        raw = (outcome.folder / "metrics.jsonl").read_text().splitlines()
        found.append([line for line in map(json.loads, raw) if "loss" in line])
    assert [line["divide"] for line in found[1]] == [1, 4, 4]
    for one, two in zip(*found, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)


def test_the_reference_of_thumbs_reads_in_parts_too(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabula.training.preferences.thumb_trainer import KTOTrainer, ThumbTrainer

    file = test_thumbs.thumbs_file(tmp_path)
    recipe = test_thumbs.recipe(models["llama"], file, method="lora", micro_batch_size=4, steps=2)
    straight = train(recipe, tmp_path / "straight", False, Announce())
    real = KTOTrainer.compute_ref_log_probs

    def full(self: Any, model: Any, batch: Any) -> Any:
        if len(batch["label"]) > 1 and self.last_score is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return real(self, model, batch)

    monkeypatch.setattr(KTOTrainer, "compute_ref_log_probs", full)
    monkeypatch.setattr(ThumbTrainer, "measure", lambda self, held_out: straight.after)
    told = Told()
    parts = train(recipe, tmp_path / "parts", False, told)
    assert sum("where the reference read step 1" in note for note in told.notes) == 2
    for one, two in zip(*(_losses(o) for o in (straight, parts)), strict=True):
        assert two == pytest.approx(one, abs=1e-5)


def _losses(outcome: Outcome) -> list[float]:
    raw = (outcome.folder / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, raw) if "loss" in line]


def test_memory_that_does_not_hold_the_smallest_part_ends_the_run_with_its_size(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_out(monkeypatch, 10**9)
    data = recipe_data(corpus, micro_batch_size=4, batch_size=4, checkpoint={"every": 1})
    with pytest.raises(FabulaError) as caught:
        start(tmp_path, data)
    said = str(caught.value)
    assert "\n" not in said
    assert "Memory ran out in step 2 (DefaultCPUAllocator: can't allocate memory" in said
    assert "tokens at once); set gradient_checkpointing: true or lower sequence_length" in said
    tokens = int(said.split(" tokens at once")[0].rsplit("(", 1)[1].replace(",", ""))
    assert tokens <= 512
    monkeypatch.undo()
    assert start(tmp_path, data, resume=True).finished


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: StoryTrainer, *given: Any, **more: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(StoryTrainer, "compute_loss", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        start(tmp_path, recipe_data(corpus))


def test_held_out_documents_are_scored_in_halves_where_memory_runs_out(
    corpus: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = str(models["llama"])
    data = recipe_data(corpus, base_model=base, micro_batch_size=4, batch_size=4)
    recipe = Recipe.model_validate(data)
    tokenizer = open_tokenizer(base)
    held_out = HeldOut(recipe, tokenizer, tokenizer.pad)
    model = load_base(base, recipe)
    loss_of = choose(model, 700)
    expected = held_out.score(loss_of, model)
    real = LossOf.each

    def full(self: LossOf, batch: Any) -> Any:
        if batch["input_ids"].numel() > 600:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return real(self, batch)

    monkeypatch.setattr(LossOf, "each", full)
    found = held_out.score(loss_of, model)
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.documents == expected.documents

    def none(self: LossOf, batch: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(LossOf, "each", none)
    with pytest.raises(FabulaError, match=r"held-out document [a-z]+-\d+ of \d+ tokens"):
        held_out.score(loss_of, model)


def test_a_loss_that_is_no_number_names_the_documents_of_its_micro_batch_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no weight has been touched by it."""
    data = recipe_data(corpus, packing=False, batch_size=4, checkpoint={"every": 1})
    seen: list[list[str]] = []
    real, number = StoryTrainer.loss_sum, [0]

    def broken(self: StoryTrainer, model: Any, batch: Any) -> Any:
        loss = real(self, model, batch)
        number[0] += 1
        if number[0] == 7:  # the third micro-batch of the second step
            seen.append([load.ids for load in self._loads][2])
            return loss * float("inf")
        return loss

    monkeypatch.setattr(StoryTrainer, "loss_sum", broken)
    with pytest.raises(FabulaError) as caught:
        start(tmp_path, data)
    (ids,) = seen
    assert f"The loss of step 2 is inf (documents {ids[0]})" in str(caught.value)
    assert all(bool(t.isfinite().all()) for t in weights(tmp_path).values())


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_touched(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StoryTrainer.training_step

    def broken(self: StoryTrainer, *given: Any) -> Any:
        loss = real(self, *given)
        if self.counts.step == 1:
            next(p for p in self.network.parameters() if p.grad is not None).grad[0] = torch.nan
        return loss

    monkeypatch.setattr(StoryTrainer, "training_step", broken)
    with pytest.raises(FabulaError, match=r"gradient of step 2 is nan \(documents [a-z]+-\d+"):
        start(tmp_path, recipe_data(corpus, checkpoint={"every": 1}))
    assert all(bool(t.isfinite().all()) for t in weights(tmp_path).values())


@pytest.mark.slow
def test_a_loss_that_leaves_what_it_was_stops_the_run(corpus: Path, tmp_path: Path) -> None:
    """What the embedded model can is lost in a few steps at a rate far too high."""
    data = recipe_data(
        corpus, base_model="embedded", method="lora", steps=400, batch_size=1,
        schedule={"name": "linear", "warmup": 0.1}, optimiser={"learning_rate": 0.1, "clip": 0},
        evaluation={"max_documents": 0},
    )  # fmt: skip
    with pytest.raises(FabulaError) as caught:
        start(tmp_path, data)
    said = str(caught.value)
    assert "The loss diverges: " in said
    assert f"over the {DIVERGED_STEPS} steps up to step" in said
    assert "lower optimiser.learning_rate" in said
    assert len(lines(tmp_path)) < 60
