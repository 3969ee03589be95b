"""The two stages of preparing, each a pure function over one Arrow batch.

`clean_batch` takes `RAW` to `CLEAN`: cleaning, the prompt's tag, fingerprints. Then the whole
corpus is looked at once (duplicates, splits; see groups.py). `finish_batch` takes the rows that
stay to `FINISHED`: brief, beats, parts, and the one text format. Neither knows of files, so that
they can run in any number of processes, or elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from fabula.corpus.clean import MIN_WORDS, clean_text
from fabula.corpus.detokenise import looks_tokenised
from fabula.corpus.fingerprint import fingerprints, normalise, prompt_id
from fabula.corpus.given import Given, apply_given, clean_given, fewest_words, has_beats
from fabula.corpus.layouts import gold_story
from fabula.corpus.parts import Part, parts_of
from fabula.corpus.prompts import OFF_TOPIC, clean_prompt, clean_title
from fabula.corpus.schema import CLEAN, FINISHED
from fabula.corpus.sentences import have_five_sentences
from fabula.corpus.tagging import MIN_CONFIDENCE, brief_json, complete
from fabula.reading import read_fields
from fabula.story import Brief, render_beats, render_brief

TOGETHER = 64
"""Stories that are read at once: enough to spread what a batch costs, and few enough for what is
known of their words to stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `fabula prepare` was asked for.

    Attributes:
        valid, test: shares of the stories held out, by group.
        seed: decides which groups.
        max_words: longer stories are parted at their beats.
        long: "split" them, or "drop" (and count) them.
        min_words: shorter texts are dropped.
        min_confidence: tags read with less are left empty.
        near: estimated Jaccard similarity from which two stories count as the same.
        related: similarity from which two stories must lie in the same split.
        contained: share of a story's sampled shingles from which it counts as a reprint of the
            story that holds them.
        passage: words seen of a shared passage from which two stories must lie in the same split.
    """

    valid: float = 0.05
    test: float = 0.05
    seed: int = 0
    max_words: int = 700
    long: str = "split"
    min_words: int = MIN_WORDS
    min_confidence: float = MIN_CONFIDENCE
    near: float = 0.7
    related: float = 0.4
    contained: float = 0.8
    passage: int = 13


def clean_batch(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """`RAW` to `CLEAN`; rows that fall keep their place, with the reason and without text."""
    rows = [_clean_row(row, settings) for row in batch.to_pylist()]
    # Five paragraphs are five sentences at least, and most stories have them.
    short = [
        row
        for row in rows
        if row["reason"] is None
        and row["gold"] is None
        and not has_beats(row["given"])
        and row["text"].count("\n\n") < 4
    ]
    for row, enough in zip(short, have_five_sentences([r["text"] for r in short]), strict=True):
        if not enough:
            row["reason"] = "fewer than five sentences"
    good = [row for row in rows if row["reason"] is None]
    prints = fingerprints([normalise(row["text"]) for row in good])
    for row, one in zip(good, prints, strict=True):
        row.update(one._asdict())
    for row in rows:
        if row["reason"] is not None:
            row["text"] = None
    return pa.RecordBatch.from_pylist(rows, schema=CLEAN)


def _clean_row(row: dict[str, Any], settings: Settings) -> dict[str, Any]:
    row["trims"], row["faulty"] = [], row["reason"] is not None
    # What answers a prompt was posted on the web.
    web = row["prompt"] is not None and row["gold"] is None
    if web:
        row["prompt"], row["prompt_tag"] = clean_prompt(row["prompt"])
        if OFF_TOPIC.intersection((row["prompt_tag"] or "").split()):
            row["reason"] = row["reason"] or "prompt asks for no story ([OT], [MODPOST])"
    row["title"] = clean_title(row["title"])
    row["prompt_id"] = prompt_id(row["prompt"] or "id " + row["id"])
    if row["reason"] is None:
        if row["gold"] is None:
            # A beat alone is too short to tell the published form by.
            published = row["published"] or looks_tokenised(row["text"] or "")
            clean = partial(clean_text, published=published, web=web)
            cleaned, row["given"] = clean_given(row["text"] or "", row["given"], clean)
            row["text"], row["reason"], row["trims"] = cleaned.text, cleaned.reason, cleaned.trims
        row["words"] = len(row["text"].split())
        least = fewest_words(settings.min_words, row["given"])
        if row["reason"] is None and row["words"] < least and row["gold"] is None:
            row["reason"] = f"under {least} words"
        if row["words"] > settings.max_words and settings.long == "drop":
            row["reason"] = f"over {settings.max_words} words"
    return row


@dataclass(slots=True)
class _Draft:
    """A document to be: the story's row, and the part of it (none if it is gold-labelled)."""

    row: dict[str, Any]
    text: str
    part: Part | None


