"""Memory and rate of a run on this CPU, by a few steps that are really made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from fabula.errors import FabulaError
from fabula.training.recipe import Recipe

WHOLE = 16
"""Models of so many layers are tried whole; of deeper ones, two layers and four."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Peak memory and seconds as they grow with layers and rows.

    Attributes:
        found: (bytes at the peak, seconds a step), by (layers, rows).
    """

    found: dict[tuple[int, int], tuple[float, float]]

    def _at(self, layers: int, rows: int, which: int) -> float:
        """As measured, or linear in layers, in rows, and in both together."""
        if (layers, rows) in self.found:
            return self.found[layers, rows][which]
        depths, counts = (sorted({key[i] for key in self.found}) for i in (0, 1))

        def of(row: int) -> float:
            few = self.found[depths[0], row][which]
            if len(depths) == 1:
                return few
            slope = (self.found[depths[1], row][which] - few) / (depths[1] - depths[0])
            return few + slope * (layers - depths[0])

        least, most = counts[0], counts[-1]
        if least == most:
            return of(least)
        return of(least) + (of(most) - of(least)) / (most - least) * (rows - least)

    def peak(self, layers: int, rows: int) -> float:
        """Bytes at the peak."""
        return self._at(layers, rows, 0)

    def seconds(self, layers: int, rows: int) -> float:
        """Seconds of a step of one micro-batch."""
        return max(self._at(layers, rows, 1), 1e-6)


def depths_of(layers: int) -> tuple[int, ...]:
    """How many layers to try of a model that has so many."""
    return (layers,) if layers <= WHOLE else (2, 4)


def measure(model: str, recipe: Recipe, layers: int, rows: Sequence[int]) -> Measured:
    """Run a few steps, each combination in a process of its own.

    Args:
        model: whose config is taken.
        recipe: what would be run, its dtype decided.
        layers: of the model.
        rows: of the micro-batches.

    Raises:
        FabulaError: a step could not be run.
    """
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for depth in depths_of(layers):
        for count in rows:
            asked = {
                "model": model, "layers": depth, "rows": count,
                "recipe": recipe.model_dump(mode="json"),
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "fabula.planning.probe"],
                input=json.dumps(asked), capture_output=True, text=True,
                # As in a run: threads that wait for each other sleep.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            )  # fmt: skip
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no word"])[-1]
                raise FabulaError(f"A step of {model} could not be tried here ({last[:200]}).")
            peak, seconds = json.loads(done.stdout.strip().splitlines()[-1])
            found[depth, count] = (peak, seconds)
    return Measured(found)
