"""The hub: what would be uploaded, and the upload itself, by the real client to a small hub."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from fabula.errors import FabulaError
from fabula.export import Wishes, export
from fabula.export.push import check_name, front_matter, licence_of

UPLOAD = (
    "import sys\nfrom pathlib import Path\nfrom fabula.errors import FabulaError\n"
    "from fabula.export.push import upload\n"
    "try:\n    print(upload(Path(sys.argv[1]), 'me/tale', private=True))\n"
    "except FabulaError as e:\n    print('refused:', e)\n"
)


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload of small files meets."""

    status = 200
    files: dict[str, bytes] = {}
    created: list[dict[str, Any]] = []

    def answer(self, data: Any, status: int = 200) -> None:
        raw = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        if Hub.status != 200:
            return self.answer({"error": "no"}, Hub.status)
        if "whoami" in self.path:
            return self.answer({"name": "me", "type": "user", "auth": {}})
        return self.answer({"id": "me/tale", "sha": "0" * 40, "siblings": []})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/repos/create"):
            Hub.created.append(json.loads(raw))
            return self.answer({"url": "https://huggingface.co/me/tale"})
        if "preupload" in self.path:
            names = [f["path"] for f in json.loads(raw)["files"]]
            entries = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            return self.answer({"files": entries})
        if "/commit/" in self.path:
            for line in raw.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    Hub.files[value["path"]] = base64.b64decode(value["content"])
            return self.answer(
                {"commitUrl": "https://huggingface.co/me/tale/commit/1", "commitOid": "1"}
            )
        return self.answer({})

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Hub.status, Hub.files, Hub.created = 200, {}, []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def upload(folder: Path, home: Path, **environment: str) -> str:
    """Upload in a process of its own, whose client finds no login but the one given."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment}
    command = [sys.executable, "-c", UPLOAD, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "README.md").write_text("# A tale\n")
    (folder / "config.json").write_text("{}")
    (folder / ".part").write_text("x")
    return folder


def test_an_upload_sends_the_files(hub: str, folder: Path, tmp_path: Path) -> None:
    said = upload(folder, tmp_path, HF_ENDPOINT=hub, HF_TOKEN="hf_x")
    assert said.strip().endswith("https://huggingface.co/me/tale")
    assert Hub.files.keys() == {"README.md", "config.json"}
    assert Hub.files["README.md"] == b"# A tale\n"
    assert Hub.created[0]["visibility"] == "private"


@pytest.mark.parametrize(
    ("status", "environment", "match"),
    [
        (200, {}, "not logged in"),
        (401, {"HF_TOKEN": "hf_x"}, "hf auth login"),
        (403, {"HF_TOKEN": "hf_x"}, "no right to write"),
        (200, {"HF_TOKEN": "hf_x", "HF_HUB_OFFLINE": "1"}, "switched off"),
        (200, {"HF_TOKEN": "hf_x", "HF_ENDPOINT": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_an_upload_that_fails_says_why(
    status: int, environment: dict[str, str], match: str, hub: str, folder: Path, tmp_path: Path
) -> None:
    Hub.status = status
    said = upload(folder, tmp_path, **{"HF_ENDPOINT": hub, **environment})
    assert said.startswith("refused: Nothing")
    assert match in said
    assert len(said.strip().splitlines()) == 1
    assert Hub.files == {}


def test_a_push_is_prepared_without_network(
    tiny: Callable[..., Path], adapter: Callable[..., Path], tmp_path: Path
) -> None:
    folder = adapter(tiny("llama", "gpt2"), ["q_proj"])
    made = export(str(folder), Wishes(tmp_path / "out", push="me/tale", check=False))
    assert made.plan is not None
    listed = dict(made.plan.files)
    assert {"README.md", "model.safetensors", "tokenizer.json", "config.json"} <= set(listed)
    assert made.plan.size == sum(p.stat().st_size for p in made.folder.iterdir())
    readme = (made.folder / "README.md").read_text()
    said = yaml.safe_load(readme.split("---")[1])
    assert said["pipeline_tag"] == "text-generation"
    assert said["library_name"] == "transformers"
    # A folder here is no base model there, and no path of this machine is published.
    assert "base_model" not in said
    assert str(folder) not in readme
    assert "vllm serve me/tale" in readme


def test_front_matter_names_base_and_licence() -> None:
    matter = front_matter("meta-llama/Llama-2-7b-hf", "llama2", True, "qlora")
    said = yaml.safe_load(matter.split("---")[1])
    assert said["base_model"] == "meta-llama/Llama-2-7b-hf"
    assert said["license"] == "llama2"
    assert {"gguf", "qlora"} <= set(said["tags"])
    assert licence_of("meta-llama/Llama-2-13b-hf") == "llama2"
    assert licence_of("gpt2-xl") == licence_of("openai-community/gpt2") == "mit"
    assert licence_of("mistralai/Mistral-7B-v0.1") == "apache-2.0"
    assert licence_of("someone/gpt2-of-mine") is None


@pytest.mark.parametrize("name", ["tale", "me/", "/x", "me/a b", "a/b/c", "me/../x", "me/a--b"])
def test_what_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(FabulaError, match="OWNER/NAME"):
        check_name(name)
