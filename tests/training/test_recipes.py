"""The recipes of the project: each trains a tiny random model of its kind, and is listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from test_methods import start
from test_picks import picks_file
from test_preferences import pairs_file
from test_thumbs import thumbs_file

from fabula.planning.configs import KNOWN
from fabula.training.recipe import Recipe, load_recipe

pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
KINDS = {
    "embedded": "llama",
    "llama": "llama",
    "mistral": "mistral",
    "gpt2": "gpt2",
    "qwen3": "qwen3",
}
"""Architecture by how the name of a recipe begins."""
PUBLISHED = {
    "meta-llama/Llama-2-7b-hf": 4096,
    "meta-llama/Llama-2-13b-hf": 4096,
    "meta-llama/Llama-3.1-8B": 131_072,
    "mistralai/Mistral-7B-v0.1": 32_768,
    "Qwen/Qwen3-8B": 40_960,
    "gpt2": 1024,
    "gpt2-medium": 1024,
    "gpt2-large": 1024,
    "gpt2-xl": 1024,
}
"""Tokens that a model reads, as its authors publish it."""


def kind_of(stem: str) -> str:
    return next(kind for name, kind in KINDS.items() if stem.startswith(name))


def reduced(
    stem: str, models: dict[str, Path], tokenizer: Path, corpus: Path, folder: Path
) -> dict[str, Any]:
    """A recipe for a few steps of a tiny model: what it does stays, how much of it does not."""
    recipe = load_recipe(ROOT / "recipes" / f"{stem}.yaml")
    data = recipe.model_dump(mode="json")
    data |= {"sequence_length": 512, "steps": 3, "epochs": None, "max_minutes": None}
    data |= {"compile": False, "dtype": "float32", "log_every": 1, "workers": 0}
    data |= {"micro_batch_size": min(recipe.micro_batch_size, 2)}
    data |= {"batch_size": min(recipe.batch_size, 4)}
    data["evaluation"] |= {"max_documents": 4, "every": None}
    data["optimiser"] |= {"learning_rate": 1e-2, "muon_learning_rate": None}
    data["schedule"] |= {"warmup": 0.0}
    if recipe.base_model is not None:
        data["base_model"] = str(models[kind_of(stem)])
    else:
        small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
        small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 700}
        data["init"] |= {**small, "context": 512, "tokenizer": str(tokenizer)}
    if recipe.data:
        data["data"] = [{"corpus": str(corpus), "repeat": 1.0}]
    if recipe.teacher is not None:
        data["teacher"] |= {"models": [str(models["llama"])]}
    if recipe.picks is not None:
        data["picks"] |= {"files": [str(picks_file(folder))], "held_out": 0.3}
    if recipe.preferences is not None:
        # From a file, because a random model writes nothing that has an end.
        kto = recipe.preferences.loss == "kto"
        own = {"thumbs": str(thumbs_file(folder))} if kto else {"pairs": str(pairs_file(folder))}
        data["preferences"] |= {**own, "held_out": 0.25, "threshold": None}
        data["data"] = []
    return data


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_trains_a_tiny_model_of_its_architecture(
    path: Path,
    models: dict[str, Path],
    tokenizer_folder: Path,
    corpus: Path,
    tmp_path: Path,
) -> None:
    """With real NF4 where the recipe has it; its loss falls."""
    data = reduced(path.stem, models, tokenizer_folder, corpus, tmp_path)
    if data["method"] == "qlora":
        pytest.importorskip("bitsandbytes")
    outcome = start(tmp_path, data)
    assert outcome.finished
    assert outcome.before is not None
    assert outcome.after is not None
    assert outcome.after.loss < outcome.before.loss
    written = load_recipe(outcome.folder / "recipe.yaml")
    assert written == Recipe.model_validate(data)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_says_how_it_is_run_and_is_named_after_its_file(path: Path) -> None:
    recipe, text = load_recipe(path), path.read_text("utf-8")
    assert recipe.name == path.stem
    top = re.match(r"(?:#.*\n)+", text)
    assert top is not None
    assert f"fabula train recipes/{path.name}" in top[0]
    for parent in re.findall(r"^extends: (.*)$", text, re.M):
        assert (path.parent / parent).is_file()


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_suits_its_model(path: Path) -> None:
    """Rows that the model reads; 4 bits and 8-bit states where it has billions of parameters."""
    recipe = load_recipe(path)
    base = recipe.base_model
    if base is None or base == "embedded" or base.startswith("runs/"):
        return
    assert recipe.sequence_length <= PUBLISHED[base]
    shape = KNOWN[base]
    published = shape.get("max_position_embeddings", 1024)
    assert published == PUBLISHED[base]
    assert recipe.lora.target == "all-linear"
    if "/" in base:
        assert recipe.method == "qlora"
        assert (recipe.quantisation.type, recipe.quantisation.double_quant) == ("nf4", True)
        assert recipe.optimiser.name == "paged_adamw_8bit"
    else:
        assert recipe.method in ("lora", "full")
    for option in (recipe.lora.rslora, recipe.lora.dora, recipe.neftune_alpha):
        assert not option
    assert recipe.lora.plus_ratio == 1


def test_every_named_model_has_a_recipe() -> None:
    bases = {load_recipe(path).base_model for path in RECIPES}
    assert {*PUBLISHED, "embedded"} <= bases


def table() -> dict[str, list[str]]:
    """Rows of the table of recipes, by the recipe's name."""
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    rows = re.findall(r"^\| \[([\w.-]+)\]\(\.\./recipes/([\w.-]+)\.yaml\) \|(.*)\|$", text, re.M)
    assert all(name == file for name, file, _ in rows)
    assert len({name for name, _, _ in rows}) == len(rows)
    return {name: [cell.strip() for cell in rest.split("|")] for name, _, rest in rows}


def test_the_table_lists_every_recipe_and_no_other() -> None:
    rows = table()
    assert set(rows) == {path.stem for path in RECIPES}
    for path in RECIPES:
        recipe, cells = load_recipe(path), rows[path.stem]
        assert recipe.method in cells[1].lower()
        named = recipe.base_model or "random weights"
        assert named.removeprefix("runs/").removesuffix("/final") in cells[0]
        assert all(cells)
