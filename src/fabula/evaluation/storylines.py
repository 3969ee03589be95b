"""Written stories on disk, one a line, so that a long evaluation can stop and go on.

A line is ``{"id": ..., "system": ..., "seconds": ..., "story": {a story file}}``; `system` tells
models, settings and seeds apart, `seconds` is how long the writing took and may be absent. Stories
of others may also come as bare story files, found by their brief, or as
``{"id": ..., "text": ...}``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabula import __version__
from fabula.errors import FabulaError
from fabula.evaluation.heldout import HeldOut
from fabula.story import Passage, Story, read_text, validate

# A text of which only the whole is known is one passage of this beat.
WHOLE = "story"
MAX_BYTES = 4_000_000_000


@dataclass(frozen=True)
class StoryLine:
    """One line: a story, the brief it was written for, and the system that wrote it.

    Attributes:
        id: of the brief.
        system: its digest; empty for stories of others.
        story: as a story file has it.
        seconds: that writing it took, if that is known.
    """

    id: str
    system: str
    story: Story
    seconds: float | None = field(default=None, compare=False)


def system_digest(weights: str, seed: int, settings: Mapping[str, Any]) -> str:
    """Name of a model with settings and seed, as 16 hex digits."""
    said = json.dumps([__version__, weights, seed, settings], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def story_seed(seed: int, brief_id: str) -> int:
    """The seed of one story: the evaluation's seed and the brief's id, 31 bits."""
    return int.from_bytes(hashlib.sha256(f"{seed} {brief_id}".encode()).digest()[:4]) >> 1


def dump_line(line: StoryLine) -> str:
    """A line, with its line break."""
    data: dict[str, Any] = {"id": line.id, "system": line.system}
    if line.seconds is not None:
        data["seconds"] = line.seconds
    data["story"] = line.story.model_dump(mode="json")
    return json.dumps(data, ensure_ascii=False) + "\n"


def _story(data: dict[str, Any], where: str) -> Story:
    text = data.pop("text", None)
    story = validate(Story, data, where)
    if text is not None and text != story.text:
        raise FabulaError(f"{where}: 'text' is not what the passages say; the story was changed.")
    return story


def _parse(raw: str, where: str, items: Sequence[HeldOut]) -> StoryLine | None:
    """A line; None for a story of a brief that is not among the held-out ones."""
    try:
        data = json.loads(raw)
    except ValueError:
        raise FabulaError(
            f"{where}: not a whole JSON object, the file may be cut off; take the line out."
        ) from None
    if not isinstance(data, dict):
        raise FabulaError(f"{where}: expected a story, not {type(data).__name__}.")
    if "story" in data:
        if not isinstance(data["story"], dict) or not isinstance(data.get("id"), str):
            raise FabulaError(f"{where}: needs the id of a brief and a story file under 'story'.")
        seconds = data.get("seconds")
        if seconds is not None and (type(seconds) not in (int, float) or not 0 <= seconds < 1e9):
            raise FabulaError(
                f"{where}: 'seconds' is {str(seconds)[:30]!r}, not a time; take it out."
            )
        story = _story(data["story"], where)
        return StoryLine(data["id"], str(data.get("system", "")), story, seconds)
    if "brief" in data:
        story = _story(data, where)
        found = next((item for item in items if item.brief == story.brief), None)
        return StoryLine(found.id, "", story) if found is not None else None
    if isinstance(data.get("id"), str) and isinstance(data.get("text"), str):
        if not data["text"].strip():
            raise FabulaError(f"{where}: the text is empty.")
        item = next((item for item in items if item.id == data["id"]), None)
        if item is None:
            return None
        passages = [Passage(beat=WHOLE, text=data["text"])]
        return StoryLine(item.id, "", Story(brief=item.brief, passages=passages))
    raise FabulaError(
        f"{where}: neither a story file nor an object with the id of a brief and a 'text'."
    )


def load_lines(
    path: Path, items: Sequence[HeldOut], *, last_wins: bool = False
) -> tuple[list[StoryLine], int]:
    """Read stories.

    Args:
        path: of the file.
        items: the briefs; stories of other briefs are left out. Of a drawn brief the id is not
            enough: another corpus may have changed what is drawn under it.
        last_wins: a later story of the same system and brief replaces the earlier one, instead
            of being refused.

    Returns:
        The stories, and how many lines belong to none of the briefs.

    Raises:
        FabulaError: a line is cut off or no story (the line is named), or a system has two
            stories for one brief.
    """
    known = {item.id: item for item in items}
    rows = read_text(path, MAX_BYTES).split("\n")
    lines: list[StoryLine] = []
    strangers = 0
    seen: dict[tuple[str, str], int] = {}
    for number, raw in enumerate(rows, 1):
        if not raw.strip():
            continue
        where = f"{path}, line {number}"
        line = _parse(raw, where, items)
        item = known.get(line.id) if line is not None else None
        if line is None or item is None or not (item.passages or item.brief == line.story.brief):
            strangers += 1
            continue
        first = seen.setdefault((line.system, line.id), number)
        if first != number and not last_wins:
            raise FabulaError(
                f"{where}: a second story for the brief '{line.id}' (the first is in line "
                f"{first}); keep one."
            )
        lines.append(line)
    return lines, strangers


class StoryLog:
    """The stories.jsonl of an output folder: what is there is not written again."""

    def __init__(self, path: Path | None, items: Sequence[HeldOut]) -> None:
        """Open the log, or keep stories in memory only where there is no path.

        Raises:
            FabulaError: the file holds a line that is no story.
        """
        self.path = path
        self._briefs = {item.id: item.brief for item in items}
        self._lines: dict[tuple[str, str], StoryLine] = {}
        if path is not None and path.exists():
            _mend(path)
            for line in load_lines(path, items, last_wins=True)[0]:
                if line.story.brief == self._briefs[line.id]:
                    self._lines[line.id, line.system] = line

    def get(self, brief_id: str, system: str) -> StoryLine | None:
        """What a system has written for a brief, if anything."""
        return self._lines.get((brief_id, system))

    def add(self, line: StoryLine) -> None:
        """Append a story, on disk before this returns.

        Raises:
            FabulaError: the folder cannot be written.
        """
        self._lines[line.id, line.system] = line
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(dump_line(line))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise FabulaError(f"cannot write {self.path}: {error.strerror or error}.") from None


def _mend(path: Path) -> None:
    """Take a half-written last line off a log that lost its power while it was written."""
    try:
        with path.open("rb+") as file:
            raw = file.read()
            if raw and not raw.endswith(b"\n"):
                file.truncate(raw.rfind(b"\n") + 1)
    except OSError as error:
        raise FabulaError(f"{path}: {error.strerror or error}.") from None
