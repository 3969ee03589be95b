"""Optimisers and learning-rate annealing."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from fabula.errors import FabulaError, MissingExtra
from fabula.training.loss import base_of
from fabula.training.recipe import Recipe, Schedule

FLOOR = 0.02
"""Smallest share of the peak rate during warm-up, so that no step is wasted on a rate of 0."""


class MuonWithAdamW(Optimizer):
    """Muon for hidden matrices (Jordan et al. 2024), AdamW for everything else, as one optimiser.

    Attributes:
        parts: the two optimisers, whose parameter groups are this one's.
    """

    def __init__(self, parts: tuple[Optimizer, Optimizer]) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The same dictionaries, so that a scheduler's rates reach the parts.
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of both."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """State of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


def build_optimiser(model: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over the parameters that learn.

    Weight decay falls on hidden matrices only: not on embeddings, norms or biases.

    Raises:
        FabulaError: nothing learns, or bitsandbytes is absent.
    """
    settings = recipe.optimiser
    inner = base_of(model)
    outer = {
        id(p)
        for layer in (inner.get_input_embeddings(), inner.get_output_embeddings())
        if layer is not None
        for p in layer.parameters()
    }
    learns = [p for p in model.parameters() if p.requires_grad]
    if not learns:
        raise FabulaError("No parameter would learn; check the recipe's lora.target.")
    ratio = recipe.lora.plus_ratio if recipe.method != "full" else 1.0
    faster = {id(p) for n, p in model.named_parameters() if ratio != 1 and ".lora_B." in n}
    matrices = [p for p in learns if p.ndim == 2 and id(p) not in outer | faster]
    rest = [p for p in learns if p.ndim != 2 or id(p) in outer]
    rate, decay = settings.learning_rate, settings.weight_decay
    common: dict[str, Any] = {"lr": rate, "betas": settings.betas, "eps": settings.eps}
    groups: list[dict[str, Any]] = [
        {"params": group, "weight_decay": weight_decay}
        for group, weight_decay in ((matrices, decay), (rest, 0.0))
        if group
    ]
    if faster:  # LoRA+
        sped = [p for p in learns if id(p) in faster]
        groups.append({"params": sped, "weight_decay": decay, "lr": rate * ratio})
    if settings.name == "muon" and matrices:
        muon = Muon(
            matrices,
            lr=settings.muon_learning_rate or rate,
            weight_decay=decay,
            momentum=settings.muon_momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        return MuonWithAdamW((muon, AdamW(rest, weight_decay=0.0, **common))) if rest else muon
    if settings.name.endswith("8bit"):
        return _eight_bit(groups, common, paged=settings.name.startswith("paged"))
    return AdamW(groups, fused=True, **common)


def _eight_bit(groups: list[Any], common: dict[str, Any], paged: bool) -> Optimizer:
    """AdamW whose states are 8-bit blocks (Dettmers et al. 2022), paged out to the CPU or not."""
    try:
        optim: Any = importlib.import_module("bitsandbytes.optim")
    except Exception:
        raise MissingExtra("8-bit AdamW (bitsandbytes)", "train") from None
    # Pages exist on GPUs only.
    kind = optim.PagedAdamW8bit if paged and torch.cuda.is_available() else optim.AdamW8bit
    made: Optimizer = kind(groups, **common)
    return made


def rate_factor(schedule: Schedule, progress: float) -> float:
    """The learning rate relative to its peak.

    Args:
        progress: share of the run that is done, from 0 to 1.
    """
    low = schedule.min_lr_ratio
    if progress < schedule.warmup:
        return max(progress / schedule.warmup, FLOOR)
    if schedule.name == "constant":
        return 1.0
    share = min((progress - schedule.warmup) / max(1 - schedule.warmup, 1e-9), 1.0)
    if schedule.name == "linear":
        fall = share
    elif schedule.name == "wsd":
        start = 1 - schedule.decay
        # The square root falls fast first (Hägele et al. 2024, "1-sqrt").
        fall = math.sqrt(min(max((progress - start) / max(schedule.decay, 1e-9), 0.0), 1.0))
    else:
        if schedule.name == "cosine_with_restarts" and share < 1:
            share = share * schedule.cycles % 1
        fall = (1 - math.cos(math.pi * share)) / 2
    return low + (1 - low) * (1 - fall)


def _parts(optimiser: Any) -> Iterator[Optimizer]:
    inner = getattr(optimiser, "optimizer", optimiser)  # accelerate wraps it
    yield from getattr(inner, "parts", (inner,))


def _flatten(prefix: str, values: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):  # bitsandbytes keeps quantised states one level deeper
            yield from _flatten(f"{prefix}.{key}", value)
        else:
            yield f"{prefix}.{key}", value


def pack_state(optimiser: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and plain numbers, so that no pickle is needed."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    seen: set[int] = set()
    for number, part in enumerate(_parts(optimiser)):
        for name, value in _flatten(str(number), part.state_dict()["state"]):
            if isinstance(value, Tensor):
                kept = value.detach().contiguous()
                # The tables of 8-bit states are one tensor for all, which safetensors refuses.
                tensors[name] = kept.clone() if kept.data_ptr() in seen else kept
                seen.add(kept.data_ptr())
            else:
                plain[name] = value
    return tensors, plain


def unpack_state(optimiser: Any, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
    """Undo `pack_state`."""
    for number, part in enumerate(_parts(optimiser)):
        state: dict[int, dict[str, Any]] = {}
        for name, value in [*tensors.items(), *plain.items()]:
            which, parameter, *path, key = name.split(".")
            if int(which) != number:
                continue
            place = state.setdefault(int(parameter), {})
            for step in path:
                place = place.setdefault(step, {})
            place[key] = value
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    inner = getattr(optimiser, "optimizer", optimiser)
    if isinstance(inner, MuonWithAdamW):
        inner._share_groups()
