"""Distributions of the report, as HTML: lengths, beats, parts, and what the tags say."""

from __future__ import annotations

from typing import Any

from fabula.corpus.report import charts, facts
from fabula.corpus.report.census import LABELS, LISTED, Census
from fabula.corpus.tally import TAGS
from fabula.story import ARCS, ENDINGS, FREYTAG

MOST_VALUES = 16


def lengths(census: Census) -> str:
    """Words a story, the beats' shares, and parts."""
    if not census.lengths:
        return ""
    low = min(item.at(0.5) for item in census.lengths.values())
    high = max(item.at(99.5) for item in census.lengths.values())
    edges = charts.log_edges(low, high)
    html = '<div class="plots">'
    for name, item in census.lengths.items():
        title = f"Words a story: {name}"
        table = charts.table(
            ("share of stories", "has at most"),
            [(f"{p}%", f"{item.at(p):,} words") for p in (0, 10, 25, 50, 75, 90, 99, 100)],
        )
        html += charts.figure(
            title, charts.histogram(title, item.words, edges), table,
            f"{len(item.words):,} stories; one scale for all sources, logarithmic.",
        )  # fmt: skip
    html += "</div>"
    beats = [*FREYTAG, *sorted({b for c in census.beats.values() for b in c} - set(FREYTAG))]
    beats = [b for b in beats if any(c.get(b) for c in census.beats.values())]
    rows = [
        (name, [float(census.beats[name].get(b, 0)) for b in beats])
        for name in census.sources
        if name in census.beats
    ]
    means = []
    for name, sizes in rows:
        words = float(census.lengths[name].words.mean()) if name in census.lengths else 0.0
        means.append((name, *(f"{words * n / max(1.0, sum(sizes)):,.0f}" for n in sizes)))
    title = "Share of the text that each beat has"
    if len(beats) <= 5:
        html += charts.figure(
            title, charts.stacks(title, rows, beats),
            charts.table(("words a beat, mean", *beats), means),
        )  # fmt: skip
    if len(census.parts) > 1:
        html += _parts(census)
    return html


def _parts(census: Census) -> str:
    total = sum(census.parts.values())
    many = sum(n for p, n in census.parts.items() if p > 8)
    named = [(f"{p} document{'s' if p > 1 else ''}", n) for p, n in census.parts.items() if p <= 8]
    if many:
        named.append(("more than 8", many))
    title = "Documents a story was parted into"
    return charts.figure(
        title,
        charts.bars(
            title,
            [charts.Bar(k, (n,), f"{n:,} · {facts.percent(n, total)}") for k, n in named],
            900, 170,
        ),
        charts.table(("parts", "stories"), [(k, f"{n:,}") for k, n in named]),
        "Long stories are parted at beats; only the last part has the ending among its tags.",
    )  # fmt: skip


def tags(manifest: dict[str, Any], census: Census) -> str:
    """Which tags there are, and what they say."""
    covered = [s for s in manifest["sources"] if isinstance(s.get("tags"), dict)]
    html = ""
    if covered:
        rows = [
            (s["name"], [
                (s["tags"].get(t, 0) / max(1, s["documents"]),
                 facts.percent(s["tags"].get(t, 0), s["documents"]))
                for t in TAGS
            ])
            for s in covered
        ]  # fmt: skip
        html += "<h3>Share of documents that have each tag</h3>"
        html += charts.heat("source", [t.replace("_", " ") for t in TAGS], rows)
    gold, total = census.gold(), census.total
    names = []
    if 0 < gold < total:
        names = ["labels came with the story", "read by a program"]
        html += (
            f"<p>{gold:,} of {total:,} documents came with their labels; the tags of the others "
            "were read from the text and are empty where the reader was unsure. The plots tell "
            "the two apart.</p>" + charts.legend(names)
        )
    elif gold:
        html += "<p>All labels came with the stories; none was read by a program.</p>"
    else:
        html += (
            "<p>All tags were read from the texts by a program, which leaves them empty where it "
            "is unsure: shares below are of the documents that have the tag.</p>"
        )
    html += '<div class="plots">' + "".join(_label(census, name) for name in LABELS) + "</div>"
    html += _arcs_and_endings(census)
    html += '<h3>The commonest words of readers’ wishes</h3><div class="plots">'
    html += "".join(_top(census, name) for name in LISTED) + "</div>"
    return html


def _label(census: Census, name: str) -> str:
    values = census.labels[name]
    head = facts.FIELD_NAMES[name]
    if not values:
        return ""
    has = sum(sum(n.values()) for n in values.values())
    rows, behind = [], []
    both = 0 < census.gold() < census.total
    for value, counts in values.items():
        gold = sum(n for (_, g), n in counts.items() if g)
        every = sum(counts.values())
        sizes = (gold, every - gold) if both else (every,)
        rows.append(charts.Bar(value, sizes, f"{every:,} · {facts.percent(every, has)}"))
        behind.append((
            value, f"{gold:,}", f"{every - gold:,}",
            *(f"{sum(n for (s, _), n in counts.items() if s == x):,}" for x in census.sources),
        ))  # fmt: skip
    more = f" {len(rows) - MOST_VALUES} rarer ones are in the table." if (
        len(rows) > MOST_VALUES) else ""  # fmt: skip
    return charts.figure(
        head, charts.bars(head, rows[:MOST_VALUES]),
        charts.table(("value", "came with it", "read", *census.sources), behind[:200]),
        f"{facts.percent(has, census.total)} of the documents have it.{more}",
    )  # fmt: skip


def _arcs_and_endings(census: Census) -> str:
    if not census.arc_ending:
        return ""
    largest = max(census.arc_ending.values())
    endings = [e for e in ENDINGS if any(k[1] == e for k in census.arc_ending)]
    counts = {arc: [census.arc_ending.get((arc, e), 0) for e in endings] for arc in ARCS}
    rows = [(arc, [(n / largest, f"{n:,}") for n in row]) for arc, row in counts.items()]
    return (
        "<h3>Arc and ending together</h3><p>Documents with both. A happy ending after a fall, and "
        "a sad one after a rise, are contradictions that a brief cannot hold.</p>"
        + charts.heat("arc", endings, rows)
    )


def _top(census: Census, name: str) -> str:
    top, head = census.tops[name], facts.FIELD_NAMES[name]
    if not top.times:
        return ""
    rows = [charts.Bar(v, (n,), f"{n:,} · {facts.percent(n, top.times)}") for v, n in top.values]
    return charts.figure(
        f"{head}: the {len(rows)} commonest", charts.bars(head, rows, label=170),
        charts.table((head, "times"), [(v, f"{n:,}") for v, n in top.values]),
        f"{top.times:,} in all, {top.distinct:,} different.",
    )  # fmt: skip
