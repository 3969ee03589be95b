"""A real HTTP server that answers as much of the hub's API as fetching a model asks of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {"gated": (403, "GatedRepo"), "gone": (404, "RepoNotFound"), "broken": (500, "")}


class Hub(BaseHTTPRequestHandler):
    """Models are named "tale/NAME"; `folders` says where each one's files are."""

    folders: Mapping[str, Path]

    def do_GET(self) -> None:
        parts = urlparse(self.path).path.removeprefix("/api/models").split("/")
        name = parts[2] if len(parts) > 2 else ""
        files = {}
        if name in self.folders:
            files = {f.name: f.read_bytes() for f in self.folders[name].iterdir()}
        if name in REFUSALS:
            status, code = REFUSALS[name]
            self.answer(status, b"", {"X-Error-Code": code})
        elif "/tree/" in self.path:
            listing = [
                {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                for n, b in files.items()
            ]
            self.answer(200, json.dumps(listing).encode(), {})
        elif self.path.startswith("/api/models/"):
            siblings = [{"rfilename": n} for n in files]
            info = {"id": f"tale/{name}", "sha": COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(info).encode(), {})
        elif "/resolve/" in self.path and (data := files.get(parts[-1])) is not None:
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


@contextmanager
def serving(folders: Mapping[str, Path]) -> Iterator[str]:
    """Serve models; gives the endpoint."""
    handler = type("Served", (Hub,), {"folders": folders})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
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
