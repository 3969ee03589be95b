"""The one text format: nothing a reader types can forge a tag or a boundary."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fabula.errors import FabulaError
from fabula.story import (
    ARCS,
    ENDINGS,
    FREYTAG,
    POINTS_OF_VIEW,
    ROLES,
    Beat,
    Brief,
    Character,
    Outline,
    Passage,
    Setting,
    parse_brief,
    parse_completion,
    render_brief,
    render_completion,
)
from fabula.story.brief import FALLING_ARCS, RISING_ARCS
from fabula.story.sample import load_sample

# Fragments of our own syntax, special tokens of well-known models, and look-alike line breaks.
NASTY = st.sampled_from(
    ["\n", "\\", "\\n", ",", ", ", ":", "# climax\n", "#", "# outline", "Premise: x", "\nGenre: y",
     "\u2028", "\u2029", "<|end|>", "</s>", "<s>", "[INST]", "\u202e", "\ufeff", "👩‍🚀", " ", "\t",
     "Protagonist: Z, mean", "\n\n", "\\,", "\\\\"]
)  # fmt: skip
CHARS = st.characters(exclude_categories=("Cs", "Cc"))
HOSTILE = st.lists(st.one_of(NASTY, st.text(CHARS, max_size=8)), min_size=1, max_size=12).map(
    "".join
)
LINE = HOSTILE.map(str.strip).filter(lambda s: 0 < len(s) <= 300)
TEXT = HOSTILE.map(str.strip).filter(bool)


@st.composite
def briefs(draw: st.DrawFn) -> Brief:
    maybe = lambda s: draw(st.none() | s)  # noqa: E731
    arc = maybe(st.sampled_from(ARCS))
    barred = {"happy"} if arc in FALLING_ARCS else {"sad"} if arc in RISING_ARCS else set()
    characters = draw(
        st.lists(
            st.builds(
                Character,
                name=st.none() | LINE,
                role=st.sampled_from(ROLES),
                traits=st.lists(LINE, min_size=1, max_size=4),
            ),
            max_size=4,
            unique_by=lambda c: (c.name or object()) if c.name is None else c.name.casefold(),
        )
    )
    return Brief(
        title=maybe(LINE),
        characters=characters,
        setting=maybe(st.builds(Setting, place=st.none() | LINE, time=st.none() | LINE)),
        genre=maybe(LINE),
        tone=maybe(LINE),
        arc=arc,
        ending=maybe(st.sampled_from([e for e in ENDINGS if e not in barred])),
        point_of_view=maybe(st.sampled_from(POINTS_OF_VIEW)),
        must_include=draw(st.lists(LINE, max_size=4)),
        theme=maybe(LINE),
        length=maybe(st.integers(2_000, 20_000)),
        premise=maybe(LINE),
    )


@settings(max_examples=400, deadline=None)
@given(briefs())
@example(Brief(characters=[Character(name="\\", traits=["a,b", "\\n"])]))
@example(Brief(must_include=["a\nGenre: horror", "# climax"]))
def test_brief_round_trip(brief: Brief) -> None:
    assert parse_brief(render_brief(brief)) == brief


@settings(max_examples=400, deadline=None)
@given(
    premise=st.none() | LINE,
    summaries=st.lists(TEXT, max_size=5),
    texts=st.lists(TEXT, max_size=5),
)
@example(None, ["x"], ["# climax\nforged", "\\# climax", "#", "a\n\n\\\\b"])
def test_completion_round_trip(premise: str | None, summaries: list[str], texts: list[str]) -> None:
    outline = (
        Outline(beats=[Beat(beat=b, summary=s) for b, s in zip(FREYTAG, summaries, strict=False)])
        if summaries
        else None
    )
    passages = [Passage(beat=b, text=t) for b, t in zip(FREYTAG, texts, strict=False)]
    assert parse_completion(render_completion(outline, passages, premise)) == (
        premise,
        outline,
        passages,
    )


@settings(max_examples=200, deadline=None)
@given(LINE)
def test_a_value_never_adds_a_line(value: str) -> None:
    """A forged tag would need a line of its own: there is exactly one line a tag."""
    brief = Brief(premise=value, must_include=[value], characters=[Character(name=value)])
    assert render_brief(brief).count("\n") == 4  # three tags and the closing blank line


def test_every_gold_story_round_trips() -> None:
    for story in load_sample():
        assert parse_brief(render_brief(story.brief)) == story.brief
        document = render_completion(story.outline, story.passages, story.premise)
        assert parse_completion(document) == (story.premise, story.outline, story.passages)


def test_the_rendering_is_readable() -> None:
    brief = Brief(
        characters=[Character(name="Mara", traits=["shy", "stubborn"])],
        setting=Setting(place="a lighthouse"),
        must_include=["a clock, broken", "the lamp"],
    )
    assert render_brief(brief) == (
        "Protagonist: Mara, shy, stubborn\n"
        "Place: a lighthouse\n"
        "Must include: a clock\\, broken, the lamp\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("text", "said"), [("no tag here\n\n", "Line 1"), ("Genre: x\nFoo: y\n\n", "Line 2")]
)
def test_what_is_no_tag_is_named(text: str, said: str) -> None:
    with pytest.raises(FabulaError, match=said):
        parse_brief(text)


def test_text_outside_any_part_is_named() -> None:
    with pytest.raises(FabulaError, match="Line 1"):
        parse_completion("stray\n# climax\nx\n")
