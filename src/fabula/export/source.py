"""What is to be handed on: a run, an adapter with its base, or a whole model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fabula.engines.choose import (
    EMBEDDED,
    adapter_base,
    embedded_folder,
    is_adapter,
    is_model,
    is_run,
    resolve,
    resolve_base,
)
from fabula.engines.hub import fetch
from fabula.engines.packed import with_floats
from fabula.engines.shape import read_config, read_json
from fabula.errors import FabulaError

if TYPE_CHECKING:
    from fabula.training.recipe import Recipe

ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True)
class Source:
    """A model to hand on.

    Attributes:
        said: the name it was asked for by.
        name: a short name for it.
        folder: of the adapter, or of the whole model.
        base: of an adapter, its base as it is to be named; None for a whole model.
        base_folder: where the whole weights are, readable by torch: of the base, or the model.
        adapter: its adapter_config.json; None for a whole model.
        recipe: of the run it comes from, where it comes from one.
    """

    said: str
    name: str
    folder: Path
    base: str | None
    base_folder: Path
    adapter: dict[str, Any] | None
    recipe: Recipe | None

    @property
    def config(self) -> dict[str, Any]:
        """config.json of the whole weights."""
        return read_config(self.base_folder)

    @property
    def quantised(self) -> bool:
        """Whether its adapter is known to have been trained over 4-bit weights."""
        return self.recipe is not None and self.recipe.method == "qlora"


def open_source(said: str, base: str | None) -> Source:
    """Find a model and, of an adapter, its base; hub models are fetched.

    Args:
        said: a run, a folder, a hub id, or "embedded".
        base: another base than the adapter states.

    Raises:
        FabulaError: there is no such model, the run is not finished, the base cannot be found or
            reached, or the adapter is of a kind that is not merged.
    """
    path = Path(said).expanduser()
    if said != EMBEDDED and path.is_dir() and not is_model(path) and not is_run(path):
        raise FabulaError(
            f"'{said}' is neither a run (no recipe.yaml) nor a model (no config.json and no "
            "adapter_config.json); name a run's folder or a model's."
        )
    place = resolve(said)
    folder = fetch(place) if isinstance(place, str) else place
    recipe = _recipe(folder)
    name = EMBEDDED if said == EMBEDDED else _short(path if path.is_dir() else Path(said))
    if not is_adapter(folder):
        if base is not None:
            raise FabulaError(f"'{said}' is a whole model, no adapter: it goes without --base.")
        return Source(said, name, folder, None, with_floats(folder), None, recipe)
    adapter = read_json(folder / "adapter_config.json")
    _mergeable(adapter, folder)
    stated = base if base is not None else adapter_base(folder)
    where = resolve(base) if base is not None else resolve_base(folder)
    if stated == EMBEDDED:
        where = embedded_folder()
    try:
        base_folder = fetch(where) if isinstance(where, str) else where
    except FabulaError as error:
        raise FabulaError(f"The base model of '{said}' cannot be had: {error}") from None
    if is_adapter(base_folder):
        raise FabulaError(
            f"The base of '{said}', '{stated}', is an adapter itself: export that first, and give "
            "what comes out as --base."
        )
    base_folder = with_floats(base_folder)
    return Source(said, name, folder, stated, base_folder, adapter, recipe)


def _short(path: Path) -> str:
    path = path.resolve() if path.is_dir() else path
    return path.parent.name if path.name == "final" else path.name


def _recipe(folder: Path) -> Recipe | None:
    """The recipe of the run that a model's folder lies in."""
    from fabula.story.files import parse_data, read_text, validate
    from fabula.training.recipe import Recipe

    place = folder.resolve().parent / "recipe.yaml"
    if folder.resolve().name != "final" or not place.is_file():
        return None
    return validate(Recipe, parse_data(read_text(place), str(place)), str(place))


def _mergeable(adapter: dict[str, Any], folder: Path) -> None:
    kind = adapter.get("peft_type")
    if kind != "LORA":
        raise FabulaError(
            f"The adapter '{folder}' is a {kind or 'PEFT adapter of unknown kind'}; only LoRA, "
            "rsLoRA and DoRA are merged."
        )
    if adapter.get("bias", "none") != "none" or adapter.get("trainable_token_indices"):
        key = "trainable_token_indices" if adapter.get("trainable_token_indices") else "bias"
        raise FabulaError(
            f"The adapter '{folder}' has {key} = {adapter[key]!r}, which is not merged here; "
            "peft's own merge_and_unload may do it."
        )
    if not (folder / ADAPTER).is_file():
        raise FabulaError(
            f"The adapter folder '{folder}' has no {ADAPTER} (pickled adapters are never loaded)."
        )
