"""Weights in 8 bits: the same codes, half the size, and floats for torch where it asks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM

from fabula.engines import open_engine
from fabula.engines.catalogue import count_parameters
from fabula.engines.embedded import EmbeddedEngine
from fabula.engines.load import graph_inputs
from fabula.engines.packed import pack, with_floats
from fabula.engines.shape import read_config, read_shape
from fabula.engines.transformers_engine import TransformersEngine
from fabula.engines.weights import PACKED, read_weights
from fabula.errors import FabulaError
from fabula.training import models

QUERY = "model.layers.0.self_attn.q_proj.weight"


@pytest.fixture
def packed(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with its packed weights alone."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "packed"))
    assert pack(folder) == folder / PACKED
    (folder / "model.safetensors").unlink()
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FABULA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_engine_computes_with_the_same_codes(tiny_model: Path, packed: Path) -> None:
    shape = read_shape(packed, read_config(packed))
    before, after = (
        graph_inputs(shape, read_weights(folder, shape)[0], "int8")
        for folder in (tiny_model, packed)
    )
    assert before.keys() == after.keys()
    for name in before:
        # The embeddings are looked up in 16 bits, and are those of the 8-bit head now.
        if name != "embed":
            np.testing.assert_allclose(after[name], before[name], rtol=1e-6, err_msg=name)
    assert (packed / PACKED).stat().st_size < 0.4 * (
        tiny_model / "model.safetensors"
    ).stat().st_size


def test_it_scores_as_before(tiny_model: Path, packed: Path) -> None:
    texts = [[5, 9, 200, 31, 7, 77, 140], [300, 12]]
    before, after = (
        EmbeddedEngine.open(folder).log_probabilities([3, 4, 5], texts)
        for folder in (tiny_model, packed)
    )
    for one, other in zip(before, after, strict=True):
        assert np.abs(one - other).max() < 0.1 * one.std() + 0.05


def test_torch_gets_floats(packed: Path, cache: Path) -> None:
    place = with_floats(packed)
    assert place.parent == cache
    shape = read_shape(packed, read_config(packed))
    expected = read_weights(packed, shape)[0]
    found = AutoModelForCausalLM.from_pretrained(models.resolve(str(packed))).state_dict()
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name].float().numpy(), tensor, rtol=1e-3, atol=1e-7)
    written = (place / "model.safetensors").stat().st_mtime_ns
    assert with_floats(packed) == place
    assert (place / "model.safetensors").stat().st_mtime_ns == written
    assert [p.name for p in cache.iterdir()] == [place.name]
    assert TransformersEngine.open(packed).vocabulary == shape.vocabulary


def test_floats_stay_where_they_are(tiny_model: Path, cache: Path) -> None:
    assert with_floats(tiny_model) == tiny_model
    assert models.resolve(str(tiny_model)) == str(tiny_model)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_to(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FABULA_CACHE", str(tmp_path / "file"))
    with pytest.raises(FabulaError, match="FABULA_CACHE"):
        with_floats(packed)


def test_no_home_is_said_in_a_sentence(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABULA_CACHE", "~nobody-of-this-name/cache")
    with pytest.raises(FabulaError, match="set FABULA_CACHE"):
        with_floats(packed)


def test_a_cache_inside_the_folder(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABULA_CACHE", str(packed / "cache"))
    (packed / "gone").symlink_to(packed / "nothing")
    assert (with_floats(packed) / "model.safetensors").is_file()


def test_what_changes_beside_the_weights_is_seen(packed: Path) -> None:
    before = with_floats(packed)
    (packed / "names.json").write_text('{"neutral": ["Kim"]}')
    after = with_floats(packed)
    assert after != before
    assert "Kim" in (after / "names.json").read_text()


def test_a_damaged_copy_is_made_again(packed: Path) -> None:
    place = with_floats(packed)
    for name in ("model.safetensors", "config.json"):
        (place / name).unlink()
        assert with_floats(packed) == place
        assert (place / name).is_file()


def test_both_engines_name_the_same_weights(packed: Path) -> None:
    assert TransformersEngine.open(packed).weights == open_engine(packed).weights


def test_scales_that_are_no_numbers(packed: Path) -> None:
    tensors = load_file(packed / PACKED)
    tensors[QUERY + ".scale"][0, 0] = np.nan
    save_file(tensors, packed / PACKED)
    with pytest.raises(FabulaError, match=f"'{QUERY}' is not finite"):
        with_floats(packed)
    save_file({**tensors, QUERY: np.zeros((), dtype=np.uint8)}, packed / PACKED)
    with pytest.raises(FabulaError, match=f"scales of '{QUERY}'"):
        open_engine(packed)


def test_scales_that_do_not_fit(packed: Path) -> None:
    tensors = load_file(packed / PACKED)
    tensors[QUERY + ".scale"] = tensors[QUERY + ".scale"][:-1]
    save_file(tensors, packed / PACKED)
    with pytest.raises(FabulaError, match=f"scales of '{QUERY}'"):
        open_engine(packed)
    del tensors[QUERY + ".scale"]
    save_file(tensors, packed / PACKED)
    with pytest.raises(FabulaError, match=f"scales of '{QUERY}'"):
        open_engine(packed)


def test_weights_that_are_not_finite(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "odd"))
    tensors = load_file(folder / "model.safetensors")
    tensors[QUERY].reshape(-1)[3] = np.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FabulaError, match="not finite"):
        pack(folder)
    assert not (folder / PACKED).exists()


def test_on_the_command_line(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "asked"))
    command = [sys.executable, "-m", "fabula", "models", "--pack", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(folder / PACKED)
    parameters = AutoModelForCausalLM.from_pretrained(tiny_model).num_parameters()
    assert count_parameters(folder / PACKED) == parameters
