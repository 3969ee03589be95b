"""`fabula runs`: all runs at a glance, one run's page drawn anew, several compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.training.records import Record


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Folders or names of runs: one has its page drawn anew, several are compared. "
            "Without any, all are listed.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="The folder of all runs.")] = Path("runs"),
    page: Annotated[
        Path | None, typer.Option(help="Write the page (of one run, or comparing several) here.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List runs, compare them, or draw the page of one."""
    from fabula.story.files import write_atomic
    from fabula.training.page import PAGE, make_page
    from fabula.training.page.compare import make_comparison
    from fabula.training.records import read_record

    unreadable: list[str] = []
    if names:
        found = [read_record(_folder(name, runs)) for name in names]
    else:
        found = _all(runs, unreadable)
    drawn = page
    if names and len(found) == 1:
        drawn = page or found[0].folder / PAGE
        write_atomic(drawn, make_page(found[0]))
    elif page is not None:
        write_atomic(page, make_comparison(found))
    for told in unreadable:
        sys.stderr.write(f"left out: {told}\n")
    if json_:
        from fabula.cli import emit

        emit({"runs": [_payload(r) for r in found], "page": str(drawn) if drawn else None})
        return
    _show(found)
    if drawn is not None:
        sys.stdout.write(f"The page: {drawn}\n")


def _folder(name: str, runs: Path) -> Path:
    """The folder that a name means: itself, or one among the runs."""
    path = Path(name)
    return path if path.is_dir() or not (runs / name).is_dir() else runs / name


def _all(runs: Path, unreadable: list[str]) -> list[Record]:
    from fabula.training.records import read_record

    if not runs.is_dir():
        raise FabulaError(f"There is no folder {runs}; name that of your runs by --runs.")
    folders = sorted(
        (f for f in runs.iterdir() if (f / "recipe.yaml").is_file()),
        key=lambda f: (-f.stat().st_mtime, f.name),
    )
    found = []
    for folder in folders:
        try:
            found.append(read_record(folder))
        except FabulaError as error:
            unreadable.append(str(error))
    if not found and not unreadable:
        raise FabulaError(f"There is no run in {runs}; 'fabula train RECIPE' makes one.")
    return found


def _payload(record: Record) -> dict[str, Any]:
    last = record.last
    score = record.scores[-1] if record.scores else {}
    told = record.told[-1] if record.told else {}
    return {
        "run": str(record.folder),
        "state": record.state,
        "progress": round(record.progress, 4),
        "base_model": record.recipe.base_model,
        "method": record.recipe.method,
        "step": last.get("step"),
        "tokens": last.get("tokens"),
        "seconds": last.get("seconds"),
        "loss": last.get("loss"),
        "tokens_per_second": record.rate,
        "memory_mb": max((x.get("memory_mb", 0.0) for x in record.steps), default=None),
        **{k: v for k, v in {**score, **told}.items() if k.startswith("eval_")},
    }


def _show(found: list[Record]) -> None:
    from rich.console import Console
    from rich.table import Table

    from fabula.training.kinds import kind_of

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    for title in ("steps", "loss", "held out", "loops", "wishes", "tok/s", "minutes"):
        table.add_column(title, justify="right", no_wrap=True)
    for record in found:
        last = record.last
        score = record.scores[-1] if record.scores else None
        told = record.told[-1] if record.told else {}
        state = record.state
        if state != "finished":
            state += f" {record.progress:.0%}"
        table.add_row(
            record.folder.name, state, _figure(last.get("step"), ","),
            _figure(last.get("loss"), ".3f"),
            "-" if score is None else _figure(score.get(kind_of([score]).key), ".4f"),
            _figure(told.get("eval_loop_rate"), ".0%"),
            _figure(told.get("eval_wishes_kept"), ".0%"), _figure(record.rate, ",.0f"),
            _figure(last["seconds"] / 60 if last else None, ".1f"),
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print(
        "held out: bits per byte; of preferences the share that is right, of picks that of pairs. "
        "loops, wishes: of the specimens.",
        style="dim",
    )


def _figure(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)
