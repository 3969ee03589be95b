"""Augmentation changes a name, a place, a thing or a trait everywhere, or nowhere."""

from __future__ import annotations

import random
import re

import pytest

from fabula.corpus.augment import (
    AugmentSettings,
    Example,
    augment,
    given_name,
    guess_gender,
    rename_characters,
    swap_place,
    swap_thing,
    swap_trait,
    wish_for_things,
)
from fabula.corpus.names import FEMALE, GENDER, MALE, POOLS
from fabula.story import Brief, Character, Passage, Setting
from fabula.story.sample import load_sample
from fabula.story.stock import PLACES, THINGS, TRAITS


def gold(split: str = "train") -> list[Example]:
    return [
        Example(brief=s.brief, premise=s.premise, outline=s.outline, passages=s.passages)
        for s in load_sample(split)[::4]  # type: ignore[arg-type]
    ]


def everything(example: Example) -> str:
    return example.model_dump_json()


def small(text: str, **brief: object) -> Example:
    return Example(brief=Brief.model_validate(brief), passages=[Passage(beat="climax", text=text)])


def test_renaming_leaves_no_trace_of_the_old_name() -> None:
    renamed = 0
    for example in gold():
        changed = rename_characters(example, random.Random(1))
        for before, after in zip(example.brief.characters, changed.brief.characters, strict=True):
            if before.name == after.name:
                continue
            renamed += 1
            old, new = given_name(before.name or ""), given_name(after.name or "")
            assert old
            assert new
            assert not re.search(rf"\b{old}\b", everything(changed)), (old, new)
            words = re.findall(rf"\b{old}\b", example.text)
            assert len(words) <= changed.text.count(new)
    assert renamed > 920  # most stories have a name to change


def test_renaming_keeps_the_pronouns() -> None:
    example = small(
        "Greta lost her hat. She cried. Otto found it. He laughed.",
        characters=[{"name": "Greta"}, {"name": "Otto", "role": "ally"}],
    )
    for seed in range(20):
        changed = rename_characters(example, random.Random(seed))
        first, second = (c.name for c in changed.brief.characters)
        assert first in FEMALE
        assert second in MALE


def test_words_of_the_language_are_no_names_to_change() -> None:
    example = small("Moon ran. The moon rose.", characters=[{"name": "Moon"}])
    assert rename_characters(example, random.Random(0)) == example


def test_capitals_and_possessives_follow() -> None:
    example = small("ANTON! It was Anton's hat.", characters=[{"name": "Anton"}])
    changed = rename_characters(example, random.Random(3))
    name = changed.brief.characters[0].name
    assert name
    assert changed.text == f"{name.upper()}! It was {name}'s hat."


@pytest.mark.parametrize(
    ("name", "text", "gender"),
    [
        ("Mara", "", "female"),
        ("Mr. Xyz", "", "male"),
        ("Qwerty", "Qwerty sat. She sang her song. Qwerty hummed to herself.", "female"),
        ("Qwerty", "Qwerty sat with him and her.", None),
        ("the sea", "", None),
    ],
)
def test_gender_guess(name: str, text: str, gender: str | None) -> None:
    assert guess_gender(name, text) == gender


def test_place_moves_everywhere_with_its_article() -> None:
    example = small(
        "A barn stood here. Barns burn. In the barn she slept.",
        setting={"place": "an old barn"},
    )
    changed = swap_place(example, random.Random(5))
    assert changed.brief.setting
    assert "barn" not in everything(changed).lower()
    noun = (changed.brief.setting.place or "").split()[-1]
    assert noun in PLACES
    article = "An" if noun[0] in "aeiou" else "A"
    assert changed.text.startswith(f"{article} {noun} stood")


def test_thing_changes_everywhere() -> None:
    example = small("She held a red ball. The ball broke.", must_include=["a red ball"])
    changed = swap_thing(example, random.Random(2))
    assert "ball" not in everything(changed)
    assert changed.brief.must_include[0] in changed.text
    assert changed.brief.must_include[0].split()[-1] in THINGS


def test_thing_takes_another_quality() -> None:
    example = small(
        "She held a red ball. The red ball broke. Balls do.", must_include=["a red ball"]
    )
    seen = {swap_thing(example, random.Random(seed)).brief.must_include[0] for seed in range(20)}
    kept = {phrase for phrase in seen if phrase.startswith("a red ")}
    assert kept
    assert seen - kept
    for seed in range(200):
        changed = swap_thing(example, random.Random(seed))
        _, *quality, thing = changed.brief.must_include[0].split()
        assert changed.text.count(f"{' '.join(quality)} {thing}") == 2
        assert not re.search(r"\bballs?\b", everything(changed).lower())
        assert quality != [thing]


def test_quality_that_something_else_has_stays() -> None:
    example = small("She held a red ball. The door was red.", must_include=["a red ball"])
    for seed in range(20):
        changed = swap_thing(example, random.Random(seed))
        assert changed.brief.must_include[0].startswith("a red ")
        assert "The door was red." in changed.text


def test_trait_changes_everywhere_with_its_article() -> None:
    example = small(
        "Ada was a brave girl. Brave Ada went bravely. The night was cold.",
        characters=[{"name": "Ada", "traits": ["brave", "cold"]}],
    )
    for seed in range(100):
        changed = swap_trait(example, random.Random(seed))
        trait, other = changed.brief.characters[0].traits
        assert trait in TRAITS
        assert trait != "brave"
        assert other == "cold"
        before = "an" if trait[0] in "aeiou" or trait == "honest" else "a"
        assert changed.text == (
            f"Ada was {before} {trait} girl. {trait.capitalize()} Ada went bravely. "
            "The night was cold."
        )


def test_trait_that_is_not_said_stays() -> None:
    example = small("She went.", characters=[{"name": "Ada", "traits": ["brave"]}])
    assert swap_trait(example, random.Random(0)) == example


def test_wishes_occur_in_the_text() -> None:
    wished = 0
    for example in gold():
        bare = example.model_copy(
            update={"brief": example.brief.model_copy(update={"must_include": []})}
        )
        for phrase in wish_for_things(bare, random.Random(0)).brief.must_include:
            assert phrase in example.text
            wished += 1
    assert wished > 400


def test_must_haves_stay_verbatim_after_augmentation() -> None:
    """What the brief wants must still stand in the text, or we would teach disobedience."""
    settings = AugmentSettings(swap_place=1, swap_thing=1, rename_characters=1)
    kept = total = 0
    for example in gold():
        changed = augment(example, random.Random(7), settings)
        for phrase in changed.brief.must_include:
            total += 1
            kept += phrase.lower() in changed.text.lower()
    assert kept / total > 0.99


def test_same_generator_same_variation() -> None:
    example = gold()[0]
    first = augment(example, random.Random(9), AugmentSettings())
    assert first == augment(example, random.Random(9), AugmentSettings())
    assert any(
        augment(example, random.Random(seed), AugmentSettings()) != first for seed in range(5)
    )


def test_the_pools_are_apart_and_known() -> None:
    assert set(POOLS["neutral"]).isdisjoint(FEMALE)
    for gender, pool in POOLS.items():
        assert len(set(pool)) == len(pool), gender
        for name in pool:
            assert GENDER[name] in (gender, "male"), name


def test_a_character_without_name_is_left_alone() -> None:
    example = small("A dog ran.", characters=[Character(traits=["brave"])], setting=Setting())
    assert rename_characters(example, random.Random(0)) == example
