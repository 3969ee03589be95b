"""Curves as inline SVG: lines over steps, each place saying its numbers where the pointer is.

Colours come from page.css by class, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fabula.reading.highlight import escape

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 26
MOST_POINTS = 400
"""Points of a line; more are drawn as the means of so many parts."""
SHARE = "share of the run"
"""Name of a horizontal axis that goes from 0 to 1."""
MOST_PLACES = 120
"""Places at which the pointer is told numbers."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """A line of a drawing.

    Attributes:
        name: what the legend and the pointer call it.
        points: (x, y), x rising.
        style: class of page.css: l0, l1, ...; "faint" or "planned" beside it.
        dots: whether each point is marked, as of few measurements.
        shown: how the pointer is told a value.
        told: whether the pointer is told it, and the legend names it.
    """

    name: str
    points: Points
    style: str = "l0"
    dots: bool = False
    shown: Callable[[float], str] = "{:,.4g}".format
    told: bool = True


def fewer(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """At most so many points: means of equal parts; the first and the last stay."""
    if len(points) <= most:
        return list(points)
    size, found = (len(points) - 2) / (most - 2), [points[0]]
    for part in range(most - 2):
        chosen = points[1 + int(part * size) : 1 + int((part + 1) * size)]
        count = len(chosen)
        found.append((sum(x for x, _ in chosen) / count, sum(y for _, y in chosen) / count))
    return [*found, points[-1]]


def nice_ticks(low: float, high: float, most: int = 5, least: float = 0.0) -> list[float]:
    """Round numbers between two numbers, at most about so many, `least` apart or more."""
    if not high > low:
        return [low]
    raw = max((high - low) / most, least)
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A number as an axis shows it."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    if 0 < size < 1e-2:
        mantissa, _, power = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(power)}"
    return f"{round(value, 10):g}"


@dataclass(frozen=True)
class _Frame:
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - self.x0) / ((self.x1 - self.x0) or 1)

    def y(self, value: float) -> float:
        inside = HEIGHT - TOP - BOTTOM
        held = min(max(value, self.y0), self.y1)
        return HEIGHT - BOTTOM - inside * (held - self.y0) / ((self.y1 - self.y0) or 1)


def curves(
    title: str,
    lines: Sequence[Line],
    x_name: str = "step",
    from_zero: bool = False,
    span: tuple[float, float] | None = None,
    x_end: float | None = None,
) -> str:
    """A drawing of lines, with axes, a legend where there are several, and numbers to point at.

    Args:
        title: said to those who cannot see it.
        from_zero: whether the vertical axis begins at 0.
        span: of the vertical axis; else that of the values, the first lines' outliers cut off.
        x_end: where the horizontal axis ends, where the lines may not get there yet.
    """
    drawn = [line for line in lines if line.points]
    xs = [x for line in drawn for x, _ in (line.points[0], line.points[-1])]
    low, high = span or _span([y for line in drawn for _, y in line.points], from_zero)
    frame = _Frame(min(xs, default=0.0), max([*xs, x_end or 0.0], default=1.0), low, high)
    parts = [_grid(frame, x_name)]
    for line in drawn:
        points = fewer(line.points)
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        if len(points) > 1:
            parts.append(f'<polyline class="{line.style}" points="{path}"/>')
        if line.dots or len(points) == 1:
            parts += [
                f'<circle class="{line.style}" cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"/>'
                for x, y in (points if len(points) <= 60 else [])
            ]
    named = [line for line in drawn if line.told]
    parts.append(_pointer(frame, named, x_name))
    legend = ""
    if len(named) > 1:
        legend = "".join(f'<span><i class="{x.style}"></i>{escape(x.name)}</span>' for x in named)
        legend = f'<p class="legend">{legend}</p>'
    return (
        f'{legend}<svg class="curves" role="img" aria-label="{escape(title)}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _span(values: list[float], from_zero: bool) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    ordered = sorted(values)
    # A loss that begins at ten times its later values would flatten all that follows.
    low, high = ordered[0], ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]
    if from_zero:
        return min(0.0, low), (high * 1.06 if high > 0 else 1.0)
    room = (high - low) * 0.06 or abs(high) * 0.05 or 1.0
    return low - room, high + room


def _grid(frame: _Frame, x_name: str) -> str:
    parts = []
    for tick in nice_ticks(frame.y0, frame.y1, 4):
        y = frame.y(tick)
        parts.append(
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="note" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{short(tick)}</text>"
        )
    ticks = nice_ticks(frame.x0, frame.x1, 5, 1.0 if x_name == "step" else 0.0)
    for tick in ticks:
        x = frame.x(tick)
        if x > WIDTH - RIGHT - 8 - 6 * len(x_name) and tick is not ticks[0]:
            continue  # the axis is named there
        parts.append(
            f'<text class="note" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{short(tick)}</text>"
        )
    parts.append(
        f'<text class="note" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">'
        f"{escape(x_name)}</text>"
    )
    return "".join(parts)


def _pointer(frame: _Frame, lines: Sequence[Line], x_name: str) -> str:
    """Strips that tell the numbers of their place when pointed at."""
    if not lines:
        return ""
    # The places of the line that has most of them.
    xs = [x for x, _ in fewer(max((x.points for x in lines), key=len), MOST_PLACES)]
    edges = [frame.x(x) for x in xs]
    parts = []
    for number, x in enumerate(xs):
        left = (edges[number - 1] + edges[number]) / 2 if number else edges[0] - 4
        right = (edges[number] + edges[number + 1]) / 2 if number + 1 < len(xs) else edges[-1] + 4
        said = [f"{x_name} {x:,.0f}"] if x_name != SHARE else [f"{x:.0%} of the run"]
        for line in lines:
            at, value = _nearest(line.points, x)
            beside = "" if not line.dots or round(at) == round(x) else f" (at {at:,.0f})"
            said.append(f"{line.name}: {line.shown(value)}{beside}")
        parts.append(
            f'<rect class="place" x="{left:.1f}" y="{TOP}" width="{max(right - left, 0.5):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(chr(10).join(said))}</title></rect>'
        )
    return "".join(parts)


def _nearest(points: Points, x: float) -> tuple[float, float]:
    place = bisect.bisect_left(points, x, key=lambda p: p[0])
    around = points[max(place - 1, 0) : place + 1]
    return min(around, key=lambda p: abs(p[0] - x))
