"""Hub models, fetched from and refused by a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest

from fabula.engines import open_engine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {"gated": (403, "GatedRepo"), "gone": (404, "RepoNotFound"), "broken": (500, "")}


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as fetching a model asks of it."""

    folder: Path

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        name = path.split("/")[4] if path.startswith("/api/models/") else ""
        files = {f.name: f.read_bytes() for f in self.folder.iterdir()}
        if name in REFUSALS:
            status, code = REFUSALS[name]
            self.answer(status, b"", {"X-Error-Code": code})
        elif "/tree/" in path:
            listing = [
                {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                for n, b in files.items()
            ]
            self.answer(200, json.dumps(listing).encode(), {})
        elif name:
            info = {"id": "tale/tiny", "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]}
            self.answer(200, json.dumps(info).encode(), {})
        elif "/resolve/" in path and (data := files.get(path.rsplit("/", 1)[1])) is not None:
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            self.answer(200, data, {"ETag": etag, "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for header in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(*header)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def endpoint(tmp_path: Path, tiny_mistral: Path) -> Iterator[str]:
    Hub.folder = tmp_path / "served"
    Hub.folder.mkdir()
    for file in tiny_mistral.iterdir():
        (Hub.folder / file.name).write_bytes(file.read_bytes())
    for unwanted in ("pytorch_model.bin", "modeling_evil.py", "consolidated.safetensors"):
        (Hub.folder / unwanted).write_bytes(b"never fetched")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def ask(home: Path, code: str, **environment: str) -> list[str]:
    """Run code in a process of its own, where the hub client reads its settings anew."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


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
