"""The sections of the report, each as HTML; an empty text where there is nothing to tell."""

from __future__ import annotations

from typing import Any

from fabula.corpus.report import charts, facts
from fabula.corpus.report.card import LOADING
from fabula.corpus.report.census import Census
from fabula.corpus.report.leanings import PRONOUNS
from fabula.corpus.report.reasons import STEPS, explain
from fabula.corpus.schema import SPLITS
from fabula.reading.highlight import escape

MOST_REASONS = 14


def sources(manifest: dict[str, Any], census: Census) -> str:
    """Licences, kinds and files."""
    rows = []
    for s in manifest["sources"]:
        research = s.get("research_only")
        badge = ' <span class="badge research">research only</span>' if research else ""
        if census.gold(s["name"]):
            badge += ' <span class="badge gold">labels came with it</span>'
        rows.append([
            escape(s["name"]) + badge, escape(str(s.get("kind", "-"))),
            escape(str(s.get("licence", "-"))), f"{s.get('kept', 0):,}",
            f"{s.get('words', 0):,}", escape(facts.label_origin(s, census)),
        ])  # fmt: skip
    html = charts.table(
        ("source", "kind", "licence", "stories", "words", "tags"), rows, raw=True, style="words"
    )
    listed = [
        (s["name"], f["name"], f"{f['bytes']:,}", f["sha256"])
        for s in manifest["sources"]
        for f in s.get("files", [])
    ]
    if listed:
        html += (
            f"<details><summary>Files read, with their digests ({len(listed):,})</summary>"
            + charts.table(("source", "file", "bytes", "sha256"), listed[:500], style="words")
            + "</details>"
        )
    return html


def steps(manifest: dict[str, Any]) -> str:
    """From read to documents: the flow, the table of steps, reasons, trims."""
    known = [s for s in manifest["sources"] if "read" in s and "kept" in s]
    if not known:
        return ""
    totals: dict[str, int] = {}
    for s in known:
        for reason, entry in facts.dropped(s).items():
            totals[reason] = totals.get(reason, 0) + entry["stories"]
    order = sorted(totals, key=lambda r: (explain(r)[0], -totals[r], r))
    shown = sorted(order, key=lambda r: -totals[r])[:MOST_REASONS]
    ends = [r for r in order if r in shown]
    rest = len(order) - len(ends)
    rights = [("kept", "s0"), *((r, "lost") for r in ends)]
    if rest:
        rights.append((f"{rest} more reasons", "lost"))
    links: dict[tuple[int, int], int] = {}
    for i, s in enumerate(known):
        links[i, 0] = s["kept"]
        for reason, entry in facts.dropped(s).items():
            j = 1 + ends.index(reason) if reason in ends else len(ends) + 1
            links[i, j] = links.get((i, j), 0) + entry["stories"]
    drawing = charts.flow(
        "Stories of each source, and what became of them",
        [(s["name"], s["read"]) for s in known], rights, links,
    )  # fmt: skip
    table = charts.table(
        ("source", "read", *STEPS, "kept", "kept, share", "documents"),
        [
            (s["name"], f"{s['read']:,}", *(f"{n:,}" for n in facts.step_counts(s)),
             f"{s['kept']:,}", facts.percent(s["kept"], s["read"]), f"{s.get('documents', 0):,}")
            for s in known
        ],
    )  # fmt: skip
    read, kept = sum(s["read"] for s in known), sum(s["kept"] for s in known)
    html = charts.figure(
        "Stories of each source, and what became of them", drawing, table,
        f"{read:,} stories were read and {kept:,} kept ({facts.percent(kept, read)}). A long story "
        "becomes several documents, none cut before its ending.", wide=True,
    )  # fmt: skip
    html += _reasons(known) + _trims(known)
    return html


def _reasons(known: list[dict[str, Any]]) -> str:
    rows = [
        (s["name"], reason, f"{e['stories']:,}", explain(reason)[1] or "-", e["example"])
        for s in known
        for reason, e in facts.dropped(s).items()
    ]
    if not rows:
        return "<p>Nothing was dropped.</p>"
    heads = ("source", "reason", "stories", "why", "for example")
    return "<h3>Dropped, and why</h3>" + charts.table(heads, rows, style="words")


def _trims(known: list[dict[str, Any]]) -> str:
    totals: dict[str, int] = {}
    for s in known:
        for name, count in (s.get("trimmed") or {}).items():
            totals[name] = totals.get(name, 0) + count
    if not totals:
        return ""
    read = sum(s["read"] for s in known)
    order = sorted(totals, key=lambda name: (-totals[name], name))
    rows = [
        charts.Bar(n, (totals[n],), f"{totals[n]:,} · {facts.percent(totals[n], read)}")
        for n in order
    ]
    table = charts.table(
        ("what was trimmed", *(s["name"] for s in known)),
        [(n, *(f"{(s.get('trimmed') or {}).get(n, 0):,}" for s in known)) for n in order],
    )
    title = "Trimmed from stories"
    return charts.figure(
        title, charts.bars(title, rows, 900, 260), table,
        "What cleaning took out or mended, in how many of the stories read.",
    )  # fmt: skip


