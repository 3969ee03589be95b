"""Wishes kept, by kind, as statistics: the receipt is the instrument, chance is its floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fabula.evaluation.bootstrap import Statistic, ratio
from fabula.story import Receipt

ALL = "all"
CORE = "core"
# What single sentences can keep, and what kind of story it is; not what only its whole course can
# (tone, arc, theme, premise), nor its time and length.
CORE_KINDS = frozenset(
    {"character", "trait", "place", "must include", "point of view", "ending", "genre"}
)
# Of the receipt's wishes, those that every story keeps, because the story file carries them.
GIVEN = frozenset({"title"})
KINDS = {
    ALL: "All wishes",
    CORE: "Names, traits, place, things, view, ending, genre",
    "character": "Names",
    "trait": "Traits",
    "place": "Place",
    "time": "Time",
    "must include": "Things that must occur",
    "point of view": "Point of view",
    "ending": "Ending",
    "genre": "Genre",
    "tone": "Tone",
    "arc": "Arc",
    "theme": "Theme",
    "premise": "Premise",
    "length": "Length",
}
Tally = Mapping[str, tuple[int, int]]


def kind_of(wish: str) -> str:
    """The kind of a line of the receipt: "trait of character 2" is a trait."""
    return next((kind for kind in KINDS if wish.startswith(kind)), wish)


def tally(receipt: Receipt) -> dict[str, tuple[int, int]]:
    """(kept, asked) by kind of wish, of all wishes together, and of the `CORE_KINDS` together."""
    counts: dict[str, tuple[int, int]] = {}
    for wish in receipt.wishes:
        if wish.wish in GIVEN:
            continue
        own = kind_of(wish.wish)
        for kind in (ALL, CORE, own) if own in CORE_KINDS else (ALL, own):
            kept, asked = counts.get(kind, (0, 0))
            counts[kind] = (kept + wish.kept, asked + 1)
    return counts


def kept_share(tallies: Sequence[Tally], kind: str) -> Statistic:
    """Wishes of a kind kept over wishes of that kind asked, all stories together, in percent."""
    kept = ratio(
        [100.0 * t.get(kind, (0, 0))[0] for t in tallies],
        [float(t.get(kind, (0, 0))[1]) for t in tallies],
    )
    return replace(kept, share=True)
