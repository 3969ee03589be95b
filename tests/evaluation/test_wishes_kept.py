"""Wishes by kind: kept by the story that answers the brief, by chance only by another's."""

from __future__ import annotations

import pytest

from fabula.evaluation.bootstrap import derangements
from fabula.evaluation.wishes import ALL, CORE, kept_share, kind_of, tally
from fabula.story import Receipt, Wish
from fabula.story.sample import load_sample
from fabula.writing import check_receipt

STORIES = load_sample("valid")


def test_wishes_are_counted_by_kind_and_the_title_is_no_merit() -> None:
    receipt = Receipt(
        wishes=[
            Wish(wish="title", value="X", kept=True),
            Wish(wish="character 1", value="Mara", kept=True),
            Wish(wish="character 2", value="Olo", kept=False),
            Wish(wish="trait of character 1", value="shy", kept=True),
            Wish(wish="must include", value="a clock", kept=False),
            Wish(wish="arc", value="icarus", kept=True),
            Wish(wish="time", value="1905", kept=False),
        ]
    )
    assert tally(receipt) == {
        ALL: (3, 6),
        CORE: (2, 4),
        "character": (1, 2),
        "trait": (1, 1),
        "must include": (0, 1),
        "arc": (1, 1),
        "time": (0, 1),
    }
    assert kind_of("trait of character 12") == "trait"


def test_every_kind_of_wish_of_the_sample_is_known() -> None:
    wishes = check_receipt(STORIES[0].brief, STORIES[0].text).wishes
    assert {kind_of(w.wish) for w in wishes} >= {
        "character", "trait", "place", "genre", "tone", "arc", "ending", "point of view",
        "must include",
    }  # fmt: skip


def test_own_stories_keep_names_and_things_others_do_not() -> None:
    (pairing,) = derangements(range(len(STORIES)), 1, 0)
    own = [tally(check_receipt(s.brief, s.text)) for s in STORIES]
    chance = [
        tally(check_receipt(s.brief, STORIES[j].text))
        for s, j in zip(STORIES, pairing, strict=True)
    ]
    for kind in ("character", "must include"):
        kept, by_chance = kept_share(own, kind).value, kept_share(chance, kind).value
        assert kept is not None
        assert by_chance is not None
        assert kept > 95
        assert by_chance < 30


def test_swapping_the_names_is_noticed_and_nothing_else_changes() -> None:
    story = next(s for s in STORIES if s.point_of_view == "third")
    text = story.text
    for character in story.characters:
        for part in character.name.split():
            text = text.replace(part, "Zzyzx")
    before, after = (
        tally(check_receipt(story.brief, story.text)),
        tally(check_receipt(story.brief, text)),
    )
    assert before["character"][0] == len(story.characters)
    assert after["character"][0] == 0
    assert after["point of view"] == before["point of view"]


def test_shares_are_of_all_wishes_and_undefined_without_any() -> None:
    tallies = [{"place": (1, 1)}, {"place": (0, 3)}, {}]
    assert kept_share(tallies, "place").value == pytest.approx(25)
    assert kept_share(tallies, "arc").value is None
