"""Model folders with something wrong: one sentence each, whichever engine opens them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from fabula.engines import open_engine
from fabula.engines.embedded import EmbeddedEngine
from fabula.engines.graph import write_graph
from fabula.engines.shape import Unsupported
from fabula.engines.transformers_engine import TransformersEngine
from fabula.errors import FabulaError


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def configure(folder: Path, **changes: object) -> None:
    """Change keys of config.json; None removes one."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


def reweigh(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


NORM, QUERY = "model.norm.weight", "model.layers.0.self_attn.q_proj.weight"


def damages() -> dict[str, tuple[Callable[[Path], object], str]]:
    """Name -> (what happens to the folder, what the sentence must say)."""

    def truncate(name: str, keep: int) -> Callable[[Path], object]:
        return lambda f: (f / name).write_bytes((f / name).read_bytes()[:keep])

    def fill(name: str, value: float) -> Callable[[Path], object]:
        return lambda f: reweigh(f, lambda t: t[name].reshape(-1).__setitem__(3, value))

    def drop(tensors: dict[str, np.ndarray]) -> None:
        del tensors[QUERY]

    def narrow(tensors: dict[str, np.ndarray]) -> None:
        tensors[QUERY] = tensors[QUERY][:, :-4].copy()

    return {
        "weights cut short": (truncate("model.safetensors", 20_000), "damaged"),
        "weights cut to nothing": (truncate("model.safetensors", 0), "damaged"),
        "weights gone": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        "weights not numbers": (fill(QUERY, np.nan), "not finite"),
        "norm not a number": (fill(NORM, np.inf), "not finite"),
        "tensor gone": (lambda f: reweigh(f, drop), "lack the tensor .*q_proj"),
        "tensor too narrow": (lambda f: reweigh(f, narrow), "do not fit its config.json"),
        "config gone": (lambda f: (f / "config.json").unlink(), "no config.json"),
        "config not JSON": (lambda f: (f / "config.json").write_text("{"), "Cannot read"),
        "config a list": (lambda f: (f / "config.json").write_text("[1]"), "JSON object"),
        "config binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\0"), "Cannot read"),
        "config of another size": (lambda f: configure(f, vocab_size=520), "do not fit"),
        "key gone": (lambda f: configure(f, hidden_size=None), "'hidden_size' is missing"),
        "key absurd": (lambda f: configure(f, num_hidden_layers=-2), "'num_hidden_layers' is -2"),
        "key of another kind": (lambda f: configure(f, num_hidden_layers="2"), "'2'"),
        "heads that do not divide": (lambda f: configure(f, num_key_value_heads=3), "do not go"),
        "tokenizer gone": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
        "tokenizer cut short": (truncate("tokenizer.json", 900), "damaged"),
        "graph cut short": (truncate("graph.onnx", 900), "damaged|does not fit"),
        "graph not a graph": (lambda f: (f / "graph.onnx").write_text("hello"), "damaged"),
    }


@pytest.mark.parametrize("what", damages())
def test_embedded_says_what_is_wrong(copy: Path, what: str) -> None:
    damage, sentence = damages()[what]
    damage(copy)
    with pytest.raises(FabulaError, match=sentence) as caught:
        EmbeddedEngine.open(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "what",
    [
        "weights cut short",
        "weights gone",
        "weights not numbers",
        "tensor gone",
        "tensor too narrow",
        "config not JSON",
        "key of another kind",
        "tokenizer cut short",
    ],
)
def test_transformers_says_so_too(copy: Path, what: str) -> None:
    damages()[what][0](copy)
    with pytest.raises(FabulaError) as caught:
        TransformersEngine.open(copy)
    assert "\n" not in str(caught.value)


def test_a_graph_of_another_shape(copy: Path, tiny_model: Path) -> None:
    configure(copy, intermediate_size=160)
    write_graph(copy)
    shutil.copy(tiny_model / "config.json", copy)
    with pytest.raises(FabulaError, match=r"does not fit the weights|another shape"):
        EmbeddedEngine.open(copy)
    # The context is no weight, but belongs to the graph as well.
    configure(copy, max_position_embeddings=256)
    write_graph(copy)
    shutil.copy(tiny_model / "config.json", copy)
    with pytest.raises(FabulaError, match=r"does not fit the weights|another shape"):
        EmbeddedEngine.open(copy)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, 3000), value=st.integers(0, 255))
def test_a_changed_byte_in_the_header_never_crashes(
    copy: Path, tiny_model: Path, position: int, value: int
) -> None:
    raw = bytearray((tiny_model / "model.safetensors").read_bytes())
    raw[position] = value
    (copy / "model.safetensors").write_bytes(raw)
    try:
        engine = EmbeddedEngine.open(copy)
    except FabulaError:
        return
    assert engine.start([0, 5], 1).scores.shape == (1, 512)


