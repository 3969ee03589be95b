"""Restarts of every schedule, the schedule in words, and `fabula schedule`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_recipe import recipe_data

from fabula.cli import main
from fabula.training.recipe import Recipe, Schedule
from fabula.training.schedule import peak_rates, planned, rate_factor, told, unicode_plot


def factor(progress: float, **settings: Any) -> float:
    return rate_factor(Schedule.model_validate(settings), progress)


@pytest.mark.parametrize("name", ["cosine", "linear", "wsd"])
def test_each_cycle_begins_at_the_peak_and_falls_to_the_floor(name: str) -> None:
    settings = {"name": name, "warmup": 0.1, "min_lr_ratio": 0.2, "restarts": 2, "decay": 0.3}
    for cycle in range(3):
        start, end = 0.1 + 0.3 * cycle, 0.1 + 0.3 * (cycle + 1)
        assert factor(start + 1e-9, **settings) == pytest.approx(1.0, abs=1e-3)
        assert factor(end - 1e-9, **settings) == pytest.approx(0.2, abs=2e-3)
    assert factor(1.0, **settings) == pytest.approx(0.2)
    assert factor(0.05, **settings) == pytest.approx(0.5)


def test_wsd_with_restarts_is_stable_first_and_falls_as_long_in_all_as_without() -> None:
    settings = {"name": "wsd", "warmup": 0.0, "restarts": 1, "decay": 0.2}
    assert factor(0.39, **settings) == 1.0
    assert factor(0.45, **settings) == pytest.approx(1 - 0.5**0.5)
    assert factor(0.51, **settings) == 1.0
    places = [n / 10_000 for n in range(10_001)]
    for restarts in (0, 1, 4):
        falling = sum(factor(p, **{**settings, "restarts": restarts}) < 1 for p in places)
        assert falling / len(places) == pytest.approx(0.2, abs=0.002)


@given(st.floats(0, 1), st.floats(0, 0.9), st.integers(0, 9), st.floats(0, 1))
def test_cosine_with_so_many_restarts_is_as_many_cosines(
    progress: float, warmup: float, restarts: int, low: float
) -> None:
    common = {"warmup": warmup, "min_lr_ratio": low}
    one = factor(progress, name="cosine", restarts=restarts, **common)
    other = factor(progress, name="cosine_with_restarts", cycles=restarts + 1, **common)
    assert one == other


def test_restarts_of_what_has_none_are_refused_and_old_recipes_mean_what_they_meant() -> None:
    for name, hint in (("constant", "leave restarts out"), ("cosine_with_restarts", "give cycles")):
        with pytest.raises(ValidationError, match=hint):
            Schedule.model_validate({"name": name, "restarts": 1})
    # Run folders of earlier versions have `cycles: 4` written out for every schedule.
    for name in ("cosine", "linear", "wsd", "constant"):
        for progress in (0.0, 0.3, 0.77, 1.0):
            assert factor(progress, name=name, cycles=4) == factor(progress, name=name)


def test_the_schedule_in_words_and_both_rates_of_muon(tmp_path: Path) -> None:
    data = recipe_data(tmp_path, schedule={"name": "wsd", "warmup": 0.05, "restarts": 2})
    data |= {"steps": 300, "max_minutes": 1}
    data["optimiser"] = {"name": "muon", "learning_rate": 1e-3, "muon_learning_rate": 2e-2}
    recipe = Recipe.model_validate(data)
    assert told(recipe) == (
        "wsd, warm-up over 5% of the run, 3 falls over 20% of it, down to 0% of the peak; the run "
        "ends after 300 steps or 1 minute, whichever comes first"
    )
    assert peak_rates(recipe) == {"muon_learning_rate": 2e-2, "learning_rate": 1e-3}
    factors = planned(recipe, 11)
    assert len(factors) == 11
    assert factors[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_plot_of_characters_fills_as_much_as_its_values() -> None:
    assert unicode_plot([0.0, 0.5, 1.0, 0.0625], height=2) == ["  █ ", " ██▁"]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fabula", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_shows_draws_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(recipe_data(tmp_path, schedule={"warmup": 0.5})))
    png, svg = tmp_path / "s.png", tmp_path / "s.svg"
    assert call(monkeypatch, "schedule", str(recipe), "--plot", str(png)) == 0
    shown = capsys.readouterr().out
    bars = [line.partition("│")[2] for line in shown.splitlines() if "│" in line]
    assert len(bars) == 8
    assert bars[0].index("█") in (31, 32)  # the peak, where the warm-up ends
    assert "step 4" in shown
    assert png.read_bytes().startswith(b"\x89PNG")
    assert call(monkeypatch, "schedule", str(recipe), "--json", "--plot", str(svg)) == 0
    factors = json.loads(capsys.readouterr().out)["factors"]
    assert factors[50] == 1.0
    assert "<svg" in svg.read_text()
    assert call(monkeypatch, "schedule", str(recipe), "--plot", str(tmp_path / "s.gif")) == 2
    assert "ends in .png" in capsys.readouterr().err
