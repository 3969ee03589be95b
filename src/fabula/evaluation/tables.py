"""The figures for people: a rich table on the terminal, Markdown in the report."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fabula.evaluation.bootstrap import Interval
from fabula.evaluation.measures import GROUPS, Difference, Figures
from fabula.evaluation.result import Evaluation

if TYPE_CHECKING:
    from rich.console import RenderableType

NONE = "n/a"


def shown(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with a fixed number of decimals; "n/a" where there is none."""
    if value is None:
        return NONE
    if abs(value) >= 1e6:
        return f"{value:.2e}"
    return f"{value:{'+' if sign else ''},.{digits}f}"


def between(interval: Interval | None, digits: int, *, sign: bool = False) -> str:
    """An interval in brackets; empty where there is none."""
    if interval is None:
        return ""
    low, high = (shown(v, digits, sign=sign) for v in (interval.low, interval.high))
    return f"[{low}, {high}]"


def value_of(row: Figures) -> str:
    """A figure and its interval."""
    return f"{shown(row.value, row.digits)} {between(row.interval, row.digits)}".rstrip()


def floor_of(row: Figures) -> str:
    """The floor: of other briefs, else of pure guessing."""
    if row.floor is not None:
        return shown(row.floor, row.digits)
    return f"{shown(row.chance, row.digits)} (chance)" if row.chance is not None else NONE


def lift_of(row: Figures) -> str:
    """Lift over the floor, with its interval."""
    if row.lift is None:
        return NONE
    lift = shown(row.lift, row.digits, sign=True)
    return f"{lift} {between(row.lift_interval, row.digits, sign=True)}".rstrip()


def human_of(row: Figures) -> str:
    """The human figure, with the human floor behind it where there is one."""
    text = shown(row.human, row.digits)
    return (
        f"{text} (floor {shown(row.human_floor, row.digits)})"
        if row.human_floor is not None
        else text
    )


def difference_of(difference: Difference | None, digits: int) -> str:
    """A difference between two systems, with its interval."""
    if difference is None or difference.value is None:
        return NONE
    value = shown(difference.value, digits, sign=True)
    return f"{value} {between(difference.interval, digits, sign=True)}".rstrip()


def label_of(row: Figures) -> str:
    """Name and unit; an arrow says which way is better."""
    arrow = {"higher": "↑", "lower": "↓", "human": "≈"}[row.better]
    return f"{row.label}{f', {row.unit}' if row.unit else ''} {arrow}"


def columns(result: Evaluation) -> list[str]:
    """Heads of the table's columns."""
    human = [] if result.drawn else ["human"]
    if len(result.systems) == 1:
        return ["", result.systems[0].name, "floor", "lift over the floor", *human]
    heads = [""]
    for i, system in enumerate(result.systems):
        heads += [system.name, "lift over its floor"]
        heads += [f"minus {result.systems[0].name}"] if i else []
    return [*heads, *human]


