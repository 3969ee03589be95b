"""FLOP are counted by what PyTorch itself counts, and rates are of what was seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import recipe_data

from fabula.training.loss import base_of, choose
from fabula.training.models import add_adapter, load_base
from fabula.training.packing import Document, collate
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, train
from fabula.training.throughput import product_rate, seen_pairs, work_of

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_flop_are_those_that_pytorch_counts(
    kind: str, method: str, models: dict[str, Path], corpus: Path
) -> None:
    """Where every token is learnt, so that all are scored."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.pytorch_utils import Conv1D

    data = recipe_data(corpus, base_model=str(models[kind]), method=method)
    recipe = Recipe.model_validate(data)
    model = load_base(str(models[kind]), recipe)
    loss_of = choose(model, 700)
    if method == "lora":
        model = add_adapter(model, recipe)
        loss_of.inner = base_of(model)
    width = 256
    ids = [i % 700 for i in range(width)]
    batch = collate([[Document("a", 0, ids, ids)]], 2, 1.0)
    unasked = []

    def note(module: Any, given: Any, result: Any) -> None:
        if not given[0].requires_grad:
            unasked.append(module.weight.numel())

    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)):
            module.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        loss_of(batch).backward()
    counts = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    pairs = sum(n for op, n in counts.items() if "bmm" in op)
    products = sum(counts.values()) - pairs
    found = work_of(model, base_of(model).config)
    # Nobody asks for the gradient of what a frozen first layer reads.
    expected = products + 2 * width * sum(unasked)
    if method == "full":  # and the counter passes over products that are added in place
        expected += 2 * width * base_of(model).get_output_embeddings().weight.numel()
    assert found.products * width == pytest.approx(expected, rel=1e-6)
    # Unfused attention computes all pairs, not only those that see each other.
    assert found.attention * width**2 == pytest.approx(pairs, rel=0.01)
    assert seen_pairs(batch) == width * (width + 1) / 2


def test_documents_of_a_row_do_not_see_each_other() -> None:
    documents = [Document(str(n), 0, [5] * n, [5] * n) for n in (10, 20, 34)]
    assert seen_pairs(collate([documents], 2, 1.0)) == 10 * 11 / 2 + 20 * 21 / 2 + 34 * 35 / 2


def test_a_run_tells_its_share_of_the_peak(corpus: Path, tmp_path: Path) -> None:
    outcome = train(Recipe.model_validate(recipe_data(corpus)), tmp_path, False, Announce())
    raw = (outcome.folder / "metrics.jsonl").read_text().splitlines()
    found = [line for line in map(json.loads, raw) if "loss" in line]
    peak = product_rate("cpu", torch.float32)
    for line in found:
        assert 0 < line["share_of_peak"] < 1
        assert line["tflops"] / line["share_of_peak"] == pytest.approx(peak / 1e12, rel=0.9)
