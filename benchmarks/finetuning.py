"""QLoRA in the shapes of Llama-2-7B, Mistral-7B and GPT-2, beside TRL's SFTTrainer as it comes.

    python benchmarks/finetuning.py                    # one GPU; random weights, no download
    python benchmarks/finetuning.py --shapes tiny      # a try on any machine

Both train the same documents (the sample's stories as `fabula train` renders them) with the same
LoRA (rank 16, all linear layers) over the same NF4 weights (GPT-2: bfloat16). Ours packs documents
without padding and never holds all scores; TRL's defaults are 8 rows padded to the longest, with
gradient checkpointing. Tokens are real ones, without padding.

Columns: tokens a second, and their ratio to TRL's; share of the card's measured rate of bfloat16
products, counting 4 FLOP per parameter and token (frozen weights: forward, and the gradient of the
input) plus attention, and 6 where layers are computed again; peak memory of the GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from shapes import SHAPES, matrix_parameters, random_model

from fabula.training import checkpoint, loss, models
from fabula.training.packing import Cursor, Deck, Stream
from fabula.training.recipe import Recipe
from fabula.training.sources import open_split
from fabula.training.throughput import product_rate
from fabula.training.tokenizer import open_tokenizer
from fabula.training.trainer import StoryTrainer

WARM = 2


def recipe_of(shape: str, rows: int, again: bool, steps: int) -> Recipe:
    """One of our recipes, for a few steps of one micro-batch each."""
    length = 1024 if shape in ("gpt2", "tiny") else 2048
    return Recipe.model_validate(
        {
            "name": shape,
            "base_model": shape,
            "method": "lora" if shape == "gpt2" else "qlora",
            "lora": {"r": 16, "alpha": 32, "dropout": 0.05},
            "data": [{"corpus": "sample"}],
            "sequence_length": length,
            "micro_batch_size": rows,
            "batch_size": rows,
            "steps": steps + WARM,
            "evaluation": {"max_documents": 0},
            "checkpoint": {"every_minutes": None},
            "dtype": "bfloat16",
            "gradient_checkpointing": again,
            "optimiser": {"name": "adamw", "learning_rate": 2e-4},
        }
    )


def ready(shape: str, device: str, recipe: Recipe) -> Any:
    """The model with a fresh adapter."""
    torch.manual_seed(0)
    model = random_model(shape, device, nf4=recipe.method == "qlora")
    return model, models.add_adapter(model, recipe)


def ours(shape: str, device: str, rows: int, again: bool, steps: int) -> dict[str, Any]:
    recipe = recipe_of(shape, rows, again, steps)
    model, adapted = ready(shape, device, recipe)
    tokenizer = open_tokenizer(models.resolve("embedded"))
    deck = Deck([(open_split("sample", "train"), 1.0)], recipe)
    stream = Stream(deck, tokenizer, tokenizer.pad, recipe, Cursor())
    loss_of = loss.choose(model, 5000)
    loss_of.inner = adapted.get_base_model()
    if again:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    moments: list[tuple[float, int, int]] = []

    def note(line: dict[str, Any]) -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        moments.append((time.perf_counter(), line["tokens"], line["step"]))

    with tempfile.TemporaryDirectory() as folder:
        StoryTrainer(
            model=adapted, recipe=recipe, loss_of=loss_of, stream=stream, held_out=None,
            folder=Path(folder), counts=checkpoint.State(), resume_from=None, autocast=True,
            report=note, note=print, asked_to_stop=lambda: False,
        ).train()  # fmt: skip
    (begin, before, _), (end, after, _) = moments[WARM - 1], moments[-1]
    lengths = [len(d) for d in deck.documents(tokenizer, 0, 0)]
    squares = sum(n * n for n in lengths) / sum(lengths)
    return {
        "fused": loss_of.fused,
        "tokens_per_second": (after - before) / (end - begin),
        "context": squares / 2,
    }


def theirs(shape: str, device: str, steps: int) -> dict[str, Any]:
    """TRL's SFTTrainer, everything but the number of steps as it comes."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    recipe = recipe_of(shape, 1, False, steps)
    _, adapted = ready(shape, device, recipe)
    tokenizer = open_tokenizer(models.resolve("embedded"))
    deck = Deck([(open_split("sample", "train"), 1.0)], recipe)
    documents = [d for d in deck.documents(tokenizer, 0, 0) if len(d) <= 1024]
    rows = [
        {"input_ids": d.ids, "completion_mask": [int(label != -100) for label in d.labels]}
        for d in documents
    ]
    seen: list[int] = []
    moments: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if device != "cpu":
                torch.cuda.synchronize()
            moments.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=adapted,
            args=SFTConfig(
                output_dir=folder, max_steps=steps + WARM, report_to="none", disable_tqdm=True,
                save_strategy="no", use_cpu=device == "cpu",
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(models.resolve("embedded")),
            callbacks=[Clock()],
        )  # fmt: skip
        collate = trainer.data_collator

        def counted(batch: list[Any]) -> Any:
            made = collate(batch)
            mask = made.get("attention_mask")
            seen.append(
                sum(len(row["input_ids"]) for row in batch) if mask is None else int(mask.sum())
            )
            return made

        trainer.data_collator = counted
        trainer.train()
    return {"tokens_per_second": sum(seen[WARM : WARM + steps]) / (moments[-1] - moments[WARM - 1])}


