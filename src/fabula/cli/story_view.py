"""How a story shows while it is written: rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from typing import IO, Any, Protocol

from fabula.story import Receipt, Story, Wish
from fabula.writing.events import BeatPlanned, Event, Finished, Note, PassageChosen, PremiseChosen

MOST_QUOTED = 3
WIDEST = 88


class View(Protocol):
    """Shows what a writer tells."""

    def __call__(self, event: Event) -> None:
        """Show one event."""


def quotes(wish: Wish) -> str:
    """What shows that a wish was kept, or why it cannot be seen."""
    said = dict.fromkeys(" ".join(span.text.split()) for span in wish.spans)
    shown = ", ".join(f"“{text}”" for text in list(said)[:MOST_QUOTED])
    return "; ".join(part for part in (shown, wish.note) if part)


def _value(wish: Wish) -> str:
    return wish.value if len(wish.value) <= 60 else wish.value[:57] + "..."


def plain_receipt(receipt: Receipt) -> str:
    """The receipt as lines of text."""
    lines = [f"Receipt: {receipt.kept} of {len(receipt.wishes)} wishes kept"]
    for wish in receipt.wishes:
        mark = "kept  " if wish.kept else "missed"
        evidence = quotes(wish)
        lines.append(
            f"  {mark}  {wish.wish}: {_value(wish)}" + (f"  ({evidence})" if evidence else "")
        )
    return "\n".join(lines) + "\n"


class PlainView:
    """Text for pipes and files: every event as soon as it comes."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.part = ""

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if isinstance(event, Note):
            sys.stderr.write(f"note: {event.text}\n")
        elif isinstance(event, PremiseChosen):
            self._print("premise", f"Premise: {event.text}")
        elif isinstance(event, BeatPlanned):
            self._print("outline", f"{event.beat}: {event.summary}")
        elif isinstance(event, PassageChosen):
            self.part = "" if self.part == "story" else self.part
            self._print("story", event.text)
        elif event.story.receipt is not None:
            self._print("receipt", plain_receipt(event.story.receipt).rstrip())

    def _print(self, part: str, text: str) -> None:
        gap = "\n" if self.part != part and self.part is not None and self._any else ""
        self.part, self._any = part, True
        self.stream.write(f"{gap}{text}\n")
        self.stream.flush()

    _any = False


class RichView:
    """A page for the terminal: the outline dim, the story in a readable measure, the receipt."""

    def __init__(self, title: str | None) -> None:
        from rich.console import Console

        self.console = Console(highlight=False)
        if self.console.width > WIDEST:
            self.console = Console(highlight=False, width=WIDEST)
        self.part = ""
        if title:
            self._line(title, "bold")

    def _line(self, text: str, style: str = "") -> None:
        from rich.text import Text

        self.console.print(Text(text, style=style))

    def _begin(self, part: str) -> None:
        if self.part != part:
            self.console.print()
        self.part = part

    def __call__(self, event: Event) -> None:
        """Print one event."""
        from rich.text import Text

        if isinstance(event, Note):
            self._line(f"note: {event.text}", "yellow")
        elif isinstance(event, PremiseChosen):
            self._begin("premise")
            self._line(event.text, "italic")
        elif isinstance(event, BeatPlanned):
            self._begin("outline")
            label = Text(f"{event.beat:>15}  ", style="cyan")
            self.console.print(label + Text(event.summary, style="dim"))
        elif isinstance(event, PassageChosen):
            self.part = ""
            self._begin("story")
            self._line(event.text)
        elif isinstance(event, Finished) and event.story.receipt is not None:
            self._begin("receipt")
            self.console.print(self._table(event.story.receipt))

    def _table(self, receipt: Receipt) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=f"{receipt.kept} of {len(receipt.wishes)} wishes kept",
            title_justify="left",
            title_style="bold",
            box=None,
            show_header=False,
            padding=(0, 1),
        )
        for wish in receipt.wishes:
            mark = Text("✓", style="green") if wish.kept else Text("✗", style="red")
            table.add_row(
                mark,
                Text(wish.wish, style="cyan"),
                Text(_value(wish)),
                Text(quotes(wish), style="dim"),
            )
        return table


def open_view(title: str | None, as_json: bool) -> View:
    """The view that suits where the output goes."""
    if as_json:
        return PlainView(sys.stderr)
    return RichView(title) if sys.stdout.isatty() else PlainView(sys.stdout)


def as_text(story: Story) -> str:
    """The story alone."""
    return (f"{story.title}\n\n" if story.title else "") + story.text + "\n"


def as_markdown(story: Story) -> str:
    """The story, and after it the outline, the receipt and how it was made."""
    parts = [f"# {story.title}\n"] if story.title else []
    parts.append(story.text + "\n")
    parts.append("---\n\n## How this story was made\n")
    if story.premise:
        parts.append(f"Premise: {story.premise}\n")
    if story.outline is not None:
        beats = "".join(f"- *{b.beat}*: {b.summary}\n" for b in story.outline.beats)
        parts.append(f"### Outline\n\n{beats}")
    if story.receipt is not None:
        rows = "".join(
            f"| {'kept' if w.kept else 'missed'} | {_cell(w.wish)} | {_cell(w.value)} "
            f"| {_cell(quotes(w))} |\n"
            for w in story.receipt.wishes
        )
        parts.append(f"### Receipt\n\n| | wish | asked | shown |\n|---|---|---|---|\n{rows}")
    if story.making is not None:
        making = story.making
        parts.append(
            f"Written by Fabula {making.fabula} with the model `{making.model}` "
            f"(weights {making.weights[:12]}), seed {making.seed}.\n"
        )
    return "\n".join(parts)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
