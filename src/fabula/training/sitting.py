"""What lasts as long as one sitting of a run: its log, and the signals that may end it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError
from fabula.story.files import write_atomic


class Log:
    """metrics.jsonl. Lines after the step from which a run resumes are of a sitting that was lost.

    Args:
        step: the step from which this sitting goes on.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        kept = [line for line in self.lines() if line["step"] <= step] if step else []
        write_atomic(path, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, line: dict[str, Any]) -> None:
        """Append one line.

        Raises:
            FabulaError: it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise FabulaError(f"cannot write {self.path}: {error.strerror}.") from None

    def lines(self) -> list[dict[str, Any]]:
        """All lines that are whole: a killed sitting may have left half of one."""
        found: list[dict[str, Any]] = []
        if self.path.is_file():
            for raw in self.path.read_text("utf-8").splitlines():
                with suppress(ValueError):
                    found.append(json.loads(raw))
        return found


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM; the second Ctrl-C interrupts at once."""
    asked: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    old: dict[signal.Signals, Any] = {}
    with suppress(ValueError):  # not the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, handle)
    try:
        yield asked
    finally:
        for number, before in old.items():
            signal.signal(number, before)
