"""The specimens of a run's page: those of two evaluations side by side, any two to choose."""

from __future__ import annotations

from typing import Any

from fabula.reading.highlight import escape
from fabula.reading.repetition import repetition
from fabula.training.records import Record

MOST_EVALUATIONS = 40
"""Evaluations on the page; of more, the first, the last, and others evenly spread."""


def specimens(record: Record) -> str:
    """Each brief, with its story of the first evaluation beside that of the latest."""
    lines = _chosen([x for x in record.specimens if x.get("specimens")])
    if not lines:
        return ""
    first, last = lines[0]["step"], lines[-1]["step"]
    picks = "".join(
        f"<label>{'Left' if side == 'left' else 'Right'}, step "
        f'<select id="step-{side}" disabled>'
        + "".join(
            f'<option value="{int(x["step"])}"{" selected" if x["step"] == chosen else ""}>'
            f"{int(x['step']):,}</option>"
            for x in lines
        )
        + "</select></label>"
        for side, chosen in (("left", first), ("right", last))
    )
    html = (
        "<p>The same briefs from the same seed at every evaluation: single samples, in which "
        "nothing holds repetition back. Loops are marked.</p>\n"
        f'<div class="steps">{picks}</div>\n'
    )
    for number, newest in enumerate(lines[-1]["specimens"]):
        told = "".join(
            f'<div class="story" data-side="{side}" data-brief="{number}">{_at(line, number)}</div>'
            for side, line in (("left", lines[0]), ("right", lines[-1]))
        )
        kept = "".join(
            f'<template id="specimen-{number}-{int(x["step"])}">{_at(x, number)}</template>'
            for x in lines
        )
        html += (
            f"<h3>Brief {number + 1}</h3>\n"
            f'<div class="brief">{escape(str(newest.get("brief", "")).strip())}</div>\n'
            f'<div class="pair">{told}</div>{kept}\n'
        )
    return html


def _chosen(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(lines) <= MOST_EVALUATIONS:
        return lines
    step = (len(lines) - 1) / (MOST_EVALUATIONS - 1)
    return [lines[round(n * step)] for n in range(MOST_EVALUATIONS)]


def _at(line: dict[str, Any], number: int) -> str:
    if number >= len(line["specimens"]):
        return '<p class="about">This brief was not asked for then.</p>'
    return specimen(line["specimens"][number], int(line["step"]))


def specimen(told: dict[str, Any], step: int) -> str:
    """One story as HTML: its figures, its outline folded away, its passages with loops marked."""
    loops = float(told["loop_rate"])
    figures = [
        f"<b>step {step:,}</b>",
        f"{told['words']:,} words",
        _mark(f"{loops:.0%} in loops", loops > 0),
        f"{told['wishes_kept']:.0%} of wishes kept",
        "ended by itself" if told["ended"] else _mark("cut off", True),
    ]
    if not told.get("in_format", True):
        figures.append(_mark("not in the text format", True))
    parts = [f'<p class="about">{", ".join(figures)}</p>']
    if told.get("missed"):
        missed = ", ".join(map(str, told["missed"]))
        parts.append(f"<details><summary>Wishes missed</summary>{escape(missed)}</details>")
    if told.get("outline"):
        outline = "".join(f"<div>{escape(str(x))}</div>" for x in told["outline"])
        parts.append(f"<details><summary>Outline</summary>{outline}</details>")
    passages = [(str(beat), str(text)) for beat, text in told["passages"]]
    marks = _loops("\n\n".join(text for _, text in passages))
    start = 0
    for beat, text in passages:
        head = f"<h4>{escape(beat)}</h4>" if beat else ""
        parts.append(f'{head}<p class="text">{_with_marks(text, start, marks)}</p>')
        start += len(text) + 2
    return "".join(parts)


def _mark(text: str, bad: bool) -> str:
    return f'<b class="bad">{text}</b>' if bad else text


def _loops(text: str) -> list[tuple[int, int]]:
    """Where loops lie, merged."""
    merged: list[tuple[int, int]] = []
    spans = sorted((s.start, s.end) for loop in repetition(text).loops for s in loop.spans)
    for start, end in spans:
        if merged and start <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _with_marks(text: str, offset: int, marks: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in marks:
        first, last = max(start - offset, 0), min(end - offset, len(text))
        if first < last and last > at:
            parts.append(escape(text[at:first]))
            parts.append(f'<mark class="loop">{escape(text[first:last])}</mark>')
            at = last
    return "".join([*parts, escape(text[at:])])
