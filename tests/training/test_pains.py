"""docs/pains.md: every pain has a test that is there; and those pains that nothing else tests."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import recipe_data

from fabula.engines import open_engine
from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample
from fabula.training import loss
from fabula.training.documents import encode_document
from fabula.training.heldout import HeldOut
from fabula.training.models import load_base, resolve
from fabula.training.packing import Cursor, Stream, open_deck
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.tokenizer import open_tokenizer

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "pains.md"


def rows() -> dict[int, list[str]]:
    """The cells of each numbered row."""
    found = {}
    for line in TABLE.read_text("utf-8").splitlines():
        if match := re.match(r"\| (\d+) \|", line):
            found[int(match[1])] = [cell.strip() for cell in line.strip("|").split("|")]
    return found


def named_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_all_pains_are_there_and_each_has_a_test_that_exists() -> None:
    table = rows()
    assert list(table) == list(range(1, 26))
    for number, cells in table.items():
        assert len(cells) == 5, number
        assert all(cells), number
        named = re.findall(r"`(tests/[^`]+)`", cells[4])
        assert named or "cannot" in cells[4], f"pain {number} has neither a test nor a reason"
        for name in named:
            place, _, test = name.partition("::")
            path = ROOT / place
            assert path.exists(), f"pain {number} names {place}, which is not there"
            assert path.is_dir() or test, f"pain {number} names no test of {place}"
            if test:
                assert test.startswith("test_")
                assert test in named_in(path), f"pain {number} names {name}, which is not there"


def start(runs: Path, data: dict[str, Any]) -> Any:
    return train(Recipe.model_validate(data), runs, False, Announce())


def test_adapters_begin_the_same_with_the_same_seed(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """Pain 8: the seed is set before the adapter is drawn, whatever was drawn before."""
    from safetensors.torch import load_file

    data = recipe_data(
        corpus, base_model=str(models["llama"]), method="lora", steps=2, lora={"dropout": 0.1}
    )
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(len(found) + 1)
        outcome = start(tmp_path, {**data, "name": name, "seed": seed})
        found.append(load_file(outcome.model / "adapter_model.safetensors"))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert not all(torch.equal(found[0][key], found[2][key]) for key in found[0])


def test_an_evaluation_never_holds_the_scores_of_many_tokens(
    models: dict[str, Path], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pain 12: the widest tensor of scores is a slice, however long the rows are."""
    recipe = Recipe.model_validate(
        recipe_data(corpus, base_model=str(models["llama"]), micro_batch_size=2)
    )
    tokenizer = open_tokenizer(str(models["llama"]))
    model: Any = load_base(str(models["llama"]), recipe)
    of = loss.choose(model, 700)
    held_out = HeldOut(recipe, tokenizer, tokenizer.pad)
    whole = held_out.score(of, model)
    monkeypatch.setattr(loss, "SLICE", 32)
    seen: list[int] = []
    model.lm_head.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[-2]))
    sliced = held_out.score(of, model)
    assert max(seen) <= 32
    assert sum(seen) >= sum(label >= 0 for d in held_out.documents for label in d.labels)
    assert sliced.loss == pytest.approx(whole.loss, abs=1e-5)


def test_training_and_writing_read_a_brief_as_the_same_tokens() -> None:
    """Pain 15: one renderer, one encoder."""
    engine = open_engine("embedded")
    tokenizer = open_tokenizer(resolve("embedded"))
    for story in load_sample("valid")[:12]:
        prompt = render_brief(story.brief)
        completion = render_completion(story.outline, story.passages)
        ids, labels = encode_document(tokenizer, prompt, completion)
        told = [engine.bos, *engine.encode(prompt)]
        assert ids[: len(told)] == told
        assert [label >= 0 for label in labels].index(True) == len(told)
        assert ids[len(told) :] == [*engine.encode(completion), engine.eos]


