"""Training beside TRL's SFTTrainer as it comes: the same model, the same documents, one run.

    python benchmarks/train.py                  # a CPU: the embedded model, all of its weights
                                                # a GPU: QLoRA in the shapes of Llama-2-7B and
                                                # Mistral-7B, LoRA in GPT-2's; random weights
    python benchmarks/train.py --shapes tiny    # a try on any machine

Both train the sample's stories as `fabula train` renders them, from the same weights (LoRA: rank
16, all linear layers, over the same NF4; GPT-2 in bfloat16). Ours packs documents without padding
and never holds all scores; TRL's defaults are 8 rows padded to the longest, with gradient
checkpointing. Every trainer has a process of its own, in turn, `--repeats` times.

Columns: tokens a second (real ones, without padding), the median of the repeats, after two steps
to warm up; their ratio to TRL's; share of the machine's measured rate of products, by what the
method takes (`fabula.training.throughput`: 4 FLOP a frozen parameter and token, 6 where it learns,
and attention), and in brackets what is really computed, where layers are computed again; peak
memory: of the GPU, beside what `fabula plan` says of it, or resident in the process.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch

WARM = 2
CPU, GPU = ["embedded"], ["llama-2-7b", "mistral-7b", "gpt2"]
TRL = "TRL's defaults"
# Rows of 1,024 or 2,048 tokens at once, and whether layers are computed again.
OURS: dict[str, dict[str, tuple[int, bool]]] = {
    "llama-2-7b": {"ours": (2, False), "ours, recomputed": (8, True), "ours, liger": (4, False)},
    "mistral-7b": {"ours": (2, False), "ours, recomputed": (8, True), "ours, liger": (4, False)},
    "gpt2": {"ours": (8, False), "ours, recomputed": (16, True)},
    "tiny": {"ours": (8, False), "ours, recomputed": (16, True)},
    "embedded": {"ours": (4, False), "ours, compiled": (4, False)},
}


def recipe_of(shape: str, trainer: str, steps: int) -> Any:
    """One of our recipes, for a few steps of one micro-batch each."""
    from fabula.training.models import choose_dtype
    from fabula.training.recipe import Recipe

    rows, again = OURS[shape].get(trainer, (1, False))
    method = {"embedded": "full", "gpt2": "lora"}.get(shape, "qlora")
    recipe = Recipe.model_validate(
        {
            "name": shape,
            "base_model": shape,
            "method": method,
            "lora": {"r": 16, "alpha": 32, "dropout": 0.05},
            "data": [{"corpus": "sample"}],
            "sequence_length": 2048 if shape.endswith("7b") else 1024,
            "micro_batch_size": rows,
            "batch_size": rows,
            "steps": steps + WARM,
            "evaluation": {"max_documents": 0},
            "checkpoint": {"every_minutes": None},
            "dtype": "auto" if shape == "embedded" else "bfloat16",
            "compile": trainer.endswith("compiled"),
            "kernels": "liger" if trainer.endswith("liger") else "torch",
            "gradient_checkpointing": again,
            "optimiser": {"name": "adamw", "learning_rate": 2e-4},
        }
    )
    return choose_dtype(recipe)


def ready(shape: str, recipe: Any) -> tuple[Any, Any]:
    """The model, and the same with a fresh adapter where the method has one."""
    from shapes import random_model

    from fabula.training import models

    torch.manual_seed(0)
    if shape == "embedded":
        model = models.load_base(models.resolve("embedded"), recipe)
        return model, model
    model = random_model(shape, models.device(), nf4=recipe.method == "qlora")
    return model, models.add_adapter(model, recipe)


def documents_of(recipe: Any) -> tuple[Any, Any]:
    """The sample's stories, and the tokenizer of them all."""
    from fabula.training import models
    from fabula.training.packing import Deck
    from fabula.training.sources import open_split
    from fabula.training.tokenizer import open_tokenizer

    tokenizer = open_tokenizer(models.resolve("embedded"))
    return Deck([(open_split("sample", "train"), 1.0)], recipe), tokenizer


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ours(shape: str, trainer: str, steps: int) -> dict[str, Any]:
    from fabula.training import checkpoint, loss, models
    from fabula.training.kernels import use_liger
    from fabula.training.packing import Cursor, Stream
    from fabula.training.trainer import StoryTrainer

    recipe = recipe_of(shape, trainer, steps)
    model, adapted = ready(shape, recipe)
    deck, tokenizer = documents_of(recipe)
    stream = Stream(deck, tokenizer, tokenizer.pad, recipe, Cursor())
    if recipe.kernels == "liger":
        use_liger(model)
    loss_of = loss.choose(model, 5000)
    if adapted is not model:
        loss_of.adapted(adapted)
    if recipe.gradient_checkpointing:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    if recipe.compile:
        models.compile_layers(loss_of.inner)
    moments: list[tuple[float, int, float]] = []
    made: list[Any] = []

    def note(line: dict[str, Any]) -> None:
        synchronise()
        moments.append((time.perf_counter(), line["tokens"], made[0].done))

    with tempfile.TemporaryDirectory() as folder:
        made.append(
            StoryTrainer(
                model=adapted, recipe=recipe, loss_of=loss_of, stream=stream, held_out=None,
                folder=Path(folder), counts=checkpoint.State(), resume_from=None,
                autocast=models.uses_autocast(recipe), report=note, note=lambda text: None,
                asked_to_stop=lambda: False,
            )
        )  # fmt: skip
        made[0].train()
    (begin, before, less), (end, after, more) = moments[WARM - 1], moments[-1]
    return {
        "tokens_per_second": (after - before) / (end - begin),
        "flop": (more - less) / (after - before),
        "frozen": recipe.method != "full",
        "again": recipe.gradient_checkpointing,
        "peak": made[0].peak,
        "dtype": recipe.dtype,
        "fused": loss_of.fused,
        **planned(shape, recipe),
    }


