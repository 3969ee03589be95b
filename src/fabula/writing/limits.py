"""Wishes that lie outside what a small model knows: said before writing, with what is done."""

from __future__ import annotations

from collections.abc import Iterator

from fabula.story import GENRES, TONES, Brief
from fabula.writing.standins import StandIns

_LATIN_ENDS = 0x24F


def notes(brief: Brief, standins: StandIns) -> Iterator[str]:
    """What a reader should know before a model of Fabula's own writes for a brief.

    Args:
        brief: the wishes.
        standins: the names lent for it.
    """
    for key, known in (("genre", GENRES), ("tone", TONES)):
        value = getattr(brief, key)
        if value is not None and value not in known:
            yield (
                f"this model was not trained on the {key} '{value}'; it will be asked for, but "
                f"may not show. It knows: {', '.join(known)}."
            )
    if brief.point_of_view == "second":
        yield "this model has hardly seen stories told in the second person; it may slip."
    if _other_script(brief.model_dump_json(exclude_none=True)):
        yield "this model writes English only; wishes in another script are kept word by word."
    for name, stand in standins.pairs:
        yield f"this model may not spell '{name}'; it writes '{stand}', and the name is put back."


def _other_script(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return sum(ord(c) > _LATIN_ENDS for c in letters) > len(letters) / 4
