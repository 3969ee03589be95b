"""The project as a whole: what it ships, what it pins, and what it must not say."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import fabula

ROOT = Path(__file__).parents[1]
ROOMS = (
    "story",
    "reading",
    "engines",
    "corpus",
    "writing",
    "training",
    "evaluation",
    "export",
    "cli",
)


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def modules(room: str) -> list[Path]:
    return sorted((ROOT / "src" / "fabula" / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_only_go_down(room: str) -> None:
    """Nothing below knows anything above it: DESIGN's order of the rooms."""
    above = ROOMS[ROOMS.index(room) + 1 :]
    for path in modules(room):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else []
            )
            for name in names:
                parts = name.split(".")
                assert not (parts[0] == "fabula" and len(parts) > 1 and parts[1] in above), (
                    f"{path.name} in {room}/ imports {name}"
                )


def test_every_module_says_what_it_is() -> None:
    for room in ROOMS:
        for path in modules(room):
            assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def test_no_pickle_and_no_remote_code() -> None:
    bad = re.compile(
        r"^\s*(?:import pickle|from pickle)|trust_remote_code\s*=\s*True|allow_pickle\s*=\s*True",
        re.M,
    )
    for room in ROOMS:
        for path in modules(room):
            assert not bad.search(path.read_text("utf-8")), path


def test_the_pins_cover_the_requirements() -> None:
    pins = {
        re.split("[=<>]", line)[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    for requirement in wanted:
        name = re.split(r"[\[<>=;]", requirement)[0].lower().replace("_", "-")
        assert name == "fabula" or name in pins, requirement


def test_nothing_large_or_binary_slips_in() -> None:
    for path in tracked():
        if path.exists():
            assert path.stat().st_size < 20_000_000, path


def test_the_readme_names_real_files() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"(?:recipes|examples|benchmarks|docs)/[\w.-]+\.\w+", readme):
        assert (ROOT / name).exists(), name


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", fabula.__version__)
