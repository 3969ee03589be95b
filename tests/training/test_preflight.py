"""What makes a run impossible is told in one sentence, before time is spent."""

from __future__ import annotations

import json
import random
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import CONTEXT, recipe_data

from fabula.errors import FabulaError
from fabula.story.sample import load_sample
from fabula.training import models as making
from fabula.training import preflight
from fabula.training.adapters import attach
from fabula.training.checkpoint import found
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from hub_server import ask, serving

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402


def refused(tmp_path: Path, data: dict[str, Any], words: str) -> None:
    with pytest.raises(FabulaError) as caught:
        train(Recipe.model_validate(data), tmp_path / "runs", False, Announce())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs" / "tiny").exists()


def with_config(folder: Path, source: Path, **changes: Any) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def pickled(folder: Path, source: Path) -> Path:
    shutil.copytree(source, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


CODE = {"AutoConfig": "configuration_own.Config", "AutoModelForCausalLM": "modeling_own.Model"}


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_folders_that_are_no_base_are_told_why(
    models: dict[str, Path], corpus: Path, tmp_path: Path, method: str
) -> None:
    def base(folder: Path) -> dict[str, Any]:
        return recipe_data(corpus, base_model=str(folder), method=method)

    llama = models["llama"]
    refused(tmp_path, base(pickled(tmp_path / "pickled", llama)), "only as pickled files")
    own = with_config(tmp_path / "own", llama, model_type="own", auto_map=CODE)
    (own / "configuration_own.py").write_text("raise SystemExit('run')")
    refused(tmp_path, base(own), "program code of its own, which is never run")
    new = with_config(tmp_path / "new", llama, model_type="tomorrow")
    refused(tmp_path, base(new), "does not know")
    for kind in ("gptq", "awq", "fp8", "bitsandbytes"):
        stored = {"quant_method": kind, "bits": 4, "load_in_4bit": True}
        packed = with_config(tmp_path / kind, llama, quantization_config=stored)
        refused(tmp_path, base(packed), f"is quantised already ({kind})")
    part = tmp_path / "part"
    shutil.copytree(llama, part)
    tensors = load_file(part / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if "layers.1.mlp" not in name}
    save_file(kept, part / "model.safetensors", metadata={"format": "pt"})
    refused(tmp_path, base(part), "lacks 3 of the weights of a LlamaForCausalLM")


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_model_that_sees_what_comes_is_no_causal_one(
    tokenizer_folder: Path, corpus: Path, tmp_path: Path, method: str
) -> None:
    """transformers opens a BERT as a causal model, and it would learn to copy what it is to say."""
    from transformers import AutoModelForMaskedLM, AutoModelForSeq2SeqLM, BertConfig, T5Config

    small: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2}
    bert = BertConfig(vocab_size=700, hidden_size=32, intermediate_size=64, **small)
    t5 = T5Config(vocab_size=700, d_model=32, d_ff=64, num_layers=1, num_heads=2)
    for maker, config, words in (
        (AutoModelForMaskedLM, bert, "depends on the words after it"),
        (AutoModelForSeq2SeqLM, t5, "is a 't5', no causal language model"),
    ):
        folder = tmp_path / config.model_type
        shutil.copytree(tokenizer_folder, folder)
        maker.from_config(config).save_pretrained(folder)
        refused(tmp_path, recipe_data(corpus, base_model=str(folder), method=method), words)


