from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.story import Brief, Character, Setting
from fabula.story.sample import load_sample
from fabula.writing import check_receipt

TEXT = (
    "Mara kept the lighthouse. It was the winter of 1931, and the broken clocks were silent.\n\n"
    '"You are shy," said Oke. She laughed, and they mended the lamp together.'
)


def line(text: str) -> str | None:
    text = "".join(c for c in text if c.isprintable()).strip()[:300]
    return text or None


def test_each_wish_stands_with_its_words() -> None:
    brief = Brief(
        title="The Clock",
        characters=[Character(name="Mara", traits=["shy", "greedy"]), Character(name="Old Oke")],
        setting=Setting(place="a lighthouse", time="the winter of 1931"),
        genre="western",
        arc="man in a hole",
        point_of_view="third",
        must_include=["a broken clock", "a whale"],
        theme="mending what is broken together",
        length=30,
    )
    kept = {(w.wish, w.value): w for w in check_receipt(brief, TEXT).wishes}
    assert kept["character 1", "Mara"].spans[0].start == 0
    assert kept["character 2", "Old Oke"].spans[0].text == "Oke"
    assert kept["trait of character 1", "shy"].kept
    assert not kept["trait of character 1", "greedy"].kept
    assert kept["place", "a lighthouse"].spans[0].text == "lighthouse"
    assert kept["time", "the winter of 1931"].kept
    assert kept["must include", "a broken clock"].spans[0].text == "broken clocks"
    assert not kept["must include", "a whale"].kept
    assert kept["point of view", "third"].kept
    assert kept["theme", "mending what is broken together"].kept
    assert kept["length", "30"].note == "29 words"
    assert kept["length", "30"].kept
    assert kept["arc", "man in a hole"].kept or kept["arc", "man in a hole"].note


def test_every_field_of_a_brief_has_its_line() -> None:
    story = load_sample("train")[1]
    brief = story.brief.model_copy(update={"length": 250})
    lines = [w.wish for w in check_receipt(brief, story.text).wishes]
    for wish in ("title", "place", "time", "genre", "tone", "arc", "ending", "point of view",
                 "must include", "theme", "premise", "length", "character 1"):  # fmt: skip
        assert wish in lines


def test_what_a_story_was_written_for_is_found_in_it() -> None:
    kept = asked = 0
    for story in load_sample("train")[:40]:
        for wish in check_receipt(story.brief, story.text).wishes:
            if wish.wish.startswith(("character", "must", "point")):
                asked += 1
                kept += wish.kept
    assert kept / asked > 0.9


def test_what_a_story_was_not_written_for_is_not() -> None:
    stories = load_sample("train")[:40]
    kept = asked = 0
    for story, other in pairwise(stories):
        for wish in check_receipt(other.brief, story.text).wishes:
            if wish.wish.startswith(("character", "must")):
                asked += 1
                kept += wish.kept
    assert kept / asked < 0.2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4))
def test_spans_are_exact_in_any_text(noise: str, phrases: list[str]) -> None:
    wanted = [p for p in map(line, phrases) if p]
    names = list({n.casefold(): n for n in wanted}.values())
    brief = Brief(
        characters=[Character(name=n, traits=[n]) for n in names],
        setting=Setting(place=wanted[0], time=wanted[0]) if wanted else None,
        genre=wanted[0] if wanted else None,
        must_include=wanted,
        premise=" ".join(wanted) or None,
        point_of_view="third",
        arc="icarus",
    )
    text = noise.join([*wanted, TEXT, *wanted])
    for wish in check_receipt(brief, text).wishes:
        assert wish.kept or not wish.spans
        for span in wish.spans:
            assert text[span.start : span.end] == span.text != ""
