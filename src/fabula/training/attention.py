"""Attention that stays inside documents, each computed on its own.

transformers isolates packed documents by a dense [row, row] mask, which computes every pair and
throws most away. Here each document attends causally by itself through PyTorch's fused kernel:
the same result, and the cost of the documents alone.

transformers hands a four-dimensional attention mask through to the attention function as it is;
so the lengths of the documents travel there, as an integer tensor of shape [1, 1, 1, documents].
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

NAME = "fabula_documents"


def document_lengths(position_ids: torch.Tensor) -> torch.Tensor:
    """Lengths of the documents of packed rows, in order, shape [1, 1, 1, documents].

    Args:
        position_ids: [rows, width], from 0 in each document.
    """
    flat = position_ids.flatten()
    starts = torch.nonzero(flat == 0).flatten()
    ends = torch.cat([starts[1:], starts.new_tensor([flat.numel()])])
    return (ends - starts).view(1, 1, 1, -1)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each document.

    Args:
        query: [rows, heads, width, size]; key and value may have fewer heads.
        attention_mask: what `document_lengths` returns.
        sliding_window: a token sees this many tokens back, itself among them.

    Returns:
        [rows, width, heads, size], and None for the weights that nobody asked for.
    """
    rows, heads, width, _ = query.shape
    kind = value.dtype
    # On CPUs PyTorch's bfloat16 kernel is no faster, and keeps code for every length it meets.
    inner = torch.float32 if query.device.type == "cpu" else kind
    query, key, value = query.to(inner), key.to(inner), value.to(inner)
    groups = heads // key.shape[1]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    lengths = attention_mask.flatten().tolist()
    # [heads, rows * width, size]; split and cat, whose gradients copy once, not once a document.
    parts = [t.transpose(0, 1).reshape(heads, rows * width, -1) for t in (query, key, value)]
    out = []
    for q, k, v in zip(*(torch.split(t, lengths, dim=1) for t in parts), strict=True):
        mask = None
        if sliding_window is not None and q.shape[1] > sliding_window:
            back = torch.arange(q.shape[1], device=q.device)
            distance = back[:, None] - back[None, :]
            mask = ((distance >= 0) & (distance < sliding_window))[None, None]
        with torch.autocast(q.device.type, enabled=False):
            attended = scaled_dot_product_attention(
                q[None],
                k[None],
                v[None],
                attn_mask=mask,
                dropout_p=dropout,
                scale=scaling,
                is_causal=mask is None,
            )
        out.append(attended[0])
    joined = torch.cat(out, dim=1).transpose(0, 1).to(kind)
    return joined.reshape(rows, width, heads, -1), None


def register() -> None:
    """Make the attention known to transformers under `NAME`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    # Never called, because the lengths come as a ready-made mask; the name has to be known.
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
