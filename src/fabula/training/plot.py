"""The curves of a run, as a picture: loss, held-out perplexity, learning rate, speed."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fabula.errors import MissingExtra
from fabula.story.files import write_atomic
from fabula.training.kinds import STORIES, kind_of

INK, TRAIN, HELD_OUT, RATE, SPEED = "#2b2b33", "#4c72b0", "#c44e52", "#8f8f99", "#55a868"


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
    """Draw losses, held-out word perplexity (of stories), learning rate and tokens/s over steps.

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
    figure = Figure(figsize=(9, 7), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    several = kind is STORIES and bool(scores)
    heights = [4, 1.4, 1, 1] if several else [4, 1, 1]
    rows = figure.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    top, rate, speed = rows[0], rows[-2], rows[-1]
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
    if several:
        points = [(line["step"], line["eval_word_perplexity"]) for line in scores]
        rows[1].plot(*zip(*points, strict=True), color=HELD_OUT, linewidth=1.6, marker="o",
                     markersize=3)  # fmt: skip
        rows[1].set_ylabel("word\nperplexity", color=INK)
    rate.plot(x, [line["learning_rate"] for line in steps], color=RATE, linewidth=1.6)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    rate.set_ylabel("learning\nrate", color=INK)
    fast = [line["tokens_per_second"] for line in steps]
    speed.plot(x, fast, color=SPEED, alpha=0.25, linewidth=1)
    speed.plot(x, smooth(fast), color=SPEED, linewidth=1.6)
    speed.set_ylabel("tokens/s", color=INK)
    speed.set_xlabel("step", color=INK)
    for axes in (rate, speed):
        axes.set_ylim(bottom=0)
    top.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    top.set_ylabel(kind.unit, color=INK)
    if steps or scores:
        top.legend(frameon=False, loc="best")
    figure.align_ylabels(rows)
    for axes in rows:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.tick_params(colors=INK, labelsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    write_atomic(path, buffer.getvalue())
