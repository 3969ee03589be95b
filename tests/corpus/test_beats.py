"""Cutting into beats and parts: nothing lost, nothing out of order, better than by length."""

from __future__ import annotations

import re
from collections import Counter
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_stories import story

from fabula.corpus.beats import (
    FREYTAG_CUTS,
    MAX_SUMMARY_WORDS,
    cut,
    openings,
    shorten,
    summaries,
)
from fabula.corpus.parts import Part, parts_of
from fabula.corpus.sentences import find_sentences
from fabula.story import FREYTAG
from fabula.story.sample import load_sample


def split(text: str) -> list[str]:
    found = find_sentences([text])
    return [text[a:b] for a, b in zip(found.start, found.end, strict=True)]


def parts(text: str, max_words: int) -> list[Part]:
    return parts_of([text], max_words)[0]


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
    found = find_sentences(['"One. Two," she said.\n\nThree.'])
    assert found.opens_paragraph.tolist() == [True, False, True]
    assert found.inside_speech.tolist() == [False, True, False]
    assert found.quotes.tolist() == [True, True, False]


@given(st.lists(st.text(st.sampled_from('aB .!?"\n\t)é\u2028\x00M😀'), max_size=60), max_size=5))
def test_sentences_cover_each_text_and_are_the_same_in_any_company(texts: list[str]) -> None:
    found = find_sentences(texts)
    for number, text in enumerate(texts):
        mine = slice(found.edges[number], found.edges[number + 1])
        base = found.base[number]
        start, end = found.start[mine] - base, found.end[mine] - base
        ends, starts = [0, *end], [*start, len(text)]
        assert all(not text[a:b].strip() for a, b in zip(ends, starts, strict=True))
        assert all(text[a:b].strip() for a, b in zip(start, end, strict=True))
        assert found.words(found.start[mine], found.end[mine]).sum() == len(text.split())
        alone = find_sentences([text])
        for name in ("opens_paragraph", "inside_speech", "quotes"):
            assert getattr(alone, name).tolist() == getattr(found, name)[mine].tolist()


def test_cuts_are_nearer_to_peoples_than_cuts_by_length() -> None:
    """On stories whose paragraphs are taken away, so that only words can tell."""
    hits = by_length = total = 0
    for labelled in load_sample("valid"):
        beats = [b.text.replace("\n\n", " ") for b in labelled.beats]
        text = " ".join(beats)
        starts = [len(" ".join(beats[:n])) + 1 for n in range(1, 5)]
        units = find_sentences([text])
        places = units.start.tolist()
        opened = cut(
            units, units.edges[:1], units.edges[1:], np.array([FREYTAG_CUTS]), openings(units)
        )
        found = units.start[opened[0]].tolist()
        nearest = [min(places, key=lambda p, f=f: abs(p - f * len(text))) for f in FREYTAG_CUTS]
        hits += sum(a == b for a, b in zip(found, starts, strict=True))
        by_length += sum(a == b for a, b in zip(nearest, starts, strict=True))
        total += 4
    assert hits / total > 0.42
    assert hits > by_length * 1.2


def overlap(one: str, other: str) -> float:
    a, b = (Counter(re.findall(r"[a-z]{4,}", text.lower())) for text in (one, other))
    return 2 * sum((a & b).values()) / max(1, sum(a.values()) + sum(b.values()))


def test_summaries_are_nearer_to_peoples_than_a_sentence_at_random() -> None:
    ours, chance = [], []
    for labelled in load_sample("valid"):
        found = find_sentences([labelled.text])
        begins = np.cumsum([0, *(len(b.text) + 2 for b in labelled.beats)])
        edges = np.searchsorted(found.start, begins)
        lines = summaries(found, edges[:-1], edges[1:])
        for line, beat in zip(lines, labelled.beats, strict=True):
            ours.append(overlap(line, beat.summary))
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
    (part,) = parts(story(5), 700)
    assert [b.beat for b in part.outline.beats] == list(FREYTAG)
    assert part.text.split() == story(5).split()
    assert part.premise("A kite is lost.") == "A kite is lost."
    assert part.premise(None) is None


def test_a_long_story_comes_in_parts_that_reach_its_end() -> None:
    text = story(6, sentences=300)
    found = parts(text, 500)
    assert len(found) > 4
    assert " ".join(p.text for p in found).split() == text.split()
    assert all(len(p.text.split()) <= 500 * 1.1 for p in found)
    names = [b.beat for p in found for b in p.outline.beats]
    assert len(set(names)) == len(names)
    assert names[0] == "exposition"
    assert names[-1].startswith("resolution")
    assert found[0].premise("A kite is lost.") == f"Part 1 of {len(found)}. A kite is lost."
    last = found[-1].premise("A kite is lost.")
    assert last is not None
    assert last.startswith(f"Part {len(found)} of {len(found)}. A kite is lost. So far: ")


@pytest.mark.parametrize("sentences", [90, 110, 150, 200])
def test_a_long_story_has_no_more_parts_than_it_needs(sentences: int) -> None:
    text = story(7, sentences=sentences)
    sizes = [part.words for part in parts(text, 700)]
    # A part has whole beats, or pieces of them, so that one more may be needed.
    assert len(sizes) <= -(-len(text.split()) // 700) + 1
    assert max(sizes) <= 700
    if len(sizes) > 1:
        assert min(sizes) > 0.4 * max(sizes)


@given(
    st.lists(
        st.text(st.sampled_from('ab .!?"\nABÉ#\\…\u2028'), min_size=1, max_size=60), max_size=30
    ),
    st.integers(100, 200),
)
def test_no_word_is_lost_or_moved(lines: list[str], max_words: int) -> None:
    text = " ".join(" ".join(lines).split(" ")).strip()
    found = parts(text, max_words)
    if found:
        joined = "".join("".join(p.text.split()) for p in found)
        assert joined == "".join(text.split())
        assert [p.number for p in found] == list(range(1, len(found) + 1))


def test_a_text_without_sentences_has_no_parts() -> None:
    assert parts("word " * 300, 700) == []
    assert parts("", 700) == []
    assert parts_of([], 700) == []
