"""What one text shows: each figure notices its fault and ignores what is none (after OpenMEVA)."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fabula.evaluation.arccurves import mean_arcs
from fabula.evaluation.portrait import end_lift, portray
from fabula.reading import split_sentences
from fabula.story.sample import load_sample

STORIES = load_sample("valid")[:8]
SAD = "It was a terrible, hopeless, miserable day."
GLAD = "She laughed with joy and loved the wonderful day."


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.id)
def test_human_stories_have_no_faults(story: object) -> None:
    portrait = portray(story.text)  # type: ignore[attr-defined]
    assert not portrait.loops
    assert portrait.whole
    assert portrait.repeated_4 < 0.05


def test_repetition_is_noticed() -> None:
    text = STORIES[0].text
    again = text + "\n\n" + " ".join(split_sentences(text)[:4] * 3)
    assert portray(again).loops
    assert portray(again).repeated_4 > portray(text).repeated_4 + 0.1


def test_a_single_word_repeated_is_a_loop_and_lowers_distinct() -> None:
    text = STORIES[0].text
    words = text.split()
    stuck = " ".join([*words[:60], *["and"] * 100])
    assert portray(stuck).loops
    mine, theirs = portray(stuck).distinct, portray(text).distinct
    assert all(a is not None and b is not None and a < b for a, b in zip(mine, theirs, strict=True))


def test_layout_quotes_and_names_are_ignored() -> None:
    text = STORIES[1].text
    name = STORIES[1].characters[0].name.split()[-1]
    changed = portray(text.replace("\n\n", "\n \n").replace('"', "“").replace(name, "Quillan"))
    before = portray(text)
    assert changed.words == before.words
    assert changed.loops == before.loops
    assert changed.repeated_4 == pytest.approx(before.repeated_4, abs=0.01)


def test_a_text_cut_in_the_middle_of_a_sentence_is_noticed() -> None:
    text = STORIES[2].text
    assert not portray(text[: text.rindex(" ")].rstrip(".!?\"'”’")).whole


def test_end_positivity_turns_with_the_order_of_sentences() -> None:
    up = portray(" ".join([SAD] * 8 + [GLAD] * 2)).end_lift
    down = portray(" ".join([GLAD] * 8 + [SAD] * 2)).end_lift
    flat = portray(" ".join([SAD, GLAD] * 5)).end_lift
    assert up is not None
    assert down is not None
    assert flat is not None
    assert up > 1
    assert down == pytest.approx(-up)
    assert abs(flat) < 0.1


def test_end_positivity_takes_the_last_fifth() -> None:
    assert end_lift(np.array([0.0, 0, 0, 0, 1])) == 1
    assert end_lift(np.array([0.0] * 8 + [0.5, 0.5])) == 0.5
    assert end_lift(np.zeros(4)) is None


def test_an_arc_is_ranked_first_where_it_is_there_and_last_where_it_is_upside_down() -> None:
    fall = portray(" ".join([GLAD] * 10 + [SAD] * 10)).arc
    assert fall is not None
    assert fall.rank("riches to rags") == 1
    assert fall.rank("rags to riches") == 6
    assert fall.p < 0.05


def test_sentiment_swapped_in_order_loses_the_arc() -> None:
    sentences = [GLAD] * 10 + [SAD] * 10
    random.Random(1).shuffle(sentences)
    portrait = portray(" ".join(sentences)).arc
    assert portrait is not None
    assert portrait.p > 0.05


def test_mean_arcs_leave_their_band_only_where_there_is_an_arc() -> None:
    falls = [portray(" ".join([GLAD] * 10 + [SAD] * 10)) for _ in range(3)]
    flats = [portray(" ".join([GLAD, SAD] * 10)) for _ in range(3)]
    (there,) = mean_arcs(falls, ["riches to rags"] * 3, 0)
    assert there.stories == 3
    assert there.curve[0] > there.high[0]
    assert there.curve[-1] < there.low[-1]
    (absent,) = mean_arcs(flats, ["riches to rags"] * 3, 0)
    inside = [a <= v <= b for a, v, b in zip(absent.low, absent.curve, absent.high, strict=True)]
    assert sum(inside) >= 18
    assert mean_arcs(falls, [None] * 3, 0) == []


def test_short_texts_have_no_curve() -> None:
    portrait = portray("Yes.")
    assert portrait.arc is None
    assert portrait.end_lift is None
    assert portrait.distinct == (None, None, None)
