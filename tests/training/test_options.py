"""What a recipe may ask for beside: NEFTune, LoRA+, rsLoRA and DoRA on every kind of layer."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
from test_methods import losses, start
from tiny_recipe import recipe_data

from fabula.training import models as making
from fabula.training.adapters import attach
from fabula.training.loss import choose
from fabula.training.neftune import Noise, token_lengths
from fabula.training.optimiser import build_optimiser
from fabula.training.packing import Document, collate
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce

torch = pytest.importorskip("torch")

DOCUMENTS = [Document(str(n), 0, [5 + n] * size, [5 + n] * size) for n, size in enumerate((9, 30))]


def test_the_length_is_that_of_the_document() -> None:
    batch = collate([DOCUMENTS], 2, 1.0)
    lengths = token_lengths(batch["position_ids"])
    assert lengths[0, :40].tolist() == [9] * 9 + [30] * 30 + [64 - 39]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("fused", [True, False])
def test_noise_is_added_in_training_only_and_as_the_paper_has_it(
    kind: str, method: str, fused: bool, models: dict[str, Path], corpus: Path
) -> None:
    """Whichever way the loss is computed, what the layers get has moved by alpha / sqrt(L d)."""
    data = recipe_data(corpus, base_model=str(models[kind]), method=method)
    recipe = Recipe.model_validate(data)
    model = making.load_base(str(models[kind]), recipe)
    loss_of = choose(model, 700)
    loss_of.fused = loss_of.fused and fused
    if method == "lora":
        model = attach(model, recipe, None)
        loss_of.inner = model.get_base_model()
    batch = collate([DOCUMENTS], 2, 1.0)
    layer: Any = loss_of.inner.get_input_embeddings()
    Noise(loss_of.inner, 10.0)
    seen: list[Any] = []
    layer.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    plain = layer.weight[batch["input_ids"]].detach()
    model.eval()
    quiet = loss_of(batch).item()
    assert torch.equal(seen[-1], plain)
    model.train()
    noisy = loss_of(batch).item()
    assert noisy != quiet
    moved = (seen[-1] - plain).abs()[0]
    start = 0
    for document in DOCUMENTS:
        part = moved[start : start + len(document)]
        start += len(document)
        most = 10.0 / math.sqrt(len(document) * 64)
        assert 0.9 * most < part.max() <= most * 1.001
        assert part.mean() == pytest.approx(most / 2, rel=0.15)
    model.eval()
    assert loss_of(batch).item() == quiet


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_a_stopped_run_with_noise_goes_on_bitwise_equal(
    method: str, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(
        corpus,
        base_model=str(models["llama"]),
        method=method,
        neftune_alpha=5.0,
        lora={"dropout": 0.1, "plus_ratio": 4.0},
        evaluation={"max_documents": 2, "every": 2},
    )
    recipe = Recipe.model_validate(data)

    class Stop(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 2 and "loss" in line:
                signal.raise_signal(signal.SIGTERM)

    whole = train(recipe, tmp_path / "a", False, Announce())
    assert not train(recipe, tmp_path / "b", False, Stop()).finished
    rest = train(recipe, tmp_path / "b", True, Announce())
    assert whole.model is not None
    assert rest.model is not None
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (whole.model / name).read_bytes() == (rest.model / name).read_bytes()
    plain = start(tmp_path / "c", {**data, "neftune_alpha": None})
    assert losses(plain) != losses(whole)
    assert plain.before is not None
    assert whole.before is not None
    assert plain.before.loss == whole.before.loss


def test_lora_plus_lets_b_learn_faster(models: dict[str, Path], corpus: Path) -> None:
    data = recipe_data(
        corpus, base_model=str(models["llama"]), method="lora", lora={"plus_ratio": 16.0}
    )
    recipe = Recipe.model_validate(data)
    model = attach(making.load_base(str(models["llama"]), recipe), recipe, None)
    names = {id(p): n for n, p in model.named_parameters()}
    groups = build_optimiser(model, recipe).param_groups
    rates = {names[id(p)]: group["lr"] for group in groups for p in group["params"]}
    assert len(rates) == 2 * 2 * 7
    for name, rate in rates.items():
        assert rate == pytest.approx(3e-3 * (16 if "lora_B" in name else 1))


@pytest.mark.parametrize("option", [{"rslora": True}, {"dora": True}, {"plus_ratio": 4.0}])
@pytest.mark.parametrize(("kind", "method"), [("llama", "qlora"), ("gpt2", "lora")])
def test_options_of_the_adapter_learn_on_four_bits_and_on_conv1d(
    option: dict[str, Any],
    kind: str,
    method: str,
    models: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
) -> None:
    from peft import AutoPeftModelForCausalLM

    data = recipe_data(
        corpus,
        base_model=str(models[kind]),
        method=method,
        lora={"r": 8, **option},
        optimiser={"learning_rate": 1e-2},
    )
    outcome = start(tmp_path, data)
    assert outcome.before is not None
    assert outcome.after is not None
    assert outcome.after.loss < outcome.before.loss - 0.03
    assert outcome.model is not None
    said = json.loads((outcome.model / "adapter_config.json").read_text())
    assert said["use_dora"] == option.get("dora", False)
    assert said["use_rslora"] == option.get("rslora", False)
    AutoPeftModelForCausalLM.from_pretrained(outcome.model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"neftune_alpha": 5.0, "preferences": {"stories": 2}}, "neftune_alpha"),
        ({"lora": {"plus_ratio": 2.0}, "optimiser": {"name": "muon"}}, "not with muon"),
        ({"neftune_alpha": 0}, "greater than 0"),
    ],
)
def test_options_that_do_not_go_together(changes: dict[str, Any], words: str, corpus: Path) -> None:
    data = recipe_data(corpus, base_model="embedded", method="lora", **changes)
    with pytest.raises(ValueError, match=words):
        Recipe.model_validate(data)
