"""Pictures of an evaluation: every bar beside its floor and the human figure."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from fabula.errors import MissingExtra
from fabula.evaluation.arccurves import ArcCurve
from fabula.evaluation.measures import Figures
from fabula.evaluation.result import Evaluation
from fabula.story import ARCS

# Colours that keep apart for the colour-blind (Wong 2011, Nature Methods 8:441).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
FLOOR = "#777777"
HUMAN = "#000000"
MEASURES = (
    "bits_per_byte_brief", "word_perplexity_brief", "prompt_gain",
    "bleu", "chrf", "rouge1", "rouge2", "rougeL",
    "words", "ended", "loops", "repeated_4", "distinct_1", "distinct_2", "end_positivity",
    "shared_max", "seconds",
)  # fmt: skip
COLUMNS = 4


def require() -> None:
    """Fail early if pictures cannot be drawn.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("Drawing an evaluation", "eval") from None


def draw(result: Evaluation, folder: Path) -> list[tuple[str, str]]:
    """Draw all pictures that the result has figures for.

    Returns:
        (file name, caption) of each, in the order of the report.
    """
    require()
    import matplotlib as mpl

    mpl.use("Agg")
    measures, wishes = (" and the human one", " and the human stories")
    if result.drawn:
        measures = wishes = ""
    pictures = (
        (
            "measures.png",
            f"Every figure (bar, 95% interval) beside its floor (grey){measures}.",
            _measures,
        ),
        (
            "wishes.png",
            f"Wishes kept by kind, beside chance (other briefs' stories){wishes}.",
            _wishes,
        ),
        (
            "arcs.png",
            "Mean fortune curve by the arc asked for; the band is where the mean of the same "
            "stories lies with their sentences shuffled (95%).",
            _arcs,
        ),
    )
    drawn = []
    for file, caption, make in pictures:
        figure = make(result)
        if figure is not None:
            _save(figure, folder / file)
            drawn.append((file, caption))
    return drawn


def _save(figure: Any, path: Path) -> None:
    """Save without the date and version that would make equal pictures differ."""
    import io

    import matplotlib.pyplot as plt

    from fabula.story import write_atomic

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    write_atomic(path, buffer.getvalue())


def _bars(axis: Any, rows: list[Figures | None]) -> None:
    """One bar a system, with its interval and its floor across it."""
    for i, row in enumerate(rows):
        if row is None or row.value is None:
            continue
        axis.bar(i, row.value, width=0.62, color=COLOURS[i % len(COLOURS)], zorder=2)
        if row.interval is not None:
            axis.vlines(i, row.interval.low, row.interval.high, color=HUMAN, lw=1.2, zorder=4)
        low = row.floor if row.floor is not None else row.chance
        if low is not None:
            axis.hlines(low, i - 0.42, i + 0.42, color=FLOOR, lw=2.5, zorder=3)


def _heights(rows: list[Figures | None]) -> list[float]:
    return [v for r in rows if r is not None for v in (r.value or 0, r.floor or 0)]


