"""GGUF in llama.cpp itself: the same tokens from text, and the same tokens written."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_exports import greedy, rewrite
from transformers import AutoModelForCausalLM

from fabula.engines.embedded import EmbeddedEngine
from fabula.engines.tokens import Tokens
from fabula.errors import FabulaError, MissingExtra
from fabula.export import gguf_file
from fabula.export.gguf_file import write_gguf
from fabula.export.llama_cpp import Passage, ask
from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample
from fabula.training.models import resolve

pytest.importorskip("gguf")
pytest.importorskip("xllamacpp")

ALPHABET = (
    " \n\t\r  abcXYZ019'\"-—–.,;:!?#\\éüßñ漢字かな한국어🙂👩‍👩‍👧½²Ⅷ٣"
    "\u00a0\u2028\u3000\u200b\u0301<|>/"
)


def texts(count: int) -> list[str]:
    """Stories as rendered, and what tokenizers are apt to read differently."""
    rng = random.Random(5)
    found = [
        render_brief(s.brief) + render_completion(s.outline, s.passages)
        for s in load_sample("test")[:6]
    ]
    found += [
        "x" + "".join(rng.choice(ALPHABET) for _ in range(rng.randint(1, 60))) for _ in range(count)
    ]
    ranges = ((32, 0x250), (0x250, 0xD7FF), (0xE000, 0x1FFFF))
    return found + [
        "".join(chr(rng.randrange(*rng.choice(ranges))) for _ in range(rng.randint(1, 30)))
        for _ in range(count)
    ]


def compare(
    folder: Path, place: Path, kind: str, bos: int, eos: int, prompts: int = 3, words: int = 120
) -> tuple[int, int]:
    """(tokens written differently, tokens written); refuses any text that is read differently."""
    write_gguf(folder, place, kind, "tiny")
    tokens = Tokens.open(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    passages = []
    for story in load_sample("test")[:prompts]:
        text = render_brief(story.brief)
        ids = [bos, *tokens.encode(text)]
        passages.append(Passage(text, ids, greedy(model, ids, 60, eos)))
    said = [t for t in texts(words) if t[0] not in " ▁"]
    answer = ask(place, said, passages, eos)
    wrong = [
        t for t, ids in zip(said, answer.tokens, strict=True) if ids != [bos, *tokens.encode(t)]
    ]
    assert wrong == []
    return len(answer.differences), sum(len(p.written) for p in passages)


@pytest.mark.parametrize(
    ("kind", "tokenizer"),
    [
        ("llama", "ours"),
        ("mistral", "gpt2"),
        ("gpt2", "gpt2"),
        ("qwen3", "ours"),
        ("llama3", "gpt2"),
        ("linear", "ours"),
        ("biased", "ours"),
        ("llama", "legacy"),
        ("mistral", "metaspace"),
    ],
)
def test_llama_cpp_writes_the_same_tokens(
    kind: str, tokenizer: str, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny(kind, tokenizer)
    bos, eos = (
        (0, 0) if kind == "gpt2" else (1, 2) if tokenizer in ("legacy", "metaspace") else (0, 1)
    )
    different, written = compare(folder, tmp_path / "m.gguf", "f32", bos, eos)
    assert written > 100
    # GPT-2's GELU comes from a table in half precision there.
    assert different <= (3 if kind == "gpt2" else 0)


@pytest.fixture(scope="module")
def embedded() -> Path:
    return Path(resolve("embedded"))


def test_the_embedded_model_writes_the_same_in_llama_cpp(embedded: Path, tmp_path: Path) -> None:
    """As the embedded engine in float32, which shares no code with transformers."""
    engine = EmbeddedEngine.open(embedded, precision="float32")
    passages = []
    for story in load_sample("test")[:3]:
        text = render_brief(story.brief)
        ids = [engine.bos or 0, *engine.encode(text)]
        decoding = engine.start(ids, 1)
        written = []
        for _ in range(80):
            written.append(int(decoding.scores[0].argmax()))
            decoding.step(decoding.scores.argmax(axis=1))
        passages.append(Passage(text, ids, written))
    said = texts(150)
    differences = {}
    for kind in ("f32", "f16", "q8_0"):
        place = write_gguf(embedded, tmp_path / f"{kind}.gguf", kind, "embedded")
        answer = ask(
            place, said if kind == "f32" else said[:3], passages, engine.eos, exact=kind == "f32"
        )
        for text, ids in zip(said, answer.tokens, strict=False):
            assert ids == [engine.bos, *engine.encode(text)]
        differences[kind] = len(answer.differences)
    assert differences["f32"] == differences["f16"] == 0
    assert differences["q8_0"] <= 5  # of 240


def test_a_wrong_layout_is_seen(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison can fail: without the new order of rows llama.cpp writes something else."""
    monkeypatch.setattr(gguf_file.Architecture, "lay_out", lambda self, own, weight: weight)
    different, written = compare(tiny("linear"), tmp_path / "m.gguf", "f32", 0, 1, words=3)
    assert different > written / 4


