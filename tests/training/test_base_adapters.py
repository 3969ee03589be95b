"""Training on top of an adapter that an earlier run left."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from test_methods import start
from test_picks import picks_file
from test_picks import recipe as picks_recipe
from test_preferences import pairs_file
from test_preferences import recipe as pairs_recipe
from test_thumbs import recipe as thumbs_recipe
from test_thumbs import thumbs_file
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training import adapters
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce

torch = pytest.importorskip("torch")
from safetensors.torch import load_file  # noqa: E402

SETTINGS = {"r": 4, "alpha": 16, "target": ["q_proj", "v_proj"]}


@pytest.fixture(scope="module")
def earlier(
    models: dict[str, Path], corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What a LoRA run left: a folder of the run, with the adapter in `final`."""
    data = recipe_data(
        corpus,
        name="earlier",
        base_model=str(models["llama"]),
        method="lora",
        lora=SETTINGS,
        optimiser={"learning_rate": 1e-2},
    )
    return start(tmp_path_factory.mktemp("earlier"), data).folder


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_an_adapter_learns_on_from_where_it_was(
    earlier: Path, models: dict[str, Path], corpus: Path, tmp_path: Path, method: str
) -> None:
    from peft import AutoPeftModelForCausalLM

    data = recipe_data(corpus, base_model=str(earlier / "final"), method=method)
    outcome = start(tmp_path, data)
    before = json.loads((earlier / "metrics.jsonl").read_text().splitlines()[-1])
    assert outcome.before is not None
    assert outcome.after is not None
    # NF4 of a tiny random base moves its loss a little.
    near = 1e-5 if method == "lora" else 0.05
    assert outcome.before.loss == pytest.approx(before["eval_loss"], abs=near)
    assert outcome.after.loss < outcome.before.loss
    assert outcome.model is not None
    old, new = weights(earlier / "final"), weights(outcome.model)
    assert old.keys() == new.keys()
    assert any(not torch.equal(old[name], new[name]) for name in old)
    config = json.loads((outcome.model / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(models["llama"])
    assert (config["r"], config["lora_alpha"]) == (4, 16)
    AutoPeftModelForCausalLM.from_pretrained(outcome.model)
    kept = Recipe.model_validate_json(json.dumps(data)).lora
    assert kept.r == 16
    assert "r: 4" in (outcome.folder / "recipe.yaml").read_text()


def test_a_run_may_be_named_instead_of_its_model(earlier: Path, models: dict[str, Path]) -> None:
    found = adapters.find_base(str(earlier))
    assert found == adapters.Base(str(models["llama"]), earlier / "final")
    assert adapters.find_base(str(models["llama"])) == adapters.Base(str(models["llama"]))


@pytest.mark.parametrize("what", ["pairs", "thumbs"])
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_preferences_are_held_against_the_adapter_as_it_was(
    earlier: Path, tmp_path: Path, method: str, what: str
) -> None:
    make, file = (pairs_recipe, pairs_file) if what == "pairs" else (thumbs_recipe, thumbs_file)
    settings = make(earlier / "final", file(tmp_path), method=method, steps=8)
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    before, after = outcome.before, outcome.after
    if what == "pairs":
        assert before.loss == pytest.approx(math.log(2), abs=1e-6)
        assert (before.accuracy, before.margin) == (0.0, 0.0)
    else:
        assert (before.ups, before.downs) == (0.0, 0.0)
    assert after.loss < before.loss
    assert outcome.model is not None
    old, new = weights(earlier / "final"), weights(outcome.model)
    assert old.keys() == new.keys()
    assert all(value.dtype == torch.float32 for value in new.values())
    assert not (outcome.model / "ref").exists()
    assert {n: v.shape for n, v in old.items()} == {n: v.shape for n, v in new.items()}


def test_the_reference_is_the_base_with_the_earlier_adapter(
    earlier: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """The held-out loss of the end, computed from the two adapters by plain peft."""
    from peft import AutoPeftModelForCausalLM

    from fabula.training.preferences.pairs import parted, read_pairs
    from fabula.training.tokenizer import open_tokenizer

    pairs = pairs_file(tmp_path)
    settings = pairs_recipe(earlier, pairs, method="lora", steps=5)
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    tokenizer = open_tokenizer(str(models["llama"]))
    was, now = (
        AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        for folder in (earlier / "final", outcome.model)
    )

    def gain(prompt: str, completion: str) -> float:
        first, rest = tokenizer.encode_batch([prompt, completion])
        head = [tokenizer.bos, *first]
        ids = torch.tensor([[*head, *rest, tokenizer.eos]])
        with torch.no_grad():
            told = [
                model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
                for model in (now, was)
            ]
        return float((told[0] - told[1])[len(head) - 1 :].sum())

    _, held_out = parted(read_pairs(pairs), 0.25)
    margins = [0.5 * (gain(p.prompt, p.chosen) - gain(p.prompt, p.rejected)) for p in held_out]
    assert outcome.after.margin == pytest.approx(sum(margins) / len(margins), rel=1e-3)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_stopped_run_keeps_its_reference(
    earlier: Path, models: dict[str, Path], tmp_path: Path, fresh: bool
) -> None:
    """Not the adapter as the checkpoint has it, which trl would take."""
    pairs = pairs_file(tmp_path)

    class Stop(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 3 and "loss" in line:
                signal.raise_signal(signal.SIGTERM)

    base = models["llama"] if fresh else earlier
    settings = pairs_recipe(base, pairs, method="lora", steps=6)
    whole = train(settings, tmp_path / "a", False, Announce())
    assert not train(settings, tmp_path / "b", False, Stop()).finished
    rest = train(settings, tmp_path / "b", True, Announce())
    assert whole.after == rest.after
    assert whole.model is not None
    assert rest.model is not None
    name = "adapter_model.safetensors"
    assert (whole.model / name).read_bytes() == (rest.model / name).read_bytes()


def test_picks_are_held_against_the_adapter_as_it_was(
    earlier: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    """Nothing has been gained before the first step, whatever the base: the losses are equal."""
    file, found = picks_file(tmp_path, 8), []
    for name, base in (("fresh", models["llama"]), ("again", earlier)):
        settings = picks_recipe(base, file, method="lora", steps=2)
        found.append(train(settings, tmp_path / name, False, Announce()))
    fresh, again = found
    assert again.before.loss == pytest.approx(fresh.before.loss, abs=1e-5)
    assert again.after.loss != again.before.loss
    assert again.model is not None
    assert not (again.model / "ref").exists()
    assert weights(again.model).keys() == weights(earlier / "final").keys()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "full"}, "say method 'lora' or 'qlora'"),
        ({"lora": {"r": 8}}, "lora.r is 8, but the adapter"),
        ({"lora": {"target": ["o_proj"]}}, "lora.target"),
        ({"lora": {"dora": True}}, "lora.dora is True"),
    ],
)
def test_what_an_adapter_is_not_is_refused(
    earlier: Path, corpus: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    data = recipe_data(corpus, base_model=str(earlier), **{"method": "lora", **changes})
    with pytest.raises(FabulaError, match=words):
        start(tmp_path, data)
    assert not (tmp_path / "tiny").exists()


def test_settings_that_are_the_adapters_own_may_be_said(earlier: Path, corpus: Path) -> None:
    said = {**SETTINGS, "target": "all-linear", "dropout": 0.1}
    data = recipe_data(corpus, base_model=str(earlier), method="lora", lora=said)
    settled = adapters.settle(Recipe.model_validate(data))
    assert settled.lora.dropout == 0.1
    assert settled.lora.target == ["q_proj", "v_proj"]
    assert adapters.settle(settled) == settled


def test_broken_adapters_are_refused(
    earlier: Path, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    def refused(folder: Path, words: str) -> None:
        data = recipe_data(corpus, base_model=str(folder), method="lora")
        with pytest.raises(FabulaError, match=words) as caught:
            start(tmp_path, data)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "tiny").exists()

    broken = tmp_path / "broken"
    shutil.copytree(earlier / "final", broken)
    (broken / "adapter_model.safetensors").rename(broken / "adapter_model.bin")
    refused(broken, "pickled weights are never opened")
    (broken / "adapter_model.safetensors").write_bytes(b"\0" * 100)
    refused(broken, "is damaged")
    config = json.loads((broken / "adapter_config.json").read_text())
    shutil.copy(earlier / "final" / "adapter_model.safetensors", broken)
    for key, value, words in (
        ("peft_type", "IA3", "only LoRA adapters"),
        ("base_model_name_or_path", str(models["gpt2"]), "does not fit its base"),
        ("base_model_name_or_path", str(tmp_path / "none"), "lacks its base model"),
        ("r", "four", "cannot be read"),
    ):
        (broken / "adapter_config.json").write_text(json.dumps({**config, key: value}))
        refused(broken, words)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    shutil.copy(earlier / "recipe.yaml", unfinished)
    refused(unfinished, "has not come to its end")
