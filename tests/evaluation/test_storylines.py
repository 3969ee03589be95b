"""Stories one a line: found again, named where they are damaged, appended whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fabula.errors import FabulaError
from fabula.evaluation.heldout import load_heldout
from fabula.evaluation.storylines import (
    StoryLine,
    StoryLog,
    dump_line,
    load_lines,
    story_seed,
    system_digest,
)
from fabula.story import Story

ITEMS = load_heldout(None, "valid", 4).items


def line(number: int, system: str = "s") -> StoryLine:
    item = ITEMS[number]
    return StoryLine(item.id, system, Story(brief=item.brief, passages=item.passages))


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(lines), encoding="utf-8")
    return path


def test_lines_come_back(tmp_path: Path) -> None:
    lines = [line(0), line(1), line(0, "other")]
    path = write(tmp_path / "s.jsonl", *map(dump_line, lines))
    assert load_lines(path, ITEMS) == (lines, 0)


def test_bare_story_files_are_found_by_their_brief_and_plain_texts_by_id(tmp_path: Path) -> None:
    bare = json.dumps(line(2).story.model_dump(mode="json")) + "\n"
    plain = json.dumps({"id": ITEMS[1].id, "text": "She left.\n\nHe stayed."}) + "\n"
    stranger = json.dumps({"id": "nobody", "text": "Hm."}) + "\n"
    found, strangers = load_lines(write(tmp_path / "s.jsonl", bare, plain, stranger), ITEMS)
    assert [f.id for f in found] == [ITEMS[2].id, ITEMS[1].id]
    assert found[1].story.text == "She left.\n\nHe stayed."
    assert strangers == 1


def test_a_cut_off_file_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", dump_line(line(0)), dump_line(line(1))[:300])
    with pytest.raises(FabulaError, match=r"s\.jsonl, line 2: not a whole JSON object"):
        load_lines(path, ITEMS)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("[1]\n", "expected a story"),
        ('{"id": "x"}\n', "neither a story file"),
        (json.dumps({"id": ITEMS[0].id, "text": " "}) + "\n", "the text is empty"),
        ('{"id": 3, "story": {}}\n', "needs the id"),
        ('{"id": "x", "seconds": "2", "story": {"brief": {}}}\n', "'seconds' is '2'"),
        ('{"id": "x", "seconds": NaN, "story": {"brief": {}}}\n', "'seconds' is 'nan'"),
        ('{"id": "x", "story": {"brief": {}, "passage": []}}\n', "did you mean 'passages'"),
    ],
)
def test_a_line_that_is_no_story_is_named(tmp_path: Path, raw: str, said: str) -> None:
    path = write(tmp_path / "s.jsonl", dump_line(line(0)), raw)
    with pytest.raises(FabulaError, match=f"line 2: .*{said}"):
        load_lines(path, ITEMS)


def test_a_changed_text_and_a_second_story_are_refused(tmp_path: Path) -> None:
    data = json.loads(dump_line(line(0)))
    data["story"]["text"] = "Something else."
    with pytest.raises(FabulaError, match="line 1: 'text' is not what the passages say"):
        load_lines(write(tmp_path / "a.jsonl", json.dumps(data) + "\n"), ITEMS)
    with pytest.raises(FabulaError, match=r"line 2: a second story .* line 1"):
        load_lines(write(tmp_path / "b.jsonl", dump_line(line(0)), dump_line(line(0))), ITEMS)


def test_a_log_remembers_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "stories.jsonl"
    log = StoryLog(path, ITEMS)
    assert log.get(ITEMS[0].id, "s") is None
    log.add(line(0))
    again = StoryLog(path, ITEMS)
    assert again.get(ITEMS[0].id, "s") == line(0)
    assert again.get(ITEMS[0].id, "t") is None
    assert again.get(ITEMS[1].id, "s") is None


def test_the_seconds_of_a_story_are_kept_where_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "stories.jsonl"
    log = StoryLog(path, ITEMS)
    log.add(replace(line(0), seconds=1.235))
    log.add(line(1))
    found = [StoryLog(path, ITEMS).get(item.id, "s") for item in ITEMS[:2]]
    assert [f.seconds for f in found if f is not None] == [1.235, None]


def test_a_log_that_lost_its_power_goes_on_from_its_last_whole_line(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", dump_line(line(0)), dump_line(line(1))[:100])
    log = StoryLog(path, ITEMS)
    assert log.get(ITEMS[1].id, "s") is None
    log.add(line(1))
    assert [f.id for f in load_lines(path, ITEMS)[0]] == [ITEMS[0].id, ITEMS[1].id]


def test_a_story_for_another_brief_of_the_same_id_is_written_again(tmp_path: Path) -> None:
    old = StoryLine(ITEMS[0].id, "s", Story(brief=ITEMS[1].brief, passages=ITEMS[0].passages))
    path = write(tmp_path / "s.jsonl", dump_line(old))
    log = StoryLog(path, ITEMS)
    assert log.get(ITEMS[0].id, "s") is None
    log.add(line(0))
    assert StoryLog(path, ITEMS).get(ITEMS[0].id, "s") == line(0)


def test_a_system_is_its_weights_seed_and_settings() -> None:
    base = system_digest("w", 0, {"a": 1, "b": 2})
    assert base == system_digest("w", 0, {"b": 2, "a": 1})
    others = {
        system_digest("v", 0, {"a": 1, "b": 2}),
        system_digest("w", 1, {"a": 1, "b": 2}),
        system_digest("w", 0, {"a": 1, "b": 3}),
    }
    assert len(others | {base}) == 4


def test_seeds_differ_by_brief_and_are_fit_for_a_writer() -> None:
    seeds = {story_seed(0, item.id) for item in ITEMS} | {story_seed(1, ITEMS[0].id)}
    assert len(seeds) == 5
    assert all(0 <= s < 2**31 for s in seeds)
