"""What a reader leaves open, decided by the dice before a small model begins.

A brief that wishes for a comedy and nothing else leaves everything to the model. A large model
fills such gaps as it writes; a model of a few million parameters loses its way. So a whole brief is
made first, as a writer decides on a hero, a place and a turn of fortune before the first sentence.
Only the reader's own wishes are checked and put on the receipt.
"""

from __future__ import annotations

import random
from typing import Any

from fabula.story import ARCS, GENRES, Brief, Character, Setting
from fabula.story.brief import FALLING_ARCS, RISING_ARCS
from fabula.story.stock import TRAITS, any_place, any_thing
from fabula.writing.standins import KnownNames

_ENDINGS = {True: ("happy", "bittersweet", "twist"), False: ("sad", "bittersweet", "open", "twist")}
_TONES = {
    True: ("hopeful", "warm", "playful", "tender", "funny"),
    False: ("wistful", "solemn", "dark", "eerie", "tense"),
}
# Lengths of the stories that the embedded model has read most of; others mislead it. The passages
# are held to the length wished for by the writer, not by the tag.
SHORTEST, USUAL, LONGEST = 150, 200, 225
# Told in passing ("It was one winter"). The simple prose that a small model has read gives no time,
# and a brief without one calls it up.
_TIMES = (
    "one autumn", "one winter", "one spring", "one summer", "a rainy week", "a cold March",
    "the first week of winter", "the last week of summer",
)  # fmt: skip


def decide(brief: Brief, names: KnownNames, seed: int) -> Brief:
    """The brief with every gap filled that matters to a small model.

    Args:
        brief: the wishes, in names that the model knows.
        names: the names that it knows.
        seed: of the story; the same seed decides the same.
    """
    rng = random.Random(f"{seed}/left open")
    drawn = rng.choice(_arcs(brief))
    arc: str = brief.arc or drawn
    rises = arc in RISING_ARCS
    length = min(max(brief.length or USUAL, SHORTEST), LONGEST)
    changes: dict[str, Any] = {"arc": arc, "length": length}
    changes["characters"] = _cast(brief, names, rng)
    for key, options in (
        ("ending", _ENDINGS[rises]),
        ("genre", GENRES),
        ("tone", _TONES[rises]),
        ("point_of_view", ("third", "third", "first")),
    ):
        option = rng.choice(options)
        if getattr(brief, key) is None:
            changes[key] = option
    place, thing = any_place(rng), any_thing(rng)
    time, setting = rng.choice(_TIMES), brief.setting or Setting()
    changes["setting"] = Setting(place=setting.place or place, time=setting.time or time)
    if not brief.must_include:
        changes["must_include"] = [thing]
    return brief.model_copy(update=changes)


def _arcs(brief: Brief) -> tuple[str, ...]:
    """Arcs that do not contradict the ending."""
    if brief.ending == "happy":
        return tuple(a for a in ARCS if a in RISING_ARCS)
    if brief.ending in ("sad", "open"):
        return tuple(a for a in ARCS if a in FALLING_ARCS)
    return ARCS


def _cast(brief: Brief, names: KnownNames, rng: random.Random) -> list[Character]:
    """The characters, a protagonist with a name and a trait first among them."""
    pool = [n for n in (*names.female, *names.male) if n not in str(brief.model_dump())]
    drawn = rng.sample(pool, min(len(pool), 2 + len(brief.characters)))
    trait, company = rng.choice(TRAITS), rng.random() < 0.7
    cast = []
    for number, character in enumerate(brief.characters):
        update: dict[str, Any] = {} if character.name else {"name": drawn[number]}
        if character.role == "protagonist" and not character.traits:
            update["traits"] = [trait]
        cast.append(character.model_copy(update=update))
    if not any(c.role == "protagonist" for c in cast) and drawn:
        cast.insert(0, Character(name=drawn[-1], role="protagonist", traits=[trait]))
    if len(cast) == 1 and company and len(drawn) > 1:
        cast.append(Character(name=drawn[-2], role="ally"))
    return cast


def decided(brief: Brief, whole: Brief) -> str:
    """What was decided, in a sentence; empty where nothing was."""
    found = []
    hero = whole.protagonist
    if hero is not None and hero not in brief.characters:
        found.append(f"hero {', '.join([hero.name or '', *hero.traits])}")
    setting, chosen = brief.setting or Setting(), whole.setting or Setting()
    if setting.place is None:
        found.append(f"place {chosen.place}")
    if setting.time is None:
        found.append(f"time {chosen.time}")
    for key in ("genre", "tone", "arc", "ending", "point_of_view"):
        if getattr(brief, key) is None:
            found.append(f"{key.replace('_', ' ')} {getattr(whole, key)}")
    if not brief.must_include:
        found.append(f"with {', '.join(whole.must_include)}")
    return f"left open, and decided by the dice: {'; '.join(found)}." if found else ""
