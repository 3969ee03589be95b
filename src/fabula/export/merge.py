"""Merging an adapter into the weights of its base, in float32, one layer at a time.

peft's own layers do the sums (LoRA, Hu et al. 2021; rsLoRA, Kalajdzievski 2023; DoRA, Liu et al.
2024; GPT-2's transposed Conv1D), each on its layer's weight in float32, which is then rounded once
to the type that is written. So at no time are there two copies of the model. The base is never
opened in 4 bits for it: what was trained over 4-bit weights is merged into the weights those were
made from, and `fabula.export.gap` says what that costs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fabula.engines.hardware import memory_bytes
from fabula.errors import FabulaError
from fabula.export.headers import read_header
from fabula.export.source import ADAPTER, Source
from fabula.training.hub import explain_load
from fabula.training.models import DTYPES, read_config

Progress = Callable[[int, int], None]
"""Called with (done, in all)."""


def device() -> str:
    """Where models are run for the comparison."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def run_dtype(parameters: int, stored: str) -> torch.dtype:
    """What models are computed in: float32, so that only weights differ, unless it does not fit.

    Args:
        parameters: of the model.
        stored: the type of its weights.
    """
    room = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else memory_bytes()
    return torch.float32 if 4 * parameters < 0.7 * room else DTYPES[stored]


def open_model(folder: Path, dtype: torch.dtype) -> Any:
    """A model folder, ready to be run.

    Args:
        dtype: of its weights.

    Raises:
        FabulaError: it cannot be read.
    """
    from transformers import AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM
    try:
        model, report = loader.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise explain_load(error, str(folder), "model") from None
    if report["missing_keys"]:
        raise FabulaError(
            f"The weights of '{folder}' lack the tensor '{min(report['missing_keys'])}': they are "
            "not whole, or belong to another config.json."
        )
    return model.to(device()).eval()


def check_fit(source: Source) -> None:
    """Whether an adapter's changes have the shapes of the base's weights, by headers alone.

    Raises:
        FabulaError: they have not.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = read_config(str(source.base_folder))
    loader: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = loader.from_config(config)
        try:
            adapted = get_peft_model(model, LoraConfig.from_pretrained(str(source.folder)))
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise FabulaError(
                f"The adapter '{source.folder}' does not go with '{source.base}': {lines[0][:160]}."
            ) from None
    named = adapted.named_parameters(remove_duplicate=False)
    own = {n.replace(".default", ""): tuple(p.shape) for n, p in named}
    own |= {n.replace(".modules_to_save", ""): s for n, s in own.items()}
    for name, (shape, _) in read_header(source.folder / ADAPTER).items():
        # DoRA's magnitudes are a module in memory and a tensor in the file.
        there = own.get(name, own.get(name + ".weight"))
        if there != shape:
            raise FabulaError(
                f"The adapter '{source.folder}' was made for another base model: its '{name}' is "
                f"{list(shape)}, '{source.base}' has "
                f"{list(there) if there is not None else 'no such layer'}; name its own by --base."
            )


def put_on(model: Any, source: Source) -> Any:
    """The adapter beside the weights of its base, in float32.

    Raises:
        FabulaError: it cannot be read, or does not fit.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, str(source.folder)).eval()
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines[0] if lines else type(error).__name__)[:200].rstrip(".:")
        raise FabulaError(f"The adapter '{source.folder}' cannot be put on: {reason}.") from None


def merge(adapted: Any, dtype: torch.dtype, progress: Progress | None = None) -> Any:
    """Merge an adapter in place; the model without it, its weights in `dtype`.

    Where the base reads and scores tokens by one matrix and the adapter changes only one of the
    two, they become two.

    Raises:
        FabulaError: a weight is not finite, or too large for `dtype`.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    inner = adapted.get_base_model()
    layers: list[tuple[str, Any]] = [
        (n, m) for n, m in inner.named_modules() if isinstance(m, BaseTunerLayer)
    ]
    _untie(inner, [layer for _, layer in layers])
    for done, (name, layer) in enumerate(layers):
        base: Any = layer.get_base_layer()
        base.weight.data = base.weight.data.float()
        if getattr(base, "bias", None) is not None:
            base.bias.data = base.bias.data.float()
        for own, parameter in layer.named_parameters():
            if "base_layer" not in own:
                parameter.data = parameter.data.float()
        layer.merge()
        base.weight.data = rounded(base.weight.data, dtype, name)
        if progress is not None:
            progress(done + 1, len(layers))
    # Already merged: only the wrappers go.
    plain = adapted.unload()
    return round_all(plain, dtype)


def _untie(inner: Any, layers: list[Any]) -> None:
    reads, writes = inner.get_input_embeddings(), inner.get_output_embeddings()
    base = [getattr(m, "base_layer", getattr(m, "original_module", m)) for m in (reads, writes)]
    if writes is None or base[0].weight is not base[1].weight:
        return
    changed = [m for m in (reads, writes) if m in layers or hasattr(m, "modules_to_save")]
    if changed:
        base[1].weight = nn.Parameter(base[1].weight.data.clone())
        inner.config.tie_word_embeddings = False


def round_all(model: Any, dtype: torch.dtype) -> Any:
    """All weights in `dtype`, in place.

    Raises:
        FabulaError: one is not finite, or too large for it.
    """
    for name, parameter in model.named_parameters():
        parameter.data = rounded(parameter.data, dtype, name)
    model.to(dtype)
    model.config.dtype = dtype
    return model


def rounded(weight: torch.Tensor, dtype: torch.dtype, name: str) -> torch.Tensor:
    """A weight in `dtype`.

    Raises:
        FabulaError: it is not finite there.
    """
    result = weight.to(dtype)
    if not torch.isfinite(result).all():
        if torch.isfinite(weight).all():
            raise FabulaError(
                f"The weight '{name}' reaches {float(weight.abs().max()):.3g}, which "
                f"{str(dtype)[6:]} cannot hold; choose --dtype bfloat16."
            )
        raise FabulaError(f"The weight '{name}' is not finite: the run or the download is broken.")
    return result
