"""Real training steps on random weights, in a process of its own: memory and seconds.

On a CPU the memory that a process holds is more than its tensors: the C library's allocator leaves
gaps between what is freed and asked for, a third to as much again. So there it is measured, with
all layers or, of a deep model, with a few (`measured.py`).

    python -m fabula.planning.probe    # reads a JSON object, prints [peak in bytes, seconds a step]
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import torch

from fabula.planning.random_base import random_base
from fabula.planning.tracing import set_layers
from fabula.training import loss, memory, models
from fabula.training.optimiser import build_optimiser
from fabula.training.packing import Document, collate
from fabula.training.recipe import Recipe

STORY = 420
"""Tokens of a document: about those of the sample's stories."""
STEPS = 6  # from the second on the optimiser has its states


def steps(config: Any, recipe: Recipe, rows: int) -> float:
    """Train for a few steps as `fabula train` does, on random tokens; seconds of the last one."""
    torch.manual_seed(0)
    device = models.device()
    four_bits = models.quantisation_config(recipe) if recipe.method == "qlora" else None
    model: Any = random_base(config, models.weights_dtype(recipe), device, four_bits)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    loss_of = loss.choose(model, vocabulary)
    if recipe.method != "full":
        model = models.add_adapter(model, recipe)
        loss_of.inner = model.get_base_model()
    if recipe.gradient_checkpointing:
        models.recompute_activations(model)
    optimiser = build_optimiser(model, recipe)
    tokens = rows * recipe.sequence_length
    dice = random.Random(0)
    begin = 0.0
    for _ in range(STEPS):
        begin = time.perf_counter()
        documents = []
        left = tokens
        while left > 0:
            # No two steps alike: that is what makes the allocator leave gaps.
            length = min(left, recipe.sequence_length, int(dice.uniform(0.5, 1.5) * STORY))
            ids = torch.randint(3, vocabulary, (length,)).tolist()
            documents.append(Document(str(left), 0, ids, ids))
            left -= length
        if len(documents) > 1 and len(documents[-1].ids) < STORY // 2:
            documents.pop()
        batch = {k: v.to(device) for k, v in collate([documents], 0, 1.0).items()}
        with torch.autocast(
            torch.device(device).type, torch.bfloat16, enabled=models.uses_autocast(recipe)
        ):
            total = loss_of(batch) / float(batch["weights"].sum())
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    return time.perf_counter() - begin


def main() -> None:
    """Read what to run, run it, and print the peak."""
    from fabula.planning.configs import config_of
    from fabula.training import heldout, run  # noqa: F401  (what a run imports)

    asked = json.load(sys.stdin)
    recipe = Recipe.model_validate(asked["recipe"])
    config = set_layers(config_of(asked["model"]), asked["layers"])
    seconds = steps(config, recipe, asked["rows"])
    sys.stdout.write(json.dumps([memory.peak(), seconds]) + "\n")


if __name__ == "__main__":
    main()
