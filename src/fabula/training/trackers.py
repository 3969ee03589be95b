"""Trackers, which the Trainer reports to: what each needs, how runs are named, texts to read."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError

PROJECT = "fabula"


def check_trackers(names: Iterable[str]) -> None:
    """Refuse trackers whose package is absent, before time is spent.

    Raises:
        FabulaError: one is.
    """
    for name in names:
        # A package is named as its tracker is; tensorboardX writes the same files.
        known = [name, "tensorboardX"] if name == "tensorboard" else [name]
        if not any(map(importlib.util.find_spec, known)):
            raise FabulaError(
                f"report_to: {name} needs the package '{name}': pip install {name}, or leave it "
                "out of the recipe."
            )


def name_run(trainer: Any, name: str, folder: Path) -> None:
    """Call a run in its trackers by its name, where the user's environment says nothing else.

    TensorBoard's files stay in the run's folder, in one place however often it is resumed.
    """
    trainer.args.run_name, trainer.args.project = name, PROJECT
    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", PROJECT)
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__name__ == "TensorBoardCallback" and callback.logging_dir is None:
            callback.logging_dir = str(folder / "trackers" / "tensorboard")


def show_texts(trainer: Any, texts: Mapping[str, str], step: int) -> None:
    """Show texts where a tracker has a place for them: TensorBoard."""
    for callback in trainer.callback_handler.callbacks:
        writer = getattr(callback, "tb_writer", None)
        if writer is None:
            continue
        for name, text in texts.items():
            # Indented, Markdown leaves a story as it is.
            writer.add_text(name, "    " + text.replace("\n", "\n    "), step)
