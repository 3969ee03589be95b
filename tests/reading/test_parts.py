"""The parts of reading: phrases, repetition, arcs, the walk over a text, the linear model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.reading import (
    find_name,
    find_phrase,
    find_place,
    read_arc,
    repetition,
    shapes,
    valence,
)
from fabula.reading.arcs import arc_of_scores
from fabula.reading.linear import fit_logistic, minimise, softmax
from fabula.reading.match import overlap, same_name, same_thing
from fabula.reading.text import lower_words, scan


@pytest.mark.parametrize(
    ("text", "phrase", "found"),
    [
        ("She found a broken\n  clock.", "a broken clock", "a broken\n  clock"),
        ("A BROKEN CLOCK!", "a broken clock", "A BROKEN CLOCK"),
        ("The clockwork ran.", "clock", None),
        ("Two broken clocks hung there.", "a broken clock", "broken clocks"),
        ("He sold loaves.", "a loaf", "loaves"),
        ("It was the king’s table.", "the king's table", "the king’s table"),
        ("nothing here", "a.*b", None),
        ("cost (five) crowns", "(five)", "(five)"),
        ("anything", "   ", None),
    ],
)
def test_find_phrase(text: str, phrase: str, found: str | None) -> None:
    spans = find_phrase(text, phrase)
    assert (spans[0].text if spans else None) == found
    assert all(text[s.start : s.end] == s.text for s in spans)


def test_names_are_found_by_any_given_part() -> None:
    text = "Oke, the doctor, stood there. The miller laughed. Will he come?"
    assert [s.text for s in find_name(text, "Madam Oke")] == ["Oke"]
    assert [s.text for s in find_name(text, "the old miller")] == ["miller"]
    assert find_name("will he come?", "Will") == [] or find_name("will he come?", "Will")[0]
    assert find_name(text, "Zorzi") == []


def test_places_are_found_by_their_head_noun_or_proper_name() -> None:
    text = "The bakeries of Venice were shut."
    assert [s.text for s in find_place(text, "a small bakery in Venice")] == ["bakeries"]
    assert [s.text for s in find_place(text, "a gaming house in Venice")] == ["Venice"]
    assert find_place(text, "a space station") == []


@given(st.text(max_size=60), st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_a_phrase_is_found_where_it_stands(phrase: str, around: str) -> None:
    for span in find_phrase(around + " " + phrase + " " + around, phrase):
        assert span.end > span.start
    find_name(around, phrase)
    find_place(around, phrase)


def test_repetition_finds_verbatim_loops() -> None:
    line = "and then the old man said that he would go home. "
    report = repetition("It began well. " + line * 4 + "It ended.")
    assert report.loops
    assert report.loops[0].times >= 3
    assert "the old man said that he would" in report.loops[0].text
    assert report.repeated_3 > 0.5
    plain = repetition("Every word in this short line is said once and never comes again here.")
    assert plain.loops == []
    assert plain.repeated_3 == 0
    assert plain.distinct == (1.0, 1.0, 1.0)
    assert repetition("").words == 0


def test_repetition_of_one_word_is_found_quickly() -> None:
    report = repetition("no " * 20_000)
    assert report.repeated_4 > 0.99
    assert report.loops


def test_the_six_shapes_are_unit_curves_and_each_fits_itself_best() -> None:
    curves = shapes(40)
    assert len(curves) == 6
    for arc, curve in curves.items():
        assert abs(np.linalg.norm(curve) - 1) < 1e-9
        scores = curve / np.abs(curve).max()
        reading = arc_of_scores(scores)
        assert reading.order[0] == arc
        assert reading.rank(arc) == 1
        assert reading.p < 0.05
    assert curves["rags to riches"][0] < 0 < curves["rags to riches"][-1]
    assert curves["man in a hole"][20] < 0 < curves["man in a hole"][0]


def test_noise_is_told_apart_from_a_shape() -> None:
    generator = np.random.default_rng(3)
    values = [arc_of_scores(generator.normal(size=30)).p for _ in range(60)]
    # Under the null a p value is uniform: few lie below 0.05, about half above 0.5.
    assert np.mean(np.array(values) <= 0.05) < 0.2
    assert 0.25 < np.mean(np.array(values) > 0.5) < 0.75


def test_an_arc_is_seeded_and_short_texts_have_none() -> None:
    text = "She wept. All was lost. It rained. Then he came. They laughed. She was happy. Joy!"
    assert read_arc(text, seed=1) == read_arc(text, seed=1)
    assert read_arc("Too short.") is None
    scores = valence(["I love this wonderful day!", "This is a terrible, cruel loss."])
    assert scores[0] > 0.3 > -0.3 > scores[1]


def test_the_walk_knows_who_speaks_and_where_sentences_begin() -> None:
    words = scan(
        ['Mr. Fell sat. "Come in," he said. \'Tis late!', "'Come in,' said Ana. 'I don't.'"]
    )
    seen = {
        words.shown(i): (bool(words.opens[i]), bool(words.spoken[i])) for i in range(words.first[1])
    }
    assert seen["Fell"] == (False, False)
    assert seen["Come"] == (True, True)
    assert seen["he"] == (False, False)
    assert len(words.sentences(0)) == 3
    assert words.written(0, 2) == "Mr. Fell"
    second = range(words.first[1], words.first[2])
    assert [words.shown(i) for i in second if words.spoken[i]] == ["Come", "in", "I", "don't"]


@given(st.lists(st.text(max_size=300), max_size=4))
@settings(max_examples=200, deadline=None)
def test_the_walk_covers_words_in_order(texts: list[str]) -> None:
    words = scan(texts)
    for doc, text in enumerate(texts):
        spans = words.spans(doc)
        assert spans == sorted(spans)
        mine = range(words.first[doc], words.first[doc + 1])
        assert [text[a:b] for a, b in spans] == [words.shown(i) for i in mine]
        assert lower_words(text) == [words.lower(i) for i in mine]
        ranges = words.sentences(doc)
        assert [a for a, _ in ranges[1:]] == [b for _, b in ranges[:-1]]


@given(st.lists(st.text(alphabet="aB .!?,\"“”\n'-M’", max_size=80), min_size=2, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_text_is_read_the_same_in_any_company(texts: list[str]) -> None:
    together = scan(texts)
    for doc, text in enumerate(texts):
        alone = scan([text])
        part = slice(together.first[doc], together.first[doc + 1])
        for name in ("form", "gap", "opens", "spoken", "stopped"):
            assert getattr(together, name)[part].tolist() == getattr(alone, name).tolist(), name
        assert np.diff(together.sentence[part]).tolist() == np.diff(alone.sentence).tolist()


def test_logistic_regression_agrees_with_its_gradient_and_learns() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(300, 4))
    labels = np.argmax(rows[:, :3] + 0.1 * generator.normal(size=(300, 3)), axis=1)
    w, b = fit_logistic(rows, labels, 3, 1e-3)
    probabilities = softmax(rows @ w + b)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.95
    # At the optimum the gradient is nil.
    gradient = rows.T @ (probabilities - np.eye(3)[labels]) / 300 + 1e-3 * w
    assert np.abs(gradient).max() < 1e-3


def test_minimise_finds_the_bottom_of_rosenbrock() -> None:
    def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = x
        value = (1 - a) ** 2 + 100 * (b - a * a) ** 2
        return value, np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])

    assert np.allclose(minimise(rosenbrock, np.array([-1.2, 1.0]), 500), [1, 1], atol=1e-3)


def test_matching() -> None:
    assert same_name("Madam Oke", "Oke")
    assert same_name("Barnaby", "Barnaby Pugh")
    assert not same_name("Pema", "Button")
    assert not same_name("", "Button")
    assert overlap("a high mountain pass", "the mountain passes") == pytest.approx(0.8)
    assert overlap(None, "a castle") == 0
    assert same_thing("the broken clocks", "a broken clock")
    assert not same_thing("the clock", "the lamp")