def finish_batch(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """`CLEAN` rows that stay to rows of `FINISHED`: one a document, so perhaps several a story."""
    rows = batch.to_pylist()
    return pa.RecordBatch.from_pylist(
        [
            document
            for start in range(0, len(rows), TOGETHER)
            for document in _finished(rows[start : start + TOGETHER], settings)
        ],
        schema=FINISHED,
    )


def _finished(rows: list[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    whole = [row for row in rows if row["gold"] is None]
    cuts = [Given.load(row["given"]).cuts for row in whole]
    parts = iter(parts_of([row["text"] for row in whole], settings.max_words, cuts))
    drafts: list[_Draft] = []
    for row in rows:
        if row["gold"] is not None:
            drafts.append(_Draft(row, row["text"], None))
            continue
        drafts += [
            _Draft(row, part.text if part.total > 1 else row["text"], part) for part in next(parts)
        ]
    unread = [draft.text for draft in drafts if draft.part is not None]
    fields = iter(read_fields(unread, min_confidence=settings.min_confidence, proven_arcs=True))
    return [_gold(d) if d.part is None else _read(d, d.part, next(fields)) for d in drafts]


def _gold(draft: _Draft) -> dict[str, Any]:
    story = gold_story(draft.row["gold"])
    brief = complete(
        story.brief.model_dump(exclude_none=True),
        words=draft.row["words"], title=story.title, premise=story.premise,
    )  # fmt: skip
    return {
        **_document(
            draft, brief,
            [b.beat for b in story.beats],
            [b.summary for b in story.outline.beats],
            [p.text for p in story.passages],
        ),
        "id": draft.row["id"], "words": draft.row["words"], "part": 1, "parts": 1, "gold": True,
    }  # fmt: skip


def _read(draft: _Draft, part: Part, fields: dict[str, Any]) -> dict[str, Any]:
    # Only the last part shows how it ends, and no part alone shows the whole arc.
    if part.total > 1:
        fields.pop("arc", None)
    if part.number < part.total:
        fields.pop("ending", None)
    brief = complete(
        apply_given(fields, draft.row["given"], draft.text),
        words=part.words, title=draft.row["title"],
        premise=part.premise(draft.row["prompt"]),
    )  # fmt: skip
    name = draft.row["id"]
    return {
        **_document(draft, brief, part.names, part.summaries, part.texts),
        "id": name if part.total == 1 else f"{name}.{part.number}",
        "words": part.words, "part": part.number, "parts": part.total, "gold": False,
    }  # fmt: skip


_KEPT = ("source", "licence", "prompt_id", "prompt_tag", "title", "author", "split")


def _document(
    draft: _Draft, brief: Brief, names: list[str], summaries: list[str], texts: list[str]
) -> dict[str, Any]:
    return {
        **{k: draft.row[k] for k in _KEPT},
        "brief": brief_json(brief),
        "premise": brief.premise,
        "outline": [{"beat": n, "summary": s} for n, s in zip(names, summaries, strict=True)],
        "passages": [{"beat": n, "text": t} for n, t in zip(names, texts, strict=True)],
        "text": draft.text,
        "prompt": render_brief(brief),
        "completion": render_beats(names, summaries, texts),
    }
