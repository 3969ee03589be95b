"""Progress of a run on standard error: a live bar, or plain lines where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from fabula.training.kinds import kind_of
from fabula.training.recipe import Recipe
from fabula.training.sitting import Announce

PLAIN_SECONDS = 10.0
"""Least time between two plain lines."""


class Show(Announce):
    """Shows a run while it goes on.

    Args:
        on_ready: called when everything has been checked, before the first step of a new run.
    """

    def __init__(self, recipe: Recipe, on_ready: Callable[[], None] = lambda: None) -> None:
        self.on_ready = on_ready
        self.console = Console(stderr=True, highlight=False)
        self.live = self.console.is_terminal
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task(recipe.name, total=1.0, state="")
        self.began = (time.monotonic(), 0.0)
        self.shown = 0.0
        self.rate = 0.0
        self.drawing = ""
        self.drawn_from = (0.0, 0)

    def __enter__(self) -> Show:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def ready(self) -> None:
        """What the caller wanted done before the first step."""
        self.on_ready()

    def note(self, text: str) -> None:
        """Print a sentence above the bar."""
        if self.live:
            self.bar.console.print(text)
        else:
            sys.stderr.write(text + "\n")

    def drawn(self, what: str, done: int, total: int) -> None:
        """Show how far the drawing of pairs is."""
        now = time.monotonic()
        if self.drawing != what:
            self.drawing, self.drawn_from = what, (now, done)
        since, first = self.drawn_from
        left = _count(done, total, done - first, now - since)
        self.bar.update(self.task, completed=done / total, state=f"{what}: {left}")
        if not self.live and (now - self.shown > PLAIN_SECONDS or done == total):
            self.shown = now
            sys.stderr.write(f"{what}: {left}\n")

    def metrics(self, line: dict[str, Any], progress: float) -> None:
        """Show a line of metrics."""
        if "eval_loss" in line:
            told = kind_of([line]).told.format(**line)
            self.note(f"step {line['step']}: held-out loss {line['eval_loss']:.4f}, {told}")
            return
        now = time.monotonic()
        if self.rate == 0.0:
            self.began = (now, progress)
        fresh = line["tokens_per_second"]
        self.rate = fresh if self.rate == 0.0 else 0.9 * self.rate + 0.1 * fresh
        state = (
            f"step {line['step']}  loss {line['loss']:.3f}  {self.rate:,.0f} tok/s  "
            f"{_left(now - self.began[0], progress - self.began[1], 1 - progress)}  "
            f"{line['memory_mb']:,.0f} MB"
        )
        self.bar.update(self.task, completed=progress, state=state)
        if not self.live and (now - self.shown > PLAIN_SECONDS or progress >= 1):
            self.shown = now
            sys.stderr.write(f"{progress:6.1%}  {state}\n")
            sys.stderr.flush()


def _count(done: int, total: int, fresh: int, seconds: float) -> str:
    if fresh <= 0:
        return f"{done:,}/{total:,} stories"
    rate = fresh / max(seconds, 1e-9)
    left = int((total - done) / rate)
    return f"{done:,}/{total:,} stories  {60 * rate:,.0f}/min  {left // 60}:{left % 60:02} left"


def _left(seconds: float, done: float, remaining: float) -> str:
    if done <= 0:
        return "time left unknown"
    left = seconds / done * remaining
    hours, rest = divmod(int(left), 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{second:02} left"
