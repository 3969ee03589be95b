"""Models of any causal architecture with random weights, in 16 or 32 bits, or in four."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from fabula.planning.tracing import empty_model


def random_base(
    config: Any, dtype: torch.dtype, device: str, four_bits: Any | None = None
) -> nn.Module:
    """A model with random weights, in training mode.

    It is made layer by layer, so that a large one never lies in memory whole before it is
    quantised.

    Args:
        config: of transformers.
        dtype: of the weights that are not quantised.
        device: where.
        four_bits: how linear layers are quantised, a BitsAndBytesConfig; None: they are not.
    """
    from transformers.pytorch_utils import Conv1D

    with torch.device("meta"):
        model: Any = empty_model(config, dtype)
    output = model.get_output_embeddings()
    if four_bits is not None:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, (nn.Linear, Conv1D)) and child is not output:
                    setattr(module, name, _in_four_bits(child, four_bits, dtype, device))
        model.is_loaded_in_4bit = True  # what PEFT asks for
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                made = torch.empty(parameter.shape, dtype=dtype, device=device)
                norm = "norm" in type(module).__name__.lower()
                made.fill_(1.0) if norm else made.normal_(0, 0.02)
                setattr(module, name, nn.Parameter(made))
    for name, module in list(model.named_modules()):
        if "rotary" in type(module).__name__.lower():
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], type(module)(config).to(device))
    model.tie_weights()
    left = [name for name, buffer in model.named_buffers() if buffer.is_meta]
    assert not left, left
    result: nn.Module = model.train()
    return result


def _in_four_bits(layer: Any, how: Any, dtype: torch.dtype, device: str) -> nn.Module:
    bnb: Any = importlib.import_module("bitsandbytes")
    rows, columns = layer.weight.shape
    if not isinstance(layer, nn.Linear):
        rows, columns = columns, rows  # GPT-2 keeps them the other way round
    settings = {
        "quant_type": how.bnb_4bit_quant_type,
        "compress_statistics": how.bnb_4bit_use_double_quant,
    }
    made: nn.Module = bnb.nn.Linear4bit(
        columns, rows, bias=layer.bias is not None, device="meta",
        compute_dtype=how.bnb_4bit_compute_dtype, **settings,
    )  # fmt: skip
    weight = torch.empty((rows, columns), dtype=dtype, device=device).normal_(0, 0.02)
    made.weight = bnb.nn.Params4bit(weight, requires_grad=False, module=made, **settings).to(device)
    made.support_avx512bf16_for_cpu = False  # type: ignore[assignment]  # see `models.load_base`
    return made
