"""Intervals cover, floors are really mismatched, differences are paired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.evaluation.bootstrap import (
    Resamples,
    average,
    derangements,
    exp_ratio,
    mean,
    quantile,
    ratio,
    share,
)

groups = st.lists(st.sampled_from("abcdefgh"), min_size=0, max_size=24)


@given(groups, st.integers(0, 100))
def test_nobody_meets_his_own_prompt(group: list[str], seed: int) -> None:
    found = derangements(group, 5, seed)
    for pairing in found:
        assert sorted(pairing) == list(range(len(group)))
        assert all(group[j] != group[i] for i, j in enumerate(pairing))
    assert len({tuple(p) for p in found}) == len(found)
    largest = max(map(group.count, set(group)), default=0)
    # One exists exactly where no prompt has more than half of the stories.
    assert bool(found) == (len(set(group)) > 1 and 2 * largest <= len(group))


def test_derangements_are_several_seeded_and_no_shift_of_the_file_order() -> None:
    first, again = derangements(range(40), 5, 3), derangements(range(40), 5, 3)
    assert first == again != derangements(range(40), 5, 4)
    assert len(first) == 5
    assert all(len({(j - i) % 40 for i, j in enumerate(p)}) > 10 for p in first)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        bytes_ = rng.integers(500, 2_000, 60).astype(float)
        bits = bytes_ * rng.normal(1.25, 0.3, 60)
        interval = Resamples(range(60), trial, 400).interval((1, ratio(list(bits), list(bytes_))))
        assert interval is not None
        covered += interval.low <= 1.25 <= interval.high
    assert 0.91 <= covered / 300 <= 0.98


def test_where_every_story_keeps_half_drawing_again_shows_nothing() -> None:
    half = replace(ratio([50.0, 100.0, 50.0], [1.0, 2.0, 1.0]), share=True)
    assert Resamples(range(3), 0).interval((1, half)) is None


def test_stories_of_one_prompt_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(1)
    values = list(np.repeat(rng.normal(0, 1, 12), 10))
    prompts = list(np.repeat(np.arange(12), 10))
    alone = Resamples(range(120), 0).interval((1, mean(values)))
    together = Resamples(prompts, 0).interval((1, mean(values)))
    assert alone is not None
    assert together is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_lift_is_paired() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 10, 50)
    own, floor = mean(list(hard + 1 + rng.normal(0, 0.1, 50))), mean(list(hard))
    draws = Resamples(range(50), 0)
    lift = draws.interval((1, own), (-1, floor))
    assert lift is not None
    assert 0.9 < lift.low < lift.high < 1.1


def test_figures_are_sums_over_sums_not_means_of_ratios() -> None:
    assert ratio([10.0, 10.0], [10.0, 1.0]).value == pytest.approx(20 / 11)
    assert exp_ratio([np.log(2) * 3, np.log(2)], [1.0, 1.0]).value == pytest.approx(4)
    assert mean([1.0, None, 3.0]).value == 2
    assert mean([None]).value is None
    assert average([mean([1.0]), ratio([6.0], [2.0])]).value == 2


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantile_is_the_smallest_value_that_enough_do_not_exceed(
    values: list[int], q: float
) -> None:
    expected = np.quantile(values, q, method="inverted_cdf")
    assert quantile([*values, None], q).value == expected


def test_no_interval_from_one_prompt_and_the_same_one_for_the_same_seed() -> None:
    values = mean([1.0, 2.0, 5.0])
    assert Resamples(["a", "a", "a"], 0).interval((1, values)) is None
    assert Resamples("abc", 7).interval((1, values)) == Resamples("abc", 7).interval((1, values))


def test_none_of_forty_is_not_certainly_none() -> None:
    draws = Resamples(range(40), 0)
    none, every = (draws.interval((1, share([answer] * 40))) for answer in (False, True))
    assert none is not None
    assert every is not None
    # Clopper and Pearson: 1 - 0.025 ** (1 / 40).
    assert (none.low, none.high) == (0, pytest.approx(8.81, abs=0.01))
    assert (every.low, every.high) == (pytest.approx(91.19, abs=0.01), 100)
    same = draws.interval((1, share([False] * 40)), (-1, share([False] * 40)))
    assert same is None
