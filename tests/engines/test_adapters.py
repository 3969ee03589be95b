"""LoRA adapters: what numpy merges is what PEFT computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from fabula.engines import open_engine
from fabula.engines.embedded import EmbeddedEngine
from fabula.engines.transformers_engine import TransformersEngine
from fabula.errors import FabulaError

IDS = [0, *range(20, 60)]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def peft_scores(base: Path, adapter: Path) -> np.ndarray:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0, -1].numpy()


@pytest.mark.parametrize("rslora", [False, True])
def test_merge_is_what_peft_computes(
    tiny_model: Path, make_adapter: Callable[..., Path], rslora: bool
) -> None:
    adapter = make_adapter(tiny_model, ALL, use_rslora=rslora, rank_pattern={"q_proj": 2})
    expected = peft_scores(tiny_model, adapter)
    merged = EmbeddedEngine.open(tiny_model, adapter, precision="float32").start(IDS, 1).scores
    plain = EmbeddedEngine.open(tiny_model, precision="float32").start(IDS, 1).scores
    assert np.abs(merged[0] - expected).max() < 1e-4
    assert np.abs(plain[0] - expected).max() > 0.1  # the adapter does change something
    beside = TransformersEngine.open(tiny_model, adapter).start(IDS, 1).scores
    assert np.abs(beside[0] - expected).max() < 1e-4


def test_an_adapter_brings_its_base(
    tiny_model: Path, tiny_gpt2: Path, make_adapter: Callable[..., Path]
) -> None:
    assert isinstance(open_engine(make_adapter(tiny_model, ALL)), EmbeddedEngine)
    adapter = make_adapter(tiny_gpt2, ["c_attn"])
    engine = open_engine(adapter)
    assert isinstance(engine, TransformersEngine)
    expected = peft_scores(tiny_gpt2, adapter)
    assert np.abs(engine.start(IDS, 1).scores[0] - expected).max() < 1e-4


def test_a_base_beside_the_adapter(tiny_model: Path, make_adapter: Callable[..., Path]) -> None:
    adapter = make_adapter(tiny_model, ["q_proj"], named="../base")
    (adapter.parent / "base").symlink_to(tiny_model)
    assert isinstance(open_engine(adapter), EmbeddedEngine)


def test_what_numpy_does_not_merge_goes_to_transformers(
    tiny_model: Path, make_adapter: Callable[..., Path]
) -> None:
    adapter = make_adapter(tiny_model, ["q_proj"], use_dora=True)
    with pytest.raises(FabulaError, match="use_dora"):
        EmbeddedEngine.open(tiny_model, adapter)
    engine = open_engine(adapter)
    assert isinstance(engine, TransformersEngine)
    expected = peft_scores(tiny_model, adapter)
    assert np.abs(engine.start(IDS, 1).scores[0] - expected).max() < 1e-4


def _rewrite(adapter: Path, **changes: object) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_adapters_that_cannot_be_merged_are_refused(
    tiny_model: Path, make_adapter: Callable[..., Path]
) -> None:
    adapter = make_adapter(tiny_model, ["q_proj"])
    weights = adapter / "adapter_model.safetensors"
    whole, tensors = weights.read_bytes(), load_file(weights)
    name = min(tensors)

    def refused(match: str) -> None:
        with pytest.raises(FabulaError, match=match):
            EmbeddedEngine.open(tiny_model, adapter)

    weights.write_bytes(whole[:-7])
    refused("damaged")
    save_file({n: t for n, t in tensors.items() if n != name}, weights)
    refused("half of the pair")
    save_file({**tensors, name: tensors[name][:, :-2].copy()}, weights)
    refused("another base model")
    save_file({n.replace("layers.1", "layers.7"): t for n, t in tensors.items()}, weights)
    refused("does not fit its base")
    save_file({**tensors, name: np.full_like(tensors[name], np.nan)}, weights)
    refused("not finite")
    weights.unlink()
    refused("adapter_model.safetensors")
    weights.write_bytes(whole)
    _rewrite(adapter, lora_alpha="much")
    refused("lora_alpha")
    _rewrite(adapter, lora_alpha=8, base_model_name_or_path=None)
    with pytest.raises(FabulaError, match="does not say which model"):
        open_engine(adapter)
    _rewrite(adapter, base_model_name_or_path="./gone")
    with pytest.raises(
        FabulaError, match=r"lacks its base model\. There is no model folder '\./gone'"
    ):
        open_engine(adapter)
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(FabulaError, match="JSON object"):
        open_engine(adapter)
