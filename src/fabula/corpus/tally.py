"""Counting: what came, what fell and why, what is left and what it is tagged with."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

TAGS = (
    "title", "characters", "traits", "place", "time", "genre", "tone", "arc", "ending",
    "point_of_view", "theme", "must_include", "premise",
)  # fmt: skip


@dataclass(slots=True)
class Dropped:
    """How many stories fell for one reason, and where the first of them stands."""

    stories: int = 0
    example: str = ""


@dataclass(slots=True)
class SourceTally:
    """Counts of one source."""

    read: int = 0
    faulty: int = 0
    kept: int = 0
    documents: int = 0
    words: int = 0
    dropped: dict[str, Dropped] = field(default_factory=dict)
    trims: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)

    def drop(self, reason: str, origin: str) -> None:
        """Count one story that falls."""
        entry = self.dropped.setdefault(reason, Dropped(example=origin))
        entry.stories += 1

    def first_drop(self) -> str:
        """The first reason met, and where."""
        reason, dropped = next(iter(self.dropped.items()))
        return f"{reason}: {dropped.example}"

    def add_document(self, brief: str, words: int, part: int, split: str) -> None:
        """Count one finished document."""
        self.kept += part == 1
        self.documents += 1
        self.words += words
        self.splits[split] += 1
        self.tags.update(tags_in(json.loads(brief)))

    def as_data(self) -> dict[str, Any]:
        """For the manifest."""
        dropped = sorted(self.dropped.items(), key=lambda item: (-item[1].stories, item[0]))
        return {
            "read": self.read,
            "faulty": self.faulty,
            "kept": self.kept,
            "documents": self.documents,
            "words": self.words,
            "splits": {s: self.splits[s] for s in ("train", "valid", "test")},
            "dropped": {
                reason: {"stories": d.stories, "example": d.example} for reason, d in dropped
            },
            "trimmed": dict(sorted(self.trims.items())),
            "tags": {t: self.tags[t] for t in TAGS},
        }


def tags_in(brief: dict[str, Any]) -> list[str]:
    """Which of `TAGS` a brief's JSON has."""
    found = [t for t in TAGS if brief.get(t)]
    found += [t for t in ("place", "time") if brief.get("setting", {}).get(t)]
    if any(c.get("traits") for c in brief.get("characters", [])):
        found.append("traits")
    return found
