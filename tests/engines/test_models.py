"""`fabula models`: what is listed, and what is said of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from fabula.engines import open_engine
from fabula.engines.catalogue import hub_cache, list_models
from fabula.engines.embedded import EmbeddedEngine
from fabula.errors import FabulaError


@pytest.fixture
def runs(
    tmp_path: Path, tiny_model: Path, tiny_gpt2: Path, make_adapter: Callable[..., Path]
) -> Path:
    folder = tmp_path / "runs"
    for name, model in {"full": tiny_model, "other": tiny_gpt2}.items():
        shutil.copytree(model, folder / name / "final")
        (folder / name / "recipe.yaml").write_text("name: x\n")
    shutil.copytree(make_adapter(tiny_model, ["q_proj"]), folder / "lora")
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "recipe.yaml").write_text("name: x\n")
    shutil.copytree(tiny_model, folder / "damaged")
    (folder / "damaged" / "model.safetensors").write_bytes(b"{}")
    (folder / "notes").mkdir()
    (folder / "file.txt").write_text("no model")
    return folder


def test_runs_are_listed(runs: Path, tiny_model: Path) -> None:
    found = {Path(e.model).name: e for e in list_models(runs) if e.kind == "run"}
    assert list(found) == ["damaged", "full", "lora", "other", "unfinished"]
    parameters = AutoModelForCausalLM.from_pretrained(tiny_model).num_parameters()
    full, lora, other = found["full"], found["lora"], found["other"]
    assert (full.engine, full.parameters, full.needs) == ("embedded", parameters, None)
    assert full.size == (tiny_model / "model.safetensors").stat().st_size
    assert (lora.engine, lora.base, lora.needs) == ("embedded", str(tiny_model), None)
    # Rank 4 beside two query layers of 64 by 64.
    assert lora.parameters == parameters + 2 * 2 * 4 * 64
    assert (other.engine, other.memory, other.needs) == (
        "transformers",
        4 * other.parameters,
        None,
    )
    assert "damaged" in str(found["damaged"].needs)
    assert "--resume" in str(found["unfinished"].needs)


def test_runs_open_by_their_folder(runs: Path) -> None:
    assert isinstance(open_engine(runs / "full"), EmbeddedEngine)
    assert open_engine(runs / "other").name == str(runs / "other" / "final")
    with pytest.raises(FabulaError, match="has not come to its end"):
        open_engine(runs / "unfinished")


def test_the_cache_of_the_hub(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    assert hub_cache() == {}
    for name, classes in {"writes": ["LlamaForCausalLM"], "reads": ["BertModel"]}.items():
        snapshot = cache / f"models--tale--{name}" / "snapshots" / ("a" * 40)
        shutil.copytree(tiny_model, snapshot)
        (snapshot / "graph.onnx").unlink()
        config = json.loads((snapshot / "config.json").read_text())
        (snapshot / "config.json").write_text(json.dumps({**config, "architectures": classes}))
    entries = [e for e in list_models(tmp_path) if e.kind == "hub"]
    assert [(e.model, e.engine) for e in entries] == [("tale/writes", "transformers")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fabula", "models", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_line(runs: Path, tiny_model: Path) -> None:
    listed = json.loads(run("--json", "--runs", str(runs)).stdout)
    assert {"embedded", str(runs / "full")} <= {m["model"] for m in listed["models"]}
    shown = run("--runs", str(runs))
    assert shown.returncode == 0
    assert "unfinished needs:" in shown.stdout.replace("\n", "")
    graph = runs / "full" / "final" / "graph.onnx"
    graph.unlink()
    assert run("--graph", str(graph.parent)).returncode == 0
    assert graph.read_bytes() == (tiny_model / "graph.onnx").read_bytes()
    refused = run("--graph", str(runs / "other" / "final"), "--json")
    assert refused.returncode == 2
    assert "runs Llama-architecture models only" in json.loads(refused.stdout)["error"]
