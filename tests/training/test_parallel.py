"""Several processes: DDP and FSDP2 over gloo lose what one process loses, and are what they say."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import test_picks
import test_preferences
import test_thumbs
import yaml
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training import checkpoint, parallel
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, train

torch = pytest.importorskip("torch")

TRAIN = """
import json, sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from fabula.training import parallel
from fabula.training.recipe import load_recipe
from fabula.training.run import Announce, train
from fabula.training.trainer import StoryTrainer

torch.set_num_threads(1)
jobs, told = json.loads(Path(sys.argv[1]).read_text()), []
run = StoryTrainer.train


def look(self):
    learns = [p for p in self.network.parameters() if p.requires_grad]
    run(self)
    here = [p.to_local() if isinstance(p, DTensor) else p for p in learns]
    told.append(
        {
            "parted": all(isinstance(p, DTensor) for p in learns),
            "any_parted": any(isinstance(p, DTensor) for p in self.network.parameters()),
            "whole": sum(p.numel() for p in learns),
            "here": sum(p.numel() for p in here),
            "computed": self.computed,
        }
    )


step = StoryTrainer._accumulate


def count(self, model, inputs, weight):
    self.computed = getattr(self, "computed", []) + [[number for number, _ in inputs]]
    return step(self, model, inputs, weight)


StoryTrainer.train, StoryTrainer._accumulate = look, count
for recipe, runs, resume in jobs:
    train(load_recipe(Path(recipe)), Path(runs), resume, Announce())
Path(sys.argv[1] + f".{parallel.world().rank}").write_text(json.dumps(told))
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*command: str, processes: int = 2) -> list[str]:
    return [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
        "--master-addr", "127.0.0.1", "--master-port", str(free_port()), *command,
    ]  # fmt: skip


def train_in_two(tmp_path: Path, jobs: list[tuple[Path, Path, bool]]) -> list[list[dict[str, Any]]]:
    """Carry out recipes in two processes; what each process tells of each."""
    script, listed = tmp_path / "train_in_two.py", tmp_path / "jobs.json"
    script.write_text(TRAIN)
    listed.write_text(json.dumps([(str(r), str(to), resume) for r, to, resume in jobs]))
    done = subprocess.run(
        torchrun(str(script), str(listed)),
        env=environment(), capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((tmp_path / f"jobs.json.{rank}").read_text()) for rank in range(2)]


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path


def figures(folder: Path) -> list[tuple[Any, ...]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    keys = ("step", "tokens", "loss_tokens", "padding", "learning_rate")
    return sorted({tuple(line.get(k) for k in keys) for line in lines}, key=str)


def losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line.get("loss", line.get("eval_loss")) for line in lines]


