"""Checks that compute: the loss at the start, isolation, accumulation, and who gets a gradient.

Each is one forward pass, or a few with their backward passes, over a handful of short texts. The
model is left as it was: its weights, its modes, its gradients and the random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fabula.training import models
from fabula.training.doctor.findings import Finding, ok, refused, skipped, some, warning
from fabula.training.doctor.texts import Seen
from fabula.training.loss import TOLERANCE, LossOf, _computed_as_kept
from fabula.training.packing import Batch, Document, collate
from fabula.training.recipe import Recipe

ELEMENTS = 50_000_000
"""Gradients that are compared at most."""
TRIAL = 1e-3
"""How far an adapter's zero matrix is moved to see whether its other one gets a gradient."""


def place(batch: Batch, model: nn.Module) -> Batch:
    """A batch where the model is."""
    device = next(model.parameters()).device
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Random state, gradients and mode are afterwards what they were."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    was_training = [(module, module.training) for module in model.modules()]
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            for parameter in model.parameters():
                parameter.grad = None
            for module, mode in was_training:
                module.training = mode


def short(documents: Sequence[Document], count: int, tokens: int) -> list[Document]:
    """The shortest of some documents, at most so many tokens together, but at least one."""
    found: list[Document] = []
    for document in sorted(documents, key=len)[:count]:
        if found and sum(map(len, found)) + len(document) > tokens:
            break
        found.append(document)
    return found


@torch.no_grad()
def losses(
    texts: Sequence[Seen], loss_of: LossOf, model: nn.Module, pad: int, most: int
) -> list[Seen]:
    """Texts with the loss of each token that weighs something, as the base model has it.

    Args:
        most: tokens of a row that are computed at once.
    """
    out: list[Seen] = []
    with models.evaluating(model):
        rows: list[list[Seen]] = []
        for text in texts:
            if rows and sum(map(len, rows[-1])) + len(text) <= most:
                rows[-1].append(text)
            else:
                rows.append([text])
        for row in rows:
            batch = place(collate([[t.as_document() for t in row]], pad, 0.0), model)
            told = iter(loss_of.each(batch).float().cpu().tolist())
            out += [text.with_losses([next(told) for w in text.weights if w > 0]) for text in row]
    return out


def check_first_loss(texts: Sequence[Seen], vocabulary: int, pretrained: bool) -> Finding:
    """The loss before learning against that of guessing, ln V."""
    told = [loss for t in texts for loss in t.losses[t.prompt :] if loss is not None]
    mean, guess = sum(told) / max(len(told), 1), math.log(vocabulary)
    figures = {"loss": round(mean, 4), "ln_v": round(guess, 4), "tokens": len(told)}
    seen = f"{mean:.2f} nats a token before the first step; guessing takes ln {vocabulary:,} = "
    seen += f"{guess:.2f}"
    if not math.isfinite(mean):
        return refused(
            "first loss",
            f"The loss is {mean} before the first step",
            "fetch the weights again, or choose another dtype",
            **figures,
        )
    if pretrained and mean > guess * 1.03:
        return warning(
            "first loss",
            f"{seen}, so the weights know less than nothing of these tokens",
            "see that tokenizer and weights belong together",
            **figures,
        )
    if not pretrained and abs(mean - guess) > 0.15 * guess:
        return warning(
            "first loss", seen, "random weights should begin near it: see init", **figures
        )
    return ok("first loss", seen, **figures)


@torch.no_grad()
def check_packing(documents: Sequence[Document], loss_of: LossOf, model: nn.Module) -> Finding:
    """Each token of packed documents loses what it loses where its document is alone."""
    kind = loss_of.inner.dtype
    with models.evaluating(model), _computed_as_kept(loss_of.inner):
        together = loss_of.each(place(collate([list(documents)], 0, 1.0), model)).float()
        alone = torch.cat(
            [loss_of.each(place(collate([[d]], 0, 1.0), model)).float() for d in documents]
        )
    gap = float((together - alone).abs().max())
    limit = TOLERANCE.get(kind, 3e-2) * max(1.0, float(alone.abs().max()))
    how = "one call a document" if loss_of.isolated == "documents" else "a mask"
    figures = {
        "gap": gap, "limit": limit, "documents": len(documents), "isolated": loss_of.isolated,
        "fused": loss_of.fused,
    }  # fmt: skip
    if not gap <= limit:
        return refused(
            "packing",
            f"Tokens of {len(documents)} packed documents lose up to {gap:.2g} nats more or less "
            "than alone: they see each other",
            "set packing: false, or use a Llama, Mistral or GPT-2 kind of model",
            **figures,
        )
    return ok(
        "packing",
        f"{len(documents)} packed documents lose what they lose alone, to {gap:.1e} nats a token "
        f"(by {how})",
        **figures,
    )


