"""A corpus in the making: shards in a folder beside its place, so that a run can go on.

``.NAME-partial`` holds what is being made (state.json), the cleaned and the finished shards, and
at the end the corpus itself, which is then moved to its place. A shard is renamed when it is
whole, so what has its name can be trusted; whatever breaks off, at most one shard is lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from fabula.corpus.folder import sync
from fabula.errors import Broken, FabulaError
from fabula.story.files import write_atomic

STATE = "state.json"
GO_ON = "add --resume to go on with it, or --force to begin anew"


class Draft:
    """The folder of a corpus in the making.

    Args:
        out: the corpus's place.

    Attributes:
        folder: where it is made.
    """

    def __init__(self, out: Path) -> None:
        place = out.resolve()
        self.out = out
        self.folder = place.parent / f".{place.name}-partial"

    def open(self, state: dict[str, Any], *, resume: bool, force: bool) -> None:
        """Begin, or go on where an earlier run broke off.

        Args:
            state: what is to be made; an earlier run must have had the same.
            resume: go on if there is something to go on with.
            force: begin anew even if there is.

        Raises:
            FabulaError: something is there and neither was asked for, or what is there is of
                other sources, settings or versions.
        """
        path = self.folder / STATE
        if path.is_file():
            with self.locked():
                pass
        if self.folder.exists() and resume:
            before = _read_state(path)
            if before is not None:
                changed = _difference(before, state)
                if changed:
                    raise FabulaError(
                        f"{self.folder} cannot be gone on with: {changed}; add --force instead of "
                        "--resume to begin anew."
                    )
                return
        elif self.folder.exists() and not force and path.is_file():
            raise FabulaError(f"An interrupted run is in {self.folder}; {GO_ON}.")
        self.remove()
        self.folder.mkdir()
        write_atomic(path, json.dumps(state, ensure_ascii=False, indent=1) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While nobody else works in the folder.

        Raises:
            FabulaError: somebody does.
        """
        with (self.folder / STATE).open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FabulaError(
                    f"Another run is preparing {self.out} at this moment; wait until it ends."
                ) from None
            yield

    def remove(self) -> None:
        """Leave nothing."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def shard(self, kind: str, number: int) -> Path:
        """Where a shard lies when it is whole."""
        return self.folder / f"{kind}-{number:05d}.arrow"

    def whole(self, kind: str) -> int:
        """How many shards of a kind are there, from the first on."""
        number = 0
        while _is_whole(self.shard(kind, number)):
            number += 1
        return number

    def write(
        self, kind: str, number: int, batches: Sequence[pa.RecordBatch], schema: pa.Schema
    ) -> None:
        """Write a shard, whole or not at all."""
        path = self.shard(kind, number)
        part = path.with_suffix(".part")
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        sync(part)
        part.rename(path)

    def read(self, kind: str, number: int) -> Iterator[pa.RecordBatch]:
        """The batches of a shard; their columns lie in the file until they are used.

        Raises:
            Broken: the shard is damaged.
        """
        path = self.shard(kind, number)
        try:
            with pa.memory_map(str(path)) as file:
                reader = pa.ipc.open_file(file)
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)
        except (OSError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise Broken(f"{path} is damaged ({reason}); delete it and {GO_ON}.") from None


def _is_whole(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with pa.memory_map(str(path)) as file:
            pa.ipc.open_file(file)
    except (OSError, pa.ArrowException):
        return False
    return True


def _read_state(path: Path) -> dict[str, Any] | None:
    """What an earlier run was making; None if it did not come to say."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """What is not as it was, in words; empty if nothing."""
    if before == now:
        return ""
    old, new = before.get("sources", []), now["sources"]
    if [s["name"] for s in old] != [s["name"] for s in new]:
        return f"its sources were {', '.join(s['name'] for s in old) or 'none'}"
    for one, other in zip(old, new, strict=True):
        for a, b in zip(one["files"], other["files"], strict=False):
            if a != b:
                return f"{b['path']} has changed"
        for key in other:
            if one.get(key) != other[key]:
                return f"the {key} of {other['name']} was {_said(one.get(key))}"
    for part in ("settings", "versions"):
        for key, value in now[part].items():
            was = before.get(part, {}).get(key)
            if was != value:
                name = f"--{key.replace('_', '-')}" if part == "settings" else f"{key}'s version"
                return f"{name} was {was}, and is {value} now"
    return "it was made in another way"


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def describe_sources(sources: Sequence[Any]) -> list[dict[str, Any]]:
    """The sources as the state tells them: names, kinds, licences, columns, and their files."""
    return [
        {
            "name": source.name,
            "kind": source.kind,
            "licence": source.licence,
            "columns": source.columns,
            "files": [
                {"path": str(f.resolve()), "bytes": stat.st_size, "changed": stat.st_mtime_ns}
                for f in source.files
                for stat in (os.stat(f),)
            ],
        }
        for source in sources
    ]
