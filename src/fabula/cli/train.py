"""`fabula train`: carry out a recipe, with live progress; then what changed, told by figures and
one brief's story before and after."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.cli.chatter import load_quietly
from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.story import Brief
    from fabula.training.sitting import Outcome


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run from its last checkpoint.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start over: delete the run that is there.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Another name for the run.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder of all runs.")] = Path("runs"),
    base: Annotated[
        str | None, typer.Option(help="Another base model: a folder, a hub id, or 'embedded'.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="End after so many steps.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="End after so many minutes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed.")] = None,
    micro_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Other rows at once; the batch stays.")
    ] = None,
    parallel: Annotated[
        str | None, typer.Option(help="How several processes share the work: ddp or fsdp.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    doctor: Annotated[
        bool, typer.Option(help="Refuse what 'fabula doctor' refuses (else it is only told).")
    ] = True,
    json_: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train or fine-tune a model from a recipe."""
    if resume and force:
        raise FabulaError("--resume goes on and --force starts over; give one of them.")
    from fabula.training.recipe import load_recipe

    settings = load_recipe(
        recipe,
        name=name,
        base_model=base,
        steps=steps,
        max_minutes=max_minutes,
        seed=seed,
        micro_batch_size=micro_batch_size,
        parallel=parallel,
    )
    brief = _sample_brief(settings.sample_brief, str(recipe))
    load_quietly("Training", threads)
    from fabula.training.progress import Show
    from fabula.training.run import train
    from fabula.training.sitting import Announce

    told_before = told_after = None

    def write_before() -> None:
        nonlocal told_before
        if brief is not None and settings.base_model is not None:
            told_before = _story(settings.base_model, brief, settings.seed)

    # Of several processes, the first speaks.
    first = os.environ.get("RANK", "0") == "0"
    with Show(settings, write_before) if first else nullcontext(Announce()) as show:
        outcome = train(settings, runs, resume, show, force, doctor)
    if not first:
        return
    if brief is not None and outcome.model is not None:
        told_after = _story(str(outcome.model), brief, settings.seed)
    if json_:
        from fabula.cli import emit

        emit(_payload(outcome, told_before, told_after))
    elif outcome.finished:
        _tell(outcome, told_before, told_after)
    if not outcome.finished:
        again = " ".join(sys.argv[1:])
        again += "" if resume else " --resume"
        sys.stderr.write(
            f"Stopped after step {outcome.counts.step}, with a checkpoint. To go on: "
            f"fabula {again.replace(' --force', '')}\n"
        )
        raise typer.Exit(1)


def _sample_brief(data: dict[str, Any] | None, where: str) -> Brief | None:
    if data is None:
        return None
    from fabula.story import Brief, validate

    return validate(Brief, data, f"{where}, sample_brief")


def _story(model: str, brief: Brief, seed: int) -> str | None:
    """One story by a model, or None where it cannot write one here."""
    from fabula.engines import open_engine
    from fabula.writing import Writer

    try:
        return Writer(open_engine(model)).write(brief, seed).text
    except FabulaError as error:
        sys.stderr.write(f"No sample story by {model}: {error}\n")
        return None


def _payload(outcome: Outcome[Any], before: str | None, after: str | None) -> dict[str, Any]:
    counts = outcome.counts
    return {
        "run": str(outcome.folder),
        "model": str(outcome.model) if outcome.model is not None else None,
        "finished": outcome.finished,
        "steps": counts.step,
        "epochs": round(counts.epochs, 4),
        "tokens": counts.tokens,
        "loss_tokens": counts.learnt,
        "dropped": counts.dropped,
        "seconds": round(counts.seconds, 1),
        "parameters": {"trained": outcome.parameters[0], "all": outcome.parameters[1]},
        "before": outcome.before.metrics() if outcome.before else None,
        "after": outcome.after.metrics() if outcome.after else None,
        "story_before": before,
        "story_after": after,
    }


def _tell(outcome: Outcome[Any], before: str | None, after: str | None) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    from fabula.training.kinds import kind_of

    console = Console()
    old_score, new_score = outcome.before, outcome.after
    if old_score is not None and new_score is not None:
        kind = kind_of([new_score.metrics()])
        title = f"Held out: {new_score.documents} {kind.things}"
        table = Table(title=title, title_justify="left")
        for column in ("", "before", "after", "change"):
            table.add_column(column, justify="left" if column == "" else "right")
        for label, key in kind.rows:
            old, new = float(getattr(old_score, key)), float(getattr(new_score, key))
            change = f"{(new - old) / old:+.1%}" if old else f"{new - old:+.3f}"
            table.add_row(label, f"{old:,.3f}", f"{new:,.3f}", change)
        console.print(table)
    for title, text in (("before", before), ("after", after)):
        if text is not None:
            console.print(Panel(text, title=f"the sample brief, {title}", title_align="left"))
    console.print(
        f"{outcome.counts.step} steps, {outcome.counts.tokens:,} tokens in "
        f"{outcome.counts.seconds / 60:.1f} minutes. The model: [bold]{outcome.model}[/bold]; its "
        f"card, figures and curve: {outcome.folder}"
    )
