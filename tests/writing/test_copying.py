from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fabula.story.sample import load_sample
from fabula.story.trees import load_trees, own_trees, walk
from fabula.writing.copying import WINDOW, Originals, known_words, sample_originals, words_of

LETTERS = st.lists(st.sampled_from("abcd"), min_size=0, max_size=40).map(" ".join)


def longest(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    best = 0
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            if x == y:
                table[i][j] = table[i - 1][j - 1] + 1
                best = max(best, table[i][j])
    return best


@given(LETTERS, LETTERS, st.integers(WINDOW, 12))
def test_a_shared_run_over_the_limit_is_always_found(original: str, text: str, least: int) -> None:
    run = Originals.of([original]).longest_run(text, least)
    true = longest(original.split(), text.split())
    assert run or true < least
    assert len(run.split()) >= min(true, least) or not run
    assert f" {run} " in f" {text} " or not run


def test_no_run_crosses_two_texts() -> None:
    texts = ["one two three four five six seven", "eight nine ten eleven twelve thirteen"]
    found = Originals.of(texts).longest_run("four five six seven eight nine ten eleven", WINDOW)
    assert found == ""


def test_a_sample_story_is_recognised_and_a_new_one_is_not() -> None:
    for story in load_sample()[::150]:
        words = words_of(story.text)
        assert len(sample_originals().longest_run(story.text, 12).split()) >= len(words)
        assert known_words() >= set(words)
        # The same words in another order are another text.
        random.Random(0).shuffle(words)
        assert sample_originals().longest_run(" ".join(words), 12) == ""


def test_a_walk_through_a_tree_is_recognised_between_its_slots() -> None:
    runs = []
    for tree in load_trees(own_trees())[::30]:
        story = walk(tree, "man in a hole", random.Random(1))
        runs.append(len(sample_originals().longest_run(story.text, 12).split()))
    assert min(runs) >= 20
