"""What is checked before time is spent: the machine, the base model, and the room on the disk."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fabula.errors import FabulaError, MissingExtra
from fabula.training.handover import save_dtype
from fabula.training.models import evaluating, has_bfloat16, has_bitsandbytes, read_config
from fabula.training.recipe import Recipe
from fabula.training.tokenizer import TextTokenizer, open_tokenizer

PROBE = (
    "Once there was a girl who lived with her father in a small house by the sea. Every morning "
    "she went down to the water to look for the boat of her brother. He had gone away in the "
    "spring, and nobody knew when he would come back. One day she saw a light on the waves."
)
"""Read by the base model, to see whether it belongs to its tokenizer."""
CLOSE, SURE = 0.25, 1.5
"""Nats above blind guessing that give a wrong tokenizer away, where the model is so sure of itself.
Random weights guess as badly, but are not sure of anything."""
FEWEST = 0.8
"""Least share of a model's tokens that its tokenizer knows; tables are padded by a few per cent."""
OWN = "use the tokenizer that belongs to the weights."
SPARE = 64e6
"""Bytes for what is small: tokenizer, figures, curve, card."""


def check_machine(recipe: Recipe) -> None:
    """Refuse what this machine or this installation cannot do.

    Raises:
        FabulaError: no bfloat16, or a library is missing.
    """
    if recipe.method == "qlora" and not has_bitsandbytes():
        raise MissingExtra("QLoRA (bitsandbytes)", "train")
    if recipe.optimiser.name.endswith("8bit") and not has_bitsandbytes():
        raise MissingExtra("8-bit AdamW (bitsandbytes)", "train")
    computed = recipe.quantisation.compute_dtype if recipe.method == "qlora" else "auto"
    if computed == "bfloat16" and not has_bfloat16():
        raise FabulaError(
            "This GPU has no bfloat16; set quantisation.compute_dtype: float32 (or auto)."
        )


def own_tokenizer(source: str) -> TextTokenizer:
    """The tokenizer of a base model, whose weights are not opened yet.

    Raises:
        FabulaError: there is none, or it knows far fewer tokens than the model.
    """
    tokenizer = open_tokenizer(source)
    rows = getattr(read_config(source), "vocab_size", None)
    if isinstance(rows, int) and tokenizer.vocabulary < FEWEST * rows:
        raise FabulaError(
            f"The tokenizer of {source} knows {tokenizer.vocabulary:,} tokens, and its model "
            f"{rows:,}; {OWN}"
        )
    return tokenizer


@torch.no_grad()
def check_base(model: nn.Module, tokenizer: TextTokenizer, source: str) -> None:
    """Refuse a model that cannot learn to write, or whose tokenizer is another's.

    A model that says with certainty what is wrong more often than blind guessing would, reads ids
    that mean something else to it.

    Args:
        source: where the model is from.

    Raises:
        FabulaError: it is no causal model, or the tokenizer is not its own.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    text = tokenizer.encode_batch([PROBE])[0]
    ids = [*([] if tokenizer.bos is None else [tokenizer.bos]), *text]
    if max(ids) >= rows:
        raise FabulaError(
            f"The tokenizer gives the id {max(ids)}, but the model knows only {rows}; {OWN}"
        )
    device = next(model.parameters()).device
    read = torch.tensor([ids], device=device)
    changed = read.clone()
    changed[0, -1] = ids[0]
    with evaluating(model):
        scores, others = (_scores(model, each) for each in (read, changed))
    if (scores[:-1] - others[:-1]).abs().max() > 1e-4 * scores.abs().max():
        raise FabulaError(
            f"{source} is no causal language model: what it says of a word depends on the words "
            "after it; use a Llama, Mistral or GPT-2 kind of model."
        )
    told = scores.log_softmax(-1)
    loss = -float(told[:-1].gather(1, read[0, 1:, None]).mean())
    entropy = -float((told.exp() * told).sum(-1).mean())
    blind = math.log(rows)
    if loss > blind + CLOSE and entropy < blind - SURE:
        raise FabulaError(
            f"{source} finds plain English less likely ({loss:.1f} nats a token) than blind "
            f"guessing would ({blind:.1f}), so this is not its tokenizer; {OWN}"
        )


def _scores(model: Any, ids: Tensor) -> Tensor:
    """Scores of a text, float32 [tokens, vocabulary]."""
    scores: Tensor = model(input_ids=ids, use_cache=False).logits[0].float()
    return scores


def bytes_of_run(model: nn.Module, recipe: Recipe) -> tuple[int, int]:
    """Most bytes that checkpoints take at one time, and bytes of the final model.

    A new checkpoint is written whole before the oldest goes.
    """
    learns = [p for p in model.parameters() if p.requires_grad]
    number = sum(p.numel() for p in learns)
    each = sum(p.numel() * p.element_size() for p in learns)
    each += round(number * _state_bytes(recipe))
    kept = recipe.checkpoint.keep + 1
    if recipe.method != "full":
        return kept * each, 4 * number
    final = sum(p.numel() for p in model.parameters()) * save_dtype(model, recipe).itemsize
    return kept * each, final


def _state_bytes(recipe: Recipe) -> float:
    """Bytes of the optimiser's state for each parameter."""
    name = recipe.optimiser.name
    if name.endswith("8bit"):
        return 2.1  # two bytes, and the scales of their blocks
    return 4 if name == "muon" else 8


def check_disk(folder: Path, model: nn.Module, recipe: Recipe) -> None:
    """Refuse a run whose checkpoints and final model have no room on the disk.

    Args:
        folder: of the run; it exists. What an earlier sitting wrote there is counted as room.

    Raises:
        FabulaError: they have not.
    """
    checkpoints, final = bytes_of_run(model, recipe)
    needed = checkpoints + final + SPARE
    there = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    free = shutil.disk_usage(folder).free
    if needed > free + there:
        raise FabulaError(
            f"The run needs {_size(needed)} of disk ({_size(checkpoints)} for "
            f"{recipe.checkpoint.keep + 1} checkpoints at a time, {_size(final)} for the final "
            f"model), but {os.path.abspath(folder)} has {_size(free)} free; free some, choose "
            "another --runs, or a smaller checkpoint.keep."
        )


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
