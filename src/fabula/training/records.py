"""What a run's folder tells of it: its lines, notes, facts and state. Needs no torch.

`metrics.jsonl` and `specimens.jsonl` have one object a line with the step it belongs to;
`notes.jsonl` what was said, and when; `facts.json` what was true of machine, model and data.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError
from fabula.story.files import parse_data, read_text, validate
from fabula.training.recipe import Recipe

METRICS, SPECIMENS, NOTES, FACTS = "metrics.jsonl", "specimens.jsonl", "notes.jsonl", "facts.json"
QUIET_SECONDS = 600.0
"""A run that says nothing for so long is not going on."""


def now() -> str:
    """This moment, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines that are whole objects; a killed process may have left half of one."""
    found: list[dict[str, Any]] = []
    if path.is_file():
        for raw in path.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(raw)
                if isinstance(line, dict):
                    found.append(line)
    return found


def add_line(path: Path, line: dict[str, Any]) -> None:
    """Append one line.

    Raises:
        FabulaError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise FabulaError(f"cannot write {path}: {error.strerror}.") from None


@dataclass(frozen=True)
class Record:
    """What is known of a run.

    Attributes:
        folder: of the run.
        recipe: with all its settings.
        steps: lines of training.
        scores: lines of what was held out.
        told: lines of the specimens' means.
        specimens: lines with the specimens themselves.
        notes: what was said.
        facts: of machine, model and data.
        state: finished, going on, stopped or broken off.
    """

    folder: Path
    recipe: Recipe
    steps: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    specimens: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    state: str = ""

    @property
    def last(self) -> dict[str, Any]:
        """The newest line of training, or an empty one."""
        return self.steps[-1] if self.steps else {}

    @property
    def progress(self) -> float:
        """Share of the run that is done."""
        return 1.0 if self.state == "finished" else float(self.last.get("progress", 0.0))

    @property
    def rate(self) -> float | None:
        """Median of the tokens a second."""
        rates = sorted(line["tokens_per_second"] for line in self.steps)
        return rates[len(rates) // 2] if rates else None


def read_facts(folder: Path) -> dict[str, Any]:
    """The facts of a run; empty where there are none."""
    path = folder / FACTS
    with suppress(OSError, ValueError):
        facts = json.loads(path.read_text("utf-8"))
        if isinstance(facts, dict):
            return facts
    return {}


def read_record(folder: Path) -> Record:
    """All that a run's folder tells.

    Raises:
        FabulaError: it is not the folder of a run.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        there = "is not the folder of a run (no recipe.yaml)" if folder.is_dir() else "is no folder"
        raise FabulaError(f"{folder} {there}; name one that 'fabula train' has made.")
    recipe = validate(Recipe, parse_data(read_text(path), str(path)), str(path))
    lines = read_lines(folder / METRICS)
    # After a resumption the same step may have been scored twice.
    scores = {line["step"]: line for line in lines if "eval_loss" in line}
    told = {line["step"]: line for line in lines if "eval_loop_rate" in line}
    specimens = {line["step"]: line for line in read_lines(folder / SPECIMENS) if "step" in line}
    facts = read_facts(folder)
    return Record(
        folder=folder,
        recipe=recipe,
        steps=[line for line in lines if "loss" in line],
        scores=list(scores.values()),
        told=list(told.values()),
        specimens=list(specimens.values()),
        notes=read_lines(folder / NOTES),
        facts=facts,
        state=_state(folder, facts),
    )


def _state(folder: Path, facts: dict[str, Any]) -> str:
    sittings = facts.get("sittings") or [{}]
    if "ended" in sittings[-1]:
        return "finished" if sittings[-1].get("finished") else "stopped"
    if (folder / "final").is_dir() and not facts:
        return "finished"
    with suppress(OSError):
        newest = max(f.stat().st_mtime for f in folder.iterdir())
        if time.time() - newest < QUIET_SECONDS:
            return "going on"
    return "broken off"


def dump(value: Any) -> str:
    """As JSON to be read."""
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def dump_line(value: Any) -> str:
    """As one line."""
    return json.dumps(value, ensure_ascii=False) + "\n"
