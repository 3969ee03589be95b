"""Documents to look at: chosen by a fixed hash, with what the tags were read from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fabula.corpus.report.census import Census, Place, damaged
from fabula.reading import read
from fabula.reading.match import content
from fabula.reading.phrases import find_name, find_phrase, find_place
from fabula.reading.result import Evidence, Reading
from fabula.story import Span

SAMPLES = 12
READ_CHARACTERS = 40_000
"""So much of a long document is read for its evidence."""
SHOWN_SPANS = 30


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag of a document.

    Attributes:
        field: its path in the brief ("characters.0.name").
        value: as the brief has it.
        confidence: of the reading, if it reads the same there.
        other: what the reading says instead, if it says something else.
    """

    field: str
    value: str
    confidence: float | None
    other: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A document to show.

    Attributes:
        row: of the Parquet file, as Python objects.
        split: where it lies.
        tags: of its brief.
        evidence: spans of the text that show them.
        cuts: for each passage (start, end) in the text.
        text: the document.
    """

    row: dict[str, Any]
    split: str
    tags: list[Tag]
    evidence: list[Evidence]
    cuts: list[tuple[int, int]]
    text: str


def choose(census: Census, count: int = SAMPLES) -> list[Place]:
    """Documents of all sources in turn, of as many genres as there are, by their hashes."""
    left = {name: list(places) for name, places in census.places.items() if places}
    chosen: list[Place] = []
    genres: dict[str | None, int] = {}
    while left and len(chosen) < count:
        for name in list(left):
            if len(chosen) == count:
                break
            # The rarest genre so far; of these, the first by hash.
            places = left[name]
            best = min(range(len(places)), key=lambda i: (genres.get(places[i].genre, 0), i))
            place = places.pop(best)
            genres[place.genre] = genres.get(place.genre, 0) + 1
            chosen.append(place)
            if not places:
                del left[name]
    return sorted(chosen, key=lambda p: census.sources.index(p.source))


def fetch(folder: Path, places: Sequence[Place]) -> list[Sample]:
    """The documents at these places, read for their evidence.

    Raises:
        FabulaError: a file is damaged.
    """
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for split in {p.split: None for p in places}:
        path = folder / f"{split}.parquet"
        wanted = {p.row for p in places if p.split == split}
        try:
            file = pq.ParquetFile(path, page_checksum_verification=True)
            first = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                here = sorted(r for r in wanted if first <= r < first + size)
                if here:
                    table = file.read_row_group(group).take([r - first for r in here])
                    rows |= {
                        (split, r): row for r, row in zip(here, table.to_pylist(), strict=True)
                    }
                first += size
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, error) from None
    return [_sample(rows[p.split, p.row], p.split) for p in places]


def _sample(row: dict[str, Any], split: str) -> Sample:
    brief = json.loads(row["brief"])
    text, cuts = _place_passages(row["text"], [p["text"] for p in row["passages"]])
    head = text[:READ_CHARACTERS]
    reading = read(head)
    tags, evidence = [], []
    for field, value in tag_fields(brief):
        confidence, other = _compare(reading, field, value)
        spans = [
            e for e in reading.evidence
            if _same(e.value, value) and _same_kind(e.field, field)
        ][:SHOWN_SPANS]  # fmt: skip
        if not spans:
            spans = [
                Evidence(field=field, value=value, start=s.start, end=s.end, text=s.text,
                         confidence=0)
                for s in _find(head, field, value)[:SHOWN_SPANS]
            ]  # fmt: skip
        evidence += spans
        tags.append(Tag(field, value, confidence, other))
    return Sample(row, split, tags, evidence, cuts, text)


def _place_passages(text: str, passages: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """Where each passage stands in the text; if one does not, they are joined anew."""
    cuts, at = [], 0
    for passage in passages:
        start = text.find(passage, at)
        if start < 0:
            return _place_passages("\n\n".join(passages), passages)
        at = start + len(passage)
        cuts.append((start, at))
    return text, cuts


def tag_fields(brief: dict[str, Any]) -> list[tuple[str, str]]:
    """(path, value) of every tag that a text can show, in the order of the brief."""
    found: list[tuple[str, str]] = []
    if brief.get("title"):
        found.append(("title", brief["title"]))
    for i, person in enumerate(brief.get("characters") or []):
        if person.get("name"):
            found.append((f"characters.{i}.name", person["name"]))
        found += [
            (f"characters.{i}.traits.{j}", t) for j, t in enumerate(person.get("traits") or [])
        ]
    setting = brief.get("setting") or {}
    found += [(f"setting.{part}", setting[part]) for part in ("place", "time") if setting.get(part)]
    for label in ("genre", "tone", "arc", "ending", "point_of_view"):
        if brief.get(label):
            found.append((label, brief[label]))
    found += [(f"must_include.{i}", v) for i, v in enumerate(brief.get("must_include") or [])]
    return found


def _same(one: str, other: str) -> bool:
    """Whether two values are the same but for case and articles."""
    return one.casefold() == other.casefold() or (content(one) == content(other) != frozenset())


def _same_kind(one: str, other: str) -> bool:
    """Whether two paths mean the same sort of field, whatever the number of its place."""
    return [p for p in one.split(".") if not p.isdigit()] == [
        p for p in other.split(".") if not p.isdigit()
    ]


def _compare(reading: Reading, field: str, value: str) -> tuple[float | None, str | None]:
    for item in reading.evidence:
        if _same_kind(item.field, field) and _same(item.value, value):
            return item.confidence, None
    data = reading.brief.model_dump(mode="json")
    single = (data.get("setting") or {}).get(field[8:]) if field.startswith("setting.") else (
        data.get(field)
    )  # fmt: skip
    if isinstance(single, str) and _same(single, value):
        return reading.confidence.get(field), None
    return None, single if isinstance(single, str) else None


def _find(text: str, field: str, value: str) -> list[Span]:
    """Where a tag that was not read stands word for word, as far as it can."""
    if field.endswith(".name"):
        return find_name(text, value)
    if field == "setting.place":
        return find_place(text, value)[:3]
    if field.startswith("must_include") or ".traits." in field or field == "setting.time":
        return find_phrase(text, value)[:5]
    return []
