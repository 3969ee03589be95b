"""The two stages of preparing, each a pure function over one Arrow batch.

`clean_batch` takes `RAW` to `CLEAN`: cleaning, the prompt's tag, fingerprints. Then the whole
corpus is looked at once (duplicates, splits; see groups.py). `finish_batch` takes the rows that
stay to `CORPUS`: brief, beats, parts, and the one text format. Neither knows of files, so that
they can run in any number of processes, or elsewhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fabula.corpus.beats import has_five_sentences
from fabula.corpus.clean import MIN_WORDS, clean_text
from fabula.corpus.fingerprint import digest, normalise, prompt_id, signature
from fabula.corpus.layouts import gold_story
from fabula.corpus.parts import parts_of
from fabula.corpus.prompts import OFF_TOPIC, clean_prompt, clean_title
from fabula.corpus.schema import CLEAN, CORPUS
from fabula.corpus.tagging import MIN_CONFIDENCE, complete, read_brief
from fabula.story import Brief, Outline, Passage, render_brief, render_completion


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


def clean_batch(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """`RAW` to `CLEAN`; rows that fall keep their place, with the reason and without text."""
    return pa.RecordBatch.from_pylist(
        [_clean_row(row, settings) for row in batch.to_pylist()], schema=CLEAN
    )


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
            cleaned = clean_text(row["text"] or "", row["published"], web)
            row["text"], row["reason"], row["trims"] = cleaned.text, cleaned.reason, cleaned.trims
        row["words"] = len(row["text"].split())
        if row["reason"] is None and row["words"] < settings.min_words and row["gold"] is None:
            row["reason"] = f"under {settings.min_words} words"
        if row["words"] > settings.max_words and settings.long == "drop":
            row["reason"] = f"over {settings.max_words} words"
        # Five paragraphs are five sentences at least, and most stories have them.
        if (
            row["reason"] is None
            and row["gold"] is None
            and row["text"].count("\n\n") < 4
            and not has_five_sentences(row["text"])
        ):
            row["reason"] = "fewer than five sentences"
    if row["reason"] is None:
        plain = normalise(row["text"])
        row["digest"], row["signature"] = digest(plain), signature(plain)
    else:
        row["text"] = None
    return row


def finish_batch(batch: pa.RecordBatch, settings: Settings) -> pa.RecordBatch:
    """`CLEAN` rows that stay to rows of `CORPUS`: one a document, so perhaps several a story."""
    rows: list[dict[str, Any]] = []
    for row in batch.to_pylist():
        rows += _documents(row, settings)
    return pa.RecordBatch.from_pylist(rows, schema=CORPUS)


def _documents(row: dict[str, Any], settings: Settings) -> list[dict[str, Any]]:
    if row["gold"] is not None:
        story = gold_story(row["gold"])
        brief = complete(story.brief, words=row["words"], title=story.title, premise=story.premise)
        return [_document(row, brief, story.outline, story.passages, row["text"])]
    documents = []
    for part in parts_of(row["text"], settings.max_words):
        # Only the last part shows how it ends, and no part alone shows the whole arc.
        drop: set[str] = set() if part.total == 1 else {"arc"}
        if part.number < part.total:
            drop.add("ending")
        text = part.text if part.total > 1 else row["text"]
        brief = complete(
            read_brief(text, settings.min_confidence),
            words=len(text.split()),
            title=row["title"],
            premise=part.premise(row["prompt"]),
            drop=frozenset(drop),
        )
        documents.append(
            _document(row, brief, part.outline, part.passages, text, part.number, part.total)
        )
    return documents


def _document(
    row: dict[str, Any],
    brief: Brief,
    outline: Outline,
    passages: list[Passage],
    text: str,
    part: int = 1,
    parts: int = 1,
) -> dict[str, Any]:
    return {
        **{k: row[k] for k in ("source", "licence", "prompt_id", "prompt_tag", "title", "author")},
        "id": row["id"] if parts == 1 else f"{row['id']}.{part}",
        "brief": json.dumps(
            brief.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
            ensure_ascii=False,
        ),
        "premise": brief.premise,
        "outline": [b.model_dump() for b in outline.beats],
        "passages": [p.model_dump() for p in passages],
        "text": text,
        "words": len(text.split()),
        "part": part,
        "parts": parts,
        "gold": row["gold"] is not None,
        "prompt": render_brief(brief),
        "completion": render_completion(outline, passages),
    }
