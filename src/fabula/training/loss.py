"""The loss: cross-entropy of the next token, without ever holding all scores at once.

The scores of 8,192 tokens over a vocabulary of 32,000 take 1 GB, their gradient another. Here the
output layer and the cross-entropy are one step that works through slices of tokens and computes
the gradients of the slice at once (the idea of Liger-Kernel, arXiv:2410.10989, in plain PyTorch).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fabula.errors import FabulaError
from fabula.training import attention
from fabula.training.models import evaluating
from fabula.training.packing import ALIGNMENT, Batch

SLICE = 512
"""Tokens whose scores are held at once."""
GPU_SCORES = 2**26
"""Scores (tokens times vocabulary) held at once on a GPU, which small slices would leave idle."""
# A self-check compares sums over few tokens in float32; bfloat16 keeps 8 bits.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 5e-3}


def _slice(matrix: Tensor) -> int:
    """Tokens to score at once by `matrix` [vocabulary, size], on its device."""
    if matrix.device.type == "cpu":
        return SLICE
    return max(SLICE, GPU_SCORES // matrix.shape[0])


Scorer = tuple[Tensor, Tensor]
"""Hidden states [tokens, size] and the matrix [vocabulary, size] that scores them."""


class _LinearCrossEntropy(torch.autograd.Function):
    """sum_i weights_i * -log softmax(hidden_i @ matrix.T + bias)[target_i], and its gradients.

    With teachers, the target is a mixture: `share` of it is the mean of their distributions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        matrix: Tensor,
        bias: Tensor | None,
        target: Tensor,
        weight: Tensor,
        teachers: Sequence[Scorer],
        share: float,
    ) -> Tensor:
        wants_hidden, wants_matrix, wants_bias = ctx.needs_input_grad[:3]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        d_matrix = torch.zeros_like(matrix) if wants_matrix else None
        d_bias = torch.zeros_like(bias) if bias is not None and wants_bias else None
        kind = hidden.device.type
        given = hidden.dtype
        if torch.is_autocast_enabled(kind):
            hidden = hidden.to(torch.get_autocast_dtype(kind))
        d_hidden = torch.empty_like(hidden) if wants_hidden else None
        cast = matrix.to(hidden.dtype)
        with torch.autocast(kind, enabled=False):
            size = _slice(matrix)
            for start in range(0, hidden.shape[0], size):
                part = slice(start, start + size)
                scores = (hidden[part] @ cast.T).float()
                if bias is not None:
                    scores += bias
                norm = scores.logsumexp(dim=-1)
                at = target[part, None]
                meant = (1 - share) * scores.gather(1, at)[:, 0]
                soft = _mean_distribution(teachers, part)
                if soft is not None:
                    soft *= share
                    meant += torch.linalg.vecdot(soft, scores)
                total += ((norm - meant) * weight[part]).sum()
                # d loss / d scores = weight * (softmax - target), in the place of the scores.
                scores.sub_(norm[:, None]).exp_()
                scores.scatter_add_(1, at, torch.full_like(at, share - 1, dtype=scores.dtype))
                if soft is not None:
                    scores.sub_(soft)
                scores.mul_(weight[part, None])
                if d_bias is not None:
                    d_bias += scores.sum(dim=0)
                slope = scores.to(hidden.dtype)
                if d_hidden is not None:
                    torch.mm(slope, cast, out=d_hidden[part])
                if d_matrix is not None:
                    if d_matrix.dtype == hidden.dtype:
                        d_matrix.addmm_(slope.T, hidden[part])
                    else:
                        d_matrix += slope.T @ hidden[part]
        d_hidden = None if d_hidden is None else d_hidden.to(given)
        ctx.gradients = (d_hidden, d_matrix, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = outer
        gradients = [None if g is None else g.mul_(scale) for g in ctx.gradients]
        ctx.gradients = (None, None, None)
        return (*gradients, None, None, None, None)


def _mean_distribution(teachers: Sequence[Scorer], part: slice) -> Tensor | None:
    """Mean of the teachers' distributions for some tokens, float32 [tokens, vocabulary]."""
    mean: Tensor | None = None
    for hidden, matrix in teachers:
        soft = (hidden[part] @ matrix.to(hidden.dtype).T).float().softmax(dim=-1)
        mean = soft if mean is None else mean.add_(soft)
    return None if mean is None else mean.div_(len(teachers))


def linear_cross_entropy(
    hidden: Tensor,
    matrix: Tensor,
    bias: Tensor | None,
    target: Tensor,
    weight: Tensor,
    teachers: Sequence[Scorer] = (),
    share: float = 0.0,
) -> Tensor:
    """Weighted sum of cross-entropies (nats) of tokens scored by a linear layer.

    With teachers, against the mixture (1 - share) * target + share * mean of their distributions
    (knowledge distillation; Hinton et al. 2015, arXiv:1503.02531).

    Args:
        hidden: [tokens, size].
        matrix: [vocabulary, size], and its bias [vocabulary] or None.
        target: [tokens], the right ids.
        weight: [tokens], float32.
    """
    total: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, matrix, bias, target, weight, tuple(teachers), share if teachers else 0.0
    )
    return total


