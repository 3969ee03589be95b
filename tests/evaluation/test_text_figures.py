"""Words counted, cut and compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabula.evaluation.texts import (
    distinct,
    ends_on_a_sentence,
    first_words,
    spoken_words,
    written_words,
)


@given(st.text(max_size=200), st.integers(1, 20))
def test_a_cut_is_a_beginning_with_so_many_words(text: str, count: int) -> None:
    cut = first_words(text, count)
    assert text.startswith(cut)
    assert written_words(cut) == min(count, written_words(text))


def test_a_cut_keeps_white_space_and_stops_behind_the_word() -> None:
    assert first_words("One,\n\ntwo  three.", 2) == "One,\n\ntwo"


def test_spoken_words_ignore_case_and_punctuation() -> None:
    assert spoken_words("“Don’t,” said MARA—the twin_s.") == [
        "don't", "said", "mara", "the", "twin", "s",
    ]  # fmt: skip


def test_distinct_has_known_values_at_a_fixed_length() -> None:
    assert distinct("a b a b", 1, words=4) == 0.5
    assert distinct("a b a b", 2, words=4) == pytest.approx(2 / 3)
    assert distinct("a b a b c d e f", 1, words=4) == 0.5
    assert distinct("a b a", 1, words=4) is None


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("She left.", True),
        ('"Go!" he said. "Go."', True),
        ("He went (far away…)", True),
        ("She left and", False),
        ("She said:", False),
        ("", False),
    ],
)
def test_the_end_of_a_sentence(text: str, whole: bool) -> None:
    assert ends_on_a_sentence(text) is whole
