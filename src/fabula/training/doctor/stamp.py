"""The stamp of a run: what its cached data belong to.

A run keeps things that were made of its data: a tokenizer, drawn pairs, checkpoints. They are stale
where data, base model, tokenizer or text format are others than when the run began. So a run writes
`inputs.json` once, and going on compares: hashes of the data's files, of the tokenizer's pieces and
what it makes of a probe, of a text as it is rendered, of the base model's files (size and both
ends), and the version of Fabula, which alone refuses nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabula.engines.digest import digest_file
from fabula.story import Beat, Brief, Outline, Passage, Setting, render_brief, render_completion
from fabula.story.files import write_atomic
from fabula.training.adapters import WEIGHTS, find_base
from fabula.training.doctor.data import split_files
from fabula.training.doctor.findings import Finding, ok, refused
from fabula.training.recipe import Recipe
from fabula.training.tokenizer import TextTokenizer

FILE = "inputs.json"
END = 1 << 16
"""Bytes of a weights file that are hashed at either end: its header and the last tensors."""
WHAT = {
    "data": "the data {} have changed",
    "tokenizer": "the tokenizer is another",
    "format": "stories are rendered in another text format",
    "base": "the base model's files have changed",
}


def stamp(recipe: Recipe, source: str | None, tokenizer: TextTokenizer | None) -> dict[str, Any]:
    """What a run's inputs are, as JSON; files of picks have a note of their own in the run.

    Args:
        source: folder or hub id of the base model, if there is one.
        tokenizer: of the run; None where it is not known yet.
    """
    import fabula

    data: dict[str, str | None] = {
        str(path): digest_file(path) for _, path in split_files(recipe, held_out=False)
    }
    given = recipe.preferences
    if given is not None and (name := given.file) is not None:
        path = Path(name).expanduser()
        # What is wrong with it is said where it is read.
        data[name] = digest_file(path) if path.is_file() else None
    made = {
        "fabula": fabula.__version__,
        "data": data,
        "format": _format(),
        "base": _weights(source) if source is not None else None,
    }
    adapter = find_base(recipe.base_model).adapter if recipe.base_model else None
    if adapter is not None and (adapter / WEIGHTS).is_file():
        made["base"] = _sum(str(made["base"]), digest_file(adapter / WEIGHTS))
    if tokenizer is not None:
        probe = tokenizer.encode_batch([_probe()])[0]
        made["tokenizer"] = _sum(tokenizer.fingerprint, str(probe), str(tokenizer.eos))
    return made


def _probe() -> str:
    brief = Brief(
        genre="ghost story", setting=Setting(place="a \\ lighthouse"), must_include=["a, b", "c"]
    )
    outline = Outline(beats=[Beat(beat="climax", summary="It\nstrikes.")])
    passages = [Passage(beat="climax", text="# no heading\nShe “said”: 1900!")]
    return render_brief(brief) + render_completion(outline, passages, premise="A clock.")


def _format() -> str:
    return _sum(_probe())


def _sum(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _weights(source: str) -> dict[str, str] | None:
    """Sums of the files of a model folder: whole where small, of weights size and both ends."""
    folder = Path(source)
    if not folder.is_dir():
        return None  # of the hub, whose cache keeps what it once gave
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        with path.open("rb") as file:
            first = file.read(END)
            file.seek(max(size - END, 0))
            last = file.read(END)
        found[path.name] = hashlib.sha256(b"%d" % size + first + last).hexdigest()
    config = folder / "config.json"
    if config.is_file():
        found[config.name] = digest_file(config)
    return found


def check_stamp(folder: Path, now: Callable[[], dict[str, Any]]) -> Finding | None:
    """Whether what a run keeps belongs to its data; None where the run has none of it yet.

    Args:
        folder: of the run.
        now: the stamp of today.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        before = json.loads(path.read_text("utf-8"))
        differs = {key for key in WHAT if key in before and before[key] != now().get(key)}
    except (OSError, ValueError, AttributeError):
        return refused("run", f"{path} is damaged", "start the run over with --force")
    if differs:
        old, new = before.get("data", {}), now()["data"]
        files = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        told = " and ".join(
            WHAT[key].format(f"({', '.join(files[:3])})") for key in WHAT if key in differs
        )
        return refused(
            "run",
            f"Since the run in {folder} began, {told}, so what it keeps is stale",
            "go on with those of that time, or start over with --force",
            differs=sorted(differs),
        )
    return ok("run", f"what {folder} keeps belongs to these data, this base and this tokenizer")


def write_stamp(folder: Path, now: dict[str, Any]) -> None:
    """Note what a run begins with, unless it has been."""
    if not (folder / FILE).is_file():
        write_atomic(folder / FILE, json.dumps(now, indent=1, sort_keys=True) + "\n")
