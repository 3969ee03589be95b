"""`fabula schedule`: the learning rate over a run, before it begins."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fabula.errors import FabulaError, MissingExtra

if TYPE_CHECKING:
    from fabula.training.recipe import Recipe

WIDTH, POINTS = 64, 601


def command(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)],
    plot: Annotated[
        Path | None, typer.Option(help="Also draw it into this file: .png, .svg or .pdf.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the learning rate over a run."""
    from fabula.training.recipe import load_recipe
    from fabula.training.schedule import peak_rates, planned, told, unicode_plot

    settings = load_recipe(recipe)
    if plot is not None:
        _draw(settings, plot)
    rates = peak_rates(settings)
    if json_:
        from fabula.cli import emit

        emit({
            "schedule": settings.schedule.model_dump(),
            "peaks": rates,
            "steps": settings.steps,
            "factors": [round(f, 6) for f in planned(settings, 101)],
        })  # fmt: skip
        return
    lines = [f"{settings.name}: {told(settings)}"]
    for name, peak in rates.items():
        lines.append(f"{name.replace('_', ' ')}: peak {peak:g}")
    side = f"{max(rates.values()):.1e}" if len(rates) == 1 else "peak"
    fine = planned(settings, WIDTH * 8)
    columns = [max(fine[n * 8 : n * 8 + 8]) for n in range(WIDTH)]
    for number, row in enumerate(unicode_plot(columns)):
        lines.append(f"{side if number == 0 else '':>9} │{row}")
    end = f"step {settings.steps:,}" if settings.steps is not None else "100%"
    lines.append(f"{'0':>9} └{'─' * WIDTH}")
    lines.append(f"{'':>11}0{end:>{WIDTH - 1}}")
    sys.stdout.write("\n".join(lines) + "\n")
    if plot is not None:
        sys.stdout.write(f"Drawn into {plot}.\n")


def _draw(recipe: Recipe, path: Path) -> None:
    import io

    from fabula.story.files import write_atomic
    from fabula.training.schedule import peak_rates, planned, told

    kind = path.suffix.lstrip(".").lower()
    if kind not in ("png", "svg", "pdf"):
        raise FabulaError(f"--plot {path}: name a file that ends in .png, .svg or .pdf.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("A drawing of the schedule", "eval") from None
    figure: Any = Figure(figsize=(8, 3.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    end = recipe.steps or 1
    factors = planned(recipe, POINTS)
    places = [end * n / (POINTS - 1) for n in range(POINTS)]
    for (name, peak), colour in zip(
        peak_rates(recipe).items(), ("#4c72b0", "#c44e52"), strict=False
    ):
        axes.plot(places, [peak * f for f in factors], color=colour, linewidth=2,
                  label=name.replace("_", " "))  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_xlabel("step" if recipe.steps else "share of the run")
    axes.set_title(recipe.name, loc="left", fontsize=12, fontweight="bold")
    axes.set_title(told(recipe), loc="right", fontsize=7, color="#6b6b75", wrap=True)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, facecolor="white")
    write_atomic(path, buffer.getvalue())
