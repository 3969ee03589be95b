"""`fabula read`: what a brief would say of a text, with the evidence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.reading.result import Reading
    from fabula.reading.score import Row

MAX_BYTES = 100_000_000
SHOWN_CHARACTERS = 12_000
SPLITS = ("train", "valid", "test")


def command(
    file: Annotated[
        Path | None, typer.Argument(help="A UTF-8 text; '-' reads standard input.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: the brief's keys, and 'evidence'.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the evidence marked.")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave a field empty below this confidence.")
    ] = 0.0,
    score: Annotated[
        bool, typer.Option("--score", help="Score reading on the sample corpus's gold labels.")
    ] = False,
    split: Annotated[str, typer.Option(help="Split to score: train, valid or test.")] = "test",
    check: Annotated[
        bool, typer.Option("--check", help="With --score: exit 1 if a goal is missed.")
    ] = False,
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the reader anew on the sample's train split.")
    ] = False,
    texts: Annotated[
        list[Path] | None,
        typer.Option(help="With --fit: unlabelled stories for word vectors (.jsonl, .jsonl.xz)."),
    ] = None,
    tales: Annotated[
        Path | None,
        typer.Option(
            help="With --fit: FairytaleQA's tales, to learn from whom the experts ask about."
        ),
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="With --fit: folder to write to (else the package's own).")
    ] = None,
) -> None:
    """Read a brief out of a text, with evidence."""
    if fit:
        _fit(texts or [], tales, into, as_json)
    elif score:
        _score(split, min_confidence, check, as_json)
    elif file is None:
        raise FabulaError("Name a text to read, or '-' for standard input.")
    else:
        _read(file, as_json, html, min_confidence)


def _read(file: Path, as_json: bool, html: Path | None, least: float) -> None:
    from fabula.reading import read

    text, name = _text(file)
    reading = read(text, min_confidence=least)
    if html is not None:
        from fabula.reading.highlight import page
        from fabula.story import write_atomic

        write_atomic(html, page(text, reading, name))
    if as_json:
        from fabula.cli import emit

        evidence = [e.model_dump() for e in reading.evidence]
        emit(reading.brief.model_dump(exclude_none=True) | {"evidence": evidence})
    else:
        _show(text, reading, name)


def _text(file: Path) -> tuple[str, str]:
    from fabula.story import read_text

    if str(file) != "-":
        return read_text(file, MAX_BYTES), file.name
    raw = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise FabulaError(f"Standard input is longer than {MAX_BYTES // 10**6} MB.")
    if b"\0" in raw:
        raise FabulaError("Standard input is binary (it holds a NUL byte); give UTF-8 text.")
    try:
        return raw.decode("utf-8-sig"), "standard input"
    except UnicodeDecodeError as error:
        raise FabulaError(f"Standard input is not UTF-8 (byte {error.start}).") from None


def _show(text: str, reading: Reading, name: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from fabula.reading import read_arc
    from fabula.reading.highlight import KINDS, rows, segments

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("field", "read", "confidence", ""):
        table.add_column(column, justify="right" if column == "confidence" else "left")
    for kind, value, sure, note in rows(reading):
        field = Text(kind, style=KINDS[kind][0])
        table.add_row(field, Text(value), Text(f"{sure:.2f}"), Text(note, style="dim"))
    if reading.brief.length:
        table.add_row(Text("length"), Text(f"{reading.brief.length} words"), "", "")
    console.print(table if table.rows else Text(f"Nothing to read in {name}.", style="dim"))
    arc = read_arc(text)
    if arc is not None:
        told = "swings further than chance" if arc.p <= 0.05 else "no further than chance"
        line = f"fortune    {sparkline(arc.curve)}  like {arc.order[0]}; {told} (p = {arc.p:.2f})"
        console.print(Text(line, style="dim"))
    shown = Text()
    for run, kind_of in segments(text[:SHOWN_CHARACTERS], _within(reading, SHOWN_CHARACTERS)):
        shown.append(printable(run), style=KINDS[kind_of][0] if kind_of else "")
    if len(text) > SHOWN_CHARACTERS:
        shown.append("\n[the rest is not shown]", style="dim")
    console.print()
    console.print(shown)


def _within(reading: Reading, limit: int) -> list[Any]:
    return [e for e in reading.evidence if e.end <= limit]


def printable(text: str) -> str:
    """A text that cannot steer the terminal: control characters shown as a dot."""
    return "".join(c if c.isprintable() or c in "\n\t" else "·" for c in text)


def sparkline(values: list[float]) -> str:
    """A curve in block characters, scaled between its own ends."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * (v - low) / span))] for v in values)


def _score(split: str, least: float, check: bool, as_json: bool) -> None:
    from fabula.reading.score import score

    if split not in SPLITS:
        raise FabulaError(f"'{split}' is no split; it is one of {', '.join(SPLITS)}.")
    rows = score(split, least=least)  # type: ignore[arg-type]
    missed = [row.field for row in rows if row.met is False]
    if as_json:
        from fabula.cli import emit

        emit({"split": split, "fields": [r.model_dump() for r in rows], "missed": missed})
    else:
        _show_score(rows, split)
    if check and missed:
        raise typer.Exit(1)


def _show_score(rows: list[Row], split: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"Reading the gold {split} split", title_justify="left", title_style="bold",
        header_style="dim", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("field", no_wrap=True)
    for column in ("P", "R", "figure (95%)", "base", "gain (95%)"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    for row in rows:
        goal = "" if row.goal is None else f">= {row.goal:.2f}" if row.goal else "> base"
        mark = "" if row.met is None else (" met" if row.met else " missed")
        table.add_row(
            row.field,
            "" if row.precision is None else f"{row.precision:.2f}",
            "" if row.recall is None else f"{row.recall:.2f}",
            f"{row.figure:.2f} ({row.interval[0]:.2f}-{row.interval[1]:.2f})",
            f"{row.baseline:.2f}", f"{row.difference[0]:+.2f} to {row.difference[1]:+.2f}",
            goal + mark,
        )  # fmt: skip
    console = Console()
    console.print(table)
    console.print()
    for row in rows:
        console.print(f"{row.field}: {row.measure}; baseline: {row.baseline_is}", style="dim")


def _fit(texts: list[Path], tales: Path | None, into: Path | None, as_json: bool) -> None:
    from importlib.resources import as_file, files

    from fabula.reading.fit import fit

    def say(step: str) -> None:
        sys.stderr.write(f"fitting {step}\n")

    source = [text for path in texts for text in _stories(path)] if texts else None
    told = None
    if tales is not None:
        from fabula.corpus.fairytale import read_tales

        told = read_tales(tales)
    with as_file(files("fabula.data") / "reading") as own:
        report = fit(into or Path(own), source, told, say)
    if as_json:
        from fabula.cli import emit

        emit({"cross_validated": report})
    else:
        for name, value in report.items():
            typer.echo(f"{name:20} {value:.3f}")


def _stories(path: Path) -> list[str]:
    """Texts of a JSONL file: the field 'text', or 'sections' joined."""
    import json
    import lzma

    opener = lzma.open if path.suffix == ".xz" else open
    found: list[str] = []
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                text = row.get("text") or "\n".join(
                    s if isinstance(s, str) else s["text"] for s in row["sections"]
                )
                found.append(str(text))
    except (OSError, lzma.LZMAError, EOFError) as error:
        raise FabulaError(f"{path}: cannot be read ({error}).") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FabulaError(
            f"{path}, line {len(found) + 1}: not a JSON object with 'text' or 'sections'."
        ) from None
    return found
