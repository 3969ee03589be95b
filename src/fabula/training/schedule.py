"""Learning-rate annealing: the rate as a function of the share of the run that is done.

Cosine and its restarts are those of Loshchilov and Hutter 2017 (SGDR, arXiv:1608.03983); the fall
of warmup-stable-decay is "1-sqrt" (Hägele et al. 2024, arXiv:2405.18392). Restarts part what
follows the warm-up into equal cycles, each of which begins at the peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fabula.training.recipe import Recipe, Schedule

FLOOR = 0.02
"""Smallest share of the peak rate during warm-up, so that no step is wasted on a rate of 0."""


def rate_factor(schedule: Schedule, progress: float) -> float:
    """The learning rate relative to its peak.

    Args:
        progress: share of the run that is done, from 0 to 1.
    """
    low = schedule.min_lr_ratio
    if progress < schedule.warmup:
        return max(progress / schedule.warmup, FLOOR)
    if schedule.name == "constant":
        return 1.0
    share = min((progress - schedule.warmup) / max(1 - schedule.warmup, 1e-9), 1.0)
    cycles = cycles_of(schedule)
    if schedule.name == "wsd":
        # All falls together take `decay` of the run.
        number = min(int(share * cycles), cycles - 1)
        last = number == cycles - 1
        end = 1.0 if last else schedule.warmup + (1 - schedule.warmup) * (number + 1) / cycles
        decay = schedule.decay / cycles
        # The square root falls fast first.
        fall = math.sqrt(min(max((progress - (end - decay)) / max(decay, 1e-9), 0.0), 1.0))
    else:
        if cycles > 1 and share < 1:
            share = share * cycles % 1
        fall = share if schedule.name == "linear" else (1 - math.cos(math.pi * share)) / 2
    return low + (1 - low) * (1 - fall)


def cycles_of(schedule: Schedule) -> int:
    """How often the rate falls."""
    if schedule.name == "cosine_with_restarts":
        return schedule.cycles
    return schedule.restarts + 1


def planned(recipe: Recipe, points: int) -> list[float]:
    """The factor at so many places, evenly spread over the run, its start and end among them."""
    return [rate_factor(recipe.schedule, n / (points - 1)) for n in range(points)]


def peak_rates(recipe: Recipe) -> dict[str, float]:
    """The peak of each learning rate that follows the schedule, by its key in the recipe."""
    optimiser = recipe.optimiser
    rates = {"learning_rate": optimiser.learning_rate}
    if optimiser.name == "muon":
        muon = optimiser.muon_learning_rate
        rates = {"muon_learning_rate": optimiser.learning_rate if muon is None else muon, **rates}
    return rates


def told(recipe: Recipe) -> str:
    """The schedule in a sentence."""
    schedule, cycles = recipe.schedule, cycles_of(recipe.schedule)
    parts = [schedule.name.replace("_", " ")]
    if schedule.warmup:
        parts.append(f"warm-up over {_percent(schedule.warmup)} of the run")
    if schedule.name == "wsd":
        parts.append(f"falls over its last {_percent(schedule.decay)}" if cycles == 1 else
                     f"{cycles} falls over {_percent(schedule.decay)} of it")  # fmt: skip
    elif cycles > 1:
        parts.append(f"{cycles} cycles")
    if schedule.name != "constant":
        parts.append(f"down to {_percent(schedule.min_lr_ratio)} of the peak")
    limits = {"step": recipe.steps, "epoch": recipe.epochs, "minute": recipe.max_minutes}
    ends = [f"{n:g} {name}{'' if n == 1 else 's'}" for name, n in limits.items() if n is not None]
    first = ", whichever comes first" if len(ends) > 1 else ""
    return f"{', '.join(parts)}; the run ends after {' or '.join(ends)}{first}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def unicode_plot(values: Sequence[float], height: int = 8) -> list[str]:
    """Lines of text that draw values from 0 to 1, one column each, the top line first."""
    eighths = " ▁▂▃▄▅▆▇█"
    filled = [max(round(value * 8 * height), 1 if value > 0 else 0) for value in values]
    return [
        "".join(eighths[min(max(f - 8 * level, 0), 8)] for f in filled)
        for level in range(height - 1, -1, -1)
    ]
