"""Tiny models of the real architectures, a small prepared corpus, and small recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import CONTEXT, VOCABULARY

from fabula.story import render_brief, render_completion
from fabula.story.sample import LabelledStory, load_sample

torch = pytest.importorskip("torch")


def row(story: LabelledStory, beats: int) -> dict[str, Any]:
    """A row as `fabula prepare` writes it, of a story's first beats."""
    passages = story.passages[:beats]
    outline = story.outline.beats[:beats]
    short = story.outline.model_copy(update={"beats": outline})
    text = "\n\n".join(p.text for p in passages)
    return {
        "id": story.id,
        "source": "sample",
        "licence": "Apache-2.0",
        "prompt_id": story.id,
        "title": story.title,
        "brief": story.brief.model_dump_json(exclude_none=True),
        "premise": story.premise,
        "outline": [b.model_dump() for b in outline],
        "passages": [p.model_dump() for p in passages],
        "text": text,
        "words": len(text.split()),
        "gold": True,
        "prompt": render_brief(story.brief),
        "completion": render_completion(short, passages),
    }


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus: 40 short stories to learn from, 6 held out."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("corpus")
    stories = load_sample("train")
    for split, chosen in (("train", stories[:40]), ("valid", stories[40:46])):
        pq.write_table(
            pa.Table.from_pylist([row(s, 2) for s in chosen]), folder / f"{split}.parquet"
        )
    (folder / "manifest.json").write_text(json.dumps({"stories": 46}))
    return folder


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE of 700 tokens."""
    from fabula.training.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([s.text for s in load_sample("train")[:60]], VOCABULARY, CONTEXT, folder)
    return folder


def make_model(kind: str, folder: Path, tokenizer: Path) -> Path:
    """A random model of an architecture with that tokenizer, as a Hugging Face folder."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        GPT2Config,
        LlamaConfig,
        MistralConfig,
        Qwen3Config,
    )

    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
    }
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config: Any = {
        "llama": lambda: LlamaConfig(**shape, **ids),
        "mistral": lambda: MistralConfig(**shape, **ids, sliding_window=96),
        "gpt2": lambda: GPT2Config(
            vocab_size=VOCABULARY, n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, **ids
        ),
        "qwen3": lambda: Qwen3Config(**shape, **ids, head_dim=32),
    }[kind]()
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> dict[str, Path]:
    """Tiny random models: llama, mistral (with a window shorter than documents), gpt2, qwen3."""
    folder = tmp_path_factory.mktemp("models")
    kinds = ("llama", "mistral", "gpt2", "qwen3")
    return {kind: make_model(kind, folder / kind, tokenizer_folder) for kind in kinds}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
