from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fabula.writing.dry import Dry

TOKENS = st.lists(st.integers(0, 5), max_size=40)


def naive(text: list[int], breakers: set[int], allowed: int) -> dict[int, float]:
    """The definition: for each earlier place, how many last tokens also stand before it."""
    longest: dict[int, int] = {}
    for place in range(1, len(text)):
        length = 0
        while (
            length < place
            and text[place - 1 - length] == text[len(text) - 1 - length]
            and text[place - 1 - length] not in breakers
        ):
            length += 1
        if length >= allowed and text[place] not in breakers:
            longest[text[place]] = max(length, longest.get(text[place], 0))
    return {t: 0.8 * 1.75 ** (n - allowed) for t, n in longest.items()}


@given(TOKENS, TOKENS.filter(bool), st.sets(st.integers(0, 5), max_size=2), st.integers(1, 4))
def test_penalties_are_those_of_the_definition(
    history: list[int], written: list[int], breakers: set[int], allowed: int
) -> None:
    dry = Dry(history, 2, breakers, 0.8, 1.75, allowed)
    for token in written:
        dry.append(1, token)
    found = dry.penalties(1)
    # A match that reaches back into the history counts from the first token written on.
    expected = naive(history + written, breakers, allowed)
    for token, penalty in found.items():
        assert penalty <= expected[token] + 1e-9
    if not history:
        assert found == expected
    assert dry.penalties(0) == {}


def test_a_loop_is_ever_more_expensive() -> None:
    dry = Dry([], 1, (), 0.8, 1.75, 2)
    losses = []
    for token in [1, 2, 3] * 4:
        dry.append(0, token)
        losses.append(dry.penalties(0).get(1, 0.0))
    at_threes = losses[5::3]
    assert at_threes == sorted(at_threes)
    assert at_threes[-1] > 30 > at_threes[0] > 0


def test_scores_change_in_place_and_only_there() -> None:
    dry = Dry([1, 2, 3, 4], 1, (), 1.0, 2.0, 2)
    dry.append(0, 1)
    dry.append(0, 2)
    scores = np.zeros((1, 6), dtype=np.float32)
    dry.apply(scores)
    assert scores[0].tolist() == [0, 0, 0, -1, 0, 0]


def test_names_and_line_ends_break_a_match() -> None:
    dry = Dry([1, 2, 3, 4], 1, {2}, 1.0, 2.0, 1)
    for token in (1, 2):
        dry.append(0, token)
    assert dry.penalties(0) == {}
