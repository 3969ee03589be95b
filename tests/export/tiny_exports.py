"""Tiny models of each architecture that GGUF is written for, with tokenizers of each kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample

ROWS = 520
SHAPE: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1100,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TARGETS = {"llama": ALL, "mistral": ALL, "gpt2": ["c_attn", "c_proj", "c_fc"]}


def config_of(kind: str) -> Any:
    import transformers as t

    if kind == "gpt2":
        return t.GPT2Config(
            vocab_size=ROWS,
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=1100,
            bos_token_id=0,
            eos_token_id=0,
        )
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 50000.0}
    if kind == "llama3":
        rope |= {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    if kind == "linear":
        rope |= {"rope_type": "linear", "factor": 2.0}
    shape = {**SHAPE, "rope_parameters": rope}
    if kind == "mistral":
        # The window is longer than what is compared, and shorter than the context.
        return t.MistralConfig(**shape, sliding_window=400)
    if kind == "qwen3":
        return t.Qwen3Config(**shape, head_dim=32)
    if kind == "biased":
        return t.LlamaConfig(**shape, attention_bias=True, mlp_bias=True)
    return t.LlamaConfig(**shape, tie_word_embeddings=kind == "llama")


def save_model(kind: str, folder: Path) -> None:
    """Random weights, large enough to have opinions, and no two numbers of a vector alike."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config_of(kind))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4.0)
            else:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)


def texts() -> list[str]:
    return [
        render_brief(s.brief) + render_completion(s.outline, s.passages)
        for s in load_sample("test")[40:70]
    ]


def save_corpus(folder: Path) -> None:
    """A prepared corpus of eight stories, two beats of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    for story in load_sample("test")[40:48]:
        outline, passages = story.outline.beats[:2], story.passages[:2]
        rows.append(
            {
                "id": story.id,
                "source": "sample",
                "licence": "Apache-2.0",
                "prompt_id": story.id,
                "title": story.title,
                "brief": story.brief.model_dump_json(exclude_none=True),
                "premise": story.premise,
                "outline": [b.model_dump() for b in outline],
                "passages": [p.model_dump() for p in passages],
                "text": "\n\n".join(p.text for p in passages),
                "words": sum(len(p.text.split()) for p in passages),
                "gold": True,
            }
        )
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    (folder / "manifest.json").write_text(json.dumps({"stories": len(rows)}))


def save_byte_level(folder: Path, digits: bool, one_special: bool = False) -> None:
    """Byte-level BPE as ours (digits by themselves) or as GPT-2's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from fabula.training.tokenizer import train_tokenizer

    if digits:
        train_tokenizer(texts(), 512, 1100, folder)
        return
    specials = {"bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    if one_special:
        specials = dict.fromkeys(("bos_token", "eos_token"), "<|endoftext|>")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(dict.fromkeys(specials.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **specials).save_pretrained(folder)


def save_sentencepiece(folder: Path, metaspace: bool) -> None:
    """A BPE as Llama-2's: bytes as fallback, and every way to part a piece is a merge."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    draft = Tokenizer(models.BPE())
    draft.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=240, show_progress=False)
    draft.train_from_iterator(["\n".join(texts()).replace("\n", " ")], trainer)
    learnt = json.loads(draft.to_str())["model"]
    letters = [p for p in learnt["vocab"] if (len(p) == 1 and p.isascii()) or p == "▁"]
    pieces = [a + b for a, b in learnt["merges"] if set(a + b) <= set(letters)]
    bytes_ = [f"<0x{n:02X}>" for n in range(256)]
    names = ["<unk>", "<s>", "</s>", *bytes_, *letters, *pieces]
    names = list(dict.fromkeys(names))[:ROWS]
    known = set(names[259:])
    merges = [
        (piece[:i], piece[i:])
        for piece in pieces
        if piece in known
        for i in range(1, len(piece))
        if piece[:i] in known and piece[i:] in known
    ]
    vocabulary = {name: n for n, name in enumerate(names)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    rewrite(folder / "config.json", bos_token_id=1, eos_token_id=2, pad_token_id=None)


def greedy(model: Any, ids: list[int], count: int, eos: int) -> list[int]:
    """The likeliest tokens after `ids`, each from a whole forward pass: no cache, no engine."""
    found: list[int] = []
    with torch.no_grad():
        while len(found) < count and (not found or found[-1] != eos):
            scores = model(input_ids=torch.tensor([[*ids, *found]]), use_cache=False).logits
            found.append(int(scores[0, -1].argmax()))
    return found


def logits(model: Any, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().numpy()


def rewrite(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
