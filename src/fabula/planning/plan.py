"""Whether a run fits a machine, with what micro-batch, and how long it takes.

Memory at the peak, which is where the backward pass begins:

- weights: 4 bits and the scales of NF4 (QLoRA), or 2 or 4 bytes a parameter;
- adapters or all weights, their gradients, and the optimiser's states;
- activations: what autograd saves (see tracing.py), of all layers, or, where layers are computed
  again, their inputs and all of one layer;
- work: gradients of one layer on their way, one layer's weights unpacked, and a slice of scores;
- the libraries themselves.

Speed: FLOP a token by the parameters that are multiplied (Kaplan et al. 2020, arXiv:2001.08361:
2 forward, 2 for the gradient of the inputs, 2 for the gradient of weights where they learn, 2 more
where layers are computed again) and causal attention, at the share of the machine's rate that was
measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from fabula.errors import FabulaError
from fabula.planning.configs import config_of
from fabula.planning.machines import GIB, Machine
from fabula.planning.measured import Measured, measure
from fabula.planning.tracing import Traced, trace
from fabula.training.loss import GPU_SCORES, SLICE
from fabula.training.recipe import Recipe

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""A parameter in NF4 with double quantisation: 4 bits, a byte for 64, 4 bytes for 256 such."""
NF4_SINGLE = 0.5 + 4 / 64
RESERVE = 0.93
"""Share of a machine's memory that is planned with: allocators leave gaps."""
GPU_LIBRARIES = 0.6 * GIB
"""CUDA's context and its libraries, outside of what PyTorch counts."""
CPU_LIBRARIES = 0.85 * GIB
"""Python, torch, transformers, peft and bitsandbytes, once imported."""
SHARE = {False: 0.33, True: 0.44}
"""Share of a machine's rate that a step reaches, without and with layers computed again: measured
on one H200 in the shape of Llama-2-7B (LOG.md, section 3)."""
IDLE = 4096
"""Tokens at once below which a GPU waits for its launches more than it computes."""
WRITING_PROMPTS = 270_000_000
"""Tokens of WritingPrompts' training stories, about."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at the peak, by what they are for."""

    weights: float
    learnt: float
    optimiser: float
    activations: float
    work: float
    libraries: float

    @property
    def total(self) -> float:
        """All of them."""
        return float(sum(asdict(self).values()))

    def as_data(self) -> dict[str, float]:
        """Its parts and their sum."""
        return {**asdict(self), "total": self.total}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run takes on a machine.

    Attributes:
        model: as it was asked for.
        method: full, lora or qlora.
        machine: where.
        parameters, learns: of the base model, and those that learn.
        sequence_length: tokens of a row.
        micro_batch_size: the most rows that fit at once, at most `batch_size`; 0: not one.
        batch_size: rows of an optimiser step.
        gradient_checkpointing: whether layers have to be computed again.
        memory: at the peak; of one row where nothing fits.
        rate: tokens a second.
        hours: for `tokens` tokens.
        tokens: to be learnt from.
        disk: bytes of the base model, the checkpoints and what the run leaves.
    """

    model: str
    method: str
    machine: Machine
    parameters: int
    learns: int
    sequence_length: int
    micro_batch_size: int
    batch_size: int
    gradient_checkpointing: bool
    memory: Memory
    rate: float
    hours: float
    tokens: int
    disk: float

    @property
    def fits(self) -> bool:
        """Whether at least a row fits."""
        return self.micro_batch_size > 0

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **asdict(self),
            "memory": self.memory.as_data(),
            "fits": self.fits,
        }


def _optimiser_bytes(recipe: Recipe, learns: int, matrices: int) -> float:
    """Bytes of the optimiser's states."""
    if recipe.optimiser.name.endswith("8bit"):
        return 2.03 * learns
    if recipe.optimiser.name == "muon":
        return 4.0 * matrices + 8.0 * (learns - matrices)
    return 8.0 * learns


