"""Progress of a run on standard error: a live bar, or plain lines where that is no terminal."""

from __future__ import annotations

import sys
import time
from collections import deque
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
MARKS = 100
"""Lines by which the time left is told."""


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
            BarColumn(bar_width=16),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.live,
        )
        self.task = self.bar.add_task(recipe.name, total=1.0, state="")
        self.left = TimeLeft()
        self.held_out = ""
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
            self.held_out = f"held out {line['eval_loss']:.3f}"
            told = kind_of([line]).told.format(**line)
            self.note(f"step {line['step']}: held-out loss {line['eval_loss']:.4f}, {told}")
        elif "eval_loop_rate" in line:
            self.note("step {step}: specimens: {eval_loop_rate:.0%} of the text in loops, "
                      "{eval_wishes_kept:.0%} of the wishes kept, {eval_ended:.0%} ended, "
                      "{eval_words:.0f} words".format(**line))  # fmt: skip
        elif "loss" in line:
            self._step(line, progress)

    def _step(self, line: dict[str, Any], progress: float) -> None:
        now = time.monotonic()
        fresh = line["tokens_per_second"]
        self.rate = fresh if self.rate == 0.0 else 0.9 * self.rate + 0.1 * fresh
        self.left.add(now, progress)
        state = "  ".join(filter(None, (
            f"step {line['step']:,}",
            f"loss {line['loss']:.3f}",
            self.held_out,
            f"lr {line['learning_rate']:.2e}",
            f"{self.rate:,.0f} tok/s ({line['loss_tokens'] / max(line['tokens'], 1):.0%} learnt)",
            f"{line['share_of_peak']:.0%} of the peak",
            _memory(line),
            self.left.told(progress),
        )))  # fmt: skip
        self.bar.update(self.task, completed=progress, state=state)
        if not self.live and (now - self.shown > PLAIN_SECONDS or progress >= 1):
            self.shown = now
            sys.stderr.write(f"{progress:6.1%}  {state}\n")
            sys.stderr.flush()


class TimeLeft:
    """How long a run will still take, by how fast the last part of this sitting went.

    What earlier sittings did is not counted, nor what was slow at the start (compiling, say) once
    `MARKS` lines have passed. Progress is by whichever limit comes first: steps, epochs, minutes.
    """

    def __init__(self) -> None:
        self.marks: deque[tuple[float, float]] = deque(maxlen=MARKS)

    def add(self, now: float, progress: float) -> None:
        """At this moment (seconds) so much (0 to 1) is done."""
        self.marks.append((now, progress))

    def seconds(self, progress: float) -> float | None:
        """Seconds left; None where nothing tells it yet."""
        if len(self.marks) < 2:
            return None
        (first, done), (last, now_done) = self.marks[0], self.marks[-1]
        if now_done <= done:
            return None
        return (last - first) / (now_done - done) * (1 - progress)

    def told(self, progress: float) -> str:
        """In words."""
        seconds = self.seconds(progress)
        if seconds is None:
            return "time left unknown"
        hours, rest = divmod(int(seconds), 3600)
        minutes, second = divmod(rest, 60)
        return f"{hours}:{minutes:02}:{second:02} left"


def _memory(line: dict[str, Any]) -> str:
    peak, held = line["memory_mb"], line.get("memory_now_mb")
    if peak >= 10_000:
        peak, held, unit = peak / 1e3, held and held / 1e3, "GB"
        now = f"{held:,.1f} of " if held else ""
        return f"{now}at most {peak:,.1f} {unit}"
    return f"{f'{held:,.0f}, ' if held else ''}at most {peak:,.0f} MB"


def _count(done: int, total: int, fresh: int, seconds: float) -> str:
    if fresh <= 0:
        return f"{done:,}/{total:,} stories"
    rate = fresh / max(seconds, 1e-9)
    left = int((total - done) / rate)
    return f"{done:,}/{total:,} stories  {60 * rate:,.0f}/min  {left // 60}:{left % 60:02} left"
