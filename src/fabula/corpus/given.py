"""What a source itself knows of a story: where its beats begin, who is in it, where it happens.

A row carries it as JSON in the column `given`. It is less than a gold label: the rest of the
brief is still read in the text.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fabula.corpus.clean import Cleaned
from fabula.story import FREYTAG
from fabula.story.brief import MAX_LIST

_GAP = "\n\n"
_ARTICLE = re.compile(r"(?i)(?:the|an?) ")


@dataclass(frozen=True, slots=True)
class Given:
    """What a source says of one story.

    Attributes:
        cuts: the characters of the text at which the second to the fifth beat begin, rising;
            none where the source has no beats.
        characters: names, as they stand in the text.
        place: where it happens, in words of the text.
    """

    cuts: tuple[int, ...] = ()
    characters: tuple[str, ...] = ()
    place: str | None = None

    def dump(self) -> str | None:
        """As JSON; None where nothing is given."""
        data = {key: value for key, value in asdict(self).items() if value}
        return json.dumps(data, ensure_ascii=False) if data else None

    @classmethod
    def load(cls, text: str | None) -> Given:
        """Of a row's column `given`."""
        data = json.loads(text) if text else {}
        return cls(
            tuple(data.get("cuts", ())), tuple(data.get("characters", ())), data.get("place")
        )


def join_beats(beats: Sequence[str]) -> tuple[str, tuple[int, ...]]:
    """One text of five beats, a blank line between them, and where the later ones begin."""
    cuts, size = [], 0
    for beat in beats[:-1]:
        size += len(beat) + len(_GAP)
        cuts.append(size)
    return _GAP.join(beats), tuple(cuts)


def has_beats(given: str | None) -> bool:
    """Whether a row says where its beats begin."""
    return given is not None and bool(Given.load(given).cuts)


def fewest_words(min_words: int, given: str | None) -> int:
    """The least words a story needs: half of the usual where its beats are known to be there."""
    return min_words // 2 if has_beats(given) else min_words


def clean_given(
    text: str, given: str | None, clean: Callable[[str], Cleaned]
) -> tuple[Cleaned, str | None]:
    """Clean a text beat by beat, so that the beats are still known.

    Returns:
        The cleaned text, and `given` anew. A text of which a beat is no story has its reason.
    """
    known = Given.load(given)
    if not known.cuts:
        return clean(text), given
    edges = (0, *known.cuts, len(text))
    beats = [clean(text[a:b]) for a, b in itertools.pairwise(edges)]
    trims = list(dict.fromkeys(trim for beat in beats for trim in beat.trims))
    for beat in beats:
        if beat.reason is not None:
            return Cleaned("", beat.reason.replace("text is", "a beat is"), trims), given
    joined, cuts = join_beats([beat.text for beat in beats])
    return Cleaned(joined, None, trims), Given(cuts, known.characters, known.place).dump()


def apply_given(fields: dict[str, Any], given: str | None, text: str) -> dict[str, Any]:
    """The fields of a brief with what the source knows put in, where it is true of this text.

    Args:
        fields: as read in the text; not changed.
        given: a row's column `given`.
        text: the document's; what does not occur in it is left out, because a part of a long
            story need not show all of it.
    """
    known = Given.load(given)
    fields = dict(fields)
    if known.place and _occurs(known.place, text):
        fields["setting"] = {**(fields.get("setting") or {}), "place": known.place}
    cast = list(fields.get("characters") or [])
    there = [_plain(person["name"]) for person in cast if person.get("name")]
    for name in known.characters:
        # "Finn" and "Finn M'Coul" are one.
        same = any(set(_plain(name)) <= set(n) or set(n) <= set(_plain(name)) for n in there)
        if not same and _occurs(name, text) and len(cast) < MAX_LIST:
            role = "other" if cast else "protagonist"
            cast.append({"name": name, "role": role, "traits": []})
            there.append(_plain(name))
    if cast:
        fields["characters"] = cast
    return fields


def _plain(name: str) -> list[str]:
    return _ARTICLE.sub("", name).casefold().split()


def _occurs(phrase: str, text: str) -> bool:
    return re.search(rf"(?i)(?<!\w){re.escape(_ARTICLE.sub('', phrase))}(?!\w)", text) is not None


def group_sections(sections: Sequence[str], targets: Sequence[float]) -> list[list[str]] | None:
    """Sections in five groups, parted at the borders nearest to where beats usually begin.

    Args:
        sections: of a story, in order.
        targets: where the later beats begin, as shares of the text's characters, rising.

    Returns:
        The groups, or None where there are fewer sections than beats.
    """
    if len(sections) < len(FREYTAG):
        return None
    starts = [0]
    for section in sections:
        starts.append(starts[-1] + len(section))
    edges = [0]
    for number, target in enumerate(targets):
        left = len(targets) - number
        able = range(edges[-1] + 1, len(sections) - left + 1)
        wanted = target * starts[-1]
        edges.append(min(able, key=lambda i: abs(starts[i] - wanted)))
    edges.append(len(sections))
    return [list(sections[a:b]) for a, b in itertools.pairwise(edges)]
