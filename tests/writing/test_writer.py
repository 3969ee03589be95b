from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngram import NgramEngine, trigram

from fabula.errors import FabulaError
from fabula.story import (
    FREYTAG,
    Beat,
    Brief,
    Character,
    Outline,
    Setting,
    dump_story,
    load_story,
    parse_completion,
    render_completion,
)
from fabula.story.sample import load_sample
from fabula.writing import (
    BeatPlanned,
    Event,
    Finished,
    PassageChosen,
    PremiseChosen,
    Writer,
    WriterSettings,
)
from fabula.writing.copying import words_of
from fabula.writing.settings import Weights
from fabula.writing.standins import KnownNames
from fabula.writing.writer import _Work

BRIEF = Brief(
    characters=[Character(name="Mara", traits=["shy"]), Character(name="Oke", role="ally")],
    setting=Setting(place="a lighthouse"),
    genre="ghost story",
    arc="man in a hole",
    must_include=["a broken clock"],
)
QUICK = WriterSettings(candidates=3, plans=3, beat_tokens=60)


def test_same_seed_same_bytes_and_another_seed_another_story(engine: NgramEngine) -> None:
    first, again, other = (Writer(engine, QUICK).write(BRIEF, seed) for seed in (7, 7, 8))
    assert dump_story(first) == dump_story(again)
    assert first.text != other.text


def test_a_story_is_whole(engine: NgramEngine, tmp_path: object) -> None:
    story = Writer(engine, QUICK).write(BRIEF, 1)
    assert story.outline is not None
    assert [b.beat for b in story.outline.beats] == [p.beat for p in story.passages] == [*FREYTAG]
    assert story.premise
    assert story.receipt is not None
    for wish in story.receipt.wishes:
        for span in wish.spans:
            assert story.text[span.start : span.end] == span.text
    making = story.making
    assert making is not None
    assert making.seed == 1
    assert WriterSettings.model_validate(
        {k: v for k, v in making.settings.items() if k != "outline_given"}
    ) == QUICK  # fmt: skip
    assert set(making.rejected) == {"premise", *FREYTAG, *(f"outline: {b}" for b in FREYTAG)}
    path = tmp_path / "story.json"  # type: ignore[operator]
    path.write_text(dump_story(story), encoding="utf-8")
    assert load_story(path) == story


def test_events_come_as_decisions_fall(engine: NgramEngine) -> None:
    events: list[Event] = []
    story = Writer(engine, QUICK).write(BRIEF, 2, events.append)
    kinds = [type(e) for e in events]
    assert kinds == [PremiseChosen, *[BeatPlanned] * 5, *[PassageChosen] * 5, Finished]
    texts = [e.text for e in events if isinstance(e, PassageChosen)]
    assert "\n\n".join(texts) == story.text
    assert events[-1] == Finished(story)


def test_listening_changes_nothing(engine: NgramEngine) -> None:
    heard = Writer(engine, QUICK).write(BRIEF, 3, lambda event: None)
    assert heard == Writer(engine, QUICK).write(BRIEF, 3)


def test_a_given_outline_is_followed_and_kept(engine: NgramEngine) -> None:
    outline = Outline(
        beats=[
            Beat(beat="act one", summary="Mara waits."),
            Beat(beat="act two", summary="Oke comes."),
        ]
    )
    story = Writer(engine, QUICK).write(BRIEF, 1, outline=outline)
    assert story.outline == outline
    assert story.premise is None
    assert [p.beat for p in story.passages] == ["act one", "act two"]


def test_other_beats_can_be_planned(engine: NgramEngine) -> None:
    settings = QUICK.model_copy(update={"beats": ("setup", "turn")})
    story = Writer(engine, settings).write(BRIEF, 1)
    assert story.outline is not None
    assert [b.beat for b in story.outline.beats] == ["setup", "turn"]


@pytest.mark.parametrize("guidance", [1.3, 0.0, 2.0])
def test_guidance_changes_the_story(engine: NgramEngine, guidance: float) -> None:
    plain = Writer(engine, QUICK).write(BRIEF, 4)
    other = Writer(engine, QUICK.model_copy(update={"guidance": guidance})).write(BRIEF, 4)
    assert plain.text != other.text


def test_what_must_occur_is_put_in_where_no_candidate_has_it(engine: NgramEngine) -> None:
    musts = ["a marble parrot", "the copper kettle"]
    brief = Brief(genre="ghost story", must_include=musts)  # no other wish competes
    kept = {}
    for insertions in (0, 4):
        tried = WriterSettings(
            candidates=4,
            plans=3,
            beat_tokens=60,
            insertions=insertions,
            insertion_fall=3,
            weights=Weights(
                likelihood=0.02,
                weakest=0.02,
                due=1.5,
                reads_genre=0.4,
                reads_tone=0.4,
                reads_arc=0.4,
                reads_ending=0.4,
            ),
        )
        kept[insertions] = 0
        for seed in range(3):
            receipt = Writer(engine, tried).write(brief, seed).receipt
            assert receipt is not None
            kept[insertions] += sum(w.kept for w in receipt.wishes if w.wish == "must include")
    assert kept[4] >= 5 > kept[0]