def test_an_adapter_adds_no_token_and_keeps_no_embeddings(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """Pain 16: nothing outside the layers could be forgotten when it is opened again."""
    from safetensors import safe_open

    outcome = start(
        tmp_path, recipe_data(corpus, base_model=str(models["llama"]), method="lora", steps=1)
    )
    with safe_open(outcome.model / "adapter_model.safetensors", "pt") as file:
        names = list(file.keys())
    assert names
    assert all(".layers." in name and ".lora_" in name for name in names)
    before, after = (open_tokenizer(str(p)) for p in (models["llama"], outcome.model))
    assert before.fingerprint == after.fingerprint
    config = json.loads((outcome.model / "adapter_config.json").read_text("utf-8"))
    assert not config["modules_to_save"]


WITHOUT = """
import importlib.machinery, sys
from pathlib import Path

find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = classmethod(
    lambda cls, name, *a: None if name.partition(".")[0] == "bitsandbytes" else find(name, *a)
)
from fabula.errors import FabulaError
from fabula.training.recipe import load_recipe
from fabula.training.run import Announce, train

for method, optimiser in (("lora", "adamw"), ("qlora", "adamw"), ("lora", "adamw_8bit")):
    recipe = load_recipe(Path(sys.argv[1]), method=method, name=f"{method}-{optimiser}",
                         optimiser={"name": optimiser})
    try:
        print(train(recipe, Path(sys.argv[2]), False, Announce()).finished)
    except FabulaError as error:
        print(error)
assert "bitsandbytes" not in sys.modules
"""


def test_everything_but_four_and_eight_bits_works_without_bitsandbytes(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """Pain 20, in a process that cannot find it, as on a machine without it."""
    recipe = tmp_path / "r.yaml"
    recipe.write_text(json.dumps(recipe_data(corpus, base_model=str(models["llama"]), steps=1)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, str(recipe), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    finished, four, eight = done.stdout.splitlines()
    assert finished == "True"
    for said in (four, eight):
        assert "bitsandbytes" in said
        assert "fabula[train]" in said


LOADED = """
import resource, sys

from fabula.training.models import load_base
from fabula.training.recipe import Recipe

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def load(base):
    load_base(base, Recipe.model_validate({
        "name": "x", "base_model": base, "method": "qlora", "data": [{"corpus": "sample"}],
        "steps": 1, "dtype": "float32"}))

load(sys.argv[1])  # what libraries take once
begin = peak()
load(sys.argv[2])
print(begin, peak())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peaks are measured by getrusage")
def test_four_bits_never_hold_the_whole_model_before_it_is_packed(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """Pain 24: weights are packed as they are read, shard by shard."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=700, hidden_size=768, intermediate_size=2048, num_hidden_layers=6,
        num_attention_heads=8, num_key_value_heads=8,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    size = 4 * sum(p.numel() for p in model.parameters()) / 1024  # KiB in float32
    model.save_pretrained(tmp_path / "base", max_shard_size="30MB")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED, str(models["llama"]),
         str(tmp_path / "base")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    begin, end = map(int, done.stdout.split())
    assert end - begin < 0.6 * size


def test_tokens_are_counted_as_they_are(corpus: Path, tmp_path: Path) -> None:
    """Pain 25: what a run says it has learnt from is what lay in its batches, padding apart."""
    data = recipe_data(corpus, micro_batch_size=2, batch_size=4, steps=3)
    outcome = start(tmp_path, data)
    recipe = Recipe.model_validate(data)
    tokenizer = open_tokenizer(str(outcome.folder / "tokenizer"))
    stream = Stream(open_deck(recipe), tokenizer, tokenizer.pad, recipe, Cursor())
    tokens = learnt = places = 0
    for batch in islice(stream, 6):
        positions = batch["position_ids"][0].tolist()
        places += len(positions)
        learnt += int((batch["weights"] > 0).sum())
        starts = [*(i for i, p in enumerate(positions) if p == 0), len(positions)]
        ids = batch["input_ids"][0].tolist()
        tokens += sum(b - a for a, b in pairwise(starts) if ids[a] == tokenizer.bos)
    counts = outcome.counts
    assert (counts.tokens, counts.learnt, counts.padding) == (tokens, learnt, places - tokens)
    lines = [json.loads(x) for x in (outcome.folder / "metrics.jsonl").read_text().splitlines()]
    last = [line for line in lines if "loss" in line][-1]
    assert (last["tokens"], last["loss_tokens"], last["padding"]) == (
        tokens, learnt, places - tokens
    )  # fmt: skip
