"""Real training steps on random weights, in a process of its own: memory and seconds.

On a CPU the memory that a process holds is more than its tensors: the C library's allocator leaves
gaps between what is freed and asked for, a third to as much again. So there it is measured, by the
trainer itself on the recipe's data, with all layers or, of a deep model, with some (measured.py).

    python -m fabula.planning.probe    # reads a JSON object, prints [peak in bytes, seconds a step]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from fabula.errors import FabulaError
from fabula.planning.random_base import random_base
from fabula.planning.tracing import set_layers
from fabula.training import checkpoint, loss, memory, models
from fabula.training.packing import Cursor, Deck, Stream, open_deck
from fabula.training.recipe import Recipe, Source
from fabula.training.sources import SAMPLE
from fabula.training.tokenizer import open_tokenizer
from fabula.training.trainer import StoryTrainer

STEPS = 6  # from the second on the optimiser has its states


class _Folded:
    """The embedded model's tokenizer, its ids within another model's vocabulary.

    The one that belongs to a config may not be here.
    """

    def __init__(self, vocabulary: int) -> None:
        self._inner = open_tokenizer(models.resolve("embedded"))
        self._size = vocabulary
        self.bos: int | None = 0
        self.eos, self.pad = 1, 2

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text."""
        return [[i % self._size for i in ids] for ids in self._inner.encode_batch(texts)]


def _deck(recipe: Recipe) -> Deck:
    """The recipe's stories, or the sample's where these are not here."""
    try:
        if recipe.data:
            return open_deck(recipe)
    except FabulaError:
        pass
    return open_deck(recipe.model_copy(update={"data": [Source(corpus=SAMPLE)]}))


def steps(config: Any, recipe: Recipe) -> float:
    """Train for a few steps of one micro-batch; seconds of the quickest after the first two."""
    torch.manual_seed(0)
    four_bits = models.quantisation_config(recipe) if recipe.method == "qlora" else None
    weights = models.weights_dtype(recipe)
    model: Any = random_base(config, weights, models.device(), four_bits)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    loss_of = loss.choose(model, vocabulary)
    if recipe.method != "full":
        model = models.add_adapter(model, recipe)
        loss_of.adapted(model)
    if recipe.gradient_checkpointing:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    tokenizer = _Folded(vocabulary)
    deck = _deck(recipe)
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        StoryTrainer(
            model=model, recipe=recipe, loss_of=loss_of,
            stream=Stream(deck, tokenizer, tokenizer.pad, recipe, Cursor()), held_out=None,
            folder=Path(folder), counts=checkpoint.State(), resume_from=None,
            autocast=models.uses_autocast(recipe), report=lines.append, note=lambda text: None,
            asked_to_stop=lambda: False,
        ).train()  # fmt: skip
    # Of full micro-batches: those that end a window have fewer tokens.
    full = recipe.micro_batch_size * recipe.sequence_length
    return float(full / max(line["tokens_per_second"] for line in lines[2:]))


def main() -> None:
    """Read what to run, run it, and print the peak."""
    from fabula.planning.configs import config_of
    from fabula.training import heldout, run  # noqa: F401  (what a run imports)

    asked = json.load(sys.stdin)
    alone = {
        "micro_batch_size": asked["rows"], "batch_size": asked["rows"], "steps": STEPS,
        "epochs": None, "max_minutes": None, "evaluation": {"max_documents": 0},
        "checkpoint": {"every_minutes": None}, "workers": 0, "teacher": None, "report_to": [],
        "preferences": None, "picks": None, "compile": False, "log_every": 1,
    }  # fmt: skip
    data = {**asked["recipe"], **alone}
    data["data"] = data["data"] or [{"corpus": SAMPLE}]
    config = set_layers(config_of(asked["model"]), asked["layers"])
    seconds = steps(config, Recipe.model_validate(data))
    sys.stdout.write(json.dumps([memory.peak(), seconds]) + "\n")


if __name__ == "__main__":
    main()
