from __future__ import annotations

import json
from pathlib import Path

import pytest

from fabula.engines import open_engine
from fabula.errors import FabulaError
from fabula.story import Brief, Character, dump_story
from fabula.writing import Writer, WriterSettings

BRIEF = Brief(characters=[Character(name="Zxqv")], genre="ghost story", must_include=["a clock"])
QUICK = WriterSettings(
    beats=("setup", "turn"), candidates=2, plans=2, beat_tokens=24, line_tokens=12
)


@pytest.mark.parametrize("fixture", ["tiny_model", "tiny_gpt2"])
def test_a_story_is_the_same_in_a_new_process_of_the_model(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    """Random weights write noise; what is tested is that every engine can be written with."""
    folder = str(request.getfixturevalue(fixture))
    first, again = (Writer(open_engine(folder), QUICK).write(BRIEF, 3) for _ in range(2))
    assert dump_story(first) == dump_story(again)
    assert [p.beat for p in first.passages] == ["setup", "turn"]
    assert first.making is not None
    assert first.making.model == folder


def test_a_models_names_are_used(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "named"
    folder.mkdir()
    for file in tiny_model.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "names.json").write_text(json.dumps({"neutral": ["Robin"]}))
    writer = Writer(open_engine(str(folder)), QUICK)
    assert writer.names is not None
    heard: list[object] = []
    story = writer.write(BRIEF, 3, heard.append)
    assert "'Robin'" in heard[0].text  # type: ignore[attr-defined]
    assert "Robin" not in story.text
    assert story.brief == BRIEF


def test_the_embedded_model_keeps_what_it_is_asked() -> None:
    try:
        engine = open_engine()
    except FabulaError:
        pytest.skip("this checkout has no embedded model")
    brief = Brief.model_validate(
        {"characters": [{"name": "Mara"}], "setting": {"place": "a lighthouse"},
         "genre": "ghost story", "point_of_view": "third", "must_include": ["a broken clock"]}
    )  # fmt: skip
    kept = asked = 0
    for seed in range(3):
        receipt = Writer(engine, WriterSettings(candidates=4, plans=4)).write(brief, seed).receipt
        assert receipt is not None
        wishes = [w for w in receipt.wishes if w.wish.startswith(("char", "place", "must"))]
        kept, asked = kept + sum(w.kept for w in wishes), asked + len(wishes)
    assert kept >= asked - 1
