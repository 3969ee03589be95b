"""The page of a run: one file that needs nothing else, drawn anew while the run goes on.

A pure function of the run's folder (`records.py`), so it can be made again at any time. Everything
that comes from outside is escaped; and what got through unescaped would neither run nor load.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path

from fabula.reading.highlight import escape
from fabula.story.files import write_atomic
from fabula.training.page import curves, parts, specimens
from fabula.training.records import Record, now, read_record

PAGE = "index.html"


def draw_page(folder: Path) -> Path:
    """Draw the page of a run; return where it is.

    Raises:
        FabulaError: no run's folder, or it cannot be written.
    """
    path = folder / PAGE
    write_atomic(path, make_page(read_record(folder)))
    return path


def make_page(record: Record) -> str:
    """The whole page."""
    made = [
        ("curves", "Curves", curves.all_curves(record)),
        ("scores", "Held out", parts.scores(record)),
        ("specimens", "Specimens", specimens.specimens(record)),
        ("notes", "Notes", parts.notes(record)),
        ("data", "Data and counts", parts.data(record)),
        ("recipe", "Recipe", parts.recipe(record)),
        ("machine", "Machine and versions", parts.machine(record)),
    ]
    title = record.recipe.name
    state = f'<span class="state {record.state.split()[0]}">{_state(record)}</span>'
    head = f"<h1>{escape(title)}{state}</h1>\n{parts.lead(record)}{parts.numbers(record)}"
    return whole_page(title, head, made, parts.foot(record, now()))


def _state(record: Record) -> str:
    return record.state if record.state == "finished" else f"{record.state}, {record.progress:.1%}"


def whole_page(title: str, head: str, parts: list[tuple[str, str, str]], foot: str) -> str:
    """A page of parts: (key, heading, HTML); empty ones are left out."""
    shown = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{key}">{escape(name)}</a></li>' for key, name, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-head">\n'
        f'<h2 id="{key}-head">{escape(name)}</h2>\n{html}</section>\n'
        for key, name, html in shown
    )
    style = _text("fabula.corpus.report", "report.css") + _text("fabula.training.page", "page.css")
    script = _text("fabula.training.page", "page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n"
        '<a class="skip" href="#main">To the figures</a>\n'
        f"<header>\n{head}"
        f'<nav aria-label="Sections"><ol>{links}</ol></nav>\n</header>\n'
        f'<main id="main">\n{body}</main>\n<footer>{foot}</footer>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text(encoding="utf-8")
