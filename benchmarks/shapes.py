"""Models in the shapes of published ones, with random weights: nothing is downloaded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
)

from fabula.planning.random_base import random_base

SHAPES: dict[str, Any] = {
    "llama-2-7b": LlamaConfig(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32, vocab_size=32000, max_position_embeddings=4096,
    ),
    "mistral-7b": MistralConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=32000, max_position_embeddings=32768,
        sliding_window=4096,
    ),
    "gpt2": GPT2Config(),
    "tiny": LlamaConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, vocab_size=6000, max_position_embeddings=2048,
    ),
}  # fmt: skip


def random_model(shape: str, device: str, nf4: bool) -> Any:
    """A causal language model in bfloat16 on `device`, its linear layers in NF4 if asked for."""
    config = copy.deepcopy(SHAPES[shape])  # choosing an attention writes into it
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )  # fmt: skip
    return random_base(config, torch.bfloat16, device, four_bits if nf4 else None)


def matrix_parameters(shape: str) -> int:
    """Parameters that every token is multiplied with: all but embeddings that are looked up."""
    config = SHAPES[shape]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    total = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    looked_up = model.get_input_embeddings().weight.numel()
    if getattr(config, "tie_word_embeddings", False):
        looked_up = 0  # the same matrix scores the tokens
    if hasattr(config, "n_positions") and hasattr(model, "transformer"):
        looked_up += model.transformer.wpe.weight.numel()
    return total - looked_up
