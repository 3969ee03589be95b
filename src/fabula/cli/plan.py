"""`fabula plan`: what training a model takes, before anything is downloaded or begun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fabula.cli.chatter import load_quietly
from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.planning import Machine, Plan
    from fabula.training.recipe import Recipe

METHODS = ("full", "lora", "qlora")


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model folders, hub ids, 'embedded', or one of the known names; several are "
            "compared.",
            show_default=False,
        ),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe: its method, adapter, optimiser, rows and batch."),
    ] = None,
    as_is: Annotated[
        bool,
        typer.Option("--as-is", help="With the recipe's own rows and recomputation, not the best."),
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="full, lora or qlora (else qlora; GPT-2: lora).")
    ] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Plan for this GPU instead: t4, l4, rtx-4090, a100, h200 ...")
    ] = None,
    sequence_length: Annotated[int | None, typer.Option(min=16, help="Tokens of a row.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Rows of an optimiser step.")
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens to learn from (else 270 million, as in WritingPrompts)."),
    ] = None,
    hours: Annotated[
        float, typer.Option(min=0.01, help="Recommend what is done within so many hours.")
    ] = 24.0,
    measure: Annotated[
        bool,
        typer.Option(help="On this CPU: try a few steps of two layers (half a minute a model)."),
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what fits, how fast it is, and what it costs."""
    if method is not None and method not in METHODS:
        raise FabulaError(f"--method {method}: say one of {', '.join(METHODS)}.")
    load_quietly("Planning a run")
    from fabula.planning import (
        WRITING_PROMPTS,
        machine_named,
        plan_run,
        recommend,
        this_machine,
    )

    if as_is and recipe is None:
        raise FabulaError("--as-is plans a recipe's own rows; give the --recipe.")
    machine = this_machine() if gpu is None else machine_named(gpu)
    tokens = tokens or WRITING_PROMPTS
    plans = []
    for model in models:
        settings = _settings(recipe, model, method, sequence_length, batch_size, as_is)
        if measure and not machine.gpu:
            sys.stderr.write(f"trying a few steps of {model} here\n")
        rows = settings.micro_batch_size if as_is else None
        plans.append(plan_run(model, settings, machine, tokens, rows=rows, measured=measure))
    best = recommend(plans, hours)
    if json_:
        from fabula.cli import emit

        emit({"plans": [p.as_data() for p in plans], "recommended": best.model if best else None})
    else:
        _show(machine, plans, best, hours)


def _settings(
    file: Path | None,
    model: str,
    method: str | None,
    length: int | None,
    batch: int | None,
    as_is: bool,
) -> Recipe:
    from fabula.planning import is_conv1d
    from fabula.story.files import validate
    from fabula.training.recipe import Recipe, load_recipe

    if file is not None:
        data = load_recipe(file, base_model=model).model_dump(mode="json")
    else:
        data = {
            "name": "plan", "base_model": model, "data": [{"corpus": "sample"}], "epochs": 1,
            "method": "lora" if is_conv1d(model) else "qlora", "sequence_length": 1024,
            "batch_size": 16, "lora": {"dropout": 0.05},
        }  # fmt: skip
    given = {"method": method, "sequence_length": length, "batch_size": batch}
    data |= {key: value for key, value in given.items() if value is not None}
    if not as_is:
        data["micro_batch_size"] = 1
    return validate(Recipe, data, str(file or f"the plan of {model}"))


def _show(machine: Machine, plans: list[Plan], best: Plan | None, hours: float) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"On {machine.title}: {machine.memory / 2**30:.1f} GiB, "
        f"{machine.rate / 1e12:.3g} TFLOP/s in {'bfloat16' if machine.bfloat16 else 'float32'}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    for title in ("method", "params", "learn", "rows", "again", "GiB", "tok/s", "hours", "disk"):
        table.add_column(title, justify="right", no_wrap=True)
    for plan in plans:
        table.add_row(
            plan.model, plan.method, _short(plan.parameters), _short(plan.learns),
            f"{plan.micro_batch_size} of {plan.batch_size}" if plan.fits else "none",
            "yes" if plan.gradient_checkpointing else "no", f"{plan.memory.total / 2**30:.1f}",
            f"{plan.rate:,.0f}", f"{plan.hours:,.1f}", f"{plan.disk / 1e9:.1f}",
        )  # fmt: skip
    console.print(table)
    console.print(
        "rows: of a micro-batch, of the batch; again: layers are computed twice; disk: GB.",
        style="dim",
    )
    for plan in plans:
        parts = ", ".join(f"{k} {v / 2**30:.2f}" for k, v in plan.memory.as_data().items())
        console.print(f"{plan.model}, GiB: {parts}", style="dim")
    if best is not None:
        console.print(f"Recommended: {best.model}, the largest that is done in {hours:g} hours.")
    else:
        fitting = [plan for plan in plans if plan.fits]
        what = "fits" if not fitting else f"is done in {hours:g} hours"
        console.print(f"None of these {what} here; try --gpu NAME or a smaller model.")


def _short(count: int) -> str:
    return f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M"
