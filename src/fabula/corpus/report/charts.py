"""Plots as inline SVG, each in a figure with its title and, for those who cannot see it, a table.

Colours come from report.css by class, so that one drawing serves light, dark and print. Every
function returns HTML; texts are escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.highlight import escape

CHARACTER = 6.4
"""Width of a character of the labels, in the drawing's pixels."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar: its label, the sizes of its segments, and what stands at its end."""

    label: str
    sizes: tuple[float, ...]
    note: str


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, raw: bool = False, style: str = ""
) -> str:
    """A table whose first column is text and whose others are numbers, right-aligned.

    Args:
        heads: column headings.
        rows: cells.
        raw: the cells are HTML already.
        style: a class of report.css; "words" aligns all columns left.
    """
    keep = (lambda text: text) if raw else escape
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    body = "".join(
        f'<tr><th scope="row" dir="auto">{keep(row[0])}</th>'
        + "".join(f'<td dir="auto">{keep(cell)}</td>' for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    mark = f' class="{style}"' if style else ""
    return (
        f'<div class="scroll"><table{mark}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def figure(title: str, drawing: str, behind: str, caption: str = "", wide: bool = False) -> str:
    """A drawing with its title, its caption, and the table of its numbers."""
    note = f"<p>{escape(caption)}</p>" if caption else ""
    mark = ' class="wide"' if wide else ""
    return (
        f"<figure{mark}><figcaption><h4>{escape(title)}</h4>{note}</figcaption>"
        f'<div class="scroll">{drawing}</div>'
        f"<details><summary>The numbers</summary>{behind}</details></figure>\n"
    )


def legend(names: Sequence[str]) -> str:
    """Which colour is what."""
    items = "".join(
        f'<span><i class="s{i}" aria-hidden="true"></i>{escape(n)}</span>'
        for i, n in enumerate(names)
    )
    return f'<p class="legend">{items}</p>'


def bars(title: str, rows: Sequence[Bar], width: int = 400, label: int = 130) -> str:
    """Horizontal bars with direct labels; segments take the colours s0, s1, ..."""
    largest = max((sum(r.sizes) for r in rows), default=0) or 1.0
    end = int(max((len(r.note) for r in rows), default=0) * CHARACTER) + 10
    scale = (width - label - end) / largest
    parts = []
    for place, row in enumerate(rows):
        y, x = place * 22, float(label)
        parts.append(_text(label - 8, y + 15, _short(row.label, label), "end", row.label))
        for number, size in enumerate(row.sizes):
            wide = size * scale
            if wide > 0:
                parts.append(
                    f'<rect class="s{number}" x="{x:.1f}" y="{y + 3}" '
                    f'width="{max(wide, 0.8):.1f}" height="16" rx="1.5"/>'
                )
            x += wide
        parts.append(_text(x + 6, y + 15, row.note, "start", style="note"))
    return _svg(title, width, len(rows) * 22 + 2, parts)


def stacks(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    width: int = 900,
    label: int = 170,
) -> str:
    """Bars of equal length cut into shares; a share wide enough bears its percentage."""
    parts = []
    for place, (head, sizes) in enumerate(rows):
        y, x = place * 30, float(label)
        total = sum(sizes) or 1.0
        parts.append(_text(label - 8, y + 19, _short(head, label), "end", head))
        for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
            wide = (width - label) * size / total
            if not wide:
                continue
            said = f"{head}: {name} {size / total:.1%}"
            parts.append(
                f'<rect class="s{number}" x="{x:.1f}" y="{y + 3}" width="{wide:.1f}" height="24">'
                f"<title>{escape(said)}</title></rect>"
            )
            if wide > 38:
                parts.append(
                    _text(
                        x + wide / 2, y + 19, f"{size / total:.0%}", "middle", style=f"on{number}"
                    )
                )
            x += wide
    return legend(names) + _svg(title, width, len(rows) * 30 + 2, parts)


def log_edges(low: int, high: int) -> npt.NDArray[np.float64]:
    """Edges of equal steps on a logarithmic scale, six to a doubling, round `low` to `high`."""
    first = math.floor(6 * math.log2(max(1, low)))
    last = max(first + 1, math.floor(6 * math.log2(max(1, high))) + 1)
    return np.power(2.0, np.arange(first, last + 1) / 6)


def histogram(
    title: str,
    values: npt.NDArray[np.int64],
    edges: npt.NDArray[np.float64],
    width: int = 400,
    height: int = 120,
) -> str:
    """A histogram over a logarithmic scale, with the median marked."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    tall, step = max(1, int(counts.max())), (width - 20) / len(counts)
    parts = []
    for place, count in enumerate(counts.tolist()):
        if count:
            high = max(1.0, (height - 44) * count / tall)
            said = f"{edges[place]:.0f} to {edges[place + 1]:.0f} words: {count:,}"
            parts.append(
                f'<rect class="s0" x="{10 + place * step:.1f}" y="{height - 24 - high:.1f}" '
                f'width="{max(0.6, step - 0.8):.1f}" height="{high:.1f}">'
                f"<title>{said}</title></rect>"
            )
    span = math.log(edges[-1] / edges[0])

    def across(words: float) -> float:
        return 10 + (width - 20) * math.log(max(words, edges[0]) / edges[0]) / span

    base = height - 24
    parts.append(f'<line class="axis" x1="10" x2="{width - 10}" y1="{base}" y2="{base}"/>')
    last = -100.0
    for power in range(8):
        for digit in (1, 2, 5):
            tick = digit * 10**power
            x = across(tick)
            if edges[0] <= tick <= edges[-1] and x - last > 34:
                parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" '
                             f'y2="{base + 4}"/>')  # fmt: skip
                parts.append(_text(x, height - 6, f"{tick:,}", "middle", style="note"))
                last = x
    middle = float(np.median(values))
    x = across(middle)
    parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="16" y2="{base}"/>')
    anchor = "start" if x < width / 2 else "end"
    aside = 5 if anchor == "start" else -5
    parts.append(_text(x + aside, 13, f"median {middle:,.0f}", anchor, style="note"))
    return _svg(title, width, height, parts)


def flow(
    title: str,
    lefts: Sequence[tuple[str, int]],
    rights: Sequence[tuple[str, str]],
    links: Mapping[tuple[int, int], int],
    width: int = 900,
) -> str:
    """Ribbons from what came in (left) to what became of it (right), as wide as their numbers.

    Args:
        title: said to those who cannot see it.
        lefts: (name, number) of each source.
        rights: (name, class of its colour); the first is what was kept.
        links: number from left i to right j.
    """
    total = sum(links.values()) or 1
    scale = 230 / total
    left_edge, right_edge = 170.0, width - 360.0
    right_y, y = [], 6.0
    for j in range(len(rights)):
        high = sum(n for (_, b), n in links.items() if b == j) * scale
        right_y.append(y + max(0.0, (18 - high) / 2))
        y += max(high, 18) + (16 if j == 0 else 4)
    full = y + 2
    gap = 10 if len(lefts) > 1 else 0
    y = max(6.0, min(6.0 + (full - 230 - gap * (len(lefts) - 1)) / 2, 20.0))
    parts, ribbons = [], []
    taken = list(right_y)
    lowest = 0.0
    for i, (name, count) in enumerate(lefts):
        high = max(count * scale, 1.5)
        parts.append(f'<rect class="node" x="{left_edge - 8}" y="{y:.1f}" width="8" '
                     f'height="{high:.1f}"/>')  # fmt: skip
        middle = y + high / 2
        parts.append(_text(left_edge - 16, middle - 1, _short(name, 160), "end", name))
        parts.append(_text(left_edge - 16, middle + 13, f"{count:,} read", "end", style="note"))
        at = y
        for j, (end, colour) in enumerate(rights):
            n = links.get((i, j), 0)
            if n:
                thick = max(n * scale, 0.7)
                ribbons.append(
                    _ribbon(left_edge, at, right_edge, taken[j], thick, colour,
                            f"{name}: {end}: {n:,}")
                )  # fmt: skip
                at += n * scale
                taken[j] += n * scale
        lowest = max(lowest, y + high + 16)
        # Two lines of label need their room, however few stories a source has.
        y += max(high, 32) + gap
    for j, (name, colour) in enumerate(rights):
        n = sum(count for (_, b), count in links.items() if b == j)
        high = max(n * scale, 1.5)
        parts.append(f'<rect class="{colour}" x="{right_edge}" y="{right_y[j]:.1f}" width="8" '
                     f'height="{high:.1f}"/>')  # fmt: skip
        shown = f"{n:,}  {_short(name, 310)}"
        parts.append(_text(right_edge + 16, right_y[j] + high / 2 + 4, shown, "start", name,
                           "strong" if j == 0 else ""))  # fmt: skip
    return _svg(title, width, math.ceil(max(full, lowest)), ribbons + parts)


def _ribbon(
    x0: float, y0: float, x1: float, y1: float, thick: float, colour: str, said: str
) -> str:
    middle = (x0 + x1) / 2
    path = (
        f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
        f"v{thick:.1f}C{middle:.1f} {y1 + thick:.1f} {middle:.1f} {y0 + thick:.1f} "
        f"{x0:.1f} {y0 + thick:.1f}z"
    )
    return f'<path class="ribbon {colour}" d="{path}"><title>{escape(said)}</title></path>'


def heat(
    corner: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[float, str]]]]
) -> str:
    """A table whose cells are shaded by how large they are: (0 to 1, what stands there)."""
    cells = [
        [
            escape(name),
            *(
                f'<span class="heat" style="--v:{min(1.0, max(0.0, v)):.3f}">{escape(t)}</span>'
                for v, t in row
            ),
        ]
        for name, row in rows
    ]
    return table([corner, *heads], cells, raw=True, style="heatmap")


def _svg(title: str, width: int, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">\n' + "\n".join(parts) + "\n</svg>"
    )


def _text(
    x: float, y: float, text: str, anchor: str, whole: str | None = None, style: str = ""
) -> str:
    mark = f' class="{style}"' if style else ""
    said = f"<title>{escape(whole)}</title>" if whole is not None and whole not in text else ""
    return f'<text{mark} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}{escape(text)}</text>'


def _short(text: str, pixels: float) -> str:
    most = max(4, int((pixels - 8) / CHARACTER))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
