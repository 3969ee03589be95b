"""Training on top of an adapter that an earlier run left.

The adapter goes on being trained, with its own rank and layers, beside the frozen weights that it
was made for: nothing is merged, so a base of 4 bits loses nothing, and what the run leaves is again
one adapter of the same base. What preferences are measured against is the base with the adapter as
it was at the start: a second, frozen copy of it, which is never saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fabula.engines import choose
from fabula.errors import FabulaError
from fabula.training import models
from fabula.training.recipe import Lora, Recipe

REFERENCE = "ref"
"""Name of the frozen copy; trl's own for it."""
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Base:
    """What a run starts from.

    Attributes:
        source: folder or hub id of the whole model.
        adapter: folder of the adapter on top of it, or None.
    """

    source: str
    adapter: Path | None = None


def find_base(name: str) -> Base:
    """What a recipe's `base_model` means: a model, an adapter, or the run that left one of them.

    Raises:
        FabulaError: an unfinished run, or an adapter whose base is not there.
    """
    folder = _folder(name)
    if folder is None or not choose.is_adapter(folder):
        return Base(models.resolve(name if folder is None else str(folder)))
    return Base(models.resolve(str(choose.resolve_base(folder))), folder)


def _folder(name: str) -> Path | None:
    path = Path(name).expanduser()
    if name == choose.EMBEDDED or not path.is_dir():
        return None
    if not choose.is_model(path) and choose.is_run(path):
        return choose.run_model(path)
    return path


def settle(recipe: Recipe) -> Recipe:
    """The recipe with the `lora` settings of the adapter that it starts from, if it does.

    Raises:
        FabulaError: the recipe asks for others, or for a method that trains no adapter.
    """
    folder = _folder(recipe.base_model) if recipe.base_model is not None else None
    if folder is None or not choose.is_adapter(folder):
        return recipe
    if recipe.method == "full":
        raise FabulaError(
            f"{folder} is an adapter, which goes on being trained as one: say method 'lora' or "
            "'qlora', not 'full'."
        )
    own = _settings(folder, recipe.lora.dropout)
    for key in sorted(recipe.lora.model_fields_set - {"dropout"}):
        asked, has = getattr(recipe.lora, key), getattr(own, key)
        same = key == "target" and (asked == "all-linear" or sorted(asked) == sorted(has))
        if asked != has and key != "plus_ratio" and not same:
            raise FabulaError(
                f"lora.{key} is {asked!r}, but the adapter {folder} has {has!r}; leave it out: an "
                "adapter goes on as it is."
            )
    own = own.model_copy(update={"plus_ratio": recipe.lora.plus_ratio})
    return recipe.model_copy(update={"lora": own})


def _settings(folder: Path, dropout: float) -> Lora:
    """The settings of an adapter as a recipe has them."""
    place = folder / "adapter_config.json"
    try:
        config = json.loads(place.read_text("utf-8"))
        kind, target = config["peft_type"], config["target_modules"]
        if kind == "LORA":
            return Lora(
                r=config["r"],
                alpha=config["lora_alpha"],
                dropout=dropout,
                target=target if isinstance(target, str) else sorted(target),
                rslora=config.get("use_rslora", False),
                dora=config.get("use_dora", False),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise FabulaError(
            f"{place} cannot be read ({reason}); give the adapter's folder whole."
        ) from None
    raise FabulaError(f"{folder} is an adapter of the kind {kind}; only LoRA adapters are trained.")


def attach(model: nn.Module, recipe: Recipe, adapter: Path | None) -> nn.Module:
    """Freeze a model and give it an adapter: a new one, or an earlier run's, which learns on.

    Raises:
        FabulaError: the adapter is damaged, pickled, or belongs to another model.
    """
    if adapter is None:
        return models.add_adapter(model, recipe)
    from peft import PeftConfig, PeftModel

    if not (adapter / WEIGHTS).is_file():
        raise FabulaError(
            f"The adapter folder {adapter} has no {WEIGHTS}; pickled weights are never opened."
        )
    model.requires_grad_(False)
    try:
        config: Any = PeftConfig.from_pretrained(str(adapter))
        config.lora_dropout = recipe.lora.dropout
        adapted: Any = PeftModel.from_pretrained(
            model,
            str(adapter),
            is_trainable=True,
            config=config,
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else "unreadable"
        raise FabulaError(
            f"The adapter {adapter} does not fit its base model, or is damaged ({reason})."
        ) from None
    adapted.peft_config["default"].base_model_name_or_path = models.portable_name(
        _named_base(adapter)
    )
    models.learn_in_float32(adapted)
    learner: nn.Module = adapted
    return learner


def _named_base(adapter: Path) -> str:
    """The base as the adapter names it; a path beside the adapter in full."""
    named = choose.adapter_base(adapter)
    beside = adapter / named
    if named != choose.EMBEDDED and not Path(named).is_dir() and beside.is_dir():
        return str(beside)
    return named


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters that learn, by name."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def hold(model: Any, start: Mapping[str, Tensor] | None) -> None:
    """Let an adapted model's reference be its base with the adapter `start`; None: the base alone.

    trl copies the adapter as it finds it, which a resumed run has trained already; this puts it
    right.
    """
    if start is None:
        if REFERENCE in model.peft_config:
            model.delete_adapter(REFERENCE)
        return
    if REFERENCE not in model.peft_config:
        model.add_adapter(REFERENCE, model.peft_config["default"])
    for name, value in start.items():
        place = model.get_parameter(name.replace(".default.", f".{REFERENCE}."))
        place.data = value.to(place.device, copy=True)


@contextmanager
def as_reference(model: Any) -> Iterator[None]:
    """The adapted model as `hold` has fixed it."""
    if REFERENCE not in model.peft_config:
        with model.disable_adapter():
            yield
        return
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter("default")
