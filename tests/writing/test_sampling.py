from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.writing.sampling import dice, log_sum_exp, sample, survivors
from fabula.writing.settings import WriterSettings


def cuts(**changes: float) -> WriterSettings:
    open_wide = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    return WriterSettings.model_validate({**open_wide, **changes})


def naive(row: np.ndarray, c: WriterSettings) -> set[int]:
    """The definition, by a full sort of one row."""
    p = np.exp(row.astype(np.float64) - row.max())
    p /= p.sum()
    order = sorted(range(len(p)), key=lambda i: (-p[i], i))
    kept, mass = set(), 0.0
    for rank, i in enumerate(order):
        if c.top_k and rank >= c.top_k:
            break
        if rank and (mass >= c.top_p or p[i] < c.min_p * p.max()):
            break
        kept.add(i)
        mass += p[i]
    return kept


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0, 1, 5, 200]),
    st.sampled_from([0.1, 0.5, 0.95, 1.0]),
    st.sampled_from([0.0, 0.02, 0.5]),
    st.sampled_from([0.1, 1.0, 4.0]),
)
def test_survivors_are_those_of_a_full_sort(
    seed: int, top_k: int, top_p: float, min_p: float, sharpness: float
) -> None:
    scores = (np.random.default_rng(seed).normal(size=(3, 700)) * sharpness).astype(np.float32)
    c = cuts(top_k=top_k, top_p=top_p, min_p=min_p)
    ids, p = survivors(scores, c)
    for row in range(3):
        # A token exactly on a border may fall either way in float32: none is, in random scores.
        assert set(ids[row][p[row] > 0].tolist()) == naive(scores[row], c)


def test_samples_follow_the_distribution() -> None:
    scores = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], dtype=np.float32)).repeat(40_000, axis=0)
    counts = np.bincount(sample(scores, cuts(), dice(1, "t")), minlength=4) / 40_000
    # Four standard errors of a share at n = 40,000 are at most 0.01.
    assert np.abs(counts - [0.5, 0.3, 0.15, 0.05]).max() < 0.01


def test_temperature_reshapes_only_what_survives() -> None:
    scores = np.log(np.array([[0.6, 0.3, 0.1]], dtype=np.float32)).repeat(40_000, axis=0)
    c = cuts(temperature=2.0, min_p=0.2)
    counts = np.bincount(sample(scores, c, dice(2, "t")), minlength=3) / 40_000
    root = np.sqrt([0.6, 0.3])
    assert counts[2] == 0
    assert np.abs(counts[:2] - root / root.sum()).max() < 0.01


def test_no_temperature_takes_the_best() -> None:
    scores = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    assert (sample(scores, cuts(temperature=0), dice(0, "t")) == scores.argmax(axis=1)).all()


@given(st.integers(0, 500), st.sampled_from([0.0, 0.05]))
@settings(max_examples=40, deadline=None)
def test_banned_tokens_are_never_drawn(seed: int, min_p: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(4, 40)).astype(np.float32)
    banned = rng.random((4, 40)) < 0.9
    banned[:, 7] = False
    scores[banned] = -np.inf
    drawn = sample(scores, cuts(min_p=min_p), dice(seed, "t"))
    assert not banned[np.arange(4), drawn].any()


def test_losses_reorder_the_survivors_and_let_nothing_else_in() -> None:
    scores = np.log(np.array([[0.6, 0.39, 0.01]], dtype=np.float32)).repeat(20_000, axis=0)
    losses = np.zeros_like(scores)
    losses[:, 0] = 50
    drawn = sample(scores, cuts(min_p=0.1), dice(4, "t"), losses)
    assert set(drawn.tolist()) == {1}
    assert set(sample(scores, cuts(temperature=0), dice(4, "t"), losses).tolist()) == {1}
    losses[:, 0] = np.log(2)
    counts = np.bincount(sample(scores, cuts(min_p=0.1), dice(5, "t"), losses)) / 20_000
    assert counts == pytest.approx([0.3 / 0.69, 0.39 / 0.69], abs=0.015)


def test_a_flat_distribution_is_cut_right() -> None:
    ids, p = survivors(np.zeros((2, 6_000), dtype=np.float32), cuts(top_p=0.9))
    assert np.count_nonzero(p[0]) == pytest.approx(5_400, abs=1)
    assert ids[0][:3].tolist() == [0, 1, 2]  # equals stand in the order of their ids


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    scores = np.random.default_rng(3).normal(size=(8, 300)).astype(np.float32) * 3
    c = cuts(min_p=0.05, top_p=0.9, temperature=0.8)
    alone = [sample(scores[:n], c, dice(5, "t"))[0] for n in (1, 2, 8)]
    assert len(set(alone)) == 1


def test_decisions_have_their_own_dice() -> None:
    draws = {
        tuple(dice(seed, what, n).random(4))
        for seed in (0, 1)
        for what in ("climax", "premise")
        for n in (0, 1)
    }
    assert len(draws) == 8
    assert dice(3, "climax", 2).random() == dice(3, "climax", 2).random()


def test_log_sum_exp_makes_probabilities() -> None:
    scores = np.random.default_rng(0).normal(size=(3, 90)).astype(np.float32) * 20
    assert np.exp(scores - log_sum_exp(scores)[:, None]).sum(axis=1) == pytest.approx(1, abs=1e-5)
