"""The story file: canonical bytes, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabula.errors import FabulaError
from fabula.story import (
    Brief,
    Making,
    Passage,
    Receipt,
    Span,
    Story,
    Wish,
    dump_story,
    load_story,
    write_atomic,
)
from fabula.story.sample import load_sample


def a_story() -> Story:
    gold = load_sample("train")[0]
    wish = Wish(wish="genre", value="x", kept=True, spans=[Span(start=0, end=1, text="I")])
    return Story(
        brief=gold.brief,
        premise=gold.premise,
        outline=gold.outline,
        passages=gold.passages,
        receipt=Receipt(wishes=[wish]),
        making=Making(fabula="0", model="m", weights="w", seed=1),
    )


def test_bytes_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    write_atomic(path, dump_story(a_story()))
    assert load_story(path) == a_story()
    assert dump_story(load_story(path)).encode() == path.read_bytes()


def test_a_changed_text_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    path.write_text(dump_story(a_story()).replace('"text": "Idris', '"text": "Odris', 1))
    with pytest.raises(FabulaError, match="was changed"):
        load_story(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"brief": {}, "pasages": []}', "{"])
def test_not_a_story_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "story.json"
    path.write_text(content)
    with pytest.raises(FabulaError, match=r"story\.json"):
        load_story(path)


def test_atomic_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    write_atomic(path, "one")
    with pytest.raises(FabulaError, match="cannot write"):
        write_atomic(tmp_path / "none" / "x.txt", "two")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FabulaError, match="cannot write"):
        write_atomic(tmp_path / "folder", "two")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "x.txt"]
    assert path.read_text() == "one"


def test_text_joins_passages() -> None:
    story = Story(
        brief=Brief(genre="x"),
        passages=[Passage(beat="climax", text="A"), Passage(beat="end", text="B")],
    )
    assert story.text == "A\n\nB"
