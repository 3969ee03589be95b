"""The loss curve of a run, as a picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fabula.errors import MissingExtra
from fabula.story.files import write_atomic
from fabula.training.kinds import kind_of

INK, TRAIN, HELD_OUT, RATE = "#2b2b33", "#4c72b0", "#c44e52", "#8f8f99"


def smooth(values: list[float]) -> list[float]:
    """Exponential moving average over about a thirtieth of the values, corrected for its start."""
    span = max(3.0, len(values) / 30)
    share = 1 - 2 / (span + 1)
    mean, weight = 0.0, 0.0
    smoothed: list[float] = []
    for value in values:
        mean = share * mean + (1 - share) * value
        weight = share * weight + (1 - share)
        smoothed.append(mean / weight)
    return smoothed


def draw(lines: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw training loss, held-out loss and learning rate over steps.

    Args:
        lines: of metrics.jsonl.
        path: of the PNG.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("The loss curve", "train") from None

    steps = [line for line in lines if "loss" in line]
    scores = [line for line in lines if "eval_loss" in line]
    kind = kind_of(scores)
    figure = Figure(figsize=(9, 5.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1]})
    x = [line["step"] for line in steps]
    y = [line["loss"] for line in steps]
    top.plot(x, y, color=TRAIN, alpha=0.25, linewidth=1)
    top.plot(x, smooth(y), color=TRAIN, linewidth=2, label="training loss (smoothed)")
    if scores:
        top.plot(
            [line["step"] for line in scores],
            [line["eval_loss"] for line in scores],
            color=HELD_OUT,
            linewidth=2,
            marker="o",
            markersize=4,
            label="held-out loss",
        )
        last = scores[-1]
        beside = kind.short.format(**last)
        top.annotate(
            f"{last['eval_loss']:.3f}  ({beside})",
            (last["step"], last["eval_loss"]),
            xytext=(-6, 12),
            textcoords="offset points",
            ha="right",
            color=HELD_OUT,
            fontsize=9,
        )
    bottom.plot(x, [line["learning_rate"] for line in steps], color=RATE, linewidth=1.6)
    bottom.set_ylim(bottom=0)
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    top.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    top.set_ylabel(kind.unit, color=INK)
    bottom.set_ylabel("learning rate", color=INK)
    bottom.set_xlabel("step", color=INK)
    if steps or scores:
        top.legend(frameon=False, loc="best")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.tick_params(colors=INK, labelsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    write_atomic(path, buffer.getvalue())