def splits(manifest: dict[str, Any]) -> str:
    """Documents by split, and what the splits share."""
    rows = [(s["name"], [s["splits"].get(x, 0) for x in SPLITS]) for s in manifest["sources"]
            if isinstance(s.get("splits"), dict)]  # fmt: skip
    html = ""
    if len(rows) != 1:
        rows.append(("all", [manifest["splits"][x] for x in SPLITS]))
    title = "Documents by split"
    table = charts.table(
        ("source", *SPLITS), [(name, *(f"{n:,}" for n in counts)) for name, counts in rows]
    )
    html += charts.figure(
        title, charts.stacks(title, rows, SPLITS), table,
        f"{facts.split_counts(manifest)}. A prompt's stories, and stories alike, are never in two "
        "splits.",
    )  # fmt: skip
    empty = [s for s in SPLITS if not manifest["splits"][s]]
    if empty:
        html += (
            '<div class="warning" role="note"><p><strong>Empty:</strong> '
            f"{' and '.join(empty)}. There is nothing to load or to measure on there.</p></div>"
        )
    leak = facts.leak_sentence(manifest)
    if leak is not None:
        word = "No leak found." if leak[0] else "The splits leak."
        html += (
            f'<div class="warning{" good" if leak[0] else ""}" role="note"><p><strong>{word}'
            f"</strong> {escape(leak[1])} Counted anew from the finished corpus.</p></div>"
        )
    html += "".join(f"<p>{escape(told)}</p>" for told in facts.against_sentences(manifest))
    return html


def quality(manifest: dict[str, Any], census: Census) -> str:
    """How well each tag is read, beside how many documents carry it."""
    told = manifest.get("quality")
    if not facts.read_documents(census):
        return (
            "<p>Nothing here was read by a program, so there is no reading to measure. How the "
            "labels were made stands under Sources.</p>"
        )
    if not isinstance(told, dict):
        return ""
    rows = []
    for row in told["fields"]:
        carried = facts.coverage(manifest, census, row["field"])
        rows.append((
            row["field"],
            [
                (row["precision"], f"{row['precision']:.2f}"),
                (row["recall"], f"{row['recall']:.2f}"),
                (0.0, f"{row['baseline']:.2f}"),
                (0.0, facts.second_annotator(row["field"])),
                (0.0, facts.percent(*carried) if carried else "-"),
                (0.0, facts.RIGHT_IF.get(row["measure"], row["measure"])),
            ],
        ))  # fmt: skip
    return (
        f"<p>The reader was scored on {told['stories']} labelled stories that nothing was fitted "
        f"to, with tags of confidence under {told['min_confidence']:g} left empty, as in this "
        "corpus. <em>Right where given</em> is the share of the tags given that are right; "
        "<em>found</em> is the share of the labels that were given rightly; <em>baseline</em> is "
        "the accuracy or F1 of one who knows how often each label occurs, can hardly read, and "
        "always answers; <em>a second annotator</em> is the agreement of another labeller of 66 "
        "such stories.</p>"
        + charts.heat(
            "field",
            ("right where given", "found", "baseline", "a second annotator",
             "documents that carry it", "counts as right"),
            rows,
        )
        + "<p>Read this honestly: those stories are short, tidy and of one make. On stories of "
        "the web, with looser plots, the figures will be lower, and nothing here measures by how "
        "much. A tag with 0.5 <em>right where given</em> teaches a model to disobey every other "
        "time: look at the samples, raise <code>--min-confidence</code>, or leave a tag out in "
        "training.</p>"
    )  # fmt: skip


def leanings(census: Census) -> str:
    """What the corpus leans to, counted; and what is known to be wrong with it."""
    looked = census.leanings
    rows = facts.leanings(census)
    html = ""
    if looked.documents < census.total and rows:
        html += (
            f"<p>Pronouns were counted in {looked.documents:,} documents chosen by a hash of "
            "their ids, all else in all documents.</p>"
        )
    if looked.pronouns:
        title = "Pronouns of named protagonists"
        by = [(name, looked.pronouns[name]) for name in census.sources if name in looked.pronouns]
        if len(by) > 1:
            by.append(("all", looked.total))
        drawing = charts.stacks(
            title, [(name, [float(told[k]) for k in PRONOUNS]) for name, told in by], PRONOUNS
        )
        table = charts.table(
            ("source", *PRONOUNS),
            [(name, *(f"{told[k]:,}" for k in PRONOUNS)) for name, told in by],
        )
        html += charts.figure(
            title, drawing, table, "Of stories that their protagonist does not tell."
        )
    if rows:
        html += charts.table(("what", "figure"), rows, style="words")
    items = "".join(f"<li>{escape(line)}</li>" for line in facts.LIMITS)
    return html + f"<h3>Known limits</h3><ul>{items}</ul>"


def use(manifest: dict[str, Any]) -> str:
    """How to load it, and how it was made."""
    code = escape("\n".join(LOADING))
    html = (
        "<p>In the corpus’s folder. Columns <code>prompt</code> and <code>completion</code> are "
        "the brief and the story in plain text, in TRL’s prompt-completion form.</p>"
        f"<pre><code>{code}</code></pre>"
    )
    settings = manifest.get("settings")
    if isinstance(settings, dict):
        html += "<h3>Settings it was made with</h3>" + charts.table(
            ("setting", "value"), [(k, str(v)) for k, v in settings.items()], style="words"
        )
    return html
