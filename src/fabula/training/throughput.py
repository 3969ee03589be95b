"""Work and rates: the FLOP that training takes, and what a machine can do at most.

Products take 2 FLOP for each parameter and token forward, 2 for the gradient of the inputs, and 2
for the gradient of the weights where these learn (Kaplan et al. 2020, arXiv:2001.08361): 6 in all
where they learn, and 4 where they are frozen beside an adapter. Attention takes 4 for each pair of
tokens that see each other, dimension and layer forward, and 12 with its gradients. What is computed
again to save memory, and what a reference or a teacher computes, is not counted: it is the price of
a method, not its work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fabula.training.packing import Batch


@dataclass(frozen=True, slots=True)
class Work:
    """What a model takes.

    Attributes:
        products: FLOP a token.
        attention: FLOP a pair of tokens.
    """

    products: float
    attention: float

    def of(self, tokens: int, pairs: float) -> float:
        """FLOP of some tokens, with so many pairs that see each other."""
        return self.products * tokens + self.attention * pairs


def work_of(model: nn.Module, config: Any) -> Work:
    """What a model takes, adapters in its layers.

    Args:
        config: of transformers.
    """
    from transformers.pytorch_utils import Conv1D

    products = 0.0
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(module, (nn.Linear, Conv1D)) or weight is None:
            continue
        # A byte of packed weights holds two.
        size = weight.numel() * (1 if weight.is_floating_point() else 2)
        products += size * (6 if weight.requires_grad else 4)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Work(products, 12.0 * heads * size * config.num_hidden_layers)


def seen_pairs(batch: Batch) -> float:
    """Pairs of tokens that see each other in a batch: each sees itself and those before it."""
    positions = batch.get("position_ids")
    if positions is not None:
        return float((positions + 1).sum())
    rows, width = map(int, batch["input_ids"].shape)
    return rows * width * (width + 1) / 2


def product_rate(device: str, kind: torch.dtype) -> float:
    """FLOP/s of large square products on random data: the ceiling of all that is measured here."""
    on_gpu = device.startswith("cuda")
    size, times = (8192, 20) if on_gpu else (1024, 5)
    while True:
        try:
            # Zeros and ones would take less power, and so be faster.
            one, two = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
            for _ in range(3):
                one @ two
            break
        except torch.OutOfMemoryError:  # a large model leaves little room
            if size <= 512:
                raise
            size //= 2
    if on_gpu:
        event: Any = torch.cuda.Event
        start, end = (event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(times):
            one @ two
        end.record()
        torch.cuda.synchronize()
        return float(times * 2 * size**3 / (start.elapsed_time(end) / 1e3))
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        one @ two
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best
