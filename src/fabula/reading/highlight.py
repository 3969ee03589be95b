"""A text cut at its evidence, and the page that shows it."""

from __future__ import annotations

import html
from collections.abc import Iterator

from fabula.reading.result import Evidence, Reading

# Which kinds of evidence win where two overlap, and their colours (terminal, page).
KINDS: dict[str, tuple[str, str]] = {
    "name": ("bold cyan", "#9bd3e6"),
    "trait": ("bold magenta", "#e3b5e0"),
    "place": ("bold green", "#b4dca4"),
    "time": ("bold yellow", "#f0d68a"),
    "must include": ("bold red", "#f2b8ac"),
    "title": ("bold", "#d0d0d0"),
    "point of view": ("underline", "#d9d2f0"),
    "genre": ("italic blue", "#c4d4f5"),
    "tone": ("italic bright_black", "#e4e0d6"),
    "arc": ("italic green", "#d5e8dc"),
    "ending": ("italic red", "#f5dcd2"),
}


def kind(field: str) -> str:
    """What sort of evidence a field's is: one of KINDS."""
    parts = field.split(".")
    if parts[0] == "characters":
        return "name" if parts[2] == "name" else "trait"
    if parts[0] == "setting":
        return parts[1]
    return parts[0].replace("_", " ")


def segments(text: str, evidence: list[Evidence]) -> Iterator[tuple[str, str | None]]:
    """Cut a text into runs: (text, kind of evidence or None). Together they are the text."""
    owner: list[str | None] = [None] * len(text)
    order = list(KINDS)
    for item in sorted(evidence, key=lambda e: -order.index(kind(e.field))):
        owner[item.start : item.end] = [kind(item.field)] * (item.end - item.start)
    start = 0
    for i in range(1, len(text) + 1):
        if i == len(text) or owner[i] != owner[start]:
            yield text[start:i], owner[start]
            start = i


def rows(reading: Reading) -> list[tuple[str, str, float, str]]:
    """The fields read, for a table: (kind, value, confidence, note)."""
    brief, sure = reading.brief, reading.confidence
    table: list[tuple[str, str, float, str]] = []
    if brief.title:
        table.append(("title", brief.title, sure["title"], ""))
    for i, character in enumerate(brief.characters):
        traits = ", ".join(character.traits)
        note = character.role + (f"; {traits}" if traits else "")
        table.append(("name", character.name or "", sure[f"characters.{i}.name"], note))
    if brief.setting and brief.setting.place:
        table.append(("place", brief.setting.place, sure["setting.place"], ""))
    if brief.setting and brief.setting.time:
        table.append(("time", brief.setting.time, sure["setting.time"], ""))
    for field in ("genre", "tone", "arc", "ending", "point_of_view"):
        value = getattr(brief, field)
        if value:
            table.append((field.replace("_", " "), value, sure[field], ""))
    for i, thing in enumerate(brief.must_include):
        table.append(("must include", thing, sure[f"must_include.{i}"], ""))
    return table


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 17px/1.6 Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin-bottom: 2rem; font-size: 15px; }}
td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; color: #666; }}
mark {{ padding: 0 .15em; border-radius: .2em; }}
p {{ white-space: pre-wrap; }}
{colours}
</style></head><body>
<h1>{title}</h1>
<table><tr><th>field</th><th>read</th><th>confidence</th><th></th></tr>
{rows}
</table>
<p>{text}</p>
</body></html>
"""


def page(text: str, reading: Reading, title: str) -> str:
    """A self-contained page: the fields, and the text with its evidence marked."""
    esc = html.escape
    lines = [
        f'<tr><td><mark class="{name.replace(" ", "-")}">{esc(name)}</mark></td>'
        f"<td>{esc(value)}</td><td class=n>{sure:.2f}</td><td>{esc(note)}</td></tr>"
        for name, value, sure, note in rows(reading)
    ]
    body = "".join(
        esc(run) if name is None
        else f'<mark class="{name.replace(" ", "-")}" title="{esc(name)}">{esc(run)}</mark>'
        for run, name in segments(text, reading.evidence)
    )  # fmt: skip
    colours = "\n".join(
        f"mark.{name.replace(' ', '-')} {{ background: {colour}; }}"
        for name, (_, colour) in KINDS.items()
    )
    return _PAGE.format(title=esc(title), colours=colours, rows="\n".join(lines), text=body)
