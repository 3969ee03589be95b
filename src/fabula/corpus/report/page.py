"""REPORT.html: one self-contained page without scripts, drawn from manifest and census."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from fabula.corpus.report import distributions, sections
from fabula.corpus.report.census import Census
from fabula.corpus.report.samples import Sample
from fabula.corpus.report.specimens import specimens
from fabula.reading.highlight import MARKS, escape

# Even if some text of a story got through unescaped, a browser would neither run nor load it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def make_page(manifest: dict[str, Any], census: Census, samples: Sequence[Sample]) -> str:
    """The whole page."""
    made = [
        ("sources", "Sources and licences", sections.sources(manifest, census)),
        ("steps", "What happened to the stories", sections.steps(manifest)),
        ("splits", "Splits and leak check", sections.splits(manifest)),
        ("lengths", "Lengths and beats", distributions.lengths(census)),
        ("tags", "Tags", distributions.tags(manifest, census)),
        ("quality", "How far tags can be trusted", sections.quality(manifest, census)),
        ("leanings", "Leanings and limits", sections.leanings(census)),
        ("samples", "Samples", specimens(samples)),
        ("use", "How to load it", sections.use(manifest)),
    ]
    shown = [part for part in made if part[2]]
    links = "".join(f'<li><a href="#{key}">{escape(head)}</a></li>' for key, head, _ in shown)
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-head">\n'
        f'<h2 id="{key}-head">{escape(head)}</h2>\n{html}</section>\n'
        for key, head, html in shown
    )
    style = (files("fabula.corpus.report") / "report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>Report on a story corpus</title>\n<style>\n{style}{MARKS}</style></head>\n<body>\n"
        '<a class="skip" href="#main">To the figures</a>\n'
        f"<header>\n{_head(manifest)}"
        f'<nav aria-label="Sections"><ol>{links}</ol></nav>\n</header>\n'
        f'<main id="main">\n{body}</main>\n<footer>{_foot(manifest)}</footer>\n</body></html>\n'
    )


def _head(manifest: dict[str, Any]) -> str:
    numbers = [
        ("stories read", f"{sum(s.get('read', 0) for s in manifest['sources']):,}"),
        ("stories kept", f"{manifest['stories']:,}"),
        ("documents", f"{manifest['documents']:,}"),
        ("words", _round(manifest["words"])),
        ("sources", f"{len(manifest['sources']):,}"),
    ]
    cards = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in numbers)
    names = [s["name"] for s in manifest["sources"]]
    told = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    html = (
        "<h1>Report on a story corpus</h1>\n"
        f'<p class="lead">What went into it, what was left out and why, what the stories are '
        f"tagged with, and how far these tags can be trusted. Made of {escape(told)}.</p>\n"
    )
    if manifest.get("research_only"):
        only = ", ".join(s["name"] for s in manifest["sources"] if s.get("research_only"))
        html += (
            '<div class="warning" role="note"><p><strong>For research only.</strong> '
            f"The texts of {escape(only)} may not be passed on, and neither may a model trained on "
            "this corpus. This page shows some of them, so it may not be published either.</p>"
            "</div>\n"
        )
    return html + f'<dl class="numbers">{cards}</dl>\n'


def _round(number: int) -> str:
    if number < 1_000_000:
        return f"{number:,}"
    return f"{number / 1e6:,.1f} M"


def _foot(manifest: dict[str, Any]) -> str:
    versions = manifest.get("versions")
    made = ""
    if isinstance(versions, dict):
        made = " with " + ", ".join(f"{name} {v}" for name, v in versions.items())
    return (
        f"Made{escape(made)}. The same corpus gives the same page; "
        "<code>fabula corpus FOLDER</code> makes it anew."
    )
