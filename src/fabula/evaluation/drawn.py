"""Drawn briefs: wishes put together by the dice, in combinations that no training story has.

A held-out brief is one that somebody did write a story for. A drawn one is only asked, so there is
no human story beside it. Brief number n depends on n alone: fewer briefs are the first of more.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from fabula.errors import FabulaError
from fabula.evaluation.heldout import HeldOut, HeldOutSet
from fabula.reading.labels import contradicts
from fabula.reading.places import heads
from fabula.story import ARCS, ENDINGS, GENRES, ROLES, TONES, Brief
from fabula.story.sample import load_sample
from fabula.story.stock import TRAITS, any_place, any_thing

DRAWN = "drawn briefs"
# The combinations are to be new, not their parts: no training story is told to a "you".
VIEWS = ("first", "third")


def draw(count: int) -> HeldOutSet:
    """The first `count` drawn briefs, as a set without human stories.

    Raises:
        FabulaError: fewer than one is asked for.
        MissingExtra: the pool of names is part of the corpus room, which needs pyarrow.
    """
    if count < 1:
        raise FabulaError(f"--drawn is {count}; give at least 1.")
    items = []
    for number in range(1, count + 1):
        name = f"drawn-{number:03}"
        items.append(HeldOut(name, name, draw_brief(number), None, []))
    return HeldOutSet(DRAWN, None, items, [None] * count, available=count)


def draw_brief(number: int) -> Brief:
    """Brief number `number`: drawn again until no training story combines its wishes.

    Args:
        number: from 1.
    """
    rng = random.Random(f"fabula drawn brief {number}")
    while True:
        brief = Brief.model_validate(_wishes(rng))
        if _is_plain(brief) and not is_told(brief):
            return brief


def is_told(brief: Brief) -> bool:
    """Whether a training story is labelled with a thing of it at its place.

    To ask for a new genre at each place too would leave the rarest places only.
    """
    return any((p, t) in _told() for p in _places(brief) for t in _things(brief))


@cache
def _told() -> frozenset[tuple[str, str]]:
    """(noun of a place, noun of a thing) of all training stories."""
    briefs = [story.brief for story in load_sample("train")]
    return frozenset((p, t) for b in briefs for p in _places(b) for t in _things(b))


def _places(brief: Brief) -> list[str]:
    """Every noun of the place: of "a mill in the hills" mill and hill."""
    return heads(brief.setting.place) if brief.setting and brief.setting.place else []


def _things(brief: Brief) -> list[str]:
    return [noun for thing in brief.must_include for noun in heads(thing)]


def _is_plain(brief: Brief) -> bool:
    """Whether place and things are told apart by their nouns, and none is "a stone stone"."""
    nouns = _places(brief) + _things(brief)
    phrases = [thing.split() for thing in brief.must_include]
    return len(set(nouns)) == len(nouns) and all(len(set(p)) == len(p) for p in phrases)


def _wishes(rng: random.Random) -> dict[str, Any]:
    """One draw from the product of all wishes, contradictions of arc and ending aside."""
    from fabula.corpus.names import FEMALE, MALE

    hero, other = rng.sample(list(dict.fromkeys((*FEMALE, *MALE))), 2)
    characters = [{"name": hero, "traits": rng.sample(TRAITS, rng.randint(1, 2))}]
    if rng.random() < 0.5:
        characters.append({"name": other, "role": rng.choice(ROLES[1:])})
    arc = rng.choice(ARCS)
    return {
        "characters": characters,
        "setting": {"place": any_place(rng)},
        "genre": rng.choice(GENRES),
        "tone": rng.choice(TONES),
        "arc": arc,
        "ending": rng.choice([e for e in ENDINGS if not contradicts(arc, e)]),
        "point_of_view": rng.choice(VIEWS),
        "must_include": [any_thing(rng) for _ in range(rng.randint(1, 2))],
    }