def check_accumulation(documents: Sequence[Document], loss_of: LossOf, model: nn.Module) -> Finding:
    """The gradient of micro-batches of one document each is that of all documents at once."""
    batches = [collate([[d]], 0, 0.0) for d in documents]
    total = float(sum(b["weights"].sum() for b in batches))
    learns = _some_that_learn(model)

    def gradient(parts: Sequence[Batch]) -> list[Tensor]:
        model.zero_grad(set_to_none=True)
        for part in parts:
            value = loss_of(place(part, model)) / total
            if value.requires_grad:  # not where the adapter is beside the way of the loss
                value.backward()  # type: ignore[no-untyped-call]
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in learns]

    with untouched(model), models.evaluating(model), _computed_as_kept(loss_of.inner):
        whole = gradient([collate([list(documents)], 0, 0.0)])
        parted = gradient(batches)
    norm = math.sqrt(sum(float(g.float().square().sum()) for g in whole))
    apart = sum(float((a - b).float().square().sum()) for a, b in zip(whole, parted, strict=True))
    gap = math.sqrt(apart) / max(norm, 1e-30)
    limit = TOLERANCE.get(loss_of.inner.dtype, 3e-2)
    figures = {"gap": gap, "limit": limit, "micro_batches": len(documents), "norm": norm}
    if not norm:
        return skipped("accumulation", "there is no gradient")
    if not gap <= limit:
        return refused(
            "accumulation",
            f"The gradient of {len(documents)} micro-batches is {gap:.1%} off that of the large "
            "batch",
            "set micro_batch_size to batch_size",
            **figures,
        )
    return ok(
        "accumulation",
        f"the gradient of {len(documents)} micro-batches is that of the large batch, to {gap:.1e}",
        **figures,
    )


def _some_that_learn(model: nn.Module) -> list[nn.Parameter]:
    found: list[nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad and sum(p.numel() for p in found) < ELEMENTS:
            found.append(parameter)
    return found


def check_gradients(model: nn.Module, loss: Callable[[], Tensor], recipe: Recipe) -> Finding:
    """Everything that learns gets a gradient, as in a step: dropout, autocast and all.

    LoRA's B begins at zero, so that A gets its first gradient in the second step; for this B is
    moved a little, and put back.

    Args:
        loss: of a micro-batch.
    """
    autocast = models.uses_autocast(recipe)
    learns = {n: p for n, p in model.named_parameters() if p.requires_grad}
    kind = next(model.parameters()).device.type
    alive: set[str] = set()
    with untouched(model):
        model.train()
        before = {n: p.detach().clone() for n, p in learns.items() if not bool(p.any())}
        try:
            for _ in range(2 if before else 1):
                model.zero_grad(set_to_none=True)
                with torch.autocast(kind, torch.bfloat16, enabled=autocast):
                    value = loss()
                if value.requires_grad:
                    value.backward()  # type: ignore[no-untyped-call]
                alive |= {n for n, p in learns.items() if p.grad is not None and bool(p.grad.any())}
                with torch.no_grad():
                    for name in before:
                        slope = learns[name].grad
                        if slope is not None:
                            learns[name].sub_(TRIAL * slope.sign())
        finally:
            with torch.no_grad():
                for name, value in before.items():
                    learns[name].copy_(value)
    dead = sorted(set(learns) - alive)
    figures: dict[str, Any] = {"learn": len(learns), "without": len(dead), "names": dead[:20]}
    how = ", activations recomputed" if recipe.gradient_checkpointing else ""
    if dead and recipe.method == "full":
        return warning(
            "gradients",
            f"{len(dead)} of {len(learns)} tensors get no gradient ({some(dead)}{how})",
            "see that the architecture does not need them",
            **figures,
        )
    if dead:
        return refused(
            "gradients",
            f"{len(dead)} of {len(learns)} tensors that should learn get no gradient "
            f"({some(_plain(n) for n in dead)}{how})",
            "name other layers in lora.target ('all-linear' always works)"
            if len(dead) < len(learns)
            else "set gradient_checkpointing: false, and see that the data have labels",
            **figures,
        )
    return ok("gradients", f"all {len(learns)} tensors that learn get one{how}", **figures)


def _plain(name: str) -> str:
    return name.removeprefix("base_model.model.").replace(".default.weight", "")


def plain_loss(model: Any, text: Seen) -> Tensor:
    """Sum of a text's losses through transformers' own forward pass, without packing."""
    ids = torch.tensor([text.ids], device=next(model.parameters()).device)
    scores = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    weights = torch.tensor(text.weights[1:], device=ids.device)
    lost = nn.functional.cross_entropy(scores, ids[0, 1:], reduction="none")
    return (lost * weights).sum()