def test_another_tokenizer(copy: Path) -> None:
    path = copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] += [
        {**tokenizer["added_tokens"][0], "id": 512 + i, "content": f"<|extra{i}|>"}
        for i in range(3)
    ]
    path.write_text(json.dumps(tokenizer))
    for opener in (EmbeddedEngine.open, TransformersEngine.open):
        with pytest.raises(FabulaError, match="knows 515 tokens, but its weights only 512"):
            opener(copy)


def test_no_end_of_sequence(copy: Path) -> None:
    configure(copy, eos_token_id=None)
    (copy / "tokenizer_config.json").write_text("{}")
    with pytest.raises(FabulaError, match="no end-of-sequence token"):
        EmbeddedEngine.open(copy)
    (copy / "tokenizer_config.json").write_text('{"eos_token": "<|stop|>"}')
    with pytest.raises(FabulaError, match=r"does not know '<\|stop\|>'"):
        EmbeddedEngine.open(copy)


def test_ids_from_the_configuration_where_the_tokenizer_is_silent(copy: Path) -> None:
    (copy / "tokenizer_config.json").write_text('{"bos_token": null}')
    configure(copy, eos_token_id=[1, 2])
    engine = EmbeddedEngine.open(copy)
    assert (engine.bos, engine.eos) == (None, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "qwen3"},
        {"model_type": None},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
    ],
)
def test_other_models_are_sent_to_the_other_engine(copy: Path, change: dict[str, object]) -> None:
    configure(copy, **change)
    with pytest.raises(Unsupported, match="transformers engine"):
        EmbeddedEngine.open(copy)


def test_linear_positions_agree_with_transformers(copy: Path) -> None:
    configure(copy, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0})
    ids = [0, *range(10, 90)]
    mine = EmbeddedEngine.open(copy, precision="float32").start(ids, 1).scores
    theirs = TransformersEngine.open(copy).start(ids, 1).scores
    assert np.abs(mine - theirs).max() < 1e-4


def test_other_number_types(copy: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = [0, *range(10, 90)]
    for kind in ("float16", "bfloat16"):
        model = AutoModelForCausalLM.from_pretrained(copy).to(getattr(torch, kind))
        model.save_pretrained(copy, max_shard_size="40KB")
        (copy / "model.safetensors").unlink(missing_ok=True)
        assert (copy / "model.safetensors.index.json").exists()
        model = AutoModelForCausalLM.from_pretrained(copy, dtype=torch.float32)
        with torch.no_grad():
            expected = model(torch.tensor([ids])).logits[0, -1].numpy()
        engine = EmbeddedEngine.open(copy, precision="float32")
        assert np.abs(engine.start(ids, 1).scores[0] - expected).max() < 1e-4
        assert engine.weights == TransformersEngine.open(copy).weights


def test_untied_heads_and_pickles(copy: Path) -> None:
    def untie(tensors: dict[str, np.ndarray]) -> None:
        tensors["lm_head.weight"] = np.flip(tensors["model.embed_tokens.weight"], 0).copy()

    configure(copy, tie_word_embeddings=False)
    with pytest.raises(FabulaError, match=r"lack the tensor 'lm_head\.weight'"):
        EmbeddedEngine.open(copy)
    reweigh(copy, untie)
    write_graph(copy)
    mine = EmbeddedEngine.open(copy, precision="float32").start([0, 7, 8], 1).scores
    theirs = TransformersEngine.open(copy).start([0, 7, 8], 1).scores
    assert np.abs(mine - theirs).max() < 1e-4
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    for opener in (EmbeddedEngine.open, TransformersEngine.open):
        with pytest.raises(FabulaError, match="never loaded"):
            opener(copy)


def test_open_engine_chooses(copy: Path, tiny_mistral: Path, tmp_path: Path) -> None:
    assert isinstance(open_engine(copy), EmbeddedEngine)
    assert isinstance(open_engine(tiny_mistral), TransformersEngine)
    (copy / "graph.onnx").unlink()
    assert isinstance(open_engine(str(copy)), TransformersEngine)
    with pytest.raises(FabulaError, match="no model folder"):
        open_engine(tmp_path / "nothing")
    with pytest.raises(FabulaError, match="no model folder"):
        open_engine("./nothing")
    with pytest.raises(FabulaError, match="is a file"):
        open_engine(tiny_mistral / "config.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FabulaError, match="empty'"):
        open_engine(tmp_path / "empty")
