"""The graph of the trees' wordings, and what going on along it costs."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fabula.story.sample import load_sample
from fabula.story.trees import load_trees, own_trees, walk
from fabula.writing.verbatim import Reciting, Wordings, own_wordings

TEXT = "The [old|very old] man [sat|lay] by {the thing} all night. He [sang a song|slept]."


def test_runs_follow_every_alternative_and_stop_at_slots() -> None:
    graph = Wordings([TEXT])
    assert graph.longest_run("The very old man lay by the fire.") == "the very old man lay by"
    assert graph.longest_run("An old man sat by a lamp all night; he sang a song") == (
        "all night he sang a song"
    )
    assert graph.longest_run("the man old by") == ""
    assert graph.longest_run("") == ""
    with_slot_in_choice = Wordings(["She [took {the thing} home|ran home] at once."])
    assert with_slot_in_choice.longest_run("she ran home at once") == "she ran home at once"
    assert with_slot_in_choice.longest_run("took the lamp home at once") == "home at once"


def test_a_walk_is_recited_and_a_persons_story_is_not() -> None:
    graph = own_wordings()
    for tree in load_trees(own_trees())[:5]:
        story = walk(tree, "icarus", random.Random(1))
        assert len(graph.longest_run(story.text).split()) >= 12
    runs = [len(graph.longest_run(s.text).split()) for s in load_sample("test")]
    assert max(runs) <= 12


@pytest.mark.parametrize("split", [["The old", " man", " sat"], ["The", " o", "ld man", " sat"]])
def test_only_the_word_that_goes_on_costs_something(split: list[str]) -> None:
    pieces = [*split, " by", " near", " all"]
    openers = {"by": frozenset({len(split)}), "sat": frozenset({len(split) - 1})}
    reciting = Reciting(
        Wordings([TEXT]), 2, pieces.__getitem__, lambda w: openers.get(w, frozenset()), 4, 2.5
    )
    for token in range(len(split)):
        reciting.append(0, token)
    scores = np.zeros((2, len(pieces)), dtype=np.float32)
    reciting.apply(scores)
    wanted = np.zeros_like(scores)
    wanted[0, len(split)] = -2.5
    assert np.array_equal(scores, wanted)


def test_a_run_starts_anew_after_a_strange_word() -> None:
    reciting = Reciting(
        Wordings(["one two three four five"]),
        1,
        ["one", " two", " three", " and", " four", " five"].__getitem__,
        lambda w: frozenset({5}) if w == "five" else frozenset(),
        2,
        1.0,
    )
    for token in (0, 1, 2, 3, 4):
        reciting.append(0, token)
    scores = np.zeros((1, 6), dtype=np.float32)
    reciting.apply(scores)
    assert not scores.any()