def test_another_models_tokenizer_is_told_by_its_size_or_by_its_ids(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    from fabula.training.tokenizer import train_tokenizer

    texts = [s.text for s in load_sample("train")[:60]]
    for size, words in ((400, "knows 400 tokens, and its model 700"), (1500, "only 700")):
        folder = tmp_path / str(size)
        shutil.copytree(models["llama"], folder)
        train_tokenizer(texts, size, CONTEXT, folder)
        refused(tmp_path, recipe_data(corpus, base_model=str(folder)), words)


def test_a_tokenizer_of_the_right_size_is_told_by_what_the_model_makes_of_it(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """The embedded model's own is right, the same mixed up is wrong; random weights know none."""
    from fabula.training.tokenizer import open_tokenizer

    source = making.resolve("embedded")
    recipe = Recipe.model_validate(recipe_data(tmp_path, base_model="embedded"))
    model = making.load_base(source, recipe)
    preflight.check_base(model, open_tokenizer(source), source)
    other = tmp_path / "other"
    other.mkdir()
    for file in Path(source).glob("tokenizer*"):
        shutil.copy(file, other)
    data = json.loads((other / "tokenizer.json").read_text())
    pieces = data["model"]["vocab"]
    ids = [number for number in pieces.values() if number > 2]
    random.Random(0).shuffle(ids)
    mixed = iter(ids)
    data["model"]["vocab"] = {p: next(mixed) if n > 2 else n for p, n in pieces.items()}
    (other / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(FabulaError, match="than blind guessing would") as caught:
        preflight.check_base(model, open_tokenizer(str(other)), source)
    assert "this is not its tokenizer" in str(caught.value)
    for folder in models.values():
        drawn = making.load_base(str(folder), recipe)
        preflight.check_base(drawn, open_tokenizer(str(folder)), str(folder))


OPEN = """
from fabula.training.models import load_base, read_config
from fabula.training.recipe import Recipe
from fabula.errors import FabulaError
recipe = Recipe(name="x", base_model="x", data=[{{"corpus": "sample"}}], steps=1)
for name in {names}:
    try:
        read_config(name)
        print(type(load_base(name, recipe)).__name__)
    except FabulaError as error:
        print(error)
"""


def test_hub_models_that_cannot_be_had_say_what_to_do(
    models: dict[str, Path], tmp_path: Path
) -> None:
    """Asked of a real server: gated, unknown, pickled, of its own code, quantised, out of reach."""
    llama = models["llama"]
    served = {
        "tiny": llama,
        "pickled": pickled(tmp_path / "pickled", llama),
        "own": with_config(tmp_path / "own", llama, model_type="own", auto_map=CODE),
        "packed": with_config(
            tmp_path / "packed", llama, quantization_config={"quant_method": "gptq", "bits": 4}
        ),
    }
    (served["own"] / "configuration_own.py").write_text("raise SystemExit('run')")
    home = tmp_path / "home"
    names = [f"tale/{n}" for n in ("tiny", "gated", "gone", "pickled", "own", "packed")]
    with serving(served) as endpoint:
        opened, gated, gone, only, own, packed = ask(
            home, OPEN.format(names=names), HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
        )
    assert opened == "LlamaForCausalLM"
    assert "accept its licence at https://huggingface.co/tale/gated" in gated
    assert "hf auth login" in gated
    assert "neither a folder here nor a model on the hub" in gone
    assert "only as pickled files" in only
    assert "program code of its own" in own
    assert "quantised already (gptq)" in packed
    # Out of reach: what was fetched is there, the rest is told.
    asked = OPEN.format(names=["tale/tiny", "tale/never"])
    still, never = ask(home, asked, HF_HUB_OFFLINE="1")
    assert still == "LlamaForCausalLM"
    assert "the hub cannot be reached" in never


def test_what_is_not_installed_is_told_before_anything_is_opened(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    real = importlib.import_module

    def absent(name: str, *others: Any) -> Any:
        if name.startswith("bitsandbytes"):
            raise ImportError("libcudart.so.12: cannot open shared object file")
        return real(name, *others)

    monkeypatch.setattr("fabula.training.models.importlib.import_module", absent)
    nowhere = {"base_model": str(tmp_path / "not" / "looked" / "at")}
    qlora = recipe_data(corpus, **nowhere, method="qlora")
    refused(tmp_path, qlora, "needs the 'train' extra: pip install 'fabula[train]'")
    eight = recipe_data(corpus, **nowhere, optimiser={"name": "paged_adamw_8bit"})
    refused(tmp_path, eight, "8-bit AdamW (bitsandbytes) needs the 'train' extra")


def test_a_gpu_without_bfloat16_is_told(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    base = {"base_model": str(tmp_path / "not" / "looked" / "at"), "method": "qlora"}
    refused(tmp_path, recipe_data(corpus, **base, dtype="bfloat16"), "dtype: float32 (or auto)")
    computed = {"quantisation": {"compute_dtype": "bfloat16"}}
    refused(tmp_path, recipe_data(corpus, **base, **computed), "quantisation.compute_dtype")
    settled = making.choose_dtype(Recipe.model_validate(recipe_data(corpus, **base, dtype="auto")))
    assert settled.dtype == "float32"


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [
        ("full", "adamw"),
        ("full", "muon"),
        ("full", "adamw_8bit"),
        ("lora", "adamw"),
        ("qlora", "adamw"),
    ],
)
def test_the_room_that_a_run_needs_is_what_it_writes(
    method: str, optimiser: str, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(
        corpus,
        base_model=str(models["llama"]),
        method=method,
        optimiser={"name": optimiser},
        checkpoint={"every": 1, "keep": 1},
        evaluation={"max_documents": 0},
        steps=2,
    )
    recipe = Recipe.model_validate(data)
    outcome = train(recipe, tmp_path, False, Announce())
    (last,) = found(outcome.folder / "checkpoints")
    written = sum(
        (last / f"{name}.safetensors").stat().st_size for name in ("weights", "optimiser")
    )
    model = making.load_base(str(models["llama"]), recipe)
    if method != "full":
        model = attach(model, recipe, None)
    checkpoints, final = preflight.bytes_of_run(model, recipe)
    # Small matrices keep 32-bit states in the 8-bit optimiser; Muon leaves some to AdamW.
    slack = 0.75 if optimiser != "adamw" else 0.1
    assert checkpoints / 2 == pytest.approx(written, rel=slack, abs=20_000)
    assert outcome.model is not None
    weights = next(outcome.model.glob("*model.safetensors")).stat().st_size
    assert final == pytest.approx(weights, rel=0.02, abs=20_000)


def test_a_disk_too_small_is_told_with_numbers_before_the_first_step(
    models: dict[str, Path], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12 - 50e6, 50e6))
    data = recipe_data(corpus, base_model=str(models["llama"]), checkpoint={"keep": 3})
    refused(tmp_path, data, "for 4 checkpoints at a time")
    with pytest.raises(FabulaError, match=r"needs 7\d\.\d MB of disk .* has 50\.0 MB free"):
        train(Recipe.model_validate(data), tmp_path / "runs", False, Announce())
