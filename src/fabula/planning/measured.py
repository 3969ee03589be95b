"""Memory and rate of a run on this CPU, measured on one layer and two, with two micro-batches."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from fabula.errors import FabulaError
from fabula.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Measured:
    """Peak memory and seconds as they grow with layers and rows.

    Attributes:
        rows: the rows it was measured with, fewer and more.
        found: (bytes at the peak, seconds a step), by (layers, rows).
    """

    rows: tuple[int, int]
    found: dict[tuple[int, int], tuple[float, float]]

    def _at(self, layers: int, rows: int, which: int) -> float:
        """Linear in layers, in rows, and in both together."""
        few, many = self.rows

        def of(row: int) -> float:
            one, two = self.found[1, row][which], self.found[2, row][which]
            return one + (two - one) * (layers - 1)

        slope = (of(many) - of(few)) / (many - few)
        return of(few) + slope * (rows - few)

    def peak(self, layers: int, rows: int) -> float:
        """Bytes at the peak."""
        return self._at(layers, rows, 0)

    def seconds(self, layers: int, rows: int) -> float:
        """Seconds of a step of one micro-batch."""
        return max(self._at(layers, rows, 1), 1e-6)


def measure(model: str, recipe: Recipe, rows: tuple[int, int]) -> Measured:
    """Run one step four times, each in a process of its own.

    Args:
        model: whose config is taken.
        recipe: what would be run, its dtype decided.
        rows: of the two micro-batches.

    Raises:
        FabulaError: a step could not be run.
    """
    found: dict[tuple[int, int], tuple[float, float]] = {}
    for layers in (1, 2):
        for count in rows:
            asked = {
                "model": model, "layers": layers, "rows": count,
                "recipe": recipe.model_dump(mode="json"),
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "fabula.planning.probe"],
                input=json.dumps(asked), capture_output=True, text=True,
            )  # fmt: skip
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no word"])[-1]
                raise FabulaError(f"A step of {model} could not be tried here ({last[:200]}).")
            peak, seconds = json.loads(done.stdout.strip().splitlines()[-1])
            found[layers, count] = (peak, seconds)
    return Measured(rows, found)
