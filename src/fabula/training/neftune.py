"""NEFTune: noise on the embeddings while training (Jain et al. 2023, arXiv:2310.05914).

Each embedded token of a document of L tokens and d dimensions gets noise that is uniform between
-s and s, s = alpha / sqrt(L d). The Trainer's own hook takes for L the length of the row, which
holds many packed documents here, and so adds too little; this one looks at the documents.

The noise comes from PyTorch's own random state, which is set anew for each micro-batch, so that a
resumed run draws what one that was not stopped would have drawn. In evaluation there is none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fabula.training.attention import document_lengths


def token_lengths(position_ids: Tensor) -> Tensor:
    """Length of the document that each token stands in, shape [rows, width].

    Args:
        position_ids: [rows, width], from 0 in each document.
    """
    lengths = document_lengths(position_ids).flatten()
    return lengths.repeat_interleave(lengths).view(position_ids.shape)


class Noise:
    """Adds the noise to a model's embeddings wherever it is trained.

    Args:
        inner: the transformers model itself; adapters may be in its layers.
        alpha: of the paper.
    """

    def __init__(self, inner: Any, alpha: float) -> None:
        self.alpha = alpha
        self._lengths: Tensor | None = None
        # The body of the model is what every way to the loss goes through, fused or not.
        inner.base_model.register_forward_pre_hook(self._look, with_kwargs=True)
        inner.get_input_embeddings().register_forward_hook(self._add)

    def _look(self, body: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        positions = named.get("position_ids") if body.training else None
        self._lengths = None if positions is None else token_lengths(positions)

    def _add(self, layer: nn.Module, given: tuple[Any, ...], embedded: Tensor) -> Tensor:
        if not layer.training or self._lengths is None:
            return embedded
        scale = self.alpha / torch.sqrt(self._lengths.to(embedded.dtype) * embedded.shape[-1])
        noise = torch.empty_like(embedded).uniform_(-1, 1)
        return embedded + noise * scale[..., None]