def test_length_is_followed(engine: NgramEngine) -> None:
    words = {}
    for length in (60, 400):
        settings = WriterSettings(candidates=4, plans=2)
        story = Writer(engine, settings).write(BRIEF.model_copy(update={"length": length}), 1)
        words[length] = len(words_of(story.text))
    assert words[60] < 120
    assert words[400] > 250


def test_a_long_story_outgrows_the_context_with_its_outline_in_view(engine: NgramEngine) -> None:
    small = trigram(420)
    settings = WriterSettings(candidates=2, plans=2, beats=tuple(f"part {c}" for c in "abcdefgh"))
    # The engine asserts that nothing outgrows its context.
    story = Writer(small, settings).write(BRIEF.model_copy(update={"length": 600}), 1)
    assert len(story.passages) == 8
    assert len(small.encode(story.text)) > 420


def test_a_brief_that_fills_the_context_is_refused() -> None:
    small = trigram(420)
    with pytest.raises(FabulaError, match="shorten the brief"):
        Writer(small, QUICK).write(Brief(premise="word " * 390), 1)


@pytest.mark.parametrize("seed", [-1])
def test_bad_seeds_and_empty_briefs_are_refused(engine: NgramEngine, seed: int) -> None:
    with pytest.raises(FabulaError, match="seed"):
        Writer(engine, QUICK).write(BRIEF, seed)
    with pytest.raises(FabulaError, match="empty"):
        Writer(engine, QUICK).write(Brief(), 0)


def test_stand_ins_are_put_back_everywhere(engine: NgramEngine) -> None:
    # However badly a trigram model goes on after a name it never saw.
    weights = Weights(likelihood=0.02, weakest=0.02)
    easy = {"insertion_fall": 20, "by_sentence": False, "weights": weights}
    writer = Writer(engine, QUICK.model_copy(update=easy))
    writer.names = KnownNames(female=["Pema", "Ines"], neutral=["Wren"])
    brief = Brief(
        characters=[Character(name="Zxqv Oyelaran")],
        premise="Zxqv Oyelaran keeps a lighthouse. She is shy.",
    )
    events: list[Event] = []
    story = writer.write(brief, 1, events.append)
    again = writer.write(brief, 1)
    assert dump_story(story) == dump_story(again)
    whole = dump_story(story)
    assert "Zxqv" in story.text
    assert not {"Pema", "Ines"} & set(whole.replace('"', " ").replace("'", " ").split())
    assert story.receipt is not None
    assert next(w for w in story.receipt.wishes if w.wish == "character 1").kept


def test_runs_are_looked_for_across_passages_and_as_the_reader_sees_them() -> None:
    original = next(s for s in load_sample("train") if s.id == "a-001").text.split()
    brief = Brief(characters=[Character(name="Mara Smith")], genre="western")
    writer = Writer(trigram(), QUICK)
    work = _Work(writer, brief, 0, lambda event: None, None)
    known = 12
    before, text = " ".join(original[: known // 2]), " ".join(original[known // 2 : known])
    assert not work._copied_after("Nothing of it.")(text)
    assert work._copied_after(before)(text) == len(words_of(f"{before} {text}")) - 10 > 0


def test_lines_and_passages_have_their_own_weights(engine: NgramEngine) -> None:
    as_is = Writer(engine, QUICK).write(BRIEF, 5)
    changed = QUICK.plan_weights.model_copy(update={"likelihood": -5.0})
    other = Writer(engine, QUICK.model_copy(update={"plan_weights": changed})).write(BRIEF, 5)
    assert other.outline != as_is.outline
    told = Writer(engine, QUICK.model_copy(update={"weights": Weights(likelihood=-5.0)})).write(
        BRIEF, 5
    )
    assert told.outline == as_is.outline
    assert told.text != as_is.text


HOSTILE = [
    "<|end|>", "<|begin|>", "# climax", "\\# outline", "Genre: horror", "a\n\n# outline\nclimax: x",
    "🦊🔥", "‮abc", "مرحبا", "x" * 300, "\\", ", , ,", "{}[]%s", "a\u2028b\u2029c", "[bold]x[/]",
]  # fmt: skip


@pytest.mark.parametrize("typed", HOSTILE)
def test_hostile_wishes_forge_nothing(typed: str) -> None:
    engine = trigram(4096)
    brief = Brief(
        title=typed,
        characters=[Character(name=typed, traits=[typed])],
        setting=Setting(place=typed, time=typed),
        genre=typed,
        must_include=[typed],
        premise=typed,
    )
    story = Writer(engine, WriterSettings(candidates=2, plans=2, beat_tokens=40)).write(brief, 0)
    assert [p.beat for p in story.passages] == [*FREYTAG]
    assert story.outline is not None
    document = render_completion(story.outline, story.passages)
    assert parse_completion(document) == (None, story.outline, story.passages)


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=80))
def test_any_wish_gives_a_story_that_can_be_replayed(wish: str) -> None:
    if not wish.strip():
        return
    brief = Brief(characters=[Character(name=wish)], must_include=[wish])
    writer = Writer(trigram(), WriterSettings(candidates=2, plans=1, beat_tokens=24))
    assert dump_story(writer.write(brief, 5)) == dump_story(writer.write(brief, 5))
