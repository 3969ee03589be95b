"""What page and card both tell, from manifest and census, in words and plain numbers."""

from __future__ import annotations

from typing import Any

from fabula.corpus.report.census import LABELS, Census
from fabula.corpus.report.leanings import PRONOUNS
from fabula.corpus.report.quality import SECOND_ANNOTATOR, TAG_OF
from fabula.corpus.report.reasons import explain
from fabula.corpus.schema import SPLITS

FIELD_NAMES = {
    "genre": "Genre", "tone": "Tone", "arc": "Arc of fortune", "ending": "Ending",
    "point_of_view": "Point of view", "place": "Places", "time": "Times", "name": "Names",
    "trait": "Traits", "thing": "Things that must occur",
}  # fmt: skip
LABEL_ORIGINS = {
    "sample": "written with the stories, by the large language model that wrote them from plans; "
    "a second annotator labelled 66 of them again, from the text alone",
    "trees": "what was asked of the tree, not read",
    "gold": "as the file has them",
}

RIGHT_IF = {
    "accuracy": "same label",
    "overlap F1": "shared words",
    "F1": "same name or word",
}
"""When a tag counts as right, by the measure of the score."""


def percent(part: float, whole: float) -> str:
    """A share as people read it: "12%", "0.4%", "<0.1%"."""
    if not whole:
        return "-"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "<0.1%"
    return f"{share:.1f}%" if 0 < share < 1 or 99 < share < 100 else f"{share:.0f}%"


def dropped(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """reason -> {stories, example} of a source."""
    found = source.get("dropped")
    return found if isinstance(found, dict) else {}


def step_counts(source: dict[str, Any]) -> list[int]:
    """Stories dropped at each of `reasons.STEPS`."""
    counts = [0, 0, 0]
    for reason, entry in dropped(source).items():
        counts[explain(reason)[0]] += entry["stories"]
    return counts


def label_origin(source: dict[str, Any], census: Census) -> str:
    """Where a source's tags come from."""
    gold = census.gold(source["name"])
    total = sum(n for (s, _), n in census.documents.items() if s == source["name"])
    if not gold:
        return "read by a program" if total else "nothing left"
    origin = LABEL_ORIGINS.get(source.get("kind", ""), "came with the stories")
    return origin if gold == total else f"{gold:,} of {total:,}: {origin}; the others read"


def read_documents(census: Census) -> int:
    """Documents whose tags a program read."""
    return census.total - census.gold()


def coverage(manifest: dict[str, Any], census: Census, field: str) -> tuple[int, int] | None:
    """(documents with a tag, documents) of sources without any labels of their own."""
    tag = TAG_OF.get(field, field)
    have = total = 0
    for source in manifest["sources"]:
        if census.gold(source["name"]) or tag not in source.get("tags", {}):
            continue
        have += source["tags"][tag]
        total += source.get("documents", 0)
    return (have, total) if total else None


def second_annotator(field: str) -> str:
    """A second annotator's agreement with the labels of a field, if it was measured."""
    agreement = SECOND_ANNOTATOR.get(field)
    return "-" if agreement is None else f"{agreement:.2f}"


def leak_sentence(manifest: dict[str, Any]) -> tuple[bool, str] | None:
    """(whether it is clean, what to say) of the leak check, where one was made."""
    leaks = manifest.get("leaks")
    if not isinstance(leaks, dict) or not leaks:
        return None
    told = ", ".join(f"{count:,} shared {what}" for what, count in leaks.items())
    return not any(leaks.values()), f"Between the splits: {told}."


def against_sentences(manifest: dict[str, Any]) -> list[str]:
    """What the corpus was checked against, a sentence each."""
    sentences = []
    for other in manifest.get("against") or []:
        digests = ", ".join(f"{f['name']} (sha256 {f['sha256'][:12]}...)" for f in other["files"])
        found = [f"{one['stories']:,} {reason}" for reason, one in sorted(other["found"].items())]
        dropped = "dropped: " + "; ".join(found) if found else "nothing was found"
        whole = f"{other['stories']:,} stories of {other['name']}"
        sentences.append(f"Checked against {whole}, {digests}: {dropped}.")
    return sentences


def split_counts(manifest: dict[str, Any]) -> str:
    """Documents of each split, as a phrase."""
    return ", ".join(f"{manifest['splits'][s]:,} {s}" for s in SPLITS)


def leanings(census: Census) -> list[tuple[str, str]]:
    """(what, figure) of all that can be counted of a corpus's leanings."""
    looked, rows = census.leanings, []
    told = looked.total
    named = told.total()
    if named:
        rows.append((
            "named protagonists of stories not told by themselves, by pronoun",
            ", ".join(f"{k} {percent(told[k], named)}" for k in PRONOUNS)
            + f" (of {named:,})",
        ))  # fmt: skip
    views = {v: sum(n.values()) for v, n in census.labels["point_of_view"].items()}
    if views:
        total = sum(views.values())
        told_by = ", ".join(f"{v} person {percent(n, total)}" for v, n in views.items())
        rows.append(("point of view, where it is known", told_by))
    for field, what in (
        ("name", "names"),
        ("place", "places"),
        ("time", "times"),
        ("trait", "traits"),
    ):
        top = census.tops[field]
        if top.times:
            rows.append((
                f"variety of {what}",
                f"{top.distinct:,} different in {top.times:,}; as varied as {top.effective:,.0f} "
                f"equally common ones; the 20 commonest are {percent(top.share(20), 1)}",
            ))  # fmt: skip
    for label in LABELS[:4]:
        values = [(v, sum(n.values())) for v, n in census.labels[label].items()]
        if values:
            total = sum(n for _, n in values)
            rows.append((f"commonest {label}", f"{values[0][0]} {percent(values[0][1], total)}"))
    return rows


LIMITS = (
    "English only: the reader knows no other language, and leaves tags of others empty.",
    "Tags that were read are a program's guesses above a threshold. Which tags are left out is "
    "not random: plain cases are tagged, mixed ones are not, so shares of tags are not shares of "
    "stories.",
    "Quality was measured on tidy stories of about 250 words. On longer and looser stories, those "
    "of the web among them, expect less.",
    "Names are what looks like a character. At the top of the list, words that are no names show "
    "where the reader errs.",
    "Pronouns are counted by rule: in the narration, a pronoun belongs to whom was named last. "
    "They say how characters are spoken of, nothing else.",
    "Outlines of unlabelled stories are made of the stories' own sentences; beats are cut by rule.",
    "Nothing filters what stories say.",
)
