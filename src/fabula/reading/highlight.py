"""A text cut at its evidence, and the page that shows it."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from fabula.reading.result import Evidence, Reading

# Which kinds of evidence win where two overlap, and their colours (terminal, page).
KINDS: dict[str, tuple[str, str]] = {
    "name": ("bold cyan", "#56b4e9"),
    "trait": ("bold magenta", "#cc79a7"),
    "place": ("bold green", "#009e73"),
    "time": ("bold yellow", "#e6b800"),
    "must include": ("bold red", "#d55e00"),
    "title": ("bold", "#888888"),
    "point of view": ("underline", "#9a86d6"),
    "genre": ("italic blue", "#0072b2"),
    "tone": ("italic bright_black", "#a08050"),
    "arc": ("italic green", "#6aa84f"),
    "ending": ("italic red", "#c0504d"),
}
# Control characters steer terminals and parsers; embeddings and overrides of direction would
# turn the page's own words round; lone surrogates cannot be written at all.
_UNSHOWN = dict.fromkeys(
    (*range(9), 11, 12, *range(14, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F),
     *range(0x2066, 0x206A), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)),
    "\ufffd",
)  # fmt: skip

MARKS = """
mark { color: inherit; background: color-mix(in srgb, var(--k) 24%, transparent);
  border-bottom: 2px solid var(--k); padding: 0 .08em; border-radius: .15em .15em 0 0;
  -webkit-box-decoration-break: clone; box-decoration-break: clone;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
sup.kind { font: 600 .58em/1 system-ui, sans-serif; color: color-mix(in srgb, var(--k), var(--ink));
  margin-left: .15em; letter-spacing: .02em; white-space: nowrap; }
mark.place, mark.time { border-bottom-style: dashed; }
mark.genre, mark.tone, mark.arc, mark.ending, mark.point-of-view { border-bottom-style: dotted; }
mark.must-include { border-bottom-style: double; border-bottom-width: 3px; }
""" + "\n".join(
    f".{name.replace(' ', '-')} {{ --k: {colour}; }}" for name, (_, colour) in KINDS.items()
)
"""Style of marks: no kind is told by its colour alone."""


def escape(text: str) -> str:
    """A text as it may stand in HTML, quotes too; what must not be shown becomes U+FFFD."""
    return html.escape(text.translate(_UNSHOWN))


def kind(field: str) -> str:
    """What sort of evidence a field's is: one of KINDS."""
    parts = field.split(".")
    if parts[0] == "characters":
        return "name" if parts[2] == "name" else "trait"
    if parts[0] == "setting":
        return parts[1]
    return parts[0].replace("_", " ")


def segments(text: str, evidence: Sequence[Evidence]) -> Iterator[tuple[str, str | None]]:
    """Cut a text into runs: (text, kind of evidence or None). Together they are the text."""
    for start, end, name in _runs(len(text), evidence):
        yield text[start:end], name


def _runs(length: int, evidence: Sequence[Evidence]) -> Iterator[tuple[int, int, str | None]]:
    """Runs of one kind, (start, end, kind): a sweep over the spans' ends."""
    order = {name: place for place, name in enumerate(KINDS)}
    events: list[tuple[int, int, int]] = []
    for item in evidence:
        rank, end = order[kind(item.field)], min(item.end, length)
        if item.start < end:
            events += [(item.start, 1, rank), (end, -1, rank)]
    names, open_ = list(KINDS), [0] * len(KINDS)
    start, now = 0, None
    for at, change, rank in sorted(events):
        before = now
        open_[rank] += change
        now = next((names[i] for i, n in enumerate(open_) if n), None)
        if now != before:
            # Two kinds may change at one place; only a run with something in it counts.
            if at > start:
                yield start, at, before
            start = at
    if start < length:
        yield start, length, now


def marked(
    text: str, evidence: Sequence[Evidence], start: int = 0, end: int | None = None,
    told: set[str] | None = None,
) -> str:  # fmt: skip
    """A part of a text as HTML, its evidence marked; the first mark of each kind bears its name.

    Args:
        text: the whole text.
        evidence: spans in it.
        start, end: the part, in characters.
        told: kinds named before; those named here are added.
    """
    told = set() if told is None else told
    end = len(text) if end is None else end
    parts = []
    for first, last, name in _runs(len(text), evidence):
        if first >= end or last <= start:
            continue
        run = escape(text[max(first, start) : min(last, end)])
        if name is None:
            parts.append(run)
            continue
        css = name.replace(" ", "-")
        label = after = ""
        if name not in told:
            told.add(name)
            label = f'<sup class="kind {css}">{name}</sup>'
            # The label stands at the word, not behind the space.
            run, after = run.rstrip(), run[len(run.rstrip()) :]
        parts.append(f'<mark class="{css}" title="{name}">{run}</mark>{label}{after}')
    return "".join(parts)


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
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --ink: light-dark(#1d2430, #e8e6e1); }}
body {{ font: 17px/1.65 Georgia, serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: light-dark(#fdfcfa, #16191f); }}
table {{ border-collapse: collapse; margin-bottom: 2rem; font-size: 15px; }}
td, th {{ padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; opacity: .75; }}
.text {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
{marks}
</style></head><body>
<h1 dir="auto">{title}</h1>
<table><tr><th>field</th><th>read</th><th>confidence</th><th></th></tr>
{rows}
</table>
<div class="text" dir="auto">{text}</div>
</body></html>
"""


def page(text: str, reading: Reading, title: str) -> str:
    """A self-contained page: the fields, and the text with its evidence marked."""
    lines = [
        f'<tr><td><mark class="{name.replace(" ", "-")}">{escape(name)}</mark></td>'
        f'<td dir="auto">{escape(value)}</td><td class="n">{sure:.2f}</td>'
        f'<td dir="auto">{escape(note)}</td></tr>'
        for name, value, sure, note in rows(reading)
    ]
    return _PAGE.format(
        title=escape(title), marks=MARKS, rows="\n".join(lines),
        text=marked(text, reading.evidence),
    )  # fmt: skip
