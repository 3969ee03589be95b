"""The command line as a script sees it: exit codes, one JSON object, light imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fabula.cli import VERBS

HEAVY = ("torch", "transformers", "pyarrow", "matplotlib", "pandas", "scipy", "onnx", "datasets")


def fabula(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", *arguments], capture_output=True, text=True, cwd=cwd
    )


def test_every_verb_has_help() -> None:
    listed = fabula("--help").stdout
    for verb, help_text in VERBS.items():
        assert verb in listed
        done = fabula(verb, "--help")
        assert done.returncode == 0, done.stderr
        assert help_text in done.stdout
        assert "--json" in done.stdout


def test_version_is_told() -> None:
    assert fabula("--version").stdout.startswith("fabula 0.")


def test_an_unknown_verb_is_a_usage_error() -> None:
    done = fabula("wrote")
    assert done.returncode == 2
    assert "wrote" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["write"], "the brief is empty"),
        (["write", "--brief", "none.yaml"], "none.yaml"),
        (["write", "--arc", "man in a whole"], "man in a hole"),
        (["write", "--ending", "happy", "--arc", "icarus"], "contradicts itself"),
        (["write", "--genre", "x", "--model", "./no-such-folder"], "no-such-folder"),
        (["read", "none.txt"], "none.txt"),
        (["replay", "none.json"], "none.json"),
        (["prepare", "none.csv", "-o", "out"], "none.csv"),
        (["train", "none.yaml"], "none.yaml"),
        (["evaluate", "--corpus", "nowhere"], "nowhere"),
    ],
)
def test_a_refusal_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = fabula(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_is_json_for_scripts(tmp_path: Path) -> None:
    done = fabula("write", "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert "the brief is empty" in json.loads(done.stdout)["error"]


def test_writing_and_reading_load_nothing_heavy() -> None:
    code = (
        "import sys, fabula.cli.write, fabula.cli.read, fabula.writing, fabula.reading, "
        "fabula.engines\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
