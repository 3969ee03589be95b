"""``fabula models``: what can write here, and what each needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fabula.engines.catalogue import Entry


def command(
    runs: Annotated[Path, typer.Option(help="Folder of training runs to look through.")] = Path(
        "runs"
    ),
    graph: Annotated[
        Path | None,
        typer.Option(
            help="Instead of listing, write the graph by which the embedded engine runs this "
            "Llama model folder."
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option(
            help="Instead of listing, write the weights of this Llama model folder in 8 bits, "
            "half the size, as the embedded engine reads them."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the models that can write here."""
    from fabula.cli import emit
    from fabula.errors import FabulaError

    if graph is not None and pack is not None:
        raise FabulaError("Give --graph or --pack, one at a time.")
    if graph is not None:
        from fabula.engines.graph import write_graph

        written = [str(path) for path in write_graph(graph)]
        emit({"graphs": written}) if json_ else typer.echo("\n".join(written))
        return
    if pack is not None:
        from fabula.engines.packed import pack as write_packed

        place = str(write_packed(pack))
        emit({"packed": place}) if json_ else typer.echo(place)
        return
    from fabula.engines.catalogue import list_models

    entries = list_models(runs)
    if json_:
        emit({"models": [asdict(entry) for entry in entries]})
    else:
        show(entries)


def show(entries: list[Entry]) -> None:
    """Print the models as a table, and below it what is missing where."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("engine")
    for title in ("parameters", "on disk", "in memory"):
        table.add_column(title, justify="right")
    table.add_column("ready")
    for entry in entries:
        name = Text(entry.model)
        if entry.base:
            name.append(f"\n  on {entry.base}", style="dim")
        ready = entry.needs is None
        table.add_row(
            name,
            entry.engine or "",
            short(entry.parameters),
            short(entry.size, "B"),
            short(entry.memory, "B"),
            Text("yes", style="green") if ready else Text("no", style="yellow"),
        )
    console.print(table)
    for entry in entries:
        if entry.needs is not None:
            console.print(Text(f"\n{entry.model} needs: ", style="yellow").append(entry.needs))
    console.print(Text("\nWrite with one of them: fabula write --model MODEL", style="dim"))


def short(number: float, unit: str = "") -> str:
    """A number as people say it (8.0 M, 1.2 GB); nothing for zero."""
    for prefix in ("", " k", " M", " G"):
        if number < 1000:
            return f"{number:.3g}{prefix or ' '}{unit}".rstrip() if number else ""
        number /= 1000
    return f"{number:.3g} T{unit}"
