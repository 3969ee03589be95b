"""Short ways to make source files and to prepare them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabula.corpus import Settings, open_source, prepare
from fabula.corpus.runners import LocalRunner

Files = Callable[..., Path]


@pytest.fixture
def jsonl(tmp_path: Path) -> Files:
    """Writes rows (dicts, or raw bytes) as a file of JSON lines."""

    def write(rows: list[Any], name: str = "stories.jsonl") -> Path:
        path = tmp_path / name
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path

    return write


Preparer = Callable[..., dict[str, Any]]


@pytest.fixture
def prep(tmp_path: Path) -> Preparer:
    """Prepares a corpus at tmp_path/out and returns its manifest."""

    def run(*sources: str | Path, out: str = "out", **options: Any) -> dict[str, Any]:
        opening = {k: options.pop(k) for k in ("kind", "mapping", "licences") if k in options}
        driving = {
            k: options.pop(k) for k in ("force", "resume", "progress", "against") if k in options
        }
        driving["runner"] = options.pop("runner", None) or LocalRunner(options.pop("workers", 1))
        taken: set[str] = set()
        opened = [open_source(str(s), taken, **opening) for s in sources]
        return prepare(opened, tmp_path / out, Settings(**options), **driving)

    return run


@pytest.fixture(scope="session")
def sample_corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The sample prepared once, and its manifest; copy it before changing it."""
    out = tmp_path_factory.mktemp("corpora") / "sample"
    return out, prepare([open_source("sample", set())], out, Settings())
