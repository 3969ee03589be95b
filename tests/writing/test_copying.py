from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.story.sample import load_sample
from fabula.story.trees import load_trees, own_trees, walk
from fabula.writing.copying import (
    WINDOW,
    Guard,
    Originals,
    known_words,
    sample_originals,
    words_of,
)

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


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("most", [WINDOW, 8, 11])
def test_a_guarded_row_leaves_what_it_recites(cut: int, most: int) -> None:
    """A model that knows one text by heart, in tokens that part its words or do not."""
    original = "One evening the old king went alone to the quiet lake and never came home again."
    pieces, tokens = sorted({original[i : i + cut] for i in range(0, len(original), cut)}), []
    rest = original
    while rest:
        tokens.append(pieces.index(rest[:cut]))
        rest = rest[cut:]
    assert "".join(pieces[t] for t in tokens) == original
    other = len(pieces)
    pieces.append(" but")
    guard = Guard(Originals.of([original]), 2, pieces.__getitem__, most)
    written: list[int] = []
    for token in tokens:
        scores = np.zeros((2, len(pieces)), dtype=np.float32)
        scores[:, token], scores[:, other] = 9, 5
        guard.apply(scores)
        chosen = int(scores[0].argmax())
        assert scores[1].argmax() == token  # the other row has written nothing
        written.append(chosen)
        guard.append(0, chosen)
        if chosen != token:
            break
    said = "".join(pieces[t] for t in written)
    assert written[-1] == other
    shared = longest(words_of(original), words_of(said))
    assert most - 1 <= shared <= most


def test_what_is_too_long_already_may_end() -> None:
    """A phrase that was put in prolongs a run unasked; what follows must not be noise."""
    original = "one two three four five six seven eight nine ten eleven twelve"
    pieces = [f" {word}" for word in original.split()] + [".", ",", " and", "\n"]
    for forced in range(8, 12):
        guard = Guard(Originals.of([original]), 1, pieces.__getitem__, 8)
        for token in range(forced):
            guard.append(0, token)
        scores = np.zeros((1, len(pieces)), dtype=np.float32)
        guard.apply(scores)
        assert np.flatnonzero(np.isinf(scores[0])).tolist() == [forced]


def test_a_guard_knows_words_with_apostrophes() -> None:
    original = "he came home at six o'clock and did not say a word"
    pieces = ["he came home at six", " o", "'", "clock", " and did not", " say", " run"]
    guard = Guard(Originals.of([original]), 1, pieces.__getitem__, 9)
    for token in range(5):
        guard.append(0, token)
    scores = np.zeros((1, len(pieces)), dtype=np.float32)
    guard.apply(scores)
    assert np.flatnonzero(np.isinf(scores[0])).tolist() == [5]


def test_a_guard_lets_what_is_new_alone() -> None:
    guard = Guard(Originals.of(["one two three four five six seven"]), 1, " {}".format, 6)
    for token in range(30):
        scores = np.zeros((1, 40), dtype=np.float32)
        guard.apply(scores)
        assert (scores == 0).all()
        guard.append(0, token)


def test_no_run_crosses_two_texts() -> None:
    texts = ["one two three four five six seven", "eight nine ten eleven twelve thirteen"]
    found = Originals.of(texts).longest_run("four five six seven eight nine ten eleven", WINDOW)
    assert found == ""


def test_a_sample_story_is_recognised_and_a_new_one_is_not() -> None:
    for story in load_sample()[::150]:
        words = words_of(story.text)
        assert len(sample_originals().longest_run(story.text, 12).split()) >= len(words)
        assert known_words() >= set(words)
        # The same words in another order are another text; of 14 words, 9 windows would have to
        # seem known by chance.
        random.Random(0).shuffle(words)
        assert sample_originals().longest_run(" ".join(words), 14) == ""


def test_a_walk_through_a_tree_is_recognised_between_its_slots() -> None:
    runs = []
    for tree in load_trees(own_trees())[::30]:
        story = walk(tree, "man in a hole", random.Random(1))
        runs.append(len(sample_originals().longest_run(story.text, 12).split()))
    assert min(runs) >= 20
