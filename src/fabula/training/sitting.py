"""One sitting of a run: its log, the signals that may end it, the training itself, its outcome."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn
from torch.utils.data import IterableDataset

from fabula.errors import FabulaError
from fabula.story.files import write_atomic
from fabula.training import checkpoint, models, parallel
from fabula.training.loss import LossOf
from fabula.training.packing import Batch
from fabula.training.plot import draw
from fabula.training.recipe import Recipe
from fabula.training.seeing import Seeing
from fabula.training.trainer import StoryTrainer

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What a sitting has left.

    Attributes:
        folder: the run's folder.
        model: its `final` folder, or None where the run was stopped before its end.
        finished: whether the recipe's limit was reached.
        before, after: held-out scores.
        counts: everything counted.
        parameters: (that learn, all).
    """

    folder: Path
    model: Path | None
    finished: bool
    before: Result | None
    after: Result | None
    counts: checkpoint.State
    parameters: tuple[int, int]


def stopped(folder: Path) -> Outcome[Any]:
    """The outcome of a sitting that was stopped before its first step."""
    return Outcome(folder, None, False, None, None, checkpoint.State(), (0, 0))


class Announce:
    """What a run tells while it goes on; the command line overrides what it shows."""

    def note(self, text: str) -> None:
        """A sentence."""

    def metrics(self, line: dict[str, Any], progress: float) -> None:
        """A line of metrics.jsonl."""

    def drawn(self, what: str, done: int, total: int) -> None:
        """So many of what a run draws before it learns."""

    def ready(self) -> None:
        """Everything has been checked; the first step of a new run comes next."""


class Log:
    """metrics.jsonl. Lines after the step from which a run resumes are of a sitting that was lost.

    Args:
        step: the step from which this sitting goes on; None only reads.
    """

    def __init__(self, path: Path, step: int | None) -> None:
        self.path = path
        if step is None:
            return
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


def checkpoint_of(folder: Path, announce: Announce) -> tuple[Path | None, checkpoint.State]:
    """The newest whole checkpoint of a run, if there is one, and what it has counted.

    Raises:
        FabulaError: there are checkpoints, and none is whole.
    """
    here = parallel.world()
    last: Path | None = None
    notes: list[str] = []
    if here.first:
        last, notes = checkpoint.newest_whole(folder / "checkpoints")
    for note in notes:
        announce.note(note)
    if notes and last is None:
        raise FabulaError(f"No checkpoint in {folder} is whole; start the run anew.")
    last = parallel.of_first(last)
    if last is not None and not last.is_dir():
        raise FabulaError(
            f"Process {here.rank} does not see {last}; the folder of runs has to be on a disk that "
            "all machines share."
        )
    return last, checkpoint.read_state(last) if last is not None else checkpoint.State()


def sit(
    recipe: Recipe,
    model: nn.Module,
    loss_of: LossOf | None,
    stream: IterableDataset[Batch],
    held_out: Any,
    folder: Path,
    counts: checkpoint.State,
    last: Path | None,
    announce: Announce,
    make: Callable[..., StoryTrainer] = StoryTrainer,
) -> tuple[StoryTrainer, list[dict[str, Any]]]:
    """Train until a limit of the recipe or a signal, and draw the loss curve.

    Args:
        make: the trainer, of the arguments of `StoryTrainer`.

    Returns:
        The trainer, and the lines of metrics.jsonl.
    """

    def report(line: dict[str, Any]) -> None:
        if not first:
            return
        seeing.sees(line)
        log.add(line)
        announce.metrics(line, trainer.progress)

    first = parallel.world().first
    if last is not None:
        checkpoint.load_weights(last, model)
        announce.note(f"Going on from step {counts.step} ({last}).")
    else:
        announce.ready()
    log = Log(folder / "metrics.jsonl", counts.step if first else None)
    seeing = Seeing(recipe, folder, model, stream, held_out, counts.step, announce)
    with stop_signals() as asked:
        trainer = make(
            model=model,
            recipe=recipe,
            loss_of=loss_of,
            stream=stream,
            held_out=held_out,
            folder=folder,
            counts=counts,
            resume_from=last,
            autocast=models.uses_autocast(recipe),
            report=report,
            note=announce.note,
            asked_to_stop=lambda: bool(asked),
        )
        seeing.joins(trainer)
        trainer.train()
    counts.seconds = trainer.seconds
    parallel.wait()
    lines = log.lines()
    if first:
        draw(lines, folder / "loss.png", recipe.name)
    return trainer, lines
