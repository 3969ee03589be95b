"""The wishes that words can show, spread over the beats.

A name or a place is due at once, the other characters and the things that must occur one after
the other; what the outline already mentions is due where it is mentioned. A wish that a beat
misses stays due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from fabula.reading.phrases import find_name, find_phrase, find_place
from fabula.story import Brief, Outline, Span

Kind = Literal["name", "place", "phrase", "trait", "time"]
_FINDERS = {"name": find_name, "place": find_place}


@dataclass(frozen=True)
class Want:
    """Words wanted in the text.

    Attributes:
        kind: what they are.
        phrase: the words.
        due: number of the beat by whose end they should have occurred.
        owner: who has a trait: a name, or "I".
    """

    kind: Kind
    phrase: str
    due: int
    owner: str | None = None

    def found(self, text: str) -> list[Span]:
        """Where the text has them."""
        return _FINDERS.get(self.kind, find_phrase)(text, self.phrase)


def spread(brief: Brief, beats: int, outline: Outline | None = None) -> list[Want]:
    """Give every such wish of a brief the beat where it is due.

    Args:
        brief: the wishes.
        beats: number of beats.
        outline: its sentences draw the wishes that they mention, if they come later than that.
    """
    wants: list[Want] = []
    lead = brief.protagonist or (brief.characters[0] if brief.characters else None)
    if lead is not None and lead.name:
        # Whoever tells the story needs time to say the own name.
        wants.append(Want("name", lead.name, min(1, beats - 1) if _first(brief) else 0))
    if brief.setting is not None and brief.setting.place:
        wants.append(Want("place", brief.setting.place, 0))
    others = [c.name for c in brief.characters if c is not lead and c.name]
    wants += [Want("name", n, _place(i, len(others), beats)) for i, n in enumerate(others)]
    musts = brief.must_include
    wants += [Want("phrase", m, _place(i, len(musts), beats)) for i, m in enumerate(musts)]
    if outline is None:
        return wants
    wants = [replace(w, due=_mentioned(w, outline, w.due)) for w in wants]
    return [*_time(brief), *wants, *_traits(brief, wants, beats)]


def _time(brief: Brief) -> list[Want]:
    """When it happens, said at once; the outline has no times."""
    time = brief.setting.time if brief.setting is not None else None
    return [Want("time", time, 0)] if time else []


def _traits(brief: Brief, wants: list[Want], beats: int) -> list[Want]:
    """A character's traits, one a beat, from where the name is due; the outline has none."""
    entry = {w.phrase: w.due for w in wants if w.kind == "name"}
    lead = brief.protagonist
    found: dict[str, Want] = {}
    for character in brief.characters:
        owner = "I" if _first(brief) and character is lead else character.name
        first = entry.get(character.name or "", 0)
        for number, trait in enumerate(character.traits):
            due = min(first + number, beats - 1)
            found.setdefault(trait.casefold(), Want("trait", trait, due, owner))
    return list(found.values())


def _first(brief: Brief) -> bool:
    return brief.point_of_view == "first"


def _place(number: int, count: int, beats: int) -> int:
    """The beat of one of several wishes, spread evenly, none left for the very last beat."""
    usable = max(beats - 1, 1)
    return min(int((number + 0.5) * usable / count), beats - 1)


def _mentioned(want: Want, outline: Outline, otherwise: int) -> int:
    for number, beat in enumerate(outline.beats):
        if want.found(beat.summary):
            return number
    return otherwise


def missing(wants: Sequence[Want], text: str) -> list[Want]:
    """The wants that a text does not show."""
    return [w for w in wants if not w.found(text)]
