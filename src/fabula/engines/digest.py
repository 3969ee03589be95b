"""Digests of weight files: what a story file says it was written with."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_SHA256 = re.compile(r"[0-9a-f]{64}")


def digest_file(path: Path) -> str:
    """SHA-256 of a file. Files of the hub cache are stored under theirs: it is not computed."""
    blob = path.resolve()
    if blob.parent.name == "blobs" and _SHA256.fullmatch(blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine(digests: list[str]) -> str:
    """One digest for several files; a single file keeps its own."""
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
