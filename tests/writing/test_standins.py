from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.errors import FabulaError
from fabula.story import Beat, Brief, Character, Outline, Setting
from fabula.writing.standins import (
    KnownNames,
    StandIns,
    core,
    guess_gender,
    load_names,
    names_known,
)

KNOWN = KnownNames(
    female=["Mara", "Nell", "Rosa"], male=["Oke", "Tom", "Idris"], neutral=["Robin", "Ash", "Wren"]
)
HOSTILE = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=300).filter(
    str.strip
)


def lend(brief: Brief, seed: int = 0) -> StandIns:
    return StandIns.choose(brief, KNOWN, seed, lambda word: word.lower() == "button")


def test_known_names_titles_and_descriptions_stay() -> None:
    names = ["Mara", "Madam Oke", "the old miller", "Button"]
    brief = Brief(characters=[Character(name=n) for n in names])
    assert lend(brief).pairs == []
    assert lend(brief).hide_brief(brief) is brief


def test_unknown_names_are_replaced_in_all_that_the_model_sees() -> None:
    brief = Brief(
        characters=[
            Character(name="Dr. Zxqv Oyelaran", traits=["she is shy"]),
            Character(name="Mara", role="ally"),
        ],
        setting=Setting(place="Zxqv's house"),
        must_include=["a letter to Oyelaran"],
        premise="Zxqv Oyelaran finds a letter. She reads it to Mara.",
    )
    standins = lend(brief)
    (pair,) = standins.pairs
    assert pair[0] == "Zxqv Oyelaran"
    assert pair[1] in ("Nell", "Rosa")  # female by "she", and Mara is taken
    seen = standins.hide_brief(brief)
    assert seen.characters[0].name == f"Dr. {pair[1]}"
    assert seen.setting is not None
    assert seen.setting.place == f"{pair[1]}'s house"
    assert seen.must_include == [f"a letter to {pair[1]}"]
    assert seen.premise == f"{pair[1]} finds a letter. She reads it to Mara."
    assert "Zxqv" not in seen.model_dump_json()


def test_names_come_back_whole_then_short_with_possessives_and_shouts() -> None:
    standins = StandIns([("Zxqv Oyelaran", "Nell")])
    said: set[str] = set()
    assert standins.show("Nell's lamp. Nell ran.", said) == "Zxqv Oyelaran's lamp. Zxqv ran."
    assert standins.show('"NELL!" The knell, Nellie.', said) == '"ZXQV!" The knell, Nellie.'
    assert standins.show("Nell!") == "Zxqv Oyelaran!"


def test_names_that_contain_each_other() -> None:
    brief = Brief(characters=[Character(name="Xen"), Character(name="Xenia"), Character(name="Xe")])
    standins = lend(brief)
    text = "Xenia met Xen, and Xe."
    assert len({s for _, s in standins.pairs}) == 3
    assert standins.show(standins.hide(text)) == text


def test_a_name_that_is_anothers_stand_in_is_not_lent() -> None:
    brief = Brief(
        characters=[Character(name="Zzyx"), Character(name="Wren")], theme="ash and robin"
    )
    for seed in range(6):
        assert all(s.casefold() not in {"wren", "ash", "robin"} for _, s in lend(brief, seed).pairs)


@pytest.mark.parametrize(
    "name", ["🦊", "محمد", "‮evil", "Ольга Петровна", "(.*)[a-z]+$", "Zz\\1", "O'Zzark", "X" * 300]
)
def test_hostile_names_make_the_round_trip(name: str) -> None:
    brief = Brief(characters=[Character(name=name, traits=["shy"])])
    standins = lend(brief)
    assert len(standins.pairs) == 1
    text = f"Then {name} ran."
    hidden = standins.hide(text)
    assert name not in hidden
    assert standins.show(hidden) == text


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=4), st.integers(0, 50))
def test_any_names_make_the_round_trip(names: list[str], seed: int) -> None:
    unique = list({n.strip().casefold(): n.strip() for n in names}.values())
    brief = Brief(characters=[Character(name=n) for n in unique])
    standins = lend(brief, seed)
    seen = standins.hide_brief(brief)
    assert len(seen.characters) == len(unique)
    stands = [s for _, s in standins.pairs]
    assert len(set(stands)) == len(stands)
    for real, stand in standins.pairs:
        assert standins.show(f"So {stand} went.") == f"So {real} went."
        assert lend(brief, seed).pairs == standins.pairs


def test_an_outline_is_hidden_too() -> None:
    standins = StandIns([("Zxqv", "Nell")])
    outline = Outline(beats=[Beat(beat="climax", summary="Zxqv's lamp fails.")])
    assert standins.hide_outline(outline).beats[0].summary == "Nell's lamp fails."


@pytest.mark.parametrize(
    ("name", "brief", "gender"),
    [
        ("Queen Zyx", {}, "female"),
        ("Uncle Zyx", {}, "male"),
        ("Zyx", {"premise": "When Zyx was small, her mother sang."}, "female"),
        ("Zyx", {"premise": "Zyx lost his boat."}, "male"),
        ("Zyxara", {}, "female"),
        ("Zyx", {}, "neutral"),
    ],
)
def test_gender(name: str, brief: dict[str, str], gender: str) -> None:
    character = Character(name=name)
    whole = Brief.model_validate({**brief, "characters": [character.model_dump()]})
    assert guess_gender(character, whole) == gender


def test_core() -> None:
    assert core("Captain Zorb of the North") == ["Zorb", "North"]
    assert core("the mate") == []


def test_a_models_list_is_found_and_checked(tmp_path: Path) -> None:
    assert names_known(str(tmp_path)) is None
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"female": ["Mara"]}))
    found = names_known(str(tmp_path))
    assert found is not None
    assert found.every == {"mara"}
    path.write_text("{")
    with pytest.raises(FabulaError, match=r"names\.json"):
        load_names(path)
    path.write_text('{"femal": []}')
    with pytest.raises(FabulaError, match="did you mean 'female'"):
        load_names(path)
