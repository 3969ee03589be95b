"""Attention that stays inside documents, each computed on its own.

transformers isolates packed documents by a dense [row, row] mask, which computes every pair and
throws most away. Here each document attends causally by itself through PyTorch's fused kernels:
the same result, and the cost of the documents alone. On GPUs in half precision all documents of a
row go through one call (FlashAttention's variable lengths; Dao 2023, arXiv:2307.08691); elsewhere
it is one call a document.

transformers hands a four-dimensional attention mask through to the attention function as it is;
so the lengths of the documents travel there, as an integer tensor of shape [1, 1, 1, documents].
"""

from __future__ import annotations

import functools
from collections.abc import Callable
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
    lengths = (ends - starts).view(1, 1, 1, -1)
    # Read back once a batch, not once a layer: a GPU would have to stop for each.
    lengths.documents = lengths.flatten().tolist()  # type: ignore[attr-defined]
    return lengths


def _listed(lengths: torch.Tensor) -> list[int]:
    found: list[int] | None = getattr(lengths, "documents", None)
    return lengths.flatten().tolist() if found is None else found


def _ends(lengths: torch.Tensor) -> torch.Tensor:
    """Where documents end, with 0 in front: int32, [documents + 1]."""
    ends: torch.Tensor | None = getattr(lengths, "ends", None)
    if ends is None:
        ends = torch.nn.functional.pad(lengths.flatten().cumsum(0), (1, 0)).to(torch.int32)
        lengths.ends = ends  # type: ignore[attr-defined]
    return ends


@functools.cache
def one_call_works(device: torch.device, kind: torch.dtype, size: int) -> bool:
    """Whether this machine attends over variable lengths in one call, and rightly.

    Args:
        size: of a head.
    """
    if device.type != "cuda" or kind not in (torch.bfloat16, torch.float16):
        return False
    try:
        lengths = document_lengths(torch.cat([torch.arange(n) for n in (5, 64, 1, 190)])[None])
        lengths = lengths.to(device)
        maker = torch.Generator(device).manual_seed(0)
        q, k, v = (
            torch.randn(2, 260, size, generator=maker, device=device, dtype=kind) for _ in range(3)
        )
        expected = one_by_one(q, k, v, _listed(lengths), 0.0, None, None).transpose(0, 1)
        q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        found = _in_one_call(q, k, v, lengths, None, None)
        return bool((found - expected).abs().max() <= 0.03)
    except (ImportError, RuntimeError, TypeError, NotImplementedError):
        return False


def _in_one_call(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """All documents at once; tensors are [tokens, heads, size]."""
    from torch.nn.attention.varlen import varlen_attn

    longest, ends = max(_listed(lengths)), _ends(lengths)
    q, k, v = (t.contiguous() for t in (query, key, value))
    back = -1 if window is None else window - 1
    attended = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scaling, window_size=(back, 0)
    )
    assert isinstance(attended, torch.Tensor)
    return attended


def one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: list[int],
    dropout: float,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """One call a document; tensors are [heads, tokens, size].

    Split and cat, whose gradients copy once, not once a document.
    """
    out = []
    parts = (torch.split(t, lengths, dim=1) for t in (query, key, value))
    for q, k, v in zip(*parts, strict=True):
        mask = None
        if window is not None and q.shape[1] > window:
            back = torch.arange(q.shape[1], device=q.device)
            distance = back[:, None] - back[None, :]
            mask = ((distance >= 0) & (distance < window))[None, None]
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
    return torch.cat(out, dim=1)


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
    rows, heads, width, size = query.shape
    kind = value.dtype
    parts = widened(query, key, value)
    with torch.autocast(query.device.type, enabled=False):
        if not dropout and one_call_works(query.device, parts[0].dtype, size):
            q, k, v = (t.transpose(1, 2).flatten(0, 1) for t in parts)
            out = _in_one_call(q, k, v, attention_mask, scaling, sliding_window)
        else:
            q, k, v = (t.transpose(0, 1).flatten(1, 2) for t in parts)
            lengths = _listed(attention_mask)
            out = one_by_one(q, k, v, lengths, dropout, scaling, sliding_window).transpose(0, 1)
    return out.to(kind).reshape(rows, width, heads, size), None


def widened(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The three as they are computed with: as many heads each, and float32 on CPUs.

    On CPUs PyTorch's bfloat16 kernel is no faster, and keeps code for every length it meets.
    """
    inner = torch.float32 if query.device.type == "cpu" else value.dtype
    query, key, value = (t.to(inner) for t in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
    return query, key, value


def register(name: str = NAME, function: Callable[..., Any] = attend) -> None:
    """Make an attention known to transformers, by default that of documents.

    What it has to know of a row travels as a ready-made mask.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(name, function)
    # Never called, because the mask is ready-made; the name has to be known.
    AttentionMaskInterface.register(name, lambda *args, **kwargs: None)
