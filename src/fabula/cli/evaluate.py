"""``fabula evaluate``: models and stories scored on held-out stories or drawn briefs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.evaluation import Evaluation

STORIES_FILE = "stories.jsonl"
QUIET_SECONDS = 30
LOG_WIDTH = 160
DATA = "Held-out stories"
WRITING = "Writing"


def command(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model folder, run folder or hub id; by default the embedded model. May be "
            "repeated: the first is what the others are compared with."
        ),
    ] = None,
    stories: Annotated[
        list[Path] | None,
        typer.Option(
            help="Score stories already written: story files one a line, or lines with the id of "
            "a brief and a text. May be repeated."
        ),
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="Folder made by 'fabula prepare'; by default the sample corpus.",
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="train, valid or test; by default test.", rich_help_panel=DATA),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Take at most so many stories.", rich_help_panel=DATA)
    ] = None,
    drawn: Annotated[
        int | None,
        typer.Option(
            help="Instead of held-out stories, take so many briefs drawn by the dice, in "
            "combinations that no training story has.",
            rich_help_panel=DATA,
        ),
    ] = None,
    trained_on: Annotated[
        list[Path] | None,
        typer.Option(
            help="Corpus folder in whose train split copied words are looked for; by default the "
            "corpus's own. May be repeated.",
            rich_help_panel=DATA,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Of writing, pairing and resampling.", rich_help_panel=WRITING)
    ] = 0,
    candidates: Annotated[
        int | None,
        typer.Option(help="Passages drawn for each beat.", rich_help_panel=WRITING),
    ] = None,
    single: Annotated[
        bool,
        typer.Option(
            "--single", help="One sample of everything, no choosing.", rich_help_panel=WRITING
        ),
    ] = False,
    no_stories: Annotated[
        bool,
        typer.Option(
            "--no-stories", help="Write nothing: score likelihood only.", rich_help_panel=WRITING
        ),
    ] = False,
    words: Annotated[
        int, typer.Option(help="Cut both sides of BLEU, chrF and ROUGE to so many words.")
    ] = 250,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o",
            help="Folder for metrics.json, report.md, pictures, and stories.jsonl, from which a "
            "stopped evaluation goes on.",
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:  # fmt: skip
    """Score models on held-out stories, every figure beside its floor and the human one.

    Or on drawn briefs, for which there are no human stories.
    """
    from fabula.engines import EMBEDDED
    from fabula.evaluation import Options, evaluate

    if seed < 0:
        raise FabulaError(f"--seed is {seed}; give a whole number from 0.")
    if words < 1:
        raise FabulaError(f"--words is {words}; give at least 1.")
    if single and candidates is not None:
        raise FabulaError("--single and --candidates contradict each other; give one of them.")
    if no_stories and stories and not model:
        raise FabulaError("--no-stories leaves nothing to do with --stories; take one out.")
    models = model or ([] if stories else [EMBEDDED])
    for name in models:
        if models.count(name) > 1:
            raise FabulaError(f"--model names '{name}' twice; name it once.")
    if out is not None:
        _prepare(out)
    options = Options(
        models=models,
        stories=stories or [],
        corpus=corpus,
        split=split,
        limit=limit,
        drawn=drawn,
        seed=seed,
        settings=_settings(candidates, single),
        write=not no_stories,
        cut_words=words,
        trained_on=trained_on or [],
        log=out / STORIES_FILE if out is not None else None,
    )
    try:
        with _Progress() as progress:
            result = evaluate(options, progress)
    except KeyboardInterrupt:
        if out is not None:
            sys.stderr.write("\nStories written so far are kept; the same command goes on.\n")
        raise
    if out is not None:
        _save(result, out)
    if json_:
        from fabula.cli import emit

        emit(result.as_json())
    else:
        _show(result, out)


def _settings(candidates: int | None, single: bool) -> Any:
    from fabula.story import validate
    from fabula.writing import WriterSettings

    changes: dict[str, int] = {}
    if candidates is not None:
        changes = {"candidates": candidates}
    if single:
        changes = {"candidates": 1, "plans": 1, "insertions": 0}
    return validate(
        WriterSettings, {**WriterSettings().model_dump(), **changes}, "the command line"
    )


def _prepare(out: Path) -> None:
    """Make the output folder, before hours of work would be lost to its absence."""
    from fabula.evaluation import plots

    plots.require()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FabulaError(f"-o {out}: {error.strerror or error}; name a folder.") from None


def _save(result: Evaluation, out: Path) -> None:
    from fabula.evaluation.plots import draw
    from fabula.evaluation.report import markdown
    from fabula.story import write_atomic

    metrics = json.dumps(result.as_json(), ensure_ascii=False, indent=1)
    write_atomic(out / "metrics.json", metrics + "\n")
    write_atomic(out / "report.md", markdown(result, draw(result, out)))


def _show(result: Evaluation, out: Path | None) -> None:
    from rich.console import Console

    from fabula.evaluation.tables import rich_table

    console = Console()
    table, needed = rich_table(result, console.width if console.is_terminal else LOG_WIDTH)
    console.width = max(console.width, needed)
    console.print(table)
    if out is not None:
        console.print(f"Report: {out / 'report.md'}", highlight=False)


class _Progress:
    """Stories done, stories a second and time left, on standard error.

    Moving bars on a terminal; in a log a line every half minute.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._live = sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]:>11} {task.fields[rate]:>9}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._live,
        )

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def stage(self, name: str, total: int | None) -> Callable[[], None]:
        """Begin a bar."""
        number = self._bar.add_task(name, total=total, count="", rate="")
        started = told = time.monotonic()
        done = 0

        def tick() -> None:
            nonlocal done, told
            done += 1
            now = time.monotonic()
            a_second = done / max(now - started, 1e-9)
            rate = f"{a_second:,.1f}/s" if a_second >= 1 else f"{60 * a_second:,.1f}/min"
            count = f"{done:,}" + (f"/{total:,}" if total is not None else "")
            self._bar.update(number, completed=done, count=count, rate=rate)
            if not self._live and now - told > QUIET_SECONDS:
                told = now
                left = f", {(total - done) / a_second / 60:,.1f} min left" if total else ""
                sys.stderr.write(f"{name}: {count}, {rate}{left}\n")

        return tick
