"""`fabula export`: hand a model on: merged, as GGUF, for Ollama, vLLM and the hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fabula.cli.chatter import load_quietly
from fabula.errors import FabulaError

if TYPE_CHECKING:
    from rich.console import Console

    from fabula.export import Export


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="A run, an adapter's or a whole model's folder, a hub id, or 'embedded'.",
            show_default=False,
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="The folder to make.", show_default=False)],
    gguf: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="Write a GGUF, too, in f32, f16, bf16 or q8_0 (may stand several times).",
        ),
    ] = None,
    ollama: Annotated[
        bool, typer.Option("--ollama", help="Write a Modelfile beside the (first) GGUF.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(help="Prepare the folder for this hub repository, OWNER/NAME."),
    ] = None,
    upload: Annotated[
        bool,
        typer.Option("--upload", help="Really upload it; without this --push only lists."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what --push would upload (also the default).")
    ] = False,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public, not private.")
    ] = False,
    base: Annotated[
        str | None, typer.Option(help="Another base model than the adapter states.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "float16", "bfloat16", "float32"],
        typer.Option(help="Of the weights; auto: the base's own 16 bits."),
    ] = "auto",
    qlora: Annotated[
        bool,
        typer.Option(
            "--qlora",
            help="The adapter was trained over 4-bit weights (known of runs): compare with them.",
        ),
    ] = False,
    texts: Annotated[
        int, typer.Option(min=1, max=90, help="Held-out stories to compare scores on.")
    ] = 6,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Do not compare scores, nor run llama.cpp.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the export that is there.")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Hand a model on: merged, as GGUF, for Ollama, vLLM and the hub."""
    if push is None and (upload or dry_run or public):
        raise FabulaError("--upload, --dry-run and --public go with --push OWNER/NAME.")
    if upload and dry_run:
        raise FabulaError("--upload sends and --dry-run only lists; give one of them.")
    from fabula.engines.hardware import default_threads
    from fabula.export import Wishes, check_wishes, export
    from fabula.export.push import upload as send

    wishes = Wishes(
        to=to,
        base=base,
        dtype=dtype,
        gguf=list(dict.fromkeys(gguf or [])),
        ollama=ollama,
        qlora=qlora,
        texts=texts,
        check=not no_check,
        push=push,
        force=force,
        threads=threads or default_threads(),
    )
    check_wishes(wishes)
    load_quietly("Exporting", threads)
    with _show() as show:
        made = export(model, wishes, show)
    address = None
    if upload and push is not None:
        sys.stderr.write(f"Uploading {made.folder} to {push} ...\n")
        address = send(made.folder, push, private=not public)
    if json_:
        from fabula.cli import emit

        emit(_payload(made, address))
    else:
        _tell(made, address)


def _payload(made: Export, address: str | None) -> dict[str, Any]:
    import json

    from fabula.export.wishes import MARK

    found: dict[str, Any] = {"folder": str(made.folder)}
    found |= json.loads((made.folder / MARK).read_text("utf-8"))
    if made.plan is not None:
        files = [{"path": path, "bytes": size} for path, size in made.plan.files]
        found["push"] = {
            "repository": made.plan.repository,
            "files": files,
            "bytes": made.plan.size,
            "uploaded": address,
        }
    return found


def _tell(made: Export, address: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    facts = made.facts
    if facts.gaps:
        _tell_gaps(console, made)
    for one in facts.files:
        console.print(f"{one.file}: {one.size / 1e6:,.1f} MB, {one.sentence}.", markup=False)
    for what, line in facts.commands.items():
        console.print(f"vLLM, {what}:", style="dim")
        # On one line, so that it can be copied.
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for note in facts.notes:
        console.print(f"Mind: {note}", markup=False)
    if facts.ollama:
        console.print(f"Ollama: ollama create {facts.ollama_name} -f {made.folder}/Modelfile")
    if made.plan is not None:
        table = Table(title=f"For {made.plan.repository} on the hub", title_justify="left")
        table.add_column("file")
        table.add_column("MB", justify="right")
        for path, size in made.plan.files:
            table.add_row(path, f"{size / 1e6:,.2f}")
        table.add_row("in all", f"{made.plan.size / 1e6:,.2f}")
        console.print(table)
        console.print(
            f"Uploaded: {address}" if address else "Nothing was uploaded: that takes --upload."
        )
    console.print(f"The model: [bold]{made.folder}[/bold]; its card: {made.folder}/CARD.md")


def _tell_gaps(console: Console, made: Export) -> None:
    from rich.table import Table

    gaps = made.facts.gaps
    title = f"What it cost: scores of {gaps[0].tokens:,} tokens of held-out stories"
    table = Table(title=title, title_justify="left")
    table.add_column("computed " + made.facts.computed)
    for gap in gaps:
        table.add_column(f"{gap.of}, against {gap.against}", justify="right")
    rows = {
        "largest gap, logits": [f"{g.largest:.3g}" for g in gaps],
        "root mean square, logits": [f"{g.rms:.2g}" for g in gaps],
        "relative": [f"{g.relative:.2%}" for g in gaps],
        "same likeliest token": [f"{g.agreement:.2%}" for g in gaps],
        "KL, nats a token": [f"{g.kl:.2g}" for g in gaps],
        "loss, nats a token": [f"{g.loss_reference:.4f} → {g.loss:.4f}" for g in gaps],
    }
    for label, cells in rows.items():
        table.add_row(label, *cells)
    console.print(table)


def _show() -> Any:
    """Stages and progress on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from fabula.export import Announce

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24))
    bar = Progress(*columns, TimeElapsedColumn(), console=console, transient=True)

    class Show(Announce):
        task: Any = None

        def __enter__(self) -> Show:
            if console.is_terminal:
                bar.start()
            return self

        def __exit__(self, *error: object) -> None:
            bar.stop()

        def stage(self, text: str) -> None:
            if not console.is_terminal:
                console.print(f"{text} ...", markup=False)
                return
            if self.task is not None:
                bar.remove_task(self.task)
            self.task = bar.add_task(text, total=None)

        def progress(self, done: int, total: int) -> None:
            if self.task is not None:
                bar.update(self.task, completed=done, total=total)

        def note(self, text: str) -> None:
            console.print(text, markup=False)

    return Show()
