"""Models in the shapes of published ones, with random weights: nothing is downloaded."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig

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
    """A causal language model in bfloat16 on `device`, its linear layers in NF4 if asked for.

    Built layer by layer, so that a 7B model never lies in memory whole in 16 bits before it is
    quantised.
    """
    config = copy.deepcopy(SHAPES[shape])  # choosing an attention writes into it
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for name, module in list(model.named_modules()):
        for child, layer in list(module.named_children()):
            if type(layer) is nn.Linear and nf4 and "lm_head" not in f"{name}.{child}":
                setattr(module, child, _quantised(layer, device))
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                made = torch.empty(parameter.shape, dtype=torch.bfloat16, device=device)
                made.fill_(1.0) if "norm" in type(module).__name__.lower() else made.normal_(
                    0, 0.02
                )
                setattr(module, name, nn.Parameter(made))
    for name, module in list(model.named_modules()):
        if "rotary" in type(module).__name__.lower():
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], type(module)(config).to(device))
    model.tie_weights()
    for name, buffer in list(model.named_buffers()):
        assert not buffer.is_meta, name
    model.is_loaded_in_4bit = nf4  # what PEFT asks for
    return model


def _quantised(layer: nn.Linear, device: str) -> nn.Module:
    import bitsandbytes as bnb

    made = bnb.nn.Linear4bit(
        layer.in_features, layer.out_features, bias=False, device="meta",
        compute_dtype=torch.bfloat16, quant_type="nf4", compress_statistics=True,
    )  # fmt: skip
    weight = torch.empty(layer.weight.shape, dtype=torch.bfloat16, device=device).normal_(0, 0.02)
    made.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=made
    ).to(device)
    return made


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


def matrix_rate(size: int = 8192) -> float:
    """TFLOP/s of a square bfloat16 product on random data, the ceiling of everything here."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(20):
        a @ b
    end.record()
    torch.cuda.synchronize()
    return 20 * 2 * size**3 / (start.elapsed_time(end) / 1e3) / 1e12
