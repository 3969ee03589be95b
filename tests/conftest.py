"""Tiny models with random weights, made once a session: real files, real classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Never the network, whatever a test opens; set before huggingface_hub is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

VOCABULARY = 512


def save_tokenizer(folder: Path, specials: dict[str, str]) -> None:
    """A byte-level BPE tokenizer learnt from the sample corpus's training split."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from fabula.story import render_brief, render_completion
    from fabula.story.sample import load_sample

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        (
            render_brief(story.brief) + render_completion(story.outline, story.passages)
            for story in load_sample("train")[:40]
        ),
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=list(dict.fromkeys(specials.values())),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials).save_pretrained(folder)


def save_model(folder: Path, config: Any) -> None:
    """A model of that configuration with random weights, large enough to have opinions."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # The usual 0.02 gives nearly flat scores, which would hide mistakes.
            parameter.mul_(4.0) if parameter.dim() > 1 else None
    model.save_pretrained(folder)


LLAMA_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
LLAMA_TOKENS = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with its graph: two layers, grouped heads, 512 tokens, context 512."""
    from transformers import LlamaConfig

    from fabula.engines.graph import write_graph

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    config = LlamaConfig(**LLAMA_SHAPE, tie_word_embeddings=True)
    save_model(folder, config)
    save_tokenizer(folder, LLAMA_TOKENS)
    write_graph(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_mistral(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Mistral whose attention slides over 32 tokens."""
    from transformers import MistralConfig

    folder = tmp_path_factory.mktemp("models") / "tiny-mistral"
    config = MistralConfig(**LLAMA_SHAPE, sliding_window=32)
    save_model(folder, config)
    save_tokenizer(folder, LLAMA_TOKENS)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GPT-2: one token opens and closes its documents."""
    from transformers import GPT2Config

    folder = tmp_path_factory.mktemp("models") / "tiny-gpt2"
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=512,
        bos_token_id=0,
        eos_token_id=0,
    )
    save_model(folder, config)
    save_tokenizer(folder, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})
    return folder


@pytest.fixture(scope="session")
def make_adapter(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a PEFT LoRA folder with random weights over a model folder."""

    def make(base: Path, targets: list[str], named: str | None = None, **settings: Any) -> Path:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        torch.manual_seed(11)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(base),
            LoraConfig(r=4, lora_alpha=16, target_modules=targets, **settings),
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_" in name:
                    parameter.normal_(std=0.1)
        model.peft_config["default"].base_model_name_or_path = named or str(base)
        folder = tmp_path_factory.mktemp("adapters") / "adapter"
        model.save_pretrained(folder)
        return folder

    return make
