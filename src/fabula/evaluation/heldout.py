"""Held-out stories: a split of the sample corpus or of a prepared one, whole prompts at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fabula.errors import FabulaError
from fabula.story import Brief, Outline, Passage
from fabula.story.sample import LabelledStory, load_sample

SAMPLE = "the sample corpus"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class HeldOut:
    """One human story and the brief it answers; of a drawn brief there is no story.

    Attributes:
        id: of the story; also of its brief.
        group: the prompt; stories of one prompt share it.
        brief: what a reader would have asked for to get this story.
        outline: its outline, if the corpus has one.
        passages: its text; empty for a drawn brief.
    """

    id: str
    group: str
    brief: Brief
    outline: Outline | None
    passages: list[Passage]

    @property
    def text(self) -> str:
        """The passages, a blank line between them."""
        return "\n\n".join(p.text for p in self.passages)


@dataclass(frozen=True)
class HeldOutSet:
    """What an evaluation is held against.

    Attributes:
        name: of the corpus.
        split: of it; None for drawn briefs.
        items: the stories that are scored, whole prompts at a time.
        other_story: for each item the text of another human's story for the same prompt.
        available: stories with a brief in the whole split.
        without_brief: stories left out because nothing is known that a reader could ask for.
        later_parts: rows left out because they continue a longer story.
    """

    name: str
    split: str | None
    items: list[HeldOut]
    other_story: list[str | None]
    available: int
    without_brief: int = 0
    later_parts: int = 0

    @property
    def drawn(self) -> bool:
        """Whether the briefs were drawn, so that there are no human stories."""
        return self.split is None

    @property
    def groups(self) -> list[str]:
        """The prompt of each item."""
        return [item.group for item in self.items]


def from_sample(story: LabelledStory) -> HeldOut:
    """A story of the sample corpus; each is the only one of its prompt."""
    return HeldOut(story.id, story.id, story.brief, story.outline, story.passages)


def _rows(corpus: Path, split: str) -> Iterator[tuple[HeldOut, int]]:
    """Rows of a prepared corpus, each with its part number."""
    from fabula.corpus import example_rows, load_corpus

    table = load_corpus(corpus, split)
    parts = table.column("part").to_pylist()
    for row, part in zip(example_rows(table), parts, strict=True):
        yield HeldOut(row.id, row.prompt_id, row.brief, row.outline, row.passages), part or 1


def _order(group: str) -> str:
    return hashlib.sha256(f"fabula evaluation {group}".encode()).hexdigest()


def pick(items: Sequence[HeldOut], limit: int | None) -> list[HeldOut]:
    """The first `limit` stories in the order of their prompts' hashes, prompts kept together.

    A smaller limit picks a part of what a larger one picks, whatever the seed.
    """
    ordered = sorted(items, key=lambda item: (_order(item.group), item.id))
    return ordered if limit is None else ordered[:limit]


def load_heldout(corpus: Path | None, split: str = "test", limit: int | None = None) -> HeldOutSet:
    """Load a split.

    Args:
        corpus: the folder that `fabula prepare` made; None for the sample corpus.
        split: "train", "valid" or "test".
        limit: most stories.

    Raises:
        FabulaError: no such corpus or split, no stories, or no story with a brief.
        MissingExtra: a prepared corpus needs pyarrow.
    """
    if split not in SPLITS:
        raise FabulaError(f"'{split}' is not a split; it is one of: {', '.join(SPLITS)}.")
    if limit is not None and limit < 1:
        raise FabulaError(f"--limit is {limit}; give at least 1.")
    later = without = 0
    stories: list[HeldOut] = []
    if corpus is None:
        stories = [from_sample(s) for s in load_sample(split)]  # type: ignore[arg-type]
    else:
        for item, part in _rows(corpus, split):
            if part > 1:
                later += 1
            elif item.brief.is_empty:
                without += 1
            elif item.passages:
                stories.append(item)
    name = SAMPLE if corpus is None else str(corpus)
    if not stories and without:
        raise FabulaError(
            f"{name}: none of the {without} stories of its '{split}' split has a brief; "
            "prepare it again with tags."
        )
    if not stories:
        raise FabulaError(f"{name}: its '{split}' split holds no stories; choose another split.")
    by_group: dict[str, list[HeldOut]] = {}
    for item in sorted(stories, key=lambda item: item.id):
        by_group.setdefault(item.group, []).append(item)
    items = pick(stories, limit)
    return HeldOutSet(
        name=name,
        split=split,
        items=items,
        other_story=[_sibling(by_group[item.group], item) for item in items],
        available=len(stories),
        without_brief=without,
        later_parts=later,
    )


def _sibling(group: Sequence[HeldOut], item: HeldOut) -> str | None:
    """The text of the next story of the same prompt, round to the first; None if alone."""
    if len(group) < 2:
        return None
    return group[(group.index(item) + 1) % len(group)].text
