"""Reading a brief: the right values, true evidence, and no text that breaks it."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.reading import Reading, point_of_view, read, read_all, split_sentences, vocabulary
from fabula.story import Brief, render_brief
from fabula.story.sample import load_sample

STORY = """The Lamp Room

Mara kept the lighthouse on Gull Rock. She was stubborn, and she wound the broken clock every
night, though it had stopped the winter her father drowned.

"Leave it," said Mr. Okoro, who brought the oil. "A broken clock is only furniture."

"It is right twice a day," said Mara.

One night the lamp went out in the storm. Mara felt her way up the stairs of the lighthouse in
the dark. She struck her last match, and the lamp burned. Below, a boat turned away from the rocks.

In the morning Mr. Okoro climbed up with bread. The broken clock was ticking. Mara smiled, and
gave him the warm chair.
"""


def check_evidence(text: str, reading: Reading) -> None:
    for item in reading.evidence:
        assert text[item.start : item.end] == item.text
        assert item.field in reading.confidence
        assert 0 <= item.confidence <= 1


def test_reads_the_plain_fields() -> None:
    reading = read(STORY)
    brief = reading.brief
    assert brief.title == "The Lamp Room"
    assert brief.protagonist is not None
    assert brief.protagonist.name == "Mara"
    assert "Mr. Okoro" in [c.name for c in brief.characters]
    assert brief.setting is not None
    assert brief.setting.place is not None
    assert "lighthouse" in brief.setting.place
    assert brief.point_of_view == "third"
    assert "stubborn" in brief.protagonist.traits
    assert brief.length is not None
    assert 110 <= brief.length <= 118
    assert any("clock" in thing for thing in brief.must_include)
    assert None not in (brief.genre, brief.tone, brief.arc, brief.ending)
    check_evidence(STORY, reading)


def test_every_field_that_is_given_has_a_confidence_and_evidence() -> None:
    reading = read(STORY)
    shown = {item.field for item in reading.evidence}
    for field in ("characters.0.name", "setting.place", "genre", "arc", "must_include.0"):
        assert field in reading.confidence
        assert field in shown


def test_a_high_threshold_leaves_fields_empty_rather_than_guessed() -> None:
    sure, unsure = read(STORY, min_confidence=0.9), read(STORY)
    assert all(value >= 0.9 for value in sure.confidence.values())
    assert len(sure.confidence) < len(unsure.confidence)
    assert read(STORY, min_confidence=1.1).brief == Brief()


def test_a_first_person_narrator_is_named_by_those_who_speak_to_him() -> None:
    text = (
        'I mended nets on the quay. "Tomas," my aunt called, "the boat is leaking." I ran down '
        'with my bucket. "Tomas, hurry!" she shouted. I bailed until my arms shook, and I laughed.'
    )
    reading = read(text)
    assert reading.brief.point_of_view == "first"
    assert reading.brief.protagonist is not None
    assert reading.brief.protagonist.name == "Tomas"


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("I walked home. My feet hurt. She watched me go, and I waved to her.", "first"),
        ('"I am cold," he said. "I want my coat." He shook. She gave him hers.', "third"),
        ("‘I am cold,’ he said. ‘I want my coat.’ He shook. She gave him hers.", "third"),
        ("You open the door. You know this house. Your hand shakes.", "second"),
        ("We sailed at dawn. Our ship was old. We sang to keep us awake.", "first"),
        ("She went down the mine. The mine was deep. He held up a mine lamp.", "third"),
        ("The sun rose over the hill.", None),
        ("", None),
    ],
)
def test_point_of_view_is_counted_outside_of_speech(text: str, view: str | None) -> None:
    found, confidence, spans = point_of_view(text)
    assert found == view
    assert 0 <= confidence <= 1
    assert bool(spans) == (view is not None)
    assert all(text[s.start : s.end] == s.text for s in spans)


def test_unnamed_protagonists_are_found() -> None:
    text = (
        "Once upon a time a frog lived in a deep well. The frog was proud of its voice. One day "
        "the frog jumped out, and a stork stood there. The frog croaked, and ran home to the well."
    )
    reading = read(text)
    assert reading.brief.protagonist is not None
    assert reading.brief.protagonist.name == "the frog"
    assert reading.brief.setting is not None
    assert reading.brief.setting.time == "once upon a time"


def test_the_gold_valid_split_is_read_well() -> None:
    stories = load_sample("valid")
    briefs = [read(s.text).brief for s in stories]
    views = sum(b.point_of_view == s.point_of_view for b, s in zip(briefs, stories, strict=True))
    assert views == len(stories)
    for brief in briefs:
        # What is read can be written for: the text format takes every value.
        assert render_brief(brief).endswith("\n\n")


HOSTILE = [
    "", " \n\t ", "\0\0\0", "x", ".", "?!...", '"""', "'" * 50, "“" * 50, "\r\n" * 40,
    "Mara " * 5_000, "I I I I", "ALL CAPS AND SHOUTING. MARA RAN. MARA FELL DOWN THE WELL.",
    "no sentences here at all just words and words and words going on and on " * 30,
    "Es war einmal ein König, der hatte drei Töchter. Die jüngste war schön. Der König starb.",
    "昔々あるところにおじいさんとおばあさんが住んでいました。", "\u202e\u200b\ufeff" * 30, "😀" * 300,  # noqa: E501
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘ " * 20, "\ud800 lone surrogate Mara ran.",
    "A" * 100_000, "Title\n\n",
    "Mara\x07 rang. Mara\x1b[2J fell.", "a\u2028b\u2029c", "İstanbul ǅ ß " * 50,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_it(text: str) -> None:
    reading = read(text)
    check_evidence(text, reading)
    json.dumps(reading.model_dump())


@given(st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_text_is_read(text: str) -> None:
    check_evidence(text, read(text))


WORDS = st.sampled_from(
    "Mara the a old clock said ran I you he she . , ! ? \" ' “ ” ‘ ’ \n \n\n in lighthouse proud "
    "Mr. Okoro's winter 1893 once upon time was not died happy — ( ) : A King's hill".split(" ")
)


@given(st.lists(WORDS, max_size=120))
@settings(max_examples=150, deadline=None)
def test_any_scramble_of_story_words_is_read(words: list[str]) -> None:
    text = " ".join(words)
    reading = read(text)
    check_evidence(text, reading)
    Brief.model_validate(reading.brief.model_dump())


def test_other_languages_are_left_alone() -> None:
    german = (
        "Es war einmal ein König, der hatte eine Tochter. Die Tochter ging in den Wald und traf "
        "einen Wolf. Der Wolf sprach mit ihr, und sie lief nach Hause zu ihrem Vater. "
    ) * 3
    assert read(german, min_confidence=0.3).brief.genre is None


def test_ten_megabytes_take_seconds() -> None:
    text = STORY * (10_000_000 // len(STORY))
    began = time.process_time()
    reading = read(text)
    assert time.process_time() - began < 20
    assert reading.brief.protagonist is not None
    assert reading.brief.protagonist.name in STORY
    assert reading.brief.point_of_view == read(STORY).brief.point_of_view


def test_same_text_same_reading() -> None:
    assert read(STORY) == read(STORY)


def test_a_vocabulary_that_begins_anew_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does after some hundred thousand stories, in the middle of a batch at that."""
    texts = [story.text for story in load_sample("valid")[:12]]
    wanted = [reading.brief for reading in read_all(texts)]
    monkeypatch.setattr(vocabulary, "_current", [])
    monkeypatch.setattr(vocabulary, "MOST_FORMS", 300)
    assert [reading.brief for reading in read_all(texts)] == wanted
    assert [read(text).brief for text in texts] == wanted
    for text in texts[:3]:
        point_of_view(text)
        assert split_sentences(text)