def planned(shape: str, recipe: Any) -> dict[str, float]:
    """What `fabula plan` says of the GPU's memory, without what CUDA takes for itself."""
    if not torch.cuda.is_available() or shape == "tiny":
        return {}
    from fabula.planning.machines import this_machine
    from fabula.planning.plan import plan_run

    plan = plan_run(shape, recipe, this_machine(), rows=recipe.micro_batch_size)
    return {"planned_gib": (plan.memory.total - plan.memory.libraries) / 2**30}


def theirs(shape: str, trainer: str, steps: int) -> dict[str, Any]:
    """TRL's SFTTrainer, everything but the number of steps as it comes."""
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from fabula.training import models

    recipe = recipe_of(shape, trainer, steps)
    _, adapted = ready(shape, recipe)
    deck, tokenizer = documents_of(recipe)
    documents = [d for d in deck.documents(tokenizer, 0, 0) if len(d) <= 1024]
    rows = [
        {"input_ids": d.ids, "completion_mask": [int(label != -100) for label in d.labels]}
        for d in documents
    ]
    seen: list[int] = []
    moments: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            synchronise()
            moments.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        sft = SFTTrainer(
            model=adapted,
            args=SFTConfig(
                output_dir=folder, max_steps=steps + WARM, report_to="none", disable_tqdm=True,
                save_strategy="no", use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(models.resolve("embedded")),
            callbacks=[Clock()],
        )  # fmt: skip
        collate = sft.data_collator

        def counted(batch: list[Any]) -> Any:
            made = collate(batch)
            mask = made.get("attention_mask")
            seen.append(
                sum(len(row["input_ids"]) for row in batch) if mask is None else int(mask.sum())
            )
            return made

        sft.data_collator = counted
        sft.train()
    rate = sum(seen[WARM : WARM + steps]) / (moments[-1] - moments[WARM - 1])
    arguments = sft.args
    return {
        "tokens_per_second": rate,
        "again": bool(arguments.gradient_checkpointing),
        "dtype": "bfloat16" if arguments.bf16 else "float32",
    }


def one(shape: str, trainer: str, steps: int) -> dict[str, Any]:
    """One trainer's figures, in this process."""
    from fabula.training import memory

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        found = (theirs if trainer == TRL else ours)(shape, trainer, steps)
    except Exception as error:  # a benchmark goes on
        if not memory.is_out_of_memory(error):
            return {"note": f"{type(error).__name__}: {error}"[:300]}
        found = {"note": "out of memory"}
    return {**found, "gib": memory.peak() / 2**30}


def in_its_own_process(shape: str, trainer: str, steps: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", shape, trainer, "--steps", str(steps)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"note": f"ended with {done.returncode}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def compare(shape: str, steps: int, repeats: int) -> list[dict[str, Any]]:
    """The rows of a shape: TRL first, and then ours."""
    trainers = [TRL, *OURS[shape]]
    runs: dict[str, list[dict[str, Any]]] = {trainer: [] for trainer in trainers}
    for _ in range(repeats):
        for trainer in trainers:
            runs[trainer].append(in_its_own_process(shape, trainer, steps))
    rows = []
    for trainer, found in runs.items():
        row = {"shape": shape, "trainer": trainer, **found[-1]}
        rates = [run["tokens_per_second"] for run in found if "tokens_per_second" in run]
        if rates:
            row["tokens_per_second"] = statistics.median(rates)
            row["all"] = [round(rate) for rate in rates]
        rows.append(row)
    model = next((row for row in rows if "flop" in row), None)
    peer = rows[0].get("tokens_per_second")
    for row in rows:
        rate = row.get("tokens_per_second")
        if rate is None:
            continue
        row["ratio"] = rate / peer if peer else None
        if model is not None:
            share = rate * model["flop"] / model["peak"]
            row["share"] = share
            # What is computed again is a forward pass: half of what frozen weights take in all.
            forward = 1 / 2 if model["frozen"] else 1 / 3
            row["share_computed"] = share * (1 + forward * row["again"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=OURS, default=None)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "TRAINER"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one, options.steps)))
        return
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}, torch {torch.__version__}")
    table = []
    for shape in options.shapes or (GPU if gpu else CPU):
        for row in compare(shape, options.steps, options.repeats):
            table.append(row)
            print(told(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"device": name, "rows": table}, indent=1))


def told(row: dict[str, Any]) -> str:
    """A row as a line."""
    start = f"{row['shape']:12} {row['trainer']:18}"
    memory = f"{row.get('gib', 0):6.2f} GiB"
    if "tokens_per_second" not in row:
        return f"{start} {row['note']}, {memory}"
    line = f"{start} {row['tokens_per_second']:9,.0f} tokens/s  {row['dtype']}"
    if row.get("ratio"):
        line += f"  {row['ratio']:.2f} of TRL's"
    if "share" in row:
        line += f"  {row['share']:.0%} ({row['share_computed']:.0%}) of the peak"
    if "planned_gib" in row:
        memory += f" (planned {row['planned_gib']:.2f})"
    return f"{line}  {memory}"


if __name__ == "__main__":
    main()