def cells(result: Evaluation) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, rows) of each group of rows; a row has a cell for each of `columns`."""
    rows: dict[str, Figures] = {}
    for system in result.systems:
        for row in system.figures:
            rows.setdefault(row.key, row)
    found = {(d.key, d.system): d for d in result.differences}
    for group, title in GROUPS.items():
        lines = []
        for key, row in rows.items():
            if row.group != group:
                continue
            human = [] if result.drawn else [human_of(row)]
            if len(result.systems) == 1:
                lines.append([label_of(row), value_of(row), floor_of(row), lift_of(row), *human])
                continue
            line = [label_of(row)]
            for i, system in enumerate(result.systems):
                own = system.figure(key)
                line += [value_of(own), lift_of(own)] if own is not None else [NONE, NONE]
                if i:
                    line.append(difference_of(found.get((key, system.name)), row.digits))
            lines.append([*line, *human])
        if lines:
            yield title, lines


def heading(result: Evaluation) -> str:
    """What was evaluated on what, in one sentence."""
    if result.drawn:
        return f"{result.stories} {result.corpus}, seed {result.seed}"
    return (
        f"{result.stories} of {result.available} stories ({result.prompts} prompts) of the "
        f"'{result.split}' split of {result.corpus}, seed {result.seed}"
    )


def legend(result: Evaluation) -> list[str]:
    """How to read the table."""
    others, near = ("brief or human story", "≈ near human")
    if result.drawn:
        others, near = ("brief", "≈ neither by itself")
    lines = [
        "Brackets are 95% bootstrap intervals, prompts drawn whole "
        f"({result.resamples:,} drawings); lifts and differences are paired by story.",
        f"Floor: the same figure with another prompt's {others} "
        f"(mean of {result.pairings} derangements). ↑ higher is better, ↓ lower, {near}.",
    ]
    if result.signatures:
        lines.append(
            f"Likeness: both sides cut to their first {result.cut_words} words. "
            + "; ".join(f"{k}: {v}" for k, v in result.signatures.items())
        )
    return lines


LABEL = 36
NARROWEST_LABEL = 26
GAP = 2


def _narrow(result: Evaluation) -> tuple[list[str], list[tuple[str, list[list[str]]]]]:
    """Heads and groups of rows with every interval on a line of its own, and with lift and
    difference under each system's figure."""

    def stacked(cell: str) -> str:
        return cell.replace(" [", "\n[").replace(" (", "\n(")

    heads, rows = columns(result), list(cells(result))
    if len(result.systems) == 1:
        return heads, [
            (title, [[line[0], *map(stacked, line[1:])] for line in lines]) for title, lines in rows
        ]
    # Columns of a system: its figure, its lift, and from the second on its difference. Then the
    # human figure, if there is one.
    edges = [1, *range(3, 3 * len(result.systems) + 1, 3)]
    spans, last = list(itertools.pairwise(edges)), edges[-1]

    def together(line: list[str]) -> list[str]:
        parts = [[line[a], *(c if c != NONE else "" for c in line[a + 1 : b])] for a, b in spans]
        human = map(stacked, line[last:])
        return [line[0], *("\n".join(filter(None, p)) for p in parts), *human]

    return (
        [heads[0], *("\n".join(heads[a:b]) for a, b in spans), *heads[last:]],
        [(title, [together(line) for line in lines]) for title, lines in rows],
    )


def _widths(heads: list[str], groups: list[tuple[str, list[list[str]]]], width: int) -> list[int]:
    """Width of each column's longest line; labels wrap where there is no room."""
    lines = [heads, *(line for _, rows in groups for line in rows)]
    label, *rest = (
        max(len(part) for line in lines for part in line[n].split("\n")) for n in range(len(heads))
    )
    room = width - sum(rest) - GAP * len(heads)
    return [min(label, max(room, NARROWEST_LABEL)), *rest]


def rich_table(result: Evaluation, width: int) -> tuple[RenderableType, int]:
    """The table for a terminal, with legend and notes.

    Args:
        result: of the evaluation.
        width: columns of the terminal.

    Returns:
        What to print, and the width it needs, which may be more than there is.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def grid(widths: list[int], lines: list[list[str]], style: str) -> Table:
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=False)
        for n, wide in enumerate(widths):
            table.add_column(justify="right" if n else "left", width=wide, no_wrap=n > 0)
        for line in lines:
            table.add_row(*(Text(c, style="dim" if c == NONE else style) for c in line))
        return table

    heads, groups = columns(result), list(cells(result))
    widths = _widths(heads, groups, width)
    if sum(widths) + GAP * len(widths) > width or widths[0] < LABEL:
        heads, groups = _narrow(result)
        widths = _widths(heads, groups, width)
    parts: list[RenderableType] = [Text(heading(result) + ".", style="bold"), Text()]
    parts.append(grid(widths, [heads], "bold"))
    for title, lines in groups:
        parts += [Text(title, style="cyan"), grid(widths, lines, ""), Text()]
    parts += [Text(line, style="dim") for line in [*legend(result), *result.notes]]
    return Group(*parts), sum(widths) + GAP * len(widths)
