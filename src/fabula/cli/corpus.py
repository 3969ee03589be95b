"""``fabula corpus``: the report and the card of a prepared corpus, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(help="A folder that 'fabula prepare' made.")],
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Only look for stories of this source in it; exit code 1 if any is found.",
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Write REPORT.html and CARD.md of a prepared corpus anew, or look for leaks in it."""
    if against:
        raise typer.Exit(_check(folder, against, json_))
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


def _check(folder: Path, against: list[str], json_: bool) -> int:
    """Tell what of some sources is in a corpus; 1 if anything is."""
    import os

    from fabula.corpus import open_source
    from fabula.corpus.against import check_corpus
    from fabula.corpus.runners import LocalRunner

    taken: set[str] = set()
    sources = [open_source(text, taken) for text in against]
    with LocalRunner(os.cpu_count() or 1) as runner:
        checked = check_corpus(folder, sources, runner)
    if json_:
        from fabula.cli import emit

        emit({"corpus": str(folder), "against": checked.found})
    for other in checked.found if not json_ else ():
        typer.echo(f"{other['name']}, {other['stories']:,} stories:")
        for reason, one in other["found"].items():
            documents = f"{one['stories']:,} document{'s' * (one['stories'] != 1)}"
            typer.echo(f"  {documents}: {reason} (such as {one['example']})")
        if not other["found"]:
            typer.echo("  nothing of it is in the corpus")
    return int(any(other["found"] for other in checked.found))
