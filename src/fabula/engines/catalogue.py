"""What can write here: the embedded model, runs, and the hub's cache."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from fabula.engines.choose import (
    EMBEDDED,
    adapter_base,
    is_adapter,
    is_model,
    is_run,
    resolve,
    resolve_base,
    runs_embedded,
)
from fabula.engines.hardware import memory_bytes
from fabula.engines.shape import read_config, read_shape
from fabula.engines.weights import PACKED, SCALE, weight_files
from fabula.errors import FabulaError

CAUSAL = ("ForCausalLM", "LMHeadModel")
"""How transformers ends the names of models that write."""


@dataclass(frozen=True)
class Entry:
    """A model that stands here.

    Attributes:
        model: what to give to --model.
        kind: "embedded", "run" or "hub".
        engine: "embedded" or "transformers"; None where it cannot be told.
        base: of an adapter, the base model.
        parameters: of the model, an adapter's included.
        size: bytes of the weights on disk, an adapter's base included.
        memory: bytes of main memory that the weights take while it writes.
        needs: what is missing before it can write, as a sentence; None if nothing is.
    """

    model: str
    kind: str
    engine: str | None = None
    base: str | None = None
    parameters: int = 0
    size: int = 0
    memory: int = 0
    needs: str | None = None


def list_models(runs: Path) -> list[Entry]:
    """The embedded model, the runs in a folder, and the causal models of the hub's cache."""
    cache = hub_cache()
    found = [describe(EMBEDDED, "embedded", cache)]
    for folder in sorted(runs.iterdir()) if runs.is_dir() else []:
        if folder.is_dir() and (is_run(folder) or is_model(folder)):
            found.append(describe(str(folder), "run", cache))
    for name in sorted(cache):
        try:
            classes = read_config(cache[name]).get("architectures") or []
        except FabulaError:
            continue
        if any(str(c).endswith(CAUSAL) for c in classes):
            found.append(describe(name, "hub", cache))
    return found


def describe(model: str, kind: str, cache: dict[str, Path]) -> Entry:
    """One model, whether or not it is fit to write."""
    try:
        place = cache[model] if kind == "hub" else resolve(model)
        base: str | None = None
        adapter: list[Path] = []
        if isinstance(place, Path) and is_adapter(place):
            base, adapter = adapter_base(place), [place / "adapter_model.safetensors"]
            place = resolve_base(place)
        folder = cache.get(place) if isinstance(place, str) else place
        if folder is None:
            return Entry(model, kind, base=base, needs=f"'{place}' has to be fetched from the hub.")
        files = weight_files(folder) + adapter
        parameters = sum(map(count_parameters, files))
        embedded = runs_embedded(folder)
        memory = 4 * parameters
        if embedded:
            shape = read_shape(folder, read_config(folder))
            # 8-bit layers, and the embedding table in 16 bits.
            memory = parameters + 2 * shape.vocabulary * shape.hidden
        elif memory > 0.7 * memory_bytes():
            memory //= 2  # as the transformers engine does then
        return Entry(
            model,
            kind,
            "embedded" if embedded else "transformers",
            base,
            parameters,
            sum(file.stat().st_size for file in files),
            memory,
            _lacking(embedded, bool(adapter), memory),
        )
    except FabulaError as error:
        return Entry(model, kind, needs=str(error))


def _lacking(embedded: bool, adapter: bool, memory: int) -> str | None:
    libraries = [] if embedded else ["torch", "transformers", *(["peft"] if adapter else [])]
    if not all(map(find_spec, libraries)):
        return "The 'train' extra: pip install 'fabula[train]'."
    if memory > 0.9 * memory_bytes():
        return f"{memory / 1e9:.0f} GB of memory, or a GPU."
    return None


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, from its header.

    Raises:
        FabulaError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            if path.name == PACKED:
                names = [name for name in names if not name.endswith(SCALE)]
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except (OSError, SafetensorError) as error:
        raise FabulaError(f"'{path}' is missing or damaged ({error}).") from None


def hub_cache() -> dict[str, Path]:
    """Hub id -> newest snapshot folder, of the models in the local cache of the hub."""
    try:
        from huggingface_hub import CacheNotFound, constants, scan_cache_dir
    except ImportError:
        return {}
    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return {}
    found = {}
    for repository in repositories:
        if repository.repo_type == "model" and repository.revisions:
            newest = max(repository.revisions, key=lambda revision: revision.last_modified)
            found[repository.repo_id] = Path(newest.snapshot_path)
    return found
