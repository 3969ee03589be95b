"""Real training steps of a model with few layers, in a process of its own: memory and seconds.

On a CPU the memory that a process holds is more than its tensors: the C library's allocator leaves
gaps between what is freed and asked for, a third to as much again. So there it is measured: the
same step with one layer and two, and with two sizes of a micro-batch, tells what a layer, a token
and both together take (`measured.py`).

    python -m fabula.planning.probe    # reads a JSON object, prints [peak in bytes, seconds a step]
"""

from __future__ import annotations

import importlib
import json
import random
import resource
import sys
import time
from typing import Any

import torch
from torch import nn

from fabula.planning.tracing import empty_model, set_layers
from fabula.training import loss, models
from fabula.training.optimiser import build_optimiser
from fabula.training.packing import Document, collate
from fabula.training.recipe import Recipe

STORY = 420
"""Tokens of a document: about those of the sample's stories."""
STEPS = 6  # from the second on the optimiser has its states


def random_base(config: Any, recipe: Recipe, device: str) -> nn.Module:
    """A model with random weights, kept as the recipe keeps its base, layer by layer."""
    from transformers.pytorch_utils import Conv1D

    dtype = models.weights_dtype(recipe)
    with torch.device("meta"):
        model: Any = empty_model(config, dtype)
    output = model.get_output_embeddings()
    if recipe.method == "qlora":
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, (nn.Linear, Conv1D)) and child is not output:
                    setattr(module, name, _in_four_bits(child, recipe, dtype, device))
        model.is_loaded_in_4bit = True  # what PEFT asks for
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                made = torch.empty(parameter.shape, dtype=dtype, device=device)
                norm = "norm" in type(module).__name__.lower() and parameter.ndim == 1
                made.fill_(1.0) if norm else made.normal_(0, 0.02)
                setattr(module, name, nn.Parameter(made))
    for name, module in list(model.named_modules()):
        if "rotary" in type(module).__name__.lower():
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], type(module)(config).to(device))
    model.tie_weights()
    model.train()
    built: nn.Module = model
    return built


def _in_four_bits(layer: Any, recipe: Recipe, dtype: torch.dtype, device: str) -> nn.Module:
    bnb: Any = importlib.import_module("bitsandbytes")

    settings = models.quantisation_config(recipe)
    rows, columns = layer.weight.shape
    if not isinstance(layer, nn.Linear):
        rows, columns = columns, rows  # GPT-2 keeps them the other way round
    made = bnb.nn.Linear4bit(
        columns, rows, bias=layer.bias is not None, device="meta",
        compute_dtype=settings.bnb_4bit_compute_dtype, quant_type=recipe.quantisation.type,
        compress_statistics=recipe.quantisation.double_quant,
    )  # fmt: skip
    weight = torch.empty((rows, columns), dtype=dtype, device=device).normal_(0, 0.02)
    made.weight = bnb.nn.Params4bit(
        weight, requires_grad=False, quant_type=recipe.quantisation.type,
        compress_statistics=recipe.quantisation.double_quant, module=made,
    ).to(device)  # fmt: skip
    made.support_avx512bf16_for_cpu = False  # see `models.load_base`
    layer_made: nn.Module = made
    return layer_made


def steps(config: Any, recipe: Recipe, rows: int) -> float:
    """Train for a few steps as `fabula train` does, on random tokens; seconds of the last one."""
    torch.manual_seed(0)
    device = models.device()
    model: Any = random_base(config, recipe, device)
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
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    sys.stdout.write(json.dumps([peak, seconds]) + "\n")


if __name__ == "__main__":
    main()
