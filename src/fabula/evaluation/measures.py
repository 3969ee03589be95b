"""A measure: one metric of one system, with its floor, its human figure, and all intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fabula.evaluation.bootstrap import Interval, Resamples, Statistic, number

Better = Literal["higher", "lower", "human"]

GROUPS = {
    "likelihood": "How well the model predicts the human stories",
    "likeness": "Likeness to the human story of the same brief",
    "wishes": "Wishes kept",
    "arc": "The arc asked for",
    "form": "Form",
    "copying": "Words shared with the training stories",
    "time": "Time to write",
}


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    Attributes:
        key: stable name, for scripts.
        group: one of `GROUPS`.
        label: what a reader sees.
        unit: "%", "bits", "words" or "".
        better: which way is better; "human": the nearer to the human figure the better.
        own: the system's figure.
        floor: what the figure would be if the brief made no difference.
        human: the same of the human stories; for likeness, of another human story of the same
            prompt (the ceiling); None for drawn briefs.
        human_floor: the human stories' own floor.
        chance: the figure of pure guessing, where there is such a thing.
        digits: decimals shown.
        bounded: False where a bootstrap interval means nothing (a maximum).
    """

    key: str
    group: str
    label: str
    own: Statistic
    unit: str = ""
    better: Better = "higher"
    floor: Statistic | None = None
    human: Statistic | None = None
    human_floor: Statistic | None = None
    chance: float | None = None
    digits: int = 1
    bounded: bool = True


@dataclass(frozen=True)
class Figures:
    """The numbers of a measure; None where one does not apply or cannot be had.

    `lift` is own minus floor on the same stories, with a paired interval.
    """

    key: str
    group: str
    label: str
    unit: str
    better: Better
    digits: int
    value: float | None
    interval: Interval | None
    floor: float | None
    lift: float | None
    lift_interval: Interval | None
    human: float | None
    human_interval: Interval | None
    human_floor: float | None
    chance: float | None

    def as_json(self) -> dict[str, Any]:
        """For `--json` and metrics.json."""
        return {
            "label": self.label,
            "unit": self.unit,
            "better": self.better,
            "value": self.value,
            "interval": pair(self.interval),
            "floor": self.floor,
            "lift": self.lift,
            "lift_interval": pair(self.lift_interval),
            "human": self.human,
            "human_interval": pair(self.human_interval),
            "human_floor": self.human_floor,
            "chance": self.chance,
        }


def pair(interval: Interval | None) -> list[float] | None:
    """An interval for JSON."""
    return None if interval is None else [interval.low, interval.high]


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else number(a - b)


def figures(measure: Measure, resamples: Resamples) -> Figures:
    """Work out the numbers of a measure."""

    def interval(*terms: tuple[float, Statistic]) -> Interval | None:
        return resamples.interval(*terms) if measure.bounded else None

    own, floor, human = measure.own, measure.floor, measure.human
    value = own.value
    low = floor.value if floor is not None else None
    return Figures(
        key=measure.key,
        group=measure.group,
        label=measure.label,
        unit=measure.unit,
        better=measure.better,
        digits=measure.digits,
        value=value,
        interval=interval((1, own)) if value is not None else None,
        floor=low,
        lift=_minus(value, low),
        lift_interval=(
            interval((1, own), (-1, floor))
            if floor is not None and _minus(value, low) is not None
            else None
        ),
        human=human.value if human is not None else None,
        human_interval=interval((1, human))
        if human is not None and human.value is not None
        else None,
        human_floor=measure.human_floor.value if measure.human_floor is not None else None,
        chance=measure.chance,
    )


@dataclass(frozen=True)
class Difference:
    """A later system minus the first, on the same stories."""

    key: str
    system: str
    baseline: str
    value: float | None
    interval: Interval | None

    def as_json(self) -> dict[str, Any]:
        """For `--json` and metrics.json."""
        return {
            "measure": self.key,
            "system": self.system,
            "baseline": self.baseline,
            "value": self.value,
            "interval": pair(self.interval),
        }


def differences(
    names: Sequence[str], systems: Sequence[Sequence[Measure]], resamples: Resamples
) -> list[Difference]:
    """Every later system against the first, measure by measure, paired by story."""
    found = []
    first = {m.key: m for m in systems[0]} if systems else {}
    for name, measures in zip(names[1:], systems[1:], strict=True):
        for measure in measures:
            base = first.get(measure.key)
            if base is None:
                continue
            value = _minus(measure.own.value, base.own.value)
            terms = ((1.0, measure.own), (-1.0, base.own))
            found.append(
                Difference(
                    key=measure.key,
                    system=name,
                    baseline=names[0],
                    value=value,
                    interval=(
                        resamples.interval(*terms)
                        if measure.bounded and value is not None
                        else None
                    ),
                )
            )
    return found
