"""The configs of models: of folders, of the hub, and of the recipes' bases without either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabula.engines.choose import EMBEDDED
from fabula.training.models import read_config, resolve

_LLAMA = {
    "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "vocab_size": 32_000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False,
}  # fmt: skip


def _llama(hidden: int, inner: int, layers: int, heads: int, kv: int, **more: Any) -> Any:
    return {
        **_LLAMA, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv, **more,
    }  # fmt: skip


def _gpt2(size: int, layers: int, heads: int) -> Any:
    return {"model_type": "gpt2", "n_embd": size, "n_layer": layers, "n_head": heads}


KNOWN: dict[str, dict[str, Any]] = {
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "mistralai/Mistral-7B-v0.1": _llama(
        4096, 14_336, 32, 32, 8, model_type="mistral", max_position_embeddings=32_768,
        sliding_window=4096,
    ),
    "meta-llama/Llama-2-7b-hf": _llama(4096, 11_008, 32, 32, 32),
    "meta-llama/Llama-2-13b-hf": _llama(5120, 13_824, 40, 40, 40),
    "meta-llama/Llama-3.1-8B": _llama(
        4096, 14_336, 32, 32, 8, vocab_size=128_256, max_position_embeddings=131_072
    ),
    "Qwen/Qwen3-8B": _llama(
        4096, 12_288, 36, 32, 8, model_type="qwen3", head_dim=128, vocab_size=151_936,
        max_position_embeddings=40_960, rms_norm_eps=1e-6,
    ),
}  # fmt: skip
"""Shapes as their authors publish them in `config.json`."""

SHORT = {name.rpartition("/")[2].lower(): name for name in KNOWN} | {
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "llama-2-13b": "meta-llama/Llama-2-13b-hf",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
}


def config_of(model: str) -> Any:
    """The config of a model: a folder, 'embedded', one of KNOWN (also by SHORT), or a hub id.

    Raises:
        FabulaError: there is none of this name, or it is no causal language model.
    """
    from transformers import AutoConfig

    known = KNOWN.get(model) or KNOWN.get(SHORT.get(model.lower(), ""))
    if model == EMBEDDED or Path(model).expanduser().exists() or known is None:
        return read_config(resolve(model))
    settings = dict(known)
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def is_conv1d(model: str) -> bool:
    """Whether its layers are GPT-2's, which 4 bits would have to turn round first."""
    return bool(config_of(model).model_type == "gpt2")
