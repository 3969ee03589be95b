"""Hub models, fetched from and refused by a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabula.engines import open_engine
from hub_server import ask, serving


@pytest.fixture
def endpoint(tmp_path: Path, tiny_mistral: Path) -> Iterator[str]:
    served = tmp_path / "served"
    served.mkdir()
    for file in tiny_mistral.iterdir():
        (served / file.name).write_bytes(file.read_bytes())
    for unwanted in ("pytorch_model.bin", "modeling_evil.py", "consolidated.safetensors"):
        (served / unwanted).write_bytes(b"never fetched")
    with serving({"tiny": served}) as address:
        yield address


FETCH = """
from fabula.engines.hub import fetch
from fabula.errors import FabulaError
for name in {names}:
    try:
        print(fetch(name))
    except FabulaError as error:
        print(error)
"""


def test_fetch_and_refusals(endpoint: str, tmp_path: Path, tiny_mistral: Path) -> None:
    home = tmp_path / "home"
    names = ["tale/tiny", "tale/gated", "tale/gone", "tale/broken", "a--b"]
    fetched, gated, gone, broken, impossible = ask(
        home, FETCH.format(names=names), HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0"
    )
    assert "accept its licence at https://huggingface.co/tale/gated" in gated
    assert "`hf auth login`" in gated
    assert "neither a folder here nor a model on the hub" in gone
    assert "cannot be reached" in broken
    assert "possible hub id" in impossible
    cached = {f.name for f in Path(fetched).iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= cached
    assert not cached & {"pytorch_model.bin", "modeling_evil.py", "consolidated.safetensors"}
    engine = open_engine(fetched)
    weights = (tiny_mistral / "model.safetensors").read_bytes()
    assert engine.weights == hashlib.sha256(weights).hexdigest()
    # Fetched once, it is there with the hub out of reach, and switched off.
    assert [fetched] == ask(
        home, FETCH.format(names=names[:1]), HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="0"
    )
    again, unknown = ask(home, FETCH.format(names=names[:2]), HF_HUB_OFFLINE="1")
    assert again == fetched
    assert "HF_HUB_OFFLINE" in unknown
