"""``fabula corpus``: the report and the card of a prepared corpus, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(help="A folder that 'fabula prepare' made.")],
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write REPORT.html and CARD.md of a prepared corpus anew."""
    from fabula.corpus import write_report
    from fabula.corpus.report import CARD, REPORT

    manifest = write_report(folder)
    if json_:
        from fabula.cli import emit

        emit({"report": str(folder / REPORT), "card": str(folder / CARD), **manifest})
        return
    typer.echo(
        f"{manifest['stories']:,} stories in {manifest['documents']:,} documents; wrote "
        f"{folder / REPORT} and {folder / CARD}."
    )
