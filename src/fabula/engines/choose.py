"""Which engine runs a model: the embedded one where it can, transformers elsewhere."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from fabula.engines.graph import graph_name
from fabula.engines.protocol import Engine
from fabula.engines.shape import Unsupported, read_config, read_json
from fabula.errors import FabulaError

EMBEDDED = "embedded"
"""Name of the model that comes with the package; also as the base model of an adapter."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def embedded_folder() -> Path:
    """The folder of the model that comes with the package.

    Raises:
        FabulaError: this copy of Fabula has none.
    """
    folder = Path(str(files("fabula.data").joinpath("model")))
    if not (folder / "config.json").is_file():
        raise FabulaError(
            "This copy of Fabula came without its embedded model: install it again, or name "
            "another model with --model."
        )
    return folder


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a PEFT adapter rather than a whole model."""
    return (folder / "adapter_config.json").is_file()


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model or an adapter."""
    return is_adapter(folder) or (folder / "config.json").is_file()


def is_run(folder: Path) -> bool:
    """Whether a folder is one that `fabula train` works in."""
    return (folder / "recipe.yaml").is_file()


def run_model(folder: Path) -> Path:
    """The model that a run has left.

    Raises:
        FabulaError: it has not come to its end.
    """
    if not is_model(folder / "final"):
        raise FabulaError(
            f"The run '{folder}' has not come to its end: `fabula train` with its recipe and "
            "--resume goes on with it."
        )
    return folder / "final"


def adapter_base(folder: Path) -> str:
    """The base model that an adapter was made for: "embedded", a path, or a hub id.

    Raises:
        FabulaError: its `adapter_config.json` does not say.
    """
    base = read_json(folder / "adapter_config.json").get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise FabulaError(
            f"The adapter '{folder}' does not say which model it was made for: put "
            "'base_model_name_or_path' into its adapter_config.json."
        )
    return base


def resolve(model: str | Path) -> Path | str:
    """A folder, where the name is one (of a run: its model), or else a hub id.

    Raises:
        FabulaError: neither an existing folder nor a possible hub id, or an unfinished run.
    """
    if model == EMBEDDED:
        return embedded_folder()
    path = Path(model).expanduser()
    if path.is_dir():
        return path if is_model(path) or not is_run(path) else run_model(path)
    if path.exists():
        raise FabulaError(f"'{model}' is a file; name the model's folder or a hub id.")
    if isinstance(model, Path) or not _HUB_ID.fullmatch(model):
        raise FabulaError(f"There is no model folder '{model}'.")
    return model


def resolve_base(adapter: Path) -> Path | str:
    """Where an adapter's base model is; a relative path counts from here or from the adapter."""
    base = adapter_base(adapter)
    beside = adapter / base
    if not Path(base).is_dir() and beside.is_dir():
        return beside
    try:
        return resolve(base)
    except FabulaError as error:
        raise FabulaError(f"The adapter '{adapter}' lacks its base model. {error}") from None


def runs_embedded(folder: Path) -> bool:
    """Whether the embedded engine is the one for a folder: a Llama model with its graph."""
    return (folder / graph_name("int8")).is_file() and (
        read_config(folder).get("model_type") == "llama"
    )


def open_engine(model: str | Path | None = None) -> Engine:
    """Open a model by folder, adapter folder, or hub id; the embedded one by default.

    Raises:
        FabulaError: it cannot be found, reached, or run here; MissingExtra if only for want of
            the 'train' extra.
    """
    model = EMBEDDED if model is None else model
    place = resolve(model)
    name = EMBEDDED if model == EMBEDDED else str(place)
    adapter: Path | None = None
    if isinstance(place, Path) and is_adapter(place):
        adapter = place
        place = resolve_base(adapter)
    if isinstance(place, Path) and runs_embedded(place):
        from fabula.engines.embedded import EmbeddedEngine

        try:
            return EmbeddedEngine.open(place, adapter, name)
        except Unsupported:
            pass  # transformers may run what the plain graph does not compute
    from fabula.engines.transformers_engine import TransformersEngine

    return TransformersEngine.open(place, adapter, name)
