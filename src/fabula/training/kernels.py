"""Liger's kernels in place of a model's own norms, rotary positions and gated layers (on a GPU).

Each is one kernel instead of several, which spares memory and launches (Hsu et al. 2024,
arXiv:2410.10989). The output layer and the loss stay ours (`loss.py`), which never hold all scores.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from fabula.errors import FabulaError
from fabula.training.models import evaluating

KINDS = ("llama", "mistral", "qwen2", "qwen3")
"""Architectures for which liger is used."""
GAP = 0.05
"""Largest difference of scores, relative to their spread: what rounding in 16 bits makes of it."""


def use_liger(model: nn.Module) -> None:
    """Put liger's kernels into a model that is on a GPU, and see that it still says the same.

    Raises:
        FabulaError: there is no GPU, no liger-kernel, the architecture is none of `KINDS`, or the
            scores are others with it.
    """
    inner: Any = model
    kind = inner.config.model_type
    if next(inner.parameters()).device.type != "cuda":
        raise FabulaError("'kernels: liger' needs a GPU; set kernels: torch.")
    if kind not in KINDS:
        raise FabulaError(
            f"'kernels: liger' is for {', '.join(KINDS)}, not for {kind}; set kernels: torch."
        )
    try:
        liger: Any = importlib.import_module("liger_kernel.transformers")
    except Exception:
        raise FabulaError(
            "'kernels: liger' needs liger-kernel: pip install 'fabula[gpu]'; or set kernels: torch."
        ) from None
    apply = getattr(liger, f"apply_liger_kernel_to_{kind}")
    check_same(
        inner, lambda: apply(model=inner, cross_entropy=False, fused_linear_cross_entropy=False)
    )


@torch.no_grad()
def check_same(model: Any, change: Any) -> None:
    """Make a change to a model that must not change its scores.

    Raises:
        FabulaError: it does.
    """
    size = int(model.get_input_embeddings().weight.shape[0])
    device = next(model.parameters()).device
    ids = (torch.arange(48, device=device) * 7919 % size)[None]
    with evaluating(model):
        before = model(input_ids=ids, use_cache=False).logits.float()
        change()
        after = model(input_ids=ids, use_cache=False).logits.float()
    gap = float((after - before).abs().max() / before.std())
    if not gap <= GAP:
        raise FabulaError(
            f"With 'kernels: liger' this model's scores differ by {gap:.2g} of their spread; set "
            "kernels: torch."
        )
