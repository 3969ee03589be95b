"""`fabula read` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fabula.story import load_brief

TEXT = (
    "Mara kept the lighthouse. She was stubborn. The lamp went out in the storm, and Mara climbed "
    "the stairs of the lighthouse in the dark. She struck her last match, and the lamp burned.\n"
)


def run(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", "read", *arguments], input=given, capture_output=True
    )


def test_json_is_a_brief_that_can_be_written_for(tmp_path: Path) -> None:
    file = tmp_path / "story.txt"
    file.write_text(TEXT, encoding="utf-8")
    done = run(str(file), "--json")
    assert done.returncode == 0
    data = json.loads(done.stdout)
    assert data["characters"][0]["name"] == "Mara"
    assert {"field", "value", "start", "end", "text", "confidence"} == set(data["evidence"][0])
    (tmp_path / "brief.json").write_bytes(done.stdout)
    assert load_brief(tmp_path / "brief.json").point_of_view == "third"


def test_the_terminal_shows_fields_and_text_from_standard_input() -> None:
    done = run("-", given=TEXT.encode())
    assert done.returncode == 0
    shown = done.stdout.decode()
    assert "lighthouse" in shown
    assert "confidence" in shown
    assert "struck her last match" in " ".join(shown.split())


def test_control_characters_do_not_reach_the_terminal() -> None:
    done = run("-", given=("\x1b[2J\x07" + TEXT).encode())
    assert done.returncode == 0
    assert b"\x1b[2J" not in done.stdout
    assert b"\x07" not in done.stdout


def test_the_page_escapes_the_text(tmp_path: Path) -> None:
    file, page = tmp_path / "a.txt", tmp_path / "a.html"
    file.write_text("<script>alert(1)</script> " + TEXT, encoding="utf-8")
    assert run(str(file), "--html", str(page)).returncode == 0
    html = page.read_text(encoding="utf-8")
    assert "<script>" not in html
    assert '<mark class="name" title="name">Mara</mark>' in html
    assert "http" not in html


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        ([], b"", "Name a text"),
        (["nowhere.txt"], b"", "No such file"),
        (["-"], b"\0\1", "binary"),
        (["-"], b"\xff\xfe", "not UTF-8"),
        (["--score", "--split", "tset"], b"", "no split"),
        (["--fit", "--texts", "nowhere.jsonl", "--into", "x"], b"", "cannot be read"),
    ],
)
def test_refusals_are_one_sentence(arguments: list[str], given: bytes, words: str) -> None:
    done = run(*arguments, given=given)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_empty_input_is_read_as_nothing() -> None:
    done = run("-", "--json", given=b"")
    assert done.returncode == 0
    assert json.loads(done.stdout)["evidence"] == []


def test_score_prints_every_field_beside_its_baseline() -> None:
    done = run("--score", "--split", "valid", "--json")
    assert done.returncode == 0
    rows = {r["field"]: r for r in json.loads(done.stdout)["fields"]}
    assert len(rows) == 11
    assert rows["point of view"]["figure"] > rows["point of view"]["baseline"]
    assert rows["protagonist"]["figure"] >= 0.8
    assert rows["place"]["figure"] > rows["place"]["baseline"] + 0.2
    for row in rows.values():
        low, high = row["interval"]
        assert low <= row["figure"] <= high


def test_check_exits_one_when_a_goal_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from fabula.cli import read as verb
    from fabula.reading import score

    good = score.score("valid", stories=score.load_sample("valid")[:6])
    monkeypatch.setattr(
        score, "score", lambda *_, **__: [r.model_copy(update={"met": False}) for r in good]
    )
    with pytest.raises(typer.Exit) as stop:
        verb._score("valid", 0.0, True, True)
    assert stop.value.exit_code == 1


def test_tales_that_are_none_leave_the_reader_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "tales.jsonl").write_text('{"title": "x", "sections": ["Once."]}\n')
    done = run(
        "--fit", "--tales", str(tmp_path / "tales.jsonl"), "--into", str(tmp_path / "fitted")
    )
    assert done.returncode == 2
    assert "no question on a character" in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "fitted").exists()
