from __future__ import annotations

from fabula.story import Beat, Brief, Character, Outline, Setting
from fabula.writing.wishes import missing, spread

BRIEF = Brief(
    characters=[
        Character(name="Oke", role="ally"),
        Character(name="Mara"),
        Character(traits=["silent"], role="antagonist"),
    ],
    setting=Setting(place="a lighthouse"),
    must_include=["a broken clock", "the lamp", "salt"],
)


def test_protagonist_and_place_are_due_at_once_and_the_rest_is_spread() -> None:
    due = {w.phrase: w.due for w in spread(BRIEF, 5)}
    assert due["Mara"] == 0
    assert due["a lighthouse"] == 0
    assert 0 <= due["a broken clock"] < due["the lamp"] < due["salt"] < 4
    assert set(due) == {"Mara", "Oke", "a lighthouse", "a broken clock", "the lamp", "salt"}


def test_a_narrator_has_time_to_say_the_own_name() -> None:
    brief = BRIEF.model_copy(update={"point_of_view": "first"})
    assert {w.phrase: w.due for w in spread(brief, 5)}["Mara"] == 1


def test_everything_is_due_in_a_story_of_one_beat() -> None:
    assert {w.due for w in spread(BRIEF, 1)} == {0}


def test_the_outline_draws_wishes_to_where_it_mentions_them() -> None:
    summaries = ["Mara wakes.", "Nothing.", "The clocks break.", "The lamps fail.", "Oke comes."]
    names = ["a", "b", "c", "d", "e"]
    outline = Outline(
        beats=[Beat(beat=n, summary=s) for n, s in zip(names, summaries, strict=True)]
    )
    due = {w.phrase: w.due for w in spread(BRIEF, 5, outline)}
    assert due["the lamp"] == 3
    assert due["Oke"] == 4


def test_missing() -> None:
    wants = spread(BRIEF, 5)
    left = {w.phrase for w in missing(wants, "Mara wound the broken clock in the lighthouse.")}
    assert left == {"Oke", "the lamp", "salt"}


def test_traits_come_one_a_beat_from_where_the_character_enters() -> None:
    brief = Brief(
        characters=[
            Character(name="Mara", traits=["shy", "stubborn"]),
            Character(name="Oke", role="ally", traits=["practical", "Shy"]),
        ]
    )
    outline = Outline(
        beats=[Beat(beat=b, summary=s) for b, s in (("a", "Mara."), ("b", "x."), ("c", "Oke."))]
    )
    due = {w.phrase: w.due for w in spread(brief, 3, outline) if w.kind == "trait"}
    assert due == {"shy": 0, "stubborn": 1, "practical": 2}
    owners = {w.phrase: w.owner for w in spread(brief, 3, outline) if w.kind == "trait"}
    assert owners == {"shy": "Mara", "stubborn": "Mara", "practical": "Oke"}
    told = brief.model_copy(update={"point_of_view": "first"})
    assert {w.owner for w in spread(told, 3, outline) if w.kind == "trait"} == {"I", "Oke"}
    assert not [w for w in spread(brief, 3) if w.kind == "trait"]