def base_of(model: nn.Module) -> Any:
    """The transformers model itself, adapters in its layers."""
    wrapped: Any = model
    return wrapped.get_base_model() if hasattr(wrapped, "get_base_model") else wrapped


class LossOf:
    """How the loss of a particular model is computed: fused if its self-check allows it.

    Attributes:
        fused: the output layer and the cross-entropy are one step.
        isolated: documents attend through `attention.py` ("documents") or through transformers'
            own mask ("mask").
        teachers: models of the same tokens whose distributions are learnt as well.
        share: of them in what is learnt.
        sharded: the model's weights are parted among processes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.inner = base_of(model)
        self.teachers: list[LossOf] = []
        self.share = 0.0
        self.fused = type(self.inner.get_output_embeddings()) is nn.Linear
        self.isolated = "documents"
        self.sharded = False

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
        if self.isolated == "documents":
            inputs["attention_mask"] = attention.document_lengths(batch["position_ids"])
        return {**inputs, "use_cache": False}

    def _scored(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(hidden states or scores, target, weight) of the tokens that count.

        Repeated to a multiple of `ALIGNMENT` by tokens of weight 0, so that shapes are few.
        """
        if self.fused:
            out = self.inner.base_model(**self._inputs(batch)).last_hidden_state
        else:
            out = self.inner(**self._inputs(batch)).logits
        target, weight = batch["targets"].flatten(), batch["weights"].flatten()
        counts = torch.nonzero(weight).flatten()
        number = counts.shape[0]
        counts = nn.functional.pad(counts, (0, -number % ALIGNMENT))
        weight = weight[counts]
        weight[number:] = 0
        return out.flatten(0, 1)[counts], target[counts], weight

    def adapted(self, model: nn.Module) -> None:
        """Go on with a model that has got an adapter; an output layer with one is not fused."""
        self.inner = base_of(model)
        self.fused = self.fused and type(self.inner.get_output_embeddings()) is nn.Linear

    def through_shards(self) -> None:
        """Reach a parted model through methods of its own, before which FSDP2 gathers weights."""
        from torch.distributed.fsdp import register_fsdp_forward_method

        for name, method in (("fabula_sum", self._sum), ("fabula_each", self._each)):
            setattr(self.inner, name, method)
            register_fsdp_forward_method(self.inner, name)
        self.sharded = True

    def __call__(self, batch: Batch) -> Tensor:
        """Weighted sum over the batch's tokens, nats."""
        total: Tensor = self.inner.fabula_sum(batch) if self.sharded else self._sum(batch)
        return total

    def _sum(self, batch: Batch) -> Tensor:
        out, target, weight = self._scored(batch)
        if self.fused:
            head = self.inner.get_output_embeddings()
            return linear_cross_entropy(
                out, head.weight, head.bias, target, weight, self._taught(batch), self.share
            )
        losses = nn.functional.cross_entropy(out.float(), target, reduction="none")
        return (losses * weight).sum()

    @torch.no_grad()
    def _taught(self, batch: Batch) -> list[Scorer]:
        """What the teachers make of the tokens that count."""
        found = []
        for teacher in self.teachers:
            hidden = teacher._scored(batch)[0]
            kind = hidden.device.type
            if torch.is_autocast_enabled(kind):
                hidden = hidden.to(torch.get_autocast_dtype(kind))
            found.append((hidden, teacher.inner.get_output_embeddings().weight))
        return found

    @torch.no_grad()
    def each(self, batch: Batch) -> Tensor:
        """Loss of each token that counts, in order, nats, shape [tokens]."""
        found: Tensor = self.inner.fabula_each(batch) if self.sharded else self._each(batch)
        return found

    def _each(self, batch: Batch) -> Tensor:
        out, target, weight = self._scored(batch)
        head = self.inner.get_output_embeddings() if self.fused else nn.Identity()
        parts = [
            nn.functional.cross_entropy(
                head(out[i : i + SLICE]).float(), target[i : i + SLICE], reduction="none"
            )
            for i in range(0, out.shape[0], SLICE)
        ]
        return torch.cat(parts)[weight > 0]


