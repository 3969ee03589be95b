"""The samples of the report as HTML: text by beats with its evidence marked, beside its tags."""

from __future__ import annotations

from collections.abc import Sequence

from fabula.corpus.report.samples import READ_CHARACTERS, Sample, Tag
from fabula.reading.highlight import escape, kind, marked

SHOWN_CHARACTERS = 7_000


def specimens(samples: Sequence[Sample]) -> str:
    """All samples, with a word on how they were chosen."""
    if not samples:
        return ""
    html = (
        f"<p>{len(samples)} documents, chosen by a hash of their ids over all sources and as many "
        "genres as there are; nobody picked them. Words that show a tag are marked, the first of "
        "each kind with its name; genre, tone, arc and ending are marked where the reader’s "
        "weights lean on most. Tags without evidence in the text have no mark. The number is the "
        "reader’s confidence; beside a label that came with its story stands whether the reader "
        "reads alike.</p>\n"
    )
    return html + "".join(_article(number, s) for number, s in enumerate(samples, 1))


def _article(number: int, sample: Sample) -> str:
    row = sample.row
    title = row["title"] or f"Sample {number}"
    about = [row["source"], sample.split, f"{row['words']:,} words", row["id"]]
    if row["author"]:
        about.insert(0, row["author"])
    if row["parts"] > 1:
        about.append(f"part {row['part']} of {row['parts']}")
    gold = (
        '<span class="badge gold">labels came with it</span>'
        if row["gold"]
        else '<span class="badge">tags read by a program</span>'
    )
    if "research" in row["licence"].lower():
        gold += ' <span class="badge research">research only</span>'
    premise = (
        f'<p class="premise" dir="auto">{escape(row["premise"])}</p>' if row["premise"] else ""
    )
    return (
        f'<article class="sample" id="sample-{number}"><h3 dir="auto">{escape(title[:200])}</h3>\n'
        f'<p class="about">{" · ".join(map(escape, about))} {gold}</p>\n{premise}'
        f'<div class="columns"><div class="story">{_beats(sample)}</div>\n'
        f"<aside>{_tags(sample)}</aside></div></article>\n"
    )


def _beats(sample: Sample) -> str:
    told: set[str] = set()
    summaries = {b["beat"]: b["summary"] for b in sample.row["outline"] or []}
    parts = []
    room = SHOWN_CHARACTERS
    for passage, (start, end) in zip(sample.row["passages"], sample.cuts, strict=True):
        shown = min(end, start + room)
        room -= shown - start
        summary = summaries.get(passage["beat"], "")
        body = marked(sample.text, sample.evidence, start, shown, told)
        if shown < end:
            left = len(sample.text[shown:end].split())
            body += f'<p class="about">… {left:,} more words of this beat are not shown.</p>'
        parts.append(
            f'<section><h4 dir="auto">{escape(passage["beat"][:80])}</h4>'
            f'<p class="summary" dir="auto">{escape(summary[:400])}</p>'
            f'<div dir="auto">{body}</div></section>\n'
        )
        if room <= 0:
            break
    return "".join(parts)


def _tags(sample: Sample) -> str:
    heads = '<tr><th scope="col">tag</th><th scope="col">value</th><th scope="col"></th></tr>'
    lines = "".join(_tag(tag, sample.row["gold"]) for tag in sample.tags)
    note = ""
    if len(sample.text) > READ_CHARACTERS:
        note = (
            f'<p class="about">Evidence was looked for in the first {READ_CHARACTERS:,} '
            "characters.</p>"
        )
    return f'<table class="tags"><thead>{heads}</thead><tbody>{lines}</tbody></table>{note}'


def _tag(tag: Tag, gold: bool) -> str:
    name = kind(tag.field)
    value = escape(tag.value)
    if tag.confidence is not None:
        sure = f"{tag.confidence:.2f}" if not gold else "alike"
    elif tag.other is not None:
        sure = "otherwise"
        value += f"<br><small>the reader says: {escape(tag.other)}</small>"
    else:
        sure = "unread" if gold else "-"
    return (
        f'<tr><th scope="row"><mark class="{name.replace(" ", "-")}">{name}</mark></th>'
        f'<td dir="auto">{value}</td><td class="sure">{sure}</td></tr>'
    )