def _measures(result: Evaluation) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys = [k for k in MEASURES if any(s.figure(k) for s in result.systems)]
    if not keys:
        return None
    lines = -(-len(keys) // COLUMNS)
    figure, axes = plt.subplots(
        lines, COLUMNS, figsize=(11, 2.3 * lines + 0.8), squeeze=False, layout="constrained"
    )
    for axis, key in zip(axes.flat, keys, strict=False):
        rows = [s.figure(key) for s in result.systems]
        first = next(r for r in rows if r is not None)
        _bars(axis, rows)
        if first.human is not None:
            axis.axhline(first.human, color=HUMAN, lw=1.2, ls=(0, (4, 2)), zorder=3)
        title = first.label + (f" ({first.unit})" if first.unit else "")
        axis.set_title("\n".join(textwrap.wrap(title, 30)), fontsize=9)
        axis.set_xticks([])
        axis.set_xlim(-0.7, len(rows) - 0.3)
        axis.margins(y=0.15)
        if not any(_heights(rows)) and not first.human:
            tops = [r.interval.high for r in rows if r is not None and r.interval is not None]
            axis.set_ylim(0, max([1.0, *tops]))
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(keys) :]:
        axis.set_visible(False)
    handles: list[Any] = [
        Patch(color=COLOURS[i % len(COLOURS)], label=s.name) for i, s in enumerate(result.systems)
    ]
    handles.append(Line2D([], [], color=FLOOR, lw=2.5, label="floor"))
    if not result.drawn:
        handles.append(Line2D([], [], color=HUMAN, lw=1.2, ls=(0, (4, 2)), label="human"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _wishes(result: Evaluation) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    rows = {f.key: f for s in result.systems for f in s.figures if f.group == "wishes"}
    if not rows:
        return None
    count = len(result.systems)
    figure, axis = plt.subplots(
        figsize=(8, 1.2 + len(rows) * (0.26 + 0.17 * count)), layout="constrained"
    )
    height = 0.72 / count
    for place, (key, first) in enumerate(rows.items()):
        for i, system in enumerate(result.systems):
            row = system.figure(key)
            if row is None or row.value is None:
                continue
            y = place + (i - (count - 1) / 2) * height
            axis.barh(y, row.value, height * 0.9, color=COLOURS[i % len(COLOURS)], zorder=2,
                      label=system.name if not place else None)  # fmt: skip
            if row.interval is not None:
                axis.hlines(y, row.interval.low, row.interval.high, color=HUMAN, lw=1.2, zorder=4)
            if row.floor is not None:
                axis.vlines(
                    row.floor, y - height / 2, y + height / 2, color=FLOOR, lw=2.5, zorder=3
                )
        if first.human is not None:
            axis.plot(
                first.human,
                place,
                marker="D",
                color="white",
                markeredgecolor=HUMAN,
                ms=6,
                ls="",
                zorder=5,
                clip_on=False,
                label="human" if not place else None,
            )
    axis.set_yticks(range(len(rows)), [row.label for row in rows.values()])
    axis.set_xlim(-1, 102)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel("wishes kept, %")
    axis.grid(axis="x", color="#dddddd", zorder=0)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    handles, labels = axis.get_legend_handles_labels()
    handles.append(Line2D([], [], color=FLOOR, lw=2.5))
    figure.legend(
        handles, [*labels, "chance"], loc="outside lower center", ncols=count + 2, frameon=False
    )
    return figure


def _curves(result: Evaluation, arc: str) -> list[tuple[str, str, Any, ArcCurve]]:
    """(name, colour, line style, curve) of every system, then of the human stories, if any."""
    rows: list[tuple[str, str, Any, list[ArcCurve]]] = [
        (system.name, COLOURS[i % len(COLOURS)], "-", system.arcs)
        for i, system in enumerate(result.systems)
    ]
    rows.append(("human", HUMAN, (0, (4, 2)), result.human_arcs))
    return [
        (name, colour, style, curve)
        for name, colour, style, arcs in rows
        for curve in arcs
        if curve.arc == arc
    ]


def _arcs(result: Evaluation) -> Any:
    import matplotlib.pyplot as plt
    import numpy as np

    from fabula.reading import shapes

    curves = {arc: lines for arc in ARCS if (lines := _curves(result, arc))}
    if not curves:
        return None
    figure, axes = plt.subplots(
        2, 3, figsize=(10, 5.8), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (arc, lines) in zip(axes.flat, curves.items(), strict=False):
        last = lines[-1][-1]
        place = np.linspace(0, 1, len(last.curve))
        for name, colour, style, curve in lines:
            axis.fill_between(place, curve.low, curve.high, color=colour, alpha=0.12, lw=0)
            axis.plot(place, curve.curve, color=colour, ls=style, lw=1.8, label=name)
        middle = float(np.mean(last.curve))
        shape = shapes(len(last.curve))[arc]
        axis.plot(place, middle + 0.15 * shape / np.abs(shape).max(), color=FLOOR, lw=1, ls=":",
                  label="the shape")  # fmt: skip
        axis.set_title(f"{arc} (n={last.stories})", fontsize=10)
        axis.set_xticks([0, 1], ["beginning", "end"])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(curves) :]:
        axis.set_visible(False)
    for line in axes:
        line[0].set_ylabel("valence (VADER)", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure
