"""Cutting into beats and parts: nothing lost, nothing out of order, better than by length."""

from __future__ import annotations

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_stories import story

from fabula.corpus.beats import (
    FREYTAG_CUTS,
    MAX_SUMMARY_WORDS,
    content_words,
    cut,
    sentences,
    shorten,
    summarise,
)
from fabula.corpus.parts import parts_of
from fabula.story import FREYTAG
from fabula.story.sample import load_sample


def split(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Lowe met Dr. Ames. They ate.", ["Mr. Lowe met Dr. Ames.", "They ate."]),
        ('"Stop!" he said. "No."', ['"Stop!" he said.', '"No."']),
        ("It cost 3.50 at No. 9. Fine.", ["It cost 3.50 at No. 9.", "Fine."]),
        ("A heading\n\nThen text.", ["A heading", "Then text."]),
        ("Wait... and go. Now", ["Wait... and go.", "Now"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split(text) == expected


def test_sentences_know_paragraphs_and_speech() -> None:
    found = sentences('"One. Two," she said.\n\nThree.')
    assert [s.opens_paragraph for s in found] == [True, False, True]
    assert [s.inside_speech for s in found] == [False, True, False]


@given(st.text(max_size=500))
def test_sentences_cover_the_text(text: str) -> None:
    found = sentences(text)
    ends = [0, *(s.end for s in found)]
    starts = [*(s.start for s in found), len(text)]
    assert all(not text[a:b].strip() for a, b in zip(ends, starts, strict=True))
    assert all(text[s.start : s.end].strip() for s in found)


def test_cuts_are_nearer_to_peoples_than_cuts_by_length() -> None:
    """On stories whose paragraphs are taken away, so that only words can tell."""
    hits = by_length = total = 0
    for labelled in load_sample("valid"):
        beats = [b.text.replace("\n\n", " ") for b in labelled.beats]
        text = " ".join(beats)
        starts = [len(" ".join(beats[:n])) + 1 for n in range(1, 5)]
        units = sentences(text)
        places = [u.start for u in units]
        found = [places[i] for i in cut(text, units, FREYTAG_CUTS)]
        nearest = [min(places, key=lambda p, f=f: abs(p - f * len(text))) for f in FREYTAG_CUTS]
        hits += sum(a == b for a, b in zip(found, starts, strict=True))
        by_length += sum(a == b for a, b in zip(nearest, starts, strict=True))
        total += 4
    assert hits / total > 0.42
    assert hits > by_length * 1.2


def overlap(one: str, other: str) -> float:
    a, b = content_words(one), content_words(other)
    return 2 * sum((a & b).values()) / max(1, sum(a.values()) + sum(b.values()))


def test_summaries_are_nearer_to_peoples_than_a_sentence_at_random() -> None:
    ours, chance = [], []
    for labelled in load_sample("valid"):
        weights = content_words(labelled.text)
        for beat in labelled.beats:
            units = sentences(beat.text)
            ours.append(overlap(summarise(beat.text, units, weights), beat.summary))
            chance.append(mean(overlap(s, beat.summary) for s in split(beat.text)))
    assert mean(ours) > 1.5 * mean(chance)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=600))
def test_a_summary_is_one_short_line(text: str) -> None:
    for quoted in (text, "word " * 40 + text):
        line = shorten(quoted)
        assert len(line.split(" ")) <= MAX_SUMMARY_WORDS + 1
        assert "\n" not in line


def test_long_sentences_end_at_a_clause() -> None:
    long = (
        "She carried the lamp down to the harbour, past the mill and the broken wall, and there "
        "she waited for the boat that her brother had promised to send before the winter"
    )
    assert (
        shorten(long)
        == "She carried the lamp down to the harbour, past the mill and the broken wall."
    )
    assert shorten('He said, "Go.') == 'He said, "Go."'
    assert shorten('Go," he said.', inside_speech=True) == '"Go," he said.'


def test_a_short_story_is_one_part_with_five_beats() -> None:
    (part,) = parts_of(story(5), max_words=700)
    assert [b.beat for b in part.outline.beats] == list(FREYTAG)
    assert part.text.split() == story(5).split()
    assert part.premise("A kite is lost.") == "A kite is lost."
    assert part.premise(None) is None


def test_a_long_story_comes_in_parts_that_reach_its_end() -> None:
    text = story(6, sentences=300)
    parts = parts_of(text, max_words=500)
    assert len(parts) > 4
    assert " ".join(p.text for p in parts).split() == text.split()
    assert all(len(p.text.split()) <= 500 * 1.1 for p in parts)
    names = [b.beat for p in parts for b in p.outline.beats]
    assert len(set(names)) == len(names)
    assert names[0] == "exposition"
    assert names[-1].startswith("resolution")
    assert parts[0].premise("A kite is lost.") == f"Part 1 of {len(parts)}. A kite is lost."
    last = parts[-1].premise("A kite is lost.")
    assert last is not None
    assert last.startswith(f"Part {len(parts)} of {len(parts)}. A kite is lost. So far: ")


@given(
    st.lists(
        st.text(st.sampled_from('ab .!?"\nABÉ#\\…\u2028'), min_size=1, max_size=60), max_size=30
    ),
    st.integers(100, 200),
)
def test_no_word_is_lost_or_moved(lines: list[str], max_words: int) -> None:
    text = " ".join(" ".join(lines).split(" ")).strip()
    parts = parts_of(text, max_words)
    if parts:
        joined = "".join("".join(p.text.split()) for p in parts)
        assert joined == "".join(text.split())
        assert [p.number for p in parts] == list(range(1, len(parts) + 1))


def test_a_text_without_sentences_has_no_parts() -> None:
    assert parts_of("word " * 300, 700) == []
    assert parts_of("", 700) == []