def memory_of(recipe: Recipe, traced: Traced, machine: Machine, rows: int, again: bool) -> Memory:
    """Memory at the peak of a step.

    Args:
        recipe: method, quantisation, optimiser and sequence length.
        traced: the model's sizes on this machine.
        machine: where.
        rows: of a micro-batch.
        again: whether layers are computed again.
    """
    kind = 2 if machine.bfloat16 else 4  # bytes of an activation
    kept = kind if machine.gpu and recipe.method != "full" else 4  # of a weight
    full = recipe.method == "full"
    four_bits = NF4_BYTES if recipe.quantisation.double_quant else NF4_SINGLE
    if recipe.method == "qlora":
        weights = four_bits * traced.quantised + kept * (traced.parameters - traced.quantised)
    else:
        weights = kept * traced.parameters
    learns = traced.parameters if full else traced.adapters
    tokens = rows * recipe.sequence_length
    layers = traced.layers * traced.saved
    if again:
        stream = 2 if machine.gpu and not full and machine.bfloat16 else 4
        layers = traced.layers * traced.hidden * stream + traced.saved
    scores = traced.vocabulary * (
        min(tokens, max(SLICE, GPU_SCORES // traced.vocabulary)) if machine.gpu else
        min(tokens, SLICE)
    )  # fmt: skip
    copies = 2 * learns if machine.bfloat16 else 0  # autocast's, in bfloat16
    unpacked = kind * traced.largest if recipe.method == "qlora" else 0
    return Memory(
        weights=weights + copies,
        learnt=(4 if full else 8) * learns,  # gradients; and the adapter itself
        optimiser=_optimiser_bytes(recipe, learns, traced.quantised if full else learns),
        activations=tokens * (layers + traced.rest),
        work=2 * kind * tokens * traced.widest + unpacked + (4 + kind) * scores,
        libraries=GPU_LIBRARIES if machine.gpu else CPU_LIBRARIES,
    )


def flop_per_token(traced: Traced, length: int, full: bool, again: bool) -> float:
    """FLOP for each token of a step, causal attention (half of all pairs) among them."""
    products = 2 * traced.multiplied * ((3 if full else 2) + again)
    attention = 2 * traced.layers * traced.heads * length * (3 + again)
    return products + attention + 6 * traced.adapters


def plan_run(
    model: str,
    recipe: Recipe,
    machine: Machine,
    tokens: int = WRITING_PROMPTS,
    *,
    rows: int | None = None,
    measured: bool = True,
) -> Plan:
    """Plan a run.

    Args:
        model: a folder, 'embedded', or a hub id; its config alone is read.
        recipe: what would be run; its base model and micro-batch do not matter.
        machine: where.
        tokens: to be learnt from.
        rows: of a micro-batch, with the recipe's gradient_checkpointing; the best if None.
        measured: on a CPU, try a few steps of two layers; else its memory is what the tensors
            take, and too little by what the allocator leaves between them.

    Raises:
        FabulaError: the model is not known, or its context is shorter than the recipe's rows.
    """
    config = config_of(model)
    recipe = recipe.model_copy(update={"dtype": "bfloat16" if machine.bfloat16 else "float32"})
    frozen = recipe.method != "full" and machine.gpu
    dtype = torch.bfloat16 if machine.bfloat16 and frozen else torch.float32
    traced = trace(config, recipe, dtype, machine.bfloat16, machine.gpu)
    length = recipe.sequence_length
    if traced.context is not None and length > traced.context:
        raise FabulaError(
            f"{model} sees {traced.context:,} tokens at most, fewer than a row of {length:,}; "
            "give a smaller --sequence-length."
        )
    room = RESERVE * machine.memory
    least = memory_of(recipe, traced, machine, 0, True).total
    tries: dict[bool, Measured] = {}
    if measured and not machine.gpu and least <= room:
        few = (1, max(2, min(4, recipe.batch_size))) if rows is None else (rows,)
        wanted = (False, True) if rows is None else (recipe.gradient_checkpointing,)
        for again in wanted:
            tried = recipe.model_copy(update={"gradient_checkpointing": again})
            tries[again] = measure(model, tried, traced.layers, few)
            if tries[again].peak(traced.layers, recipe.batch_size) <= room:
                break

    def memory(rows: int, again: bool) -> Memory:
        told = memory_of(recipe, traced, machine, rows, again)
        if again not in tries:
            return told
        peak = tries[again].peak(traced.layers, rows)
        other = told.total - told.activations - told.work
        return replace(told, activations=max(0.0, peak - other), work=0.0)

    def most(again: bool) -> int:
        divisors = (n for n in range(1, recipe.batch_size + 1) if recipe.batch_size % n == 0)
        return max((n for n in divisors if memory(n, again).total <= room), default=0)

    if rows is not None:
        chosen, again = rows, recipe.gradient_checkpointing
    else:
        chosen, again = most(False), False
        # Computing again costs a third: only where so little fits that a GPU would idle.
        idles = machine.gpu and chosen * length < IDLE
        if chosen < recipe.batch_size and (not chosen or idles):
            more = most(True)
            chosen, again = (more, True) if more > chosen else (chosen, False)
        while again in tries and chosen:  # what was reckoned from few rows is tried as it is
            tried = recipe.model_copy(update={"gradient_checkpointing": again})
            tries[again].found.update(measure(model, tried, traced.layers, (chosen,)).found)
            if memory(chosen, again).total <= room:
                break
            chosen = most(again)
    full = recipe.method == "full"
    learns = traced.parameters if full else traced.adapters
    needed = memory(max(chosen, 1), again)
    rate = SHARE[again] * machine.rate / flop_per_token(traced, length, full, again)
    if again in tries:
        rate = max(chosen, 1) * length / tries[again].seconds(traced.layers, max(chosen, 1))
    checkpoints = recipe.checkpoint.keep * (4 * learns + needed.optimiser)
    return Plan(
        model=model, method=recipe.method, machine=machine, parameters=traced.parameters,
        learns=learns, sequence_length=length, micro_batch_size=chosen,
        batch_size=recipe.batch_size, gradient_checkpointing=again, memory=needed, rate=rate,
        hours=tokens / rate / 3600, tokens=tokens,
        disk=2 * traced.parameters + checkpoints + (2 if full else 4) * learns,
    )  # fmt: skip


def recommend(plans: Sequence[Plan], hours: float) -> Plan | None:
    """The largest model that fits and is done in time."""
    able = [plan for plan in plans if plan.fits and plan.hours <= hours]
    return max(able, key=lambda plan: plan.parameters, default=None)
