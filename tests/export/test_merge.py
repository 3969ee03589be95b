"""Merged weights are what peft computes beside the base, for each kind of adapter and model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tiny_exports import ALL, TARGETS, logits, rewrite, save_corpus
from transformers import AutoModelForCausalLM, AutoTokenizer

from fabula.engines import open_engine
from fabula.errors import FabulaError
from fabula.export import Wishes, export
from fabula.story import Brief
from fabula.training.recipe import Recipe
from fabula.training.run import Announce, train
from fabula.writing import Writer, WriterSettings

IDS = [0, *range(20, 90)]
Made = Callable[..., Path]


def peft_logits(base: Path, adapter: Path) -> np.ndarray:
    """As plain peft computes it, in float32; no code of ours."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return logits(PeftModel.from_pretrained(model, adapter).eval(), IDS)


def plain_logits(folder: Path) -> np.ndarray:
    """As plain transformers opens a folder."""
    return logits(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(), IDS)


@pytest.mark.parametrize(
    "settings",
    [{}, {"use_rslora": True, "rank_pattern": {r".*v_proj|c_attn": 2}}, {"use_dora": True}],
    ids=["lora", "rslora", "dora"],
)
@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_merged_is_what_peft_computes(
    kind: str, settings: dict[str, Any], tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    base = tiny(kind, "gpt2")
    folder = adapter(base, TARGETS[kind], **settings)
    made = export(str(folder), Wishes(tmp_path / "out", dtype="float32", texts=1))
    expected = peft_logits(base, folder)
    merged = plain_logits(made.folder)
    scale = np.abs(expected).max()
    assert np.abs(merged - expected).max() < 1e-4 * scale
    assert np.abs(plain_logits(base) - expected).max() > 0.1 * scale
    (gap,) = made.facts.gaps
    assert gap.largest < 1e-4 * scale
    assert gap.agreement == 1.0


def test_the_sum_is_made_in_float32_and_rounded_once(
    tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny("mistral", "gpt2"), tmp_path / "base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    model.save_pretrained(base)
    folder = adapter(base, ALL)
    made = export(str(folder), Wishes(tmp_path / "out", texts=1))
    assert made.facts.dtype == "bfloat16"
    before, after = (load_file(f / "model.safetensors") for f in (base, made.folder))
    change = load_file(folder / "adapter_model.safetensors")
    assert {t.dtype for t in after.values()} == {torch.bfloat16}
    for name, tensor in before.items():
        own = f"base_model.model.{name.removesuffix('.weight')}.lora_"
        if own + "A.weight" in change:
            delta = change[own + "B.weight"].float() @ change[own + "A.weight"].float() * 3.0
            expected = (tensor.float() + delta).bfloat16()
            # Sums of products may differ in their last bit, and rounding may then fall otherwise.
            assert (after[name] != expected).float().mean() < 0.002
        else:
            assert torch.equal(after[name], tensor)
    gap = made.facts.gaps[0]
    # What is printed is what plain libraries find on the same text.
    assert 0 < gap.rms < gap.largest < 1.0
    assert gap.kl > 0
    assert abs(gap.loss - gap.loss_reference) < 0.05


def test_a_matrix_that_reads_and_scores_becomes_two_where_one_is_changed(
    tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    base = tiny("llama")
    for n, settings in enumerate(
        ({"target_modules": ["q_proj", "lm_head"]}, {"modules_to_save": ["lm_head"]})
    ):
        targets = settings.pop("target_modules", ["q_proj"])
        folder = adapter(base, targets, **settings)
        made = export(str(folder), Wishes(tmp_path / str(n), dtype="float32", texts=1))
        assert json.loads((made.folder / "config.json").read_text())["tie_word_embeddings"] is False
        expected = peft_logits(base, folder)
        assert np.abs(plain_logits(made.folder) - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_qlora_run_is_merged_into_16_bits_and_the_gap_is_told(
    kind: str, tiny: Made, tmp_path: Path
) -> None:
    """A real run over NF4; GPT-2's layers are transposed when they are quantised."""
    base = tiny(kind, "gpt2")
    save_corpus(tmp_path / "corpus")
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "base_model": str(base),
            "method": "qlora",
            "data": [{"corpus": str(tmp_path / "corpus")}],
            "sequence_length": 1100,
            "micro_batch_size": 1,
            "batch_size": 1,
            "packing": False,
            "optimiser": {"learning_rate": 3e-2},
            "steps": 3,
            "evaluation": {"max_documents": 0},
            "dtype": "float32",
        }
    )
    outcome = train(recipe, tmp_path / "runs", False, Announce())
    made = export(str(outcome.folder), Wishes(tmp_path / "out", texts=1))
    merged, lost, quantised = made.facts.gaps
    assert merged.against == "unmerged"
    assert lost.against == quantised.against == "as trained, over 4 bits"
    # float16 costs little; what NF4 took away is much more, and merging gives it back.
    assert merged.relative < 0.01 < lost.relative
    assert lost.kl == pytest.approx(quantised.kl, rel=0.2)
    expected = peft_logits(base, outcome.folder / "final")
    assert np.abs(plain_logits(made.folder) - expected).max() < 0.02 * np.abs(expected).max()
    card = (made.folder / "CARD.md").read_text()
    assert "trained over 4-bit weights, merged in float32 and rounded to float16" in card
    assert f"{lost.kl:.2g}" in card
    # The same adapter from its folder, the run unknown.
    alone = shutil.copytree(outcome.folder / "final", tmp_path / "alone")
    again = export(str(alone), Wishes(tmp_path / "again", texts=1, qlora=True))
    assert again.facts.gaps[1].kl == pytest.approx(lost.kl, rel=0.05)
    assert len(export(str(alone), Wishes(tmp_path / "third", texts=1)).facts.gaps) == 1


def test_what_is_written_opens_everywhere_and_opens_a_document_once(
    tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny("llama"), tmp_path / "base")
    (base / "names.json").write_text('{"female": ["Ada"]}')
    from fabula.engines.graph import write_graph

    write_graph(base)
    made = export(str(adapter(base, ALL)), Wishes(tmp_path / "out", texts=1))
    tokenizer = AutoTokenizer.from_pretrained(made.folder)
    prompt = (made.folder / "example-prompt.txt").read_text()
    ids = tokenizer(prompt)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[-1] != tokenizer.eos_token_id
    engine = open_engine(str(made.folder))
    assert type(engine).__name__ == "EmbeddedEngine"
    assert [engine.bos, *engine.encode(prompt)] == ids
    settings = WriterSettings(candidates=1, plans=1, beat_tokens=12, line_tokens=8)
    assert Writer(engine, settings).write(Brief(genre="comedy"), seed=1).text
    assert (made.folder / "names.json").is_file()
    assert (made.folder / "generation_config.json").is_file()
    mode = (made.folder / "config.json").stat().st_mode
    assert (made.folder / "model.safetensors").stat().st_mode == mode


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_tokenizers_that_say_nothing_are_taught_to_open(
    kind: str, tiny: Made, adapter: Made, tmp_path: Path
) -> None:
    base = tiny(kind, "gpt2" if kind == "gpt2" else "metaspace")
    bare = AutoTokenizer.from_pretrained(base)
    assert bare("Genre: x")["input_ids"][0] != bare.bos_token_id
    made = export(str(adapter(base, TARGETS[kind])), Wishes(tmp_path / "out", check=False))
    assert made.facts.bos
    taught = AutoTokenizer.from_pretrained(made.folder)
    assert taught("Genre: x")["input_ids"] == [bare.bos_token_id, *bare("Genre: x")["input_ids"]]


def test_a_model_in_shards_is_written_in_shards(
    tiny: Made, adapter: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fabula.export.making.SHARD", "100KB")
    base = shutil.copytree(tiny("biased"), tmp_path / "base")
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(
        tmp_path / "s", max_shard_size="90KB"
    )
    (base / "model.safetensors").unlink()
    for path in (tmp_path / "s").glob("model*"):
        shutil.copy(path, base)
    folder = adapter(base, ALL)
    made = export(str(folder), Wishes(tmp_path / "out", dtype="float32", texts=1, gguf=["f32"]))
    assert len(list(made.folder.glob("model-*.safetensors"))) > 2
    expected = peft_logits(base, folder)
    assert np.abs(plain_logits(made.folder) - expected).max() < 1e-4 * np.abs(expected).max()
    assert made.facts.files[0].equal == made.facts.files[0].places > 100


def refused(said: Path, out: Path, match: str, **wishes: Any) -> None:
    with pytest.raises(FabulaError, match=match):
        export(str(said), Wishes(out, texts=1, **wishes))
    assert not out.exists()
    assert not list(out.parent.glob(".*.part"))


def test_what_cannot_be_merged_is_refused(tiny: Made, adapter: Made, tmp_path: Path) -> None:
    base, out = tiny("llama"), tmp_path / "out"
    folder = adapter(base, ["q_proj"])
    config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    said, raw, tensors = config.read_text(), weights.read_bytes(), load_file(weights)
    refused(folder, out, "made for another base model", base=str(tiny("qwen3")))
    refused(folder, out, r"does not go with.*gpt2", base=str(tiny("gpt2", "gpt2")))
    refused(folder, out, "There is no model folder './nowhere'", base="./nowhere")
    refused(folder, out, "is an adapter itself", base=str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny("llama", "legacy") / name, folder)
    refused(folder, out, "another tokenizer than")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    for changes, match in (
        ({"peft_type": "IA3"}, r"is a IA3; only LoRA"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"base_model_name_or_path": None}, "does not say which model"),
        ({"base_model_name_or_path": "some-one/no-model"}, r"base model of .* cannot be had"),
    ):
        rewrite(config, **changes)
        refused(folder, out, match)
        config.write_text(said)
    weights.write_bytes(raw[:-5])
    refused(folder, out, "missing or damaged")
    name = min(tensors)
    save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, weights)
    refused(folder, out, "not finite|overflow")
    save_file({**tensors, name: torch.full_like(tensors[name], 1e5)}, weights)
    refused(folder, out, "float16 cannot hold", check=False, dtype="float16")
    weights.unlink()
    refused(folder, out, "no adapter_model.safetensors")


def test_a_quantised_base_is_refused(tiny: Made, adapter: Made, tmp_path: Path) -> None:
    """What is merged into 4 bits is spoilt; the sentence says where the right base goes."""
    from transformers import BitsAndBytesConfig

    base = shutil.copytree(tiny("llama"), tmp_path / "nf4")
    folder = adapter(base, ["q_proj"])
    quantised = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=BitsAndBytesConfig(load_in_4bit=True)
    )
    quantised.save_pretrained(base)
    refused(folder, tmp_path / "out", r"are quantised.*--base")
    made = export(str(folder), Wishes(tmp_path / "out", base=str(tiny("llama")), texts=1))
    assert made.facts.base == str(tiny("llama"))
