"""Trackers, which the Trainer reports to: what each needs, how runs are named, texts to read."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from fabula.errors import FabulaError

PROJECT = "fabula"
_CALLBACKS = {
    "TensorBoardCallback": "tensorboard",
    "WandbCallback": "wandb",
    "MLflowCallback": "mlflow",
    "TrackioCallback": "trackio",
}


def check_trackers(names: Iterable[str]) -> None:
    """Refuse trackers whose package is absent or broken, before time is spent.

    Raises:
        FabulaError: one is.
    """
    for name in names:
        # A package is named as its tracker is; tensorboardX writes the same files.
        known = [name, "tensorboardX"] if name == "tensorboard" else [name]
        there = [package for package in known if importlib.util.find_spec(package)]
        if not there:
            raise FabulaError(
                f"report_to: {name} needs the package '{name}': pip install {name}, or leave it "
                "out of the recipe."
            )
        try:
            importlib.import_module(there[0])
        except Exception as error:  # whatever a half-installed package may raise
            raise FabulaError(
                f"report_to: the package '{there[0]}' cannot be loaded ({_reason(error)}); install "
                "it again, or leave it out of the recipe."
            ) from None


def name_run(trainer: Any, name: str, folder: Path, note: Callable[[str], None]) -> None:
    """Call a run in its trackers by its name, where the user's environment says nothing else.

    TensorBoard's files stay in the run's folder, in one place however often it is resumed. A
    tracker that fails before the first step ends the run; later it is left out, and that is said.
    """
    trainer.args.run_name, trainer.args.project = name, PROJECT
    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", PROJECT)
    callbacks = trainer.callback_handler.callbacks
    for number, callback in enumerate(callbacks):
        kind = type(callback).__name__
        if kind == "TensorBoardCallback" and callback.logging_dir is None:
            callback.logging_dir = str(folder / "trackers" / "tensorboard")
        if kind in _CALLBACKS:
            callbacks[number] = Guarded(callback, _CALLBACKS[kind], note)


class Guarded(TrainerCallback):
    """A tracker's callback whose failure does not end a run that has begun."""

    def __init__(self, inner: Any, name: str, note: Callable[[str], None]) -> None:
        self.inner, self.name, self.note = inner, name, note
        self.off = False

    def _call(self, event: str, *given: Any, **more: Any) -> Any:
        if self.off:
            return None
        try:
            return getattr(self.inner, event)(*given, **more)
        except Exception as error:  # a network that is down, a disk that is full, no login
            if event == "on_train_begin":
                raise FabulaError(
                    f"report_to: {self.name} cannot begin ({_reason(error)}); see its own set-up, "
                    "or leave it out of the recipe."
                ) from None
            self.off = True
            self.note(f"Warning: {self.name} gets no more figures of this run: {_reason(error)}.")
            return None

    def show(self, texts: Mapping[str, str], step: int) -> None:
        """Show texts, where this tracker is TensorBoard."""
        writer = getattr(self.inner, "tb_writer", None)
        if writer is None or self.off:
            return
        for name, text in texts.items():
            # Indented, Markdown leaves a story as it is.
            writer.add_text(name, "    " + text.replace("\n", "\n    "), step)


def _guarded(event: str) -> Callable[..., Any]:
    def call(self: Guarded, *given: Any, **more: Any) -> Any:
        return self._call(event, *given, **more)

    return call


for _event in [name for name in dir(TrainerCallback) if name.startswith("on_")]:
    setattr(Guarded, _event, _guarded(_event))


def show_texts(trainer: Any, texts: Mapping[str, str], step: int) -> None:
    """Show texts where a tracker has a place for them: TensorBoard."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, Guarded):
            callback.show(texts, step)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160].rstrip(".") if lines else type(error).__name__