def test_a_sliding_window_bounds_the_context(tiny: Callable[..., Path], tmp_path: Path) -> None:
    from gguf import GGUFReader

    place = write_gguf(tiny("mistral", "gpt2"), tmp_path / "m.gguf", "f16", "m")
    reader = GGUFReader(place)
    assert reader.fields["llama.context_length"].contents() == 400
    assert reader.fields["tokenizer.ggml.add_bos_token"].contents() is True
    assert reader.fields["tokenizer.ggml.add_eos_token"].contents() is False
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}
    assert kinds["blk.0.attn_q.weight"] == "F16"
    assert kinds["blk.0.attn_norm.weight"] == "F32"


def test_rows_that_do_not_part_into_blocks_stay_in_16_bits(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from gguf import GGUFReader
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny("llama"), tmp_path / "odd")
    weights = load_file(folder / "model.safetensors")
    for name, tensor in weights.items():
        if "down_proj" in name:
            weights[name] = tensor[:, :152].contiguous()
        if "gate_proj" in name or "up_proj" in name:
            weights[name] = tensor[:152].contiguous()
    save_file(weights, folder / "model.safetensors")
    rewrite(folder / "config.json", intermediate_size=152)
    different, written = compare(folder, tmp_path / "m.gguf", "q8_0", 0, 1, words=3)
    assert different < written / 4
    kinds = {t.name: t.tensor_type.name for t in GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.ffn_down.weight"] == "F16"
    assert kinds["blk.0.ffn_up.weight"] == "Q8_0"


def refused(folder: Path, match: str, kind: str = "f16") -> None:
    place = folder / "m.gguf"
    with pytest.raises(FabulaError, match=match):
        write_gguf(folder, place, kind, "m")
    assert [p.name for p in folder.iterdir() if "gguf" in p.name] == []


def test_what_llama_cpp_would_compute_otherwise_is_refused(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny("llama"), tmp_path / "m")
    whole = (folder / "config.json").read_text()
    for changes, match in (
        ({"model_type": "gpt_neox"}, r"'gpt_neox'.*convert_hf_to_gguf"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "by 'yarn'"),
    ):
        rewrite(folder / "config.json", **changes)
        refused(folder, match)
        (folder / "config.json").write_text(whole)
    whole = (folder / "tokenizer.json").read_text()
    data = json.loads(whole)
    for key, value, match in (
        ("pre_tokenizer", {"type": "Whitespace"}, "byte-level BPE"),
        ("normalizer", {"type": "Lowercase"}, r"changes text .*Lowercase"),
        ("model", {**data["model"], "type": "Unigram"}, "Unigram"),
        ("model", {**data["model"], "ignore_merges": True}, "ignore_merges"),
    ):
        (folder / "tokenizer.json").write_text(json.dumps({**data, key: value}))
        refused(folder, match)
    (folder / "tokenizer.json").write_text(whole)
    rewrite(folder / "config.json", vocab_size=500)
    refused(folder, "do not belong together")


def test_merges_that_no_scores_can_say_are_refused(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny("llama", "legacy"), tmp_path / "m")
    data = json.loads((folder / "tokenizer.json").read_text())
    merges = data["model"]["merges"]
    several = next(i for i, m in enumerate(merges[1:]) if "".join(merges[i]) == "".join(m))
    data["model"]["merges"] = [m for i, m in enumerate(merges) if i != several]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    refused(folder, "does not join all pieces")
    moved = merges.pop(several)
    data["model"]["merges"] = [*merges, moved]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    refused(folder, "sometimes earlier")


def test_numbers_that_do_not_fit_are_refused(tiny: Callable[..., Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny("llama"), tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name][0, 0] = 1e6
    save_file(weights, folder / "model.safetensors")
    refused(folder, r"up_proj.*not finite in f16.*bf16")
    assert write_gguf(folder, folder / "m.gguf", "bf16", "m").is_file()
    (folder / "m.gguf").unlink()
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[:-9])
    refused(folder, "missing or damaged")


def test_llama_cpp_refuses_what_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(FabulaError, match=r"llama\.cpp does not take"):
        ask(tmp_path / "m.gguf", ["x"], [], 1)


def test_without_the_library_one_sentence(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"fabula\[export\]"):
        write_gguf(tiny("llama"), tmp_path / "m.gguf", "f16", "m")
