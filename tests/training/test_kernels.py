"""Liger's kernels: refused where they cannot be, and where a model differs with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training.kernels import check_same
from fabula.training.models import load_base
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, train

torch = pytest.importorskip("torch")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_they_need_a_gpu(corpus: Path, tmp_path: Path) -> None:
    recipe = Recipe.model_validate(recipe_data(corpus, kernels="liger"))
    with pytest.raises(FabulaError, match="'kernels: liger' needs a GPU; set kernels: torch"):
        train(recipe, tmp_path, False, Announce())
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_change_that_changes_what_a_model_says_is_refused(
    kind: str, corpus: Path, models: dict[str, Path]
) -> None:
    base = str(models[kind])
    model = load_base(base, Recipe.model_validate(recipe_data(corpus, base_model=base)))
    check_same(model, lambda: None)
    weight = next(p for p in model.parameters() if p.ndim == 2)
    with pytest.raises(FabulaError, match=r"scores differ by .* of their spread"):
        check_same(model, lambda: weight.data.mul_(1.5))
    with pytest.raises(FabulaError, match="nan"):
        check_same(model, lambda: weight.data.mul_(torch.nan))
