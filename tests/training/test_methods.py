"""Full, LoRA and QLoRA on the real architectures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, Outcome, train

torch = pytest.importorskip("torch")


def losses(outcome: Outcome) -> list[float]:
    lines = (outcome.folder / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


def start(tmp_path: Path, data: dict[str, Any]) -> Outcome:
    return train(Recipe.model_validate(data), tmp_path, False, Announce())


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2", "qwen3"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora"])
def test_every_method_learns_on_every_architecture(
    kind: str, method: str, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(
        corpus,
        base_model=str(models[kind]),
        method=method,
        steps=5,
        optimiser={"learning_rate": 1e-2},
    )
    outcome = start(tmp_path, data)
    assert outcome.finished
    assert outcome.before is not None
    assert outcome.after is not None
    assert outcome.after.loss < outcome.before.loss - 0.05
    assert losses(outcome)[-1] < losses(outcome)[0]
    assert outcome.model is not None
    names = {p.name for p in outcome.model.iterdir()}
    assert "CARD.md" in names
    assert "tokenizer.json" in names
    if method == "full":
        assert "model.safetensors" in names
        assert ("graph.onnx" in names) == (kind == "llama")
    else:
        assert {"adapter_config.json", "adapter_model.safetensors"} <= names
        assert 0 < outcome.parameters[0] < outcome.parameters[1]


def test_an_adapter_names_its_base_as_the_recipe_does(
    models: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the folder that its weights were written out to, which may be gone tomorrow."""
    monkeypatch.setenv("FABULA_CACHE", str(tmp_path / "cache"))
    for base, named in (("embedded", "embedded"), (str(models["llama"]), str(models["llama"]))):
        data = recipe_data(corpus, base_model=base, method="lora", steps=1)
        outcome = start(tmp_path / named.replace("/", "-"), data)
        assert outcome.model is not None
        said = json.loads((outcome.model / "adapter_config.json").read_text("utf-8"))
        assert said["base_model_name_or_path"] == named


def test_qlora_keeps_every_linear_layer_in_four_bits(models: dict[str, Path], corpus: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    from fabula.training.models import add_adapter, load_base

    data = recipe_data(corpus, base_model=str(models["llama"]), method="qlora")
    recipe = Recipe.model_validate(data)
    model = add_adapter(load_base(str(models["llama"]), recipe), recipe)
    packed = [m for m in model.modules() if isinstance(m, Linear4bit)]
    assert len(packed) == 2 * 7
    assert all(m.weight.quant_state.quant_type == "nf4" for m in packed)
    assert all(m.weight.quant_state.nested for m in packed)
    adapters = [n for n, p in model.named_parameters() if p.requires_grad]
    assert len(adapters) == 2 * len(packed)


def test_an_evaluation_leaves_the_gradients_of_qlora_as_they_were(
    models: dict[str, Path], corpus: Path
) -> None:
    """bitsandbytes repacks 4-bit weights at evaluation on CPUs with AVX512_BF16 if it may."""
    from fabula.training.heldout import HeldOut
    from fabula.training.loss import choose
    from fabula.training.models import add_adapter, load_base
    from fabula.training.packing import collate
    from fabula.training.tokenizer import open_tokenizer

    data = recipe_data(corpus, base_model=str(models["llama"]), method="qlora")
    recipe = Recipe.model_validate(data)
    tokenizer = open_tokenizer(str(models["llama"]))
    held_out = HeldOut(recipe, tokenizer, tokenizer.pad)
    torch.manual_seed(0)
    model = add_adapter(load_base(str(models["llama"]), recipe), recipe)
    loss_of = choose(model, 700)
    batch = collate([held_out.documents[:1]], tokenizer.pad, 0.0)

    def gradients() -> list[Any]:
        model.zero_grad()
        loss_of(batch).backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    before = gradients()
    held_out.score(loss_of, model)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


def test_an_adapter_opens_in_plain_peft_and_gives_the_loss_that_was_reported(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    from peft import AutoPeftModelForCausalLM

    from fabula.training.heldout import HeldOut
    from fabula.training.loss import choose
    from fabula.training.tokenizer import open_tokenizer

    data = recipe_data(corpus, base_model=str(models["llama"]), method="lora")
    outcome = start(tmp_path, data)
    model = AutoPeftModelForCausalLM.from_pretrained(outcome.model)
    tokenizer = open_tokenizer(str(outcome.model))
    held_out = HeldOut(Recipe.model_validate(data), tokenizer, tokenizer.pad)
    again = held_out.score(choose(model, 700), model)
    assert outcome.after is not None
    assert again.loss == pytest.approx(outcome.after.loss, abs=1e-6)


def test_every_adapter_gets_a_gradient_also_when_activations_are_recomputed(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """LoRA's B starts at zero, so that A gets its first gradient in the second step."""
    from safetensors.torch import load_file

    data = recipe_data(
        corpus,
        base_model=str(models["llama"]),
        method="qlora",
        steps=2,
        gradient_checkpointing=True,
        evaluation={"max_documents": 0},
    )
    outcome = start(tmp_path, data)
    plain = start(tmp_path, {**data, "name": "plain", "gradient_checkpointing": False})
    checkpoints = [
        load_file(o.folder / "checkpoints/step-0000002/weights.safetensors")
        for o in (outcome, plain)
    ]
    for name, weight in checkpoints[0].items():
        assert bool((weight != 0).any()), name
        assert torch.allclose(weight, checkpoints[1][name], atol=1e-6), name
    for recomputed, kept in zip(losses(outcome), losses(plain), strict=True):
        assert recomputed == pytest.approx(kept, abs=1e-5)


@pytest.mark.parametrize("option", [{"rslora": True}, {"dora": True}])
def test_rslora_and_dora_learn(
    option: dict[str, bool], models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(corpus, base_model=str(models["llama"]), method="lora", lora=option)
    outcome = start(tmp_path, data)
    assert outcome.before is not None
    assert outcome.after is not None
    assert outcome.after.loss < outcome.before.loss


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
def test_a_compiled_model_learns_as_the_plain_one_does(corpus: Path, tmp_path: Path) -> None:
    plain = start(tmp_path, recipe_data(corpus, name="plain", steps=2))
    made = start(tmp_path, recipe_data(corpus, name="compiled", steps=2, compile=True))
    assert losses(made) == pytest.approx(losses(plain), rel=1e-4)
    assert made.after is not None
    assert plain.after is not None
    assert made.after.loss == pytest.approx(plain.after.loss, rel=1e-4)
    assert made.model is not None
    assert plain.model is not None
    names = [
        {*safetensors.torch.load_file(m / "model.safetensors")} for m in (made.model, plain.model)
    ]
    assert names[0] == names[1]


def test_compiling_without_a_compiler_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(FabulaError, match="needs a C\\+\\+ compiler"):
        start(tmp_path, recipe_data(corpus, compile=True))
    assert not (tmp_path / "tiny").exists()