def learnt(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(checkpoint.found(folder / "checkpoints")[0] / "weights.safetensors")


METHODS = {
    "full": {},
    "lora": {"base": "gpt2", "method": "lora", "lora": {"dropout": 0.2}},
    "qlora": {"base": "llama", "method": "qlora", "gradient_checkpointing": True},
    "dora": {"base": "mistral", "method": "lora", "lora": {"dora": True}},
}


@pytest.mark.slow
def test_two_processes_lose_what_one_loses_and_share_the_work(
    corpus: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Dropout too is the same; and a run may go on with another number of processes."""
    jobs, recipes = [], {}
    for name, how in METHODS.items():
        more = {k: v for k, v in how.items() if k != "base"}
        if "base" in how:
            more["base_model"] = str(models[how["base"]])
        data = recipe_data(corpus, **more, batch_size=4, steps=3, checkpoint={"every": 2})
        recipes[name] = data
        train(Recipe.model_validate(data), tmp_path / f"one-{name}", False, Announce())
        for kind in ("ddp", "fsdp"):
            recipe = write(tmp_path / f"{name}-{kind}.yaml", {**data, "parallel": kind})
            jobs.append((recipe, tmp_path / f"{kind}-{name}", False))
    # Pairs, thumbs and picks, whose processes each keep the whole model.
    tuned = {
        "pairs": test_preferences.recipe(
            models["llama"], test_preferences.pairs_file(tmp_path), steps=3, batch_size=8,
            method="lora",
        ),
        "thumbs": test_thumbs.recipe(
            models["llama"], test_thumbs.thumbs_file(tmp_path), steps=3, method="lora"
        ),
        "picks": test_picks.recipe(models["llama"], test_picks.picks_file(tmp_path), steps=3),
    }  # fmt: skip
    for name, tuning in tuned.items():
        train(tuning, tmp_path / f"one-{name}", False, Announce())
        recipe = write(tmp_path / f"{name}-ddp.yaml", tuning.model_dump(mode="json"))
        jobs.append((recipe, tmp_path / f"ddp-{name}", False))
    # One process for two steps, and two that part the model for the third.
    half = {**recipes["full"], "steps": 2, "schedule": {"name": "constant", "warmup": 0.0}}
    whole = {**half, "steps": 3}
    train(Recipe.model_validate(whole), tmp_path / "straight", False, Announce())
    train(Recipe.model_validate(half), tmp_path / "changed", False, Announce())
    recipe = write(tmp_path / "changed.yaml", {**whole, "parallel": "fsdp"})
    jobs.append((recipe, tmp_path / "changed", True))
    told = train_in_two(tmp_path, jobs)

    for name in METHODS:
        one = tmp_path / f"one-{name}/tiny"
        for kind in ("ddp", "fsdp"):
            two = tmp_path / f"{kind}-{name}/tiny"
            assert figures(two) == figures(one)
            assert losses(two) == pytest.approx(losses(one), abs=2e-5)
            for key, tensor in learnt(one).items():
                assert torch.allclose(learnt(two)[key], tensor, atol=2e-4), (name, kind, key)
            assert {p.name for p in (one / "final").iterdir()} == {
                p.name for p in (two / "final").iterdir()
            }
    for name, tuning in tuned.items():
        one, two = (tmp_path / f"{kind}-{name}" / tuning.name for kind in ("one", "ddp"))
        assert figures(two) == figures(one)
        assert losses(two) == pytest.approx(losses(one), abs=2e-5)
    for rank, looks in enumerate(told):
        for number, (recipe, _, _) in enumerate(jobs):
            found = looks[number]
            if recipe.stem.endswith("ddp"):
                assert not found["any_parted"]
                assert found["here"] == found["whole"]
            else:
                assert found["parted"]
                assert found["here"] <= 0.51 * found["whole"]
            assert all(set(step) <= {rank, rank + 2} for step in found["computed"])
            assert all(rank in step for step in found["computed"])
    changed, straight = tmp_path / "changed/tiny", tmp_path / "straight/tiny"
    assert losses(changed)[-2:] == pytest.approx(losses(straight)[-2:], abs=2e-5)
    for key, tensor in learnt(straight).items():
        assert torch.allclose(learnt(changed)[key], tensor, atol=2e-4), key


@pytest.mark.slow
def test_accelerate_starts_fsdp2_and_a_signal_stops_all_with_a_checkpoint(
    corpus: Path, tmp_path: Path
) -> None:
    recipe = write(tmp_path / "r.yaml", recipe_data(corpus, steps=2000, log_every=1))
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--use_fsdp",
        "--fsdp_version", "2", "--num_processes", "2", "--main_process_port", str(free_port()),
        "-m", "fabula", "train", str(recipe), "--runs", str(tmp_path / "runs"),
    ]  # fmt: skip
    started = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / "runs/tiny/metrics.jsonl"
    end = time.monotonic() + 120
    while not (log.is_file() and '"loss"' in log.read_text()) and started.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=120)
    assert "2 processes, the model parted among them (FSDP2)" in said
    newest, _ = checkpoint.newest_whole(tmp_path / "runs/tiny/checkpoints")
    assert newest is not None, said
    state = checkpoint.read_state(newest)
    assert 0 < state.step < 2000
    assert not (tmp_path / "runs/tiny/final").exists()


def refused(monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], **env: str) -> str:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FabulaError) as caught:
        train(Recipe.model_validate(data), Path("nowhere"), False, Announce())
    return str(caught.value)


TWO = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


def test_launchers_that_would_do_something_else_are_refused(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = recipe_data(corpus)
    with monkeypatch.context() as m:
        said = refused(m, data, ACCELERATE_USE_CPU="True", MASTER_PORT="29500")
        assert "starts one process, whatever --num_processes says" in said
    with monkeypatch.context() as m:
        said = refused(m, data, **TWO, ACCELERATE_USE_FSDP="true", FSDP_VERSION="1")
        assert "--fsdp_version 2" in said
    with monkeypatch.context() as m:
        assert "DeepSpeed" in refused(m, data, **TWO, ACCELERATE_USE_DEEPSPEED="true")
    with monkeypatch.context() as m:
        assert "RANK or MASTER_ADDR" in refused(m, data, WORLD_SIZE="2")


def test_what_cannot_be_shared_is_refused_before_the_processes_meet(
    corpus: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {**TWO, "WORLD_SIZE": "3"}
    with monkeypatch.context() as m:
        said = refused(m, recipe_data(corpus, batch_size=4, micro_batch_size=1), **three)
        assert "4 micro-batches of 1, which 3 processes cannot share equally" in said
    base = {"base_model": str(models["llama"]), "parallel": "fsdp"}
    for change, named in (
        ({"optimiser": {"name": "muon"}}, "optimiser.name: muon"),
        ({"compile": True}, "compile"),
    ):
        with monkeypatch.context() as m:
            said = refused(m, recipe_data(corpus, **base, **change), **TWO)
            assert f"does not go with {named}" in said
    own = recipe_data(corpus, base_model=str(models["llama"]), preferences={"stories": 2})
    with monkeypatch.context() as m:
        assert "drawn by one process" in refused(m, own, **TWO)


def test_one_process_is_a_world_of_its_own() -> None:
    assert parallel.world() == parallel.World(0, 1, 0)
    assert parallel.totals([1.5, 2]) == [1.5, 2]
    assert parallel.highest(3.0) == 3.0
    assert parallel.of_first("a") == "a"