def measured(run: Any, *arguments: Any) -> dict[str, Any]:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found: dict[str, Any] = run(*arguments)
    except torch.OutOfMemoryError:
        found = {"tokens_per_second": None, "note": "out of memory"}
    except Exception as error:  # a benchmark goes on
        found = {"tokens_per_second": None, "note": f"{type(error).__name__}: {error}"[:300]}
    if torch.cuda.is_available():
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shapes", nargs="+", choices=SHAPES, default=["llama-2-7b", "mistral-7b", "gpt2"]
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    device = models.device()
    ceiling = product_rate(device, torch.bfloat16) / 1e12 if device != "cpu" else None
    name = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    print(f"{name}, torch {torch.__version__}; bfloat16 products: {ceiling or 0:.0f} TFLOP/s")
    table = []
    for shape in options.shapes:
        small = shape in ("gpt2", "tiny")
        runs: list[tuple[str, Any, tuple[Any, ...], int]] = [
            ("TRL defaults", theirs, (shape, device, options.steps), 6),
            ("ours", ours, (shape, device, 8 if small else 2, False, options.steps), 4),
            ("ours, recomputed", ours, (shape, device, 16 if small else 8, True, options.steps), 6),
        ]
        parameters = matrix_parameters(shape)
        config = SHAPES[shape]
        width = config.hidden_size * config.num_hidden_layers
        peer, context = None, None
        rows = []
        for label, run, arguments, flops in runs:
            row = {"shape": shape, "trainer": label, **measured(run, *arguments)}
            context = row.get("context", context)
            rows.append((row, flops))
        for row, flops in rows:
            speed = row["tokens_per_second"]
            if speed is not None:
                peer = peer or (speed if row["trainer"].startswith("TRL") else None)
                row["ratio"] = speed / peer if peer else None
                # Forward: 4 * context * width FLOP a token and layer; its gradients twice that.
                attention = 12 * (context or 0) * width
                row["tflops_4n"] = (4 * parameters + attention) * speed / 1e12
                row["tflops_done"] = (flops * parameters + attention * flops / 4) * speed / 1e12
                if ceiling:
                    row["share_4n"] = row["tflops_4n"] / ceiling
                    row["share_done"] = row["tflops_done"] / ceiling
            table.append(row)
            print(
                json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}),
                flush=True,
            )
    if options.json:
        options.json.write_text(
            json.dumps({"device": name, "ceiling": ceiling, "rows": table}, indent=1)
        )


if __name__ == "__main__":
    main()
