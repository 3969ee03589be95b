"""``fabula prepare``: stories into a tagged, split, deduplicated corpus."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any

import typer

from fabula.errors import FabulaError


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="'sample', 'trees', a file or folder, or KIND:PATH with one of the kinds: sample, "
            "trees, writingprompts (folder or .tar.gz), hub (OWNER/NAME of a data set), jsonl, "
            "csv, parquet (a file or a folder of them), text, gutenberg, rocstories, storycloze, "
            "fairytale, gold.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to make.")],
    source_type: Annotated[
        str | None, typer.Option(help="Kind of all sources that have no KIND: prefix.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Columns of a table: story=NAME,prompt=NAME,title=NAME,id=NAME.")
    ] = "",
    licence: Annotated[
        list[str] | None,
        typer.Option(help="Licence of the sources, or of one: NAME=TEXT. May be repeated."),
    ] = None,
    valid: Annotated[float, typer.Option(help="Share of the stories for validation.")] = 0.05,
    test: Annotated[float, typer.Option(help="Share of the stories for testing.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Decides which stories are held out.")] = 0,
    max_words: Annotated[int, typer.Option(min=100, help="Part longer stories at beats.")] = 700,
    min_words: Annotated[int, typer.Option(min=1, help="Drop shorter texts.")] = 40,
    long: Annotated[
        str, typer.Option(help="Longer stories: 'split' into parts, or 'drop'.")
    ] = "split",
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Leave a tag empty below this confidence.")
    ] = 0.5,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 for one a processor.")] = 0,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE",
            help="Drop what is in this source too, or quotes it, or has its prompt. Repeatable.",
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help="What runs it: 'local' processes, or a 'ray' cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="The Ray cluster; else RAY_ADDRESS, else this machine.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was interrupted.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a corpus, or an interrupted run, at OUT.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Turn stories into one corpus folder that training and evaluation read."""
    from fabula.corpus import Settings, open_source, prepare
    from fabula.corpus.runners import open_runner
    from fabula.corpus.tables import parse_mapping

    if long not in ("split", "drop"):
        raise FabulaError(f"--long is '{long}'; it is one of: split, drop.")
    licences = dict(_licence(text) for text in licence or [])
    mapping = parse_mapping(columns)
    taken: set[str] = set()
    opened = [
        open_source(text, taken, kind=source_type, mapping=mapping, licences=licences)
        for text in sources
    ]
    others = [open_source(text, taken, mapping=mapping) for text in against or []]
    unknown = sorted(licences.keys() - taken - {""})
    if unknown:
        raise FabulaError(
            f"--licence names '{unknown[0]}', which is no source; they are: {', '.join(taken)}."
        )
    settings = Settings(
        valid=valid, test=test, seed=seed, max_words=max_words, long=long,
        min_words=min_words, min_confidence=min_confidence,
    )  # fmt: skip
    runner = open_runner(engine, workers or os.cpu_count() or 1, ray_address)
    with _Progress() as progress:
        manifest = prepare(
            opened, out, settings, against=others, force=force, resume=resume, runner=runner,
            progress=progress.tell,
        )  # fmt: skip
    if json_:
        from fabula.cli import emit

        emit({"out": str(out), **manifest})
    else:
        _show(out, manifest)


def _licence(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return (name.strip(), value.strip()) if equals else ("", text.strip())


class _Progress:
    """Stories done, stories a second and time left, on standard error.

    A bar where somebody watches; elsewhere a line every `PAUSE` seconds.
    """

    STEPS = {"clean": "Cleaning", "compare": "Comparing", "tag": "Tagging", "write": "Writing"}
    PAUSE, LATE = 10.0, 30.0

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:10}"),
            BarColumn(),
            TextColumn("{task.completed:>9,.0f} stories {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, Any] = {}
        self._seen: dict[str, deque[tuple[float, int]]] = {}
        self._spoken = time.monotonic()

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _rate(self, seen: deque[tuple[float, int]], now: float, done: int) -> float:
        """Stories a second of late: what an earlier run did costs no time."""
        seen.append((now, done))
        while len(seen) > 2 and now - seen[0][0] > self.LATE:
            seen.popleft()
        began, before = seen[0]
        return (done - before) / (now - began) if now > began else 0.0

    def tell(self, step: str, done: int, total: int | None) -> None:
        """Move a step's bar, or say how far it is."""
        now = time.monotonic()
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(self.STEPS[step], total=total, rate="")
            self._seen[step] = deque()
        rate = self._rate(self._seen[step], now, done)
        self._bar.update(self._tasks[step], completed=done, total=total, rate=f"{rate:,.0f}/s")
        if self._bar.disable and now - self._spoken > self.PAUSE:
            self._spoken = now
            left = f", about {(total - done) / rate:,.0f} s left" if total and rate else ""
            of = f" of {total:,}" if total else ""
            sys.stderr.write(f"{self.STEPS[step]}: {done:,}{of} stories, {rate:,.0f}/s{left}\n")


def _show(out: Path, manifest: dict[str, Any]) -> None:
    """The summary people read."""
    from rich.console import Console
    from rich.table import Table

    # What files and reasons are called is no markup.
    console = Console(markup=False, emoji=False)
    table = Table(title=f"Corpus {out}", title_justify="left")
    for name in ("source", "read", "dropped", "stories", "documents", "train", "valid", "test"):
        left = name == "source"
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for s in manifest["sources"]:
        dropped = sum(d["stories"] for d in s["dropped"].values())
        cells = [s["read"], dropped, s["kept"], s["documents"], *s["splits"].values()]
        table.add_row(s["name"], *(f"{n:,}" for n in cells))
    console.print(table)
    reasons = [
        (s["name"], reason, d["stories"], d["example"])
        for s in manifest["sources"]
        for reason, d in s["dropped"].items()
    ]
    if reasons:
        drops = Table(title="Dropped, and why", title_justify="left")
        for name in ("source", "reason", "stories", "for example"):
            right = name == "stories"
            drops.add_column(name, justify="right" if right else "left", overflow="fold")
        for source, reason, count, example in reasons:
            drops.add_row(source, reason, f"{count:,}", example)
        console.print(drops)
    shared = ", ".join(f"{count} {what}" for what, count in manifest["leaks"].items())
    console.print(f"Shared between splits: {shared}.")
    for other in manifest["against"]:
        found = sum(one["stories"] for one in other["found"].values())
        console.print(f"Checked against {other['stories']:,} of {other['name']}: {found:,} found.")
    if manifest["research_only"]:
        console.print("For research only: see CARD.md for the licences.")
    console.print(f"What is in it, with plots and samples: {out / 'REPORT.html'}")
