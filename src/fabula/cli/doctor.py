"""`fabula doctor`: what a recipe's run would learn, and what is wrong with it, before its first
step."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.cli.chatter import load_quietly

if TYPE_CHECKING:
    from fabula.training.doctor.examine import Examination


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)],
    base: Annotated[
        str | None, typer.Option(help="Another base model: a folder, a hub id, or 'embedded'.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Another name for the run.")] = None,
    runs: Annotated[Path, typer.Option(help="The folder of all runs.")] = Path("runs"),
    steps: Annotated[int | None, typer.Option(help="End after so many steps.")] = None,
    documents: Annotated[int, typer.Option(min=0, help="Texts of the batch to show.")] = 2,
    tokens: Annotated[int, typer.Option(min=8, help="Tokens to show of each, about.")] = 240,
    page: Annotated[
        Path | None, typer.Option(help="Write all of the batch and the checks as an HTML page.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a batch as the model sees it, and check the run before its first step."""
    from fabula.training.recipe import load_recipe

    settings = load_recipe(recipe, base_model=base, name=name, steps=steps)
    load_quietly("Examining a run", threads)
    from fabula.training.doctor.examine import examine
    from fabula.training.sitting import Announce

    class Told(Announce):
        def note(self, text: str) -> None:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    told = examine(settings, runs, Told())
    if page is not None:
        from fabula.story.files import write_atomic
        from fabula.training.doctor.page import make_page

        write_atomic(page, make_page(told))
    if json_:
        from fabula.cli import emit

        emit(_payload(told))
    else:
        _show(told, documents, tokens, page)
    if told.refused:
        raise typer.Exit(1)


def _payload(told: Examination) -> dict[str, Any]:
    return {
        "recipe": told.recipe.name,
        "kind": told.kind,
        "refused": told.refused,
        "findings": [finding.as_data() for finding in told.findings],
        "batch": [
            {
                "id": text.name,
                "role": text.role or None,
                "tokens": len(text),
                "prompt": text.prompt,
                "learnt": text.learnt,
                "loss": round(text.mean_loss, 4) if text.mean_loss is not None else None,
            }
            for text in told.batch
        ],
    }


def _show(told: Examination, documents: int, tokens: int, page: Path | None) -> None:
    from rich.console import Console

    from fabula.training.doctor.findings import verdict_of
    from fabula.training.doctor.terminal import show_batch, show_findings

    console = Console(markup=False, emoji=False, highlight=False)
    if told.tokenizer is not None and told.batch and documents:
        console.print(f"A micro-batch of {told.recipe.name} as the model sees it", style="bold")
        show_batch(console, told.batch, told.tokenizer, documents, tokens)
        console.print()
    show_findings(console, told.findings)
    console.print()
    console.print(verdict_of(told.findings), style="bold red" if told.refused else "bold")
    if page is not None:
        console.print(f"The whole batch: {page}")
