"""Recipes: unknown keys, wrong values, and what may change on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training.recipe import Recipe, dump_recipe, load_recipe


def write(path: Path, data: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_recipe_survives_its_own_file(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(recipe_data(tmp_path))
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"learning_rat": 1}, "unknown key 'learning_rat'"),
        ({"optimiser": {"learning_rte": 1e-3}}, "did you mean 'learning_rate'?"),
        ({"schedule": {"name": "cosin"}}, "did you mean 'cosine'?"),
        ({"method": "qlra"}, "did you mean 'qlora'?"),
        ({"method": "lora"}, "starts from random weights, which 'lora' cannot"),
        ({"init": None}, "either base_model or init"),
        ({"steps": None}, "never ends"),
        ({"batch_size": 3, "micro_batch_size": 2}, "no multiple"),
        ({"sequence_length": 4096}, "longer than the model's context of 512"),
        ({"name": "../up"}, "folder's name"),
        ({"data": []}, "at least one corpus"),
        ({"data": [{"corpus": "sample", "split": "test"}]}, "one of: train, valid"),
        ({"optimiser": {"learning_rate": -1}}, "greater than 0"),
        ({"init": {"hidden_size": 30, "num_attention_heads": 4}}, "do not divide"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = {**recipe_data(tmp_path), **changes}
    with pytest.raises(FabulaError) as caught:
        load_recipe(write(tmp_path / "r.yaml", data))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "r.yaml" in str(caught.value)


def test_the_command_line_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", recipe_data(tmp_path))
    recipe = load_recipe(path, base_model="somewhere", steps=9, seed=None)
    assert (recipe.base_model, recipe.init, recipe.steps, recipe.seed) == ("somewhere", None, 9, 0)


def test_loss_on_prompt_may_be_a_truth_value(tmp_path: Path) -> None:
    assert Recipe.model_validate(recipe_data(tmp_path, loss_on_prompt=True)).loss_on_prompt == 1.0


def test_limits_may_change_on_resume_and_the_rest_may_not(tmp_path: Path) -> None:
    def key(**changes: Any) -> dict[str, Any]:
        return Recipe.model_validate(recipe_data(tmp_path, **changes)).resume_key

    assert key() == key(steps=99, max_minutes=3, checkpoint={"every": 1})
    assert key() != key(seed=1)
    assert key() != key(sequence_length=256)


def test_a_recipe_may_extend_another(tmp_path: Path) -> None:
    """Parts are merged, lists and values replaced, and the run's own recipe is whole."""
    data = recipe_data(tmp_path, optimiser={"learning_rate": 1e-3, "clip": 0.5})
    write(tmp_path / "a.yaml", data)
    (tmp_path / "more").mkdir()
    middle = {"extends": "../a.yaml", "name": "b", "optimiser": {"learning_rate": 2e-3}}
    write(tmp_path / "more" / "b.yaml", middle)
    last = {
        "extends": "b.yaml",
        "name": "c",
        "base_model": "embedded",
        "data": [{"corpus": "trees"}],
    }
    recipe = load_recipe(write(tmp_path / "more" / "c.yaml", last))
    assert (recipe.name, recipe.base_model, recipe.init) == ("c", "embedded", None)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.clip) == (2e-3, 0.5)
    assert [source.corpus for source in recipe.data] == ["trees"]
    assert load_recipe(tmp_path / "more" / "b.yaml").init == Recipe.model_validate(data).init
    assert "extends" not in dump_recipe(recipe)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"r": "nowhere.yaml"}, "nowhere.yaml, which does not exist"),
        ({"r": "r.yaml"}, "goes in a circle"),
        ({"r": "s.yaml", "s": "r.yaml"}, "s.yaml -> "),
        ({"r": 3}, "extends is 3"),
        ({"r": ""}, "name a recipe beside it"),
        ({"r": "."}, "does not exist"),
    ],
)
def test_what_cannot_be_extended_is_told(
    files: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    for name, parent in files.items():
        write(tmp_path / f"{name}.yaml", {"extends": parent, "name": name})
    with pytest.raises(FabulaError) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert sentence in str(caught.value)
    assert "r.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