def _packed(ids: list[list[int]], device: torch.device) -> Batch:
    """One row that holds the given documents, everything learnt."""
    from fabula.training.packing import Document, collate

    row = [Document(str(n), 0, d, d) for n, d in enumerate(ids)]
    return {k: v.to(device) for k, v in collate([row], 0, 1.0).items()}


@torch.no_grad()
def choose(model: nn.Module, vocabulary: int) -> LossOf:
    """Find by a tiny computation which fast ways are right for this architecture.

    Packed documents have to lose what they lose alone, and the fused output layer has to agree
    with the model's own (some architectures scale or cap their scores).

    Raises:
        FabulaError: documents cannot be isolated in this architecture.
    """
    attention.register()
    loss = LossOf(model)
    device = next(model.parameters()).device
    documents = [[(7 * i + 3 * n) % vocabulary for i in range(9 + n)] for n in range(3)]
    with evaluating(model), _computed_as_kept(loss.inner):
        alone = []
        for document in documents:
            ids = torch.tensor([document], device=device)
            scores = loss.inner(input_ids=ids, use_cache=False).logits[0, :-1].float()
            alone.append(nn.functional.cross_entropy(scores, ids[0, 1:], reduction="none"))
        expected = torch.cat(alone)
        packed = _packed(documents, device)
        can_fuse = loss.fused
        for implementation, isolated in ((attention.NAME, "documents"), ("sdpa", "mask")):
            loss.isolated = isolated
            for fused in (True, False) if can_fuse else (False,):
                loss.fused = fused
                if _agrees(loss, implementation, packed, expected):
                    return loss
    raise FabulaError(
        f"Documents packed into one row would see each other in {type(loss.inner).__name__}, so "
        "this architecture cannot be trained here; use a Llama, Mistral or GPT-2 kind of model."
    )


@contextmanager
def _computed_as_kept(model: Any) -> Iterator[None]:
    """4-bit layers compute in the dtype of the other weights, by which the self-check is strict."""
    layers = [
        m for m in model.modules() if isinstance(getattr(m, "compute_dtype", None), torch.dtype)
    ]
    before = [layer.compute_dtype for layer in layers]
    for layer in layers:
        layer.compute_dtype = model.dtype
    try:
        yield
    finally:
        for layer, kind in zip(layers, before, strict=True):
            layer.compute_dtype = kind


def _agrees(loss: LossOf, implementation: str, packed: Batch, expected: Tensor) -> bool:
    """True where packed losses equal those of documents alone."""
    try:
        loss.inner.set_attn_implementation(implementation)
        found = loss.each(packed)
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError, ImportError):
        return False
    tolerance = TOLERANCE.get(loss.inner.dtype, 3e-2) * max(1.0, float(expected.abs().max()))
    return bool((found - expected).abs().max() <= tolerance)
