"""Drawn briefs: new combinations, the same for everybody, scored without human stories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fabula.cli.evaluate import command
from fabula.errors import FabulaError
from fabula.evaluation import Evaluation, Options, evaluate
from fabula.evaluation.drawn import draw, draw_brief, is_told
from fabula.evaluation.plots import draw as draw_pictures
from fabula.evaluation.report import markdown
from fabula.evaluation.tables import cells, columns, heading, rich_table
from fabula.reading.places import heads
from fabula.story import Brief
from fabula.story.sample import load_sample
from fabula.story.stock import TRAITS
from fabula.writing import WriterSettings

QUICK = WriterSettings(candidates=1, plans=1, insertions=0, beat_tokens=24, line_tokens=12)
BRIEFS = [item.brief for item in draw(200).items]


def options(models: Sequence[Path], **changes: Any) -> Options:
    return Options(**{"models": list(map(str, models)), "drawn": 3, "settings": QUICK} | changes)


def keys(result: Evaluation, system: int = 0) -> set[str]:
    return {row.key for row in result.systems[system].figures}


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """An evaluation of the tiny model on three drawn briefs, and the log of its stories."""
    log = tmp_path_factory.mktemp("drawn") / "stories.jsonl"
    return log, evaluate(options([tiny_model], log=log))


def test_few_are_the_first_of_many_and_each_depends_on_its_number() -> None:
    few = draw(20)
    assert [item.brief for item in few.items] == BRIEFS[:20]
    assert BRIEFS[6] == draw_brief(7)
    assert [few.items[0].id, few.items[19].id] == ["drawn-001", "drawn-020"]
    assert len({brief.model_dump_json() for brief in BRIEFS}) == 200
    assert few.drawn
    assert few.available == 20


@pytest.mark.parametrize("brief", BRIEFS[:60], ids=lambda b: b.characters[0].name)
def test_every_brief_asks_for_all_that_a_reader_can_check(brief: Brief) -> None:
    hero, *others = brief.characters
    assert hero.role == "protagonist"
    assert 1 <= len(hero.traits) <= 2
    assert set(hero.traits) <= set(TRAITS)
    assert len(others) <= 1
    assert all(c.name for c in brief.characters)
    assert brief.setting is not None
    assert brief.setting.place is not None
    for phrase in (brief.setting.place, *brief.must_include):
        assert phrase.split()[0] in ("a", "an", "the")
    assert 1 <= len(brief.must_include) <= 2
    assert None not in (brief.genre, brief.tone, brief.arc, brief.ending)
    assert brief.point_of_view in ("first", "third")


def test_all_wishes_vary() -> None:
    for key, least in (
        ("genre", 14),
        ("tone", 10),
        ("arc", 6),
        ("ending", 5),
        ("point_of_view", 2),
    ):
        assert len({getattr(brief, key) for brief in BRIEFS}) == least
    assert {len(b.characters) for b in BRIEFS} == {len(b.must_include) for b in BRIEFS} == {1, 2}
    assert len({b.setting.place for b in BRIEFS if b.setting}) > 100


def test_no_training_story_combines_them() -> None:
    told = []
    for story in load_sample("train"):
        things = {noun for thing in story.must_include for noun in heads(thing)}
        told.append((set(heads(story.setting.place or "")), things))
    for brief in BRIEFS[:60]:
        assert brief.setting is not None
        places = set(heads(brief.setting.place or ""))
        things = {noun for thing in brief.must_include for noun in heads(thing)}
        for there, with_it in told:
            assert not (places & there and things & with_it)


def test_what_a_training_story_combines_is_told() -> None:
    story = next(s for s in load_sample("train") if s.setting.place and s.must_include)
    new = BRIEFS[0]
    assert not is_told(new)
    assert is_told(story.brief)
    told = {"setting": story.setting, "must_include": story.must_include}
    assert is_told(new.model_copy(update=told))
    assert is_told(
        new.model_copy(update={"setting": story.setting, "must_include": story.must_include[:1]})
    )


def test_figures_without_human_stories(whole: tuple[Path, Evaluation]) -> None:
    result = whole[1]
    found = keys(result)
    assert found >= {
        "wishes_all", "wishes_core", "wishes_character", "wishes_trait", "wishes_place",
        "wishes_must_include", "wishes_point_of_view", "wishes_ending", "wishes_genre",
        "wishes_tone", "wishes_arc", "arc_first", "arc_rank", "arc_clear", "arc_read_first",
        "words", "ended", "end_probability", "shared_p50", "shared_max", "shared_12",
        "seconds", "seconds_p90",
    }  # fmt: skip
    assert not found & {"bits_per_byte_brief", "prompt_gain", "bleu", "rouge1", "wishes_time"}
    for row in result.systems[0].figures:
        assert row.human is None
        assert row.human_floor is None
    for key in ("wishes_all", "wishes_core", "arc_first", "arc_read_first"):
        row_ = result.systems[0].figure(key)
        assert row_ is not None
        assert row_.floor is not None
    data = result.as_json()
    assert (data["corpus"], data["split"], data["stories"]) == ("drawn briefs", None, 3)
    assert data["signatures"] == {}
    assert data["human_arcs"] == []
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_the_report_has_no_human_column(whole: tuple[Path, Evaluation], tmp_path: Path) -> None:
    result = whole[1]
    heads_ = columns(result)
    assert heads_[-1] == "lift over the floor"
    assert all(len(line) == len(heads_) for _, lines in cells(result) for line in lines)
    assert heading(result) == "3 drawn briefs, seed 0"
    pictures = draw_pictures(result, tmp_path)
    assert [name for name, _ in pictures] == ["measures.png", "wishes.png", "arcs.png"]
    report = markdown(result, pictures)
    assert "Bits per byte" not in report
    assert "BLEU" not in report


def test_stopped_and_taken_up_again_with_more_briefs(
    whole: tuple[Path, Evaluation], tiny_model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "stories.jsonl"
    log.write_bytes(whole[0].read_bytes())
    result = evaluate(options([tiny_model], drawn=4, log=log))
    assert log.read_bytes().startswith(whole[0].read_bytes())
    assert log.read_bytes().count(b"\n") == result.stories == 4


def test_models_and_files_side_by_side(
    whole: tuple[Path, Evaluation], tiny_model: Path, tiny_gpt2: Path
) -> None:
    result = evaluate(options([tiny_model, tiny_gpt2], stories=[whole[0]]))
    assert len(result.systems) == 3
    mine, _, theirs = (
        {f.key: f.value for f in s.figures if f.group in ("wishes", "copying")}
        for s in result.systems
    )
    assert mine == theirs
    assert "seconds" not in keys(result, 2)
    changes = {d.key: d for d in result.differences if d.system == result.systems[1].name}
    assert {"wishes_core", "arc_read_first", "shared_12", "seconds"} <= set(changes)
    assert "human" not in columns(result)
    narrow, wide = (rich_table(result, width)[1] for width in (80, 300))
    assert narrow < wide


def test_stories_of_others_are_found_by_id_or_brief_and_never_by_an_id_alone(
    tmp_path: Path,
) -> None:
    items = draw(3).items
    path = tmp_path / "theirs.jsonl"
    text = "Mara went into the garage. She saw a diamond and was glad of it for a year."
    passages = [{"beat": "story", "text": text}]
    wrong = {"brief": items[0].brief.model_dump(mode="json"), "passages": passages}
    lines: list[dict[str, Any]] = [
        {"id": "drawn-001", "text": text},
        {"brief": items[1].brief.model_dump(mode="json"), "passages": passages},
        {"id": "drawn-003", "story": wrong},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    result = evaluate(Options(stories=[path], drawn=3))
    assert result.systems[0].stories == 2
    assert any("1 stories are for other briefs" in note for note in result.notes)
    assert "seconds" not in keys(result)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"drawn": 0}, "--drawn is 0; give at least 1"),
        ({"drawn": 1}, "at least two prompts"),
        ({"corpus": Path("somewhere")}, "--corpus has nothing to choose from"),
        ({"split": "test"}, "--split has nothing to choose from"),
        ({"limit": 3}, "take --limit out"),
        ({"write": False}, "--no-stories leaves nothing to do"),
    ],
)
def test_bad_input_is_one_sentence(tiny_model: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FabulaError, match=said) as error:
        evaluate(options([tiny_model], **changes))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("extra", [["--split", "test"], ["--limit", "3"], ["--corpus", "x"]])
def test_the_command_line_refuses_both(extra: list[str]) -> None:
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["--drawn", "3", *extra])
    assert isinstance(result.exception, FabulaError)
    assert extra[0] in str(result.exception)
