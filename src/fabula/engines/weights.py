"""Weights from safetensors files into numpy, with a LoRA adapter merged in. No torch, no pickle."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.engines.digest import combine
from fabula.engines.graph import BLOCK
from fabula.engines.shape import ELSEWHERE, Shape, Unsupported, read_json
from fabula.errors import FabulaError

Tensor = npt.NDArray[Any]
Tensors = dict[str, Tensor]

_TYPES = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
PACKED = "model.int8.safetensors"
"""Weights in 8 bits (`fabula.engines.packed`)."""
SCALE = ".scale"
"""What the name of a matrix's scales there ends with."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder: one, the shards that its index lists, or `PACKED`.

    Raises:
        FabulaError: there is none (a pickled checkpoint does not count: it is never loaded).
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        shards = read_json(index).get("weight_map", {})
        if not isinstance(shards, dict) or not all(isinstance(s, str) for s in shards.values()):
            raise FabulaError(f"'{index}' has no proper 'weight_map'.")
        return [folder / Path(name).name for name in sorted(set(shards.values()))]
    if (folder / PACKED).is_file():
        return [folder / PACKED]
    pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
    raise FabulaError(
        f"The model folder '{folder}' has no model.safetensors"
        + (
            ", only pickled weights, which are never loaded: save it again with "
            "save_pretrained(..., safe_serialization=True)."
            if pickled
            else "."
        )
    )


def read_safetensors(path: Path) -> tuple[Tensors, str]:
    """All tensors of a file (bfloat16 widened to float32) and the file's SHA-256.

    Raises:
        FabulaError: the file is missing, truncated or damaged, or holds quantised types.
    """
    from safetensors import SafetensorError, deserialize

    try:
        data = path.read_bytes()
    except OSError as error:
        raise FabulaError(f"Cannot read '{path}': {error.strerror}.") from None
    try:
        entries = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise FabulaError(
            f"'{path}' is damaged or not a safetensors file ({error}); fetch it again."
        ) from None
    tensors: Tensors = {}
    for name, entry in entries:
        kind, shape, raw = entry["dtype"], entry["shape"], entry["data"]
        if kind == "BF16":
            # bfloat16 is the upper half of a float32.
            wide = np.frombuffer(raw, dtype="<u2").astype(np.uint32) << 16
            tensors[name] = wide.view(np.float32).reshape(shape)
        elif kind in _TYPES:
            tensors[name] = np.frombuffer(raw, dtype=_TYPES[kind]).reshape(shape)
        elif kind == "U8" and path.name == PACKED:
            tensors[name] = np.frombuffer(raw, dtype=np.uint8).reshape(shape)
        else:
            raise Unsupported(f"'{path}': tensor '{name}' is stored as {kind}: {ELSEWHERE}.")
    return tensors, hashlib.sha256(data).hexdigest()


def read_weights(folder: Path, shape: Shape) -> tuple[Tensors, str]:
    """The weights of a model folder, checked against its shape, and their digest.

    The digest of a single file is that file's SHA-256; of shards, the SHA-256 of theirs in order.

    Raises:
        FabulaError: a tensor is missing or has another shape than `config.json` says.
    """
    tensors: Tensors = {}
    digests = []
    for path in weight_files(folder):
        part, digest = read_safetensors(path)
        tensors |= part if path.name != PACKED else unpack(part, path)
        digests.append(digest)
    for name, expected in shape.tensors().items():
        if name not in tensors:
            raise FabulaError(f"The weights in '{folder}' lack the tensor '{name}'.")
        if tensors[name].shape != expected:
            raise FabulaError(
                f"The weights in '{folder}' do not fit its config.json: '{name}' is "
                f"{list(tensors[name].shape)}, but should be {list(expected)}."
            )
    return tensors, combine(digests)


def unpack(stored: Tensors, path: Path) -> Tensors:
    """Packed weights as numbers, float32.

    Args:
        path: where they come from.

    Raises:
        FabulaError: a matrix has no scales, or not as many as it needs.
    """
    found: Tensors = {}
    for name, tensor in stored.items():
        if name.endswith(SCALE):
            continue
        if tensor.dtype != np.uint8:
            found[name] = tensor
            continue
        scales = stored.get(name + SCALE)
        fits = tensor.ndim == 2 and scales is not None and scales.dtype.kind == "f"
        if not fits or scales.shape != (len(tensor), -(-tensor.shape[1] // BLOCK)):  # type: ignore[union-attr]
            raise FabulaError(f"'{path}' is damaged: the scales of '{name}' do not fit it.")
        assert scales is not None
        spread = np.repeat(scales.astype(np.float32), BLOCK, axis=1)[:, : tensor.shape[1]]
        weight = tensor.astype(np.float32)
        weight -= 128
        weight *= spread
        found[name] = weight
    return found


_LORA = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


def merge_adapter(tensors: Tensors, folder: Path) -> str:
    """Add a PEFT LoRA adapter to the weights in place; return the adapter file's SHA-256.

    W becomes W + s B A with s = alpha / r (Hu et al. 2021), or alpha / sqrt(r) for
    rank-stabilised LoRA (Kalajdzievski 2023).

    Raises:
        Unsupported: an adapter of another kind, or one that changes more than linear layers.
        FabulaError: the adapter is damaged, or made for another base model.
    """
    config = read_json(folder / "adapter_config.json")
    unsupported = {
        "peft_type": config.get("peft_type") != "LORA",
        "use_dora": bool(config.get("use_dora")),
        "bias": config.get("bias", "none") != "none",
        "modules_to_save": bool(config.get("modules_to_save")),
        "lora_bias": bool(config.get("lora_bias")),
        "alpha_pattern": bool(config.get("alpha_pattern")),
    }
    if odd := [key for key, differs in unsupported.items() if differs]:
        raise Unsupported(
            f"The adapter '{folder}' has {odd[0]} = {config.get(odd[0])!r}, which the embedded "
            f"engine does not merge: {ELSEWHERE}."
        )
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise FabulaError(f"'{folder / 'adapter_config.json'}': 'lora_alpha' must be a number.")
    pairs: dict[str, dict[str, Tensor]] = {}
    stored, digest = read_safetensors(folder / "adapter_model.safetensors")
    for name, tensor in stored.items():
        match = _LORA.fullmatch(name)
        if match is None:
            raise Unsupported(
                f"The adapter '{folder}' holds '{name}', which the embedded engine does not "
                f"merge: {ELSEWHERE}."
            )
        pairs.setdefault(match[1], {})[match[2]] = tensor.astype(np.float32)
    for module, pair in pairs.items():
        base = tensors.get(module + ".weight")
        a, b = pair.get("A"), pair.get("B")
        if a is None or b is None or base is None:
            what = "half of the pair for" if base is not None else "a change to"
            raise FabulaError(
                f"The adapter '{folder}' holds {what} '{module}', which does not fit its base."
            )
        if a.ndim != 2 or b.ndim != 2 or (b.shape[0], a.shape[1]) != base.shape:
            raise FabulaError(
                f"The adapter '{folder}' was made for another base model: its change to "
                f"'{module}' is {b.shape[0]}x{a.shape[-1]}, the base has {list(base.shape)}."
            )
        if b.shape[1] != a.shape[0]:
            raise FabulaError(f"The adapter '{folder}' is damaged: ranks differ in '{module}'.")
        rank = a.shape[0]
        scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
        tensors[module + ".weight"] = base.astype(np.float32) + np.float32(scale) * (b @ a)
    return digest
