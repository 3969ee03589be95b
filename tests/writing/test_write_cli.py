from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ngram import NgramEngine

from fabula.cli import main
from fabula.story import load_story

FAST = ["--candidates", "2", "--seed", "3"]
WISHES = ["--character", "Mara: shy, stubborn", "--setting", "a lighthouse"]


@pytest.fixture
def fabula(
    engine: NgramEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Runs the command line over the trigram engine: (exit code, output, errors)."""
    monkeypatch.setattr("fabula.engines.open_engine", lambda model: engine)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fabula", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_story_its_receipt_and_how_to_repeat_it(fabula: Any) -> None:
    code, out, _ = fabula("write", *WISHES, "--must", "a broken clock", *FAST)
    assert code == 0
    for part in ("Premise: ", "exposition: ", "resolution: ", "Receipt: ", "Seed 3, model trigram"):
        assert part in out
    assert out.index("exposition: ") < out.index("resolution: ") < out.index("Receipt: ")


def test_json_is_the_story_file_and_progress_goes_elsewhere(fabula: Any) -> None:
    code, out, err = fabula("write", *WISHES, *FAST, "--json")
    story = json.loads(out)
    assert code == 0
    assert {"brief", "outline", "passages", "text", "receipt", "making"} <= set(story)
    assert story["passages"][0]["text"] in err


def test_saved_and_replayed(fabula: Any, tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    path.write_text("an older file")
    code, out, _ = fabula("write", *WISHES, *FAST, "-o", str(path))
    assert code == 0
    assert f"fabula replay {path}" in out
    assert [p.name for p in tmp_path.iterdir()] == ["story.json"]
    assert fabula("replay", str(path))[0] == 0
    code, out, _ = fabula("replay", str(path), "--json")
    assert (code, json.loads(out)["same"]) == (0, True)


def test_a_changed_story_is_noticed_and_the_place_named(fabula: Any, tmp_path: Path) -> None:
    path = tmp_path / "story.json"
    fabula("write", *WISHES, *FAST, "-o", str(path))
    data = json.loads(path.read_text())
    data["passages"][1]["text"] += " And more."
    del data["text"]
    path.write_text(json.dumps(data))
    code, out, _ = fabula("replay", str(path), "--json")
    assert code == 1
    assert json.loads(out)["first_difference"]["at"].startswith("passages.2.text, character")


def test_what_cannot_be_replayed(
    fabula: Any, tmp_path: Path, engine: NgramEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "story.json"
    fabula("write", *WISHES, *FAST, "-o", str(path))
    monkeypatch.setattr(engine, "weights", "f" * 64)
    code, _, err = fabula("replay", str(path))
    assert code == 2
    assert "written with the weights 000000000000" in err
    data = json.loads(path.read_text())
    data["making"]["settings"]["temperatur"] = 1
    path.write_text(json.dumps(data))
    assert "did you mean 'temperature'" in fabula("replay", str(path))[2]
    del data["making"]
    path.write_text(json.dumps(data))
    assert "does not say how it was made" in fabula("replay", str(path))[2]
    assert fabula("replay", str(tmp_path / "none.json"))[0] == 2


def test_other_formats(fabula: Any, tmp_path: Path) -> None:
    for name, part in (("s.md", "### Receipt"), ("s.txt", "\n\n")):
        assert fabula("write", *WISHES, *FAST, "--title", "Light | Dark", "-o", str(tmp_path / name))[0] == 0  # fmt: skip  # noqa: E501
        assert part in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "s.txt").read_text(encoding="utf-8").startswith("Light | Dark\n\n")


def test_a_brief_file_and_wishes_on_top(fabula: Any, tmp_path: Path) -> None:
    brief = tmp_path / "brief.yaml"
    brief.write_text(
        "characters: [{name: Mara, traits: [shy]}]\nsetting: {place: a lighthouse}\n"
        "genre: ghost story\nmust_include: [salt]\n"
    )
    path = tmp_path / "s.json"
    code, _, err = fabula(
        "write", "--brief", str(brief), "--genre", "Western", "--time", "1880",
        "--character", "Oke (Ally): practical", "--must", "a bell", *FAST, "-o", str(path),
    )  # fmt: skip
    assert (code, err) == (0, "")
    made = load_story(path).brief
    assert made.genre == "western"
    assert made.setting is not None
    assert (made.setting.place, made.setting.time) == ("a lighthouse", "1880")
    assert [(c.name, c.role) for c in made.characters] == [("Mara", "protagonist"), ("Oke", "ally")]
    assert made.must_include == ["salt", "a bell"]


def test_an_outline_file(fabula: Any, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("- {beat: start, summary: Mara waits.}\n- {beat: end, summary: Oke comes.}\n")
    path = tmp_path / "s.json"
    assert fabula("write", *WISHES, "--outline", str(plan), *FAST, "-o", str(path))[0] == 0
    assert [p.beat for p in load_story(path).passages] == ["start", "end"]
    assert fabula("replay", str(path))[0] == 0
    again = fabula("write", *WISHES, "--outline", str(path), *FAST, "--json")[1]
    assert json.loads(again)["passages"] == json.loads(path.read_text())["passages"]


REFUSED = [
    (["write"], "brief is empty"),
    (["write", "--arc", "man in hole"], "did you mean 'man in a hole'"),
    (["write", "--ending", "hapy"], "did you mean 'happy'"),
    (["write", "--pov", "thrid"], "did you mean 'third'"),
    (["write", "--character", "Mara (aly)"], "did you mean 'ally'"),
    (["write", "--character", "Mara (ally"], "does not close"),
    (["write", "--character", "Mara", "--character", "mara"], "rename one"),
    (["write", "--arc", "icarus", "--ending", "happy"], "contradicts itself"),
    (["write", "--must", "a b c d e f g h i j k", "--length", "20"], "does not fit"),
    (["write", "--genre", "crime", "--temperature", "-1"], "temperature"),
    (["write", "--genre", "crime", "--seed", "-1"], "seed"),
    (["write", "--genre", "crime", "-o", "story.pdf"], "must end in"),
    (["write", "--genre", "crime", "-o", "no/such/folder/story.json"], "does not exist"),
    (["write", "--brief", "nowhere.yaml"], "nowhere.yaml"),
    (["write", "--genre", "cri\x07me"], "control character"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "sentence"), REFUSED)
def test_bad_wishes_are_refused_in_a_sentence(
    fabula: Any, arguments: list[str], sentence: str
) -> None:
    code, out, err = fabula(*arguments)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""


def test_hostile_files_are_refused(fabula: Any, tmp_path: Path) -> None:
    for raw, sentence in (
        (b"a: &a [x]\nb: [*a, *a]\n", "aliases are not allowed"),
        (b"\x00\x01", "binary"),
        ("genre: caf\u00e9".encode("latin-1"), "UTF-8"),
        (b"genre: " + b"x" * 1_100_000, "MB"),
        (b"gnre: crime", "did you mean 'genre'"),
        (b"", "empty"),
        (b"[" * 5_000, "not YAML or JSON"),
    ):
        path = tmp_path / "brief.yaml"
        path.write_bytes(raw)
        code, _, err = fabula("write", "--brief", str(path))
        assert (code, sentence in err) == (2, True), err


def test_interrupted_saves_nothing(
    fabula: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fabula.writing.writer.receipt", interrupt)
    code, _, err = fabula("write", *WISHES, *FAST, "-o", str(tmp_path / "s.json"))
    assert code == 130
    assert "nothing was saved" in err
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_light_to_import() -> None:
    """The first word is due within a second of typing: nothing heavy before the model."""
    code = (
        "import sys, fabula.cli.write\n"
        "heavy = {'numpy', 'torch', 'transformers', 'onnxruntime', 'pydantic', 'rich', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert found.stdout.strip() == "[]"
