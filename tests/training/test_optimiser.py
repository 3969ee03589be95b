"""Schedules, and the two optimisers as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import recipe_data

from fabula.training.optimiser import (
    MuonWithAdamW,
    build_optimiser,
    pack_state,
    rate_factor,
    unpack_state,
)
from fabula.training.recipe import Recipe, Schedule

torch = pytest.importorskip("torch")
NAMES = ["cosine", "linear", "wsd", "constant", "cosine_with_restarts"]


def factor(progress: float, **settings: Any) -> float:
    return rate_factor(Schedule.model_validate(settings), progress)


@given(st.sampled_from(NAMES), st.floats(0, 1), st.floats(0, 0.9), st.floats(0, 1), st.floats(0, 1))
def test_rates_stay_between_nothing_and_the_peak(
    name: str, progress: float, warmup: float, low: float, decay: float
) -> None:
    rate = factor(progress, name=name, warmup=warmup, min_lr_ratio=low, decay=decay)
    assert 0 <= rate <= 1 + 1e-9


@pytest.mark.parametrize(
    ("name", "points"),
    [
        ("constant", {0.2: 1.0, 0.6: 1.0, 1.0: 1.0}),
        ("linear", {0.2: 1.0, 0.6: 0.55, 1.0: 0.1}),
        ("cosine", {0.2: 1.0, 0.6: 0.55, 1.0: 0.1}),
        ("wsd", {0.2: 1.0, 0.5: 1.0, 0.625: 0.55, 1.0: 0.1}),
        ("cosine_with_restarts", {0.2: 1.0, 0.4: 0.55, 0.600001: 1.0, 1.0: 0.1}),
    ],
)
def test_schedules_pass_through_known_points(name: str, points: dict[float, float]) -> None:
    settings = {"name": name, "warmup": 0.2, "min_lr_ratio": 0.1, "decay": 0.5, "cycles": 2}
    assert factor(0.1, **settings) == pytest.approx(0.5)
    for progress, rate in points.items():
        assert factor(progress, **settings) == pytest.approx(rate), progress


def tiny(corpus: Path, name: str) -> tuple[Any, Any]:
    from fabula.training.models import random_llama

    recipe = Recipe.model_validate(
        recipe_data(corpus, optimiser={"name": name, "learning_rate": 1e-2, "weight_decay": 0.1})
    )
    torch.manual_seed(1)
    assert recipe.init is not None
    model = random_llama(recipe.init, 400, 0, 1, 2)
    return model, build_optimiser(model, recipe)


def step(model: Any, optimiser: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimiser.step()


def test_muon_takes_the_hidden_matrices_and_adamw_the_rest(corpus: Path) -> None:
    model, optimiser = tiny(corpus, "muon")
    assert isinstance(optimiser, MuonWithAdamW)
    muon, adamw = (
        {id(p) for g in part.param_groups for p in g["params"]} for part in optimiser.parts
    )
    for name, parameter in model.named_parameters():
        hidden = "layers" in name and parameter.ndim == 2
        assert (id(parameter) in muon) == hidden, name
        assert (id(parameter) in adamw) == (not hidden), name


@pytest.mark.parametrize("name", ["adamw", "muon", "adamw_8bit"])
def test_an_optimiser_goes_on_exactly_from_its_packed_state(name: str, corpus: Path) -> None:
    model, optimiser = tiny(corpus, name)
    step(model, optimiser, 0)
    tensors, plain = pack_state(optimiser)
    tensors = {k: v.clone() for k, v in tensors.items()}
    again, other = tiny(corpus, name)
    again.load_state_dict(model.state_dict())
    unpack_state(other, tensors, plain)
    for seed in (1, 2):
        step(model, optimiser, seed)
        step(again, other, seed)
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_scheduler_reaches_both_parts_also_after_a_restart(corpus: Path) -> None:
    _, optimiser = tiny(corpus, "muon")
    optimiser.load_state_dict(optimiser.state_dict())
    for group in optimiser.param_groups:
        group["lr"] = 0.125
    assert {g["lr"] for part in optimiser.parts for g in part.param_groups} == {0.125}
