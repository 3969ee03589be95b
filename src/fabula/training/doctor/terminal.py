"""The batch in the terminal: prompts dim, the learnt coloured by its loss, special tokens seen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fabula.training.doctor.findings import Finding
from fabula.training.doctor.texts import Seen, pieces
from fabula.training.tokenizer import TextTokenizer

BOUNDS = (0.5, 1.0, 2.0, 4.0, 6.0)
"""Nats at which the colour changes."""
COLOURS = ("#fff5eb", "#fdd0a2", "#fdae6b", "#f16913", "#d94801", "#7f2704")
"""From light to strong; dark ink stands on the first four."""
MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "refused": ("✗", "red"),
         "skipped": ("-", "bright_black")}  # fmt: skip


def level(loss: float) -> int:
    """Number of the colour of a loss."""
    return sum(loss >= bound for bound in BOUNDS)


def _style(loss: float) -> str:
    number = level(loss)
    return f"{'black' if number < 4 else 'bright_white'} on {COLOURS[number]}"


def plain(text: str) -> str:
    """A text that cannot steer a terminal: control characters become a sign for themselves."""
    return "".join(c if c == "\n" or c.isprintable() else "\ufffd" for c in text)


def windows(text: Seen, most: int) -> list[tuple[int, int]]:
    """The parts of a text that are shown: its beginning, the border after its prompt, its end.

    Args:
        most: tokens to show, about.
    """
    size = len(text)
    if size <= most:
        return [(0, size)]
    quarter = max(most // 4, 1)
    parts = [
        (0, quarter),
        (max(text.prompt - quarter // 2, 0), min(text.prompt + 2 * quarter, size)),
        (size - quarter, size),
    ]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1] + 3:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def title(text: Seen, number: int) -> str:
    """What stands above a text."""
    role = f", {text.role}" if text.role else ""
    mean = text.mean_loss
    loss = f", loss {mean:.2f} nats a token" if mean is not None else ""
    return f"{number} · {text.name}{role} · {len(text)} tokens, {text.learnt} learnt{loss}"


def coloured(text: Seen, tokenizer: TextTokenizer, most: int) -> Text:
    """A text as it is shown."""
    special = set(tokenizer.hf.all_special_ids)
    told = pieces(tokenizer, text.ids)
    out, at = Text(overflow="fold"), 0
    for start, end in windows(text, most):
        if start > at:
            out.append(f" … {start - at} tokens … ", style="italic bright_black")
        for i in range(start, end):
            if i == text.prompt:
                out.append("▶", style="bold blue")
            piece = plain(told[i]).replace("\n", "⏎\n")
            loss = text.losses[i] if text.losses else None
            if loss is not None:
                style = _style(loss)
            elif i >= text.prompt and text.weights[i] > 0:
                style = "bold"
            else:
                style = "dim"
            if text.ids[i] in special:
                style = f"{style} underline" if text.weights[i] > 0 else "bold bright_white on blue"
            # Only the line's own sign is coloured, not the rest of the line.
            out.append(piece, style=style)
        at = end
    return out


def legend(measured: bool) -> Text:
    """What the colours mean."""
    out = Text("▶ learnt from here on; ", style="")
    out.append("prompt", style="dim")
    out.append("; ")
    out.append("special token", style="bold bright_white on blue")
    if not measured:
        out.append("; ")
        out.append("learnt", style="bold")
        return out
    out.append("; loss in nats: ")
    edges = ("0", *(f"{bound:g}" for bound in BOUNDS))
    for number, edge in enumerate(edges):
        upper = f"-{BOUNDS[number]:g}" if number < len(BOUNDS) else " and more"
        ink = "black" if number < 4 else "bright_white"
        out.append(f" {edge}{upper} ", style=f"{ink} on {COLOURS[number]}")
    return out


def show_batch(
    console: Console, batch: Sequence[Seen], tokenizer: TextTokenizer, count: int, most: int
) -> None:
    """Print some texts of a micro-batch.

    Args:
        count: of texts; most: tokens of each.
    """
    measured = any(text.losses for text in batch)
    console.print(legend(measured))
    for number, text in enumerate(batch[:count], 1):
        console.rule(Text(plain(title(text, number))), align="left", style="bright_black")
        console.print(coloured(text, tokenizer, most))
    left = len(batch) - count
    if left > 0:
        console.print(f"… and {left} more in this micro-batch.", style="bright_black")


def show_findings(console: Console, findings: Sequence[Finding]) -> None:
    """Print what was found, one check a row."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, colour = MARKS[finding.verdict]
        table.add_row(Text(mark, style=colour), finding.check, Text(plain(finding.told)))
    console.print(table)
