from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fabula.story.sample import load_sample
from fabula.writing.copying import Originals, sample_originals, words_of

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


@given(LETTERS, LETTERS, st.integers(2, 6))
def test_a_shared_run_over_the_limit_is_found(original: str, text: str, least: int) -> None:
    run = Originals([original]).longest_run(text, least)
    true = longest(original.split(), text.split())
    # A run of 2k - 1 words is sure to hold an aligned block of k.
    assert bool(run) == (true >= least) or (not run and true < 2 * ((least + 1) // 2) - 1)
    assert len(run.split()) <= true
    if run:
        assert f" {run} " in f" {original} "


def test_no_run_crosses_two_texts() -> None:
    assert Originals(["one two three", "four five six"]).longest_run("two three four five", 4) == ""


def test_a_sample_story_is_recognised_and_a_new_one_is_not() -> None:
    story = load_sample("train")[0]
    assert len(sample_originals().longest_run(story.text, 12).split()) == len(words_of(story.text))
    assert sample_originals().longest_run("The quick brown fox jumps over it. " * 9, 12) == ""
