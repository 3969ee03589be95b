"""The shape of a Llama-architecture model, read from its `config.json`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.errors import FabulaError

ELSEWHERE = "open it with the transformers engine (pip install 'fabula[train]')"


class Unsupported(FabulaError):
    """A sound model, but not one that the embedded engine can run."""


@dataclass(frozen=True)
class Shape:
    """All that fixes the graph of a Llama model; weights aside."""

    vocabulary: int
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    context: int
    epsilon: float
    tied: bool

    def fingerprint(self) -> str:
        """The shape as one line, stored in a graph so that it can be matched to its weights."""
        return json.dumps(asdict(self), sort_keys=True)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight, as `transformers` names them (linear: [out, in])."""
        query, key = self.heads * self.head_size, self.key_value_heads * self.head_size
        names: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden)
        }
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            names[at + "input_layernorm.weight"] = (self.hidden,)
            names[at + "self_attn.q_proj.weight"] = (query, self.hidden)
            names[at + "self_attn.k_proj.weight"] = (key, self.hidden)
            names[at + "self_attn.v_proj.weight"] = (key, self.hidden)
            names[at + "self_attn.o_proj.weight"] = (self.hidden, query)
            names[at + "post_attention_layernorm.weight"] = (self.hidden,)
            names[at + "mlp.gate_proj.weight"] = (self.inner, self.hidden)
            names[at + "mlp.up_proj.weight"] = (self.inner, self.hidden)
            names[at + "mlp.down_proj.weight"] = (self.hidden, self.inner)
        names["model.norm.weight"] = (self.hidden,)
        if not self.tied:
            names["lm_head.weight"] = (self.vocabulary, self.hidden)
        return names

    @property
    def parameters(self) -> int:
        """Number of weights; tied ones count once."""
        return sum(math.prod(shape) for shape in self.tensors().values())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder.

    Raises:
        FabulaError: the file is missing, unreadable, or not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FabulaError(f"The model folder '{path.parent}' has no {path.name}.") from None
    except (OSError, ValueError) as error:
        raise FabulaError(f"Cannot read '{path}': {error}.") from None
    if not isinstance(data, dict):
        raise FabulaError(f"'{path}' does not hold a JSON object.")
    return data


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder."""
    return read_json(folder / "config.json")


def _whole(config: dict[str, Any], key: str, where: Path, default: int | None = None) -> int:
    value = config.get(key)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**31:
        said = "is missing" if value is None else f"is {value!r}"
        raise FabulaError(
            f"'{where / 'config.json'}': '{key}' {said}, but must be a positive whole number."
        )
    return value


def read_shape(folder: Path, config: dict[str, Any]) -> Shape:
    """The shape of the Llama model that a `config.json` describes.

    Raises:
        Unsupported: another architecture, or a Llama variant that the graph does not compute.
        FabulaError: a key is missing or makes no sense.
    """
    kind = config.get("model_type")
    if kind != "llama":
        raise Unsupported(
            f"'{folder}' is a {kind or 'model of unknown type'}, and the embedded engine runs "
            f"Llama-architecture models only: {ELSEWHERE}."
        )
    for key, needed in {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}.items():
        if config.get(key, needed) != needed:
            raise Unsupported(
                f"'{folder}' has {key} = {config[key]!r}, which the embedded engine does not "
                f"compute: {ELSEWHERE}."
            )
    hidden = _whole(config, "hidden_size", folder)
    heads = _whole(config, "num_attention_heads", folder)
    shape = Shape(
        vocabulary=_whole(config, "vocab_size", folder),
        hidden=hidden,
        inner=_whole(config, "intermediate_size", folder),
        layers=_whole(config, "num_hidden_layers", folder),
        heads=heads,
        key_value_heads=_whole(config, "num_key_value_heads", folder, default=heads),
        head_size=_whole(config, "head_dim", folder, default=max(1, hidden // heads)),
        context=_whole(config, "max_position_embeddings", folder),
        epsilon=float(config.get("rms_norm_eps", 1e-6)),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    if heads % shape.key_value_heads or shape.head_size % 2:
        raise FabulaError(
            f"'{folder / 'config.json'}': {heads} attention heads of size {shape.head_size} do "
            f"not go with {shape.key_value_heads} key-value heads."
        )
    return shape


def rotary(
    shape: Shape, config: dict[str, Any], folder: Path
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Cosines and sines of rotary position embedding (Su et al. 2021), [context, head_size / 2].

    Raises:
        Unsupported: a frequency scaling other than none or linear.
    """
    # transformers 5 writes rope_parameters; earlier versions rope_theta and rope_scaling.
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind not in ("default", "linear"):
        raise Unsupported(
            f"'{folder}' scales its positions by '{kind}', which the embedded engine does not "
            f"compute: {ELSEWHERE}."
        )
    theta = float(scaling.get("rope_theta", config.get("rope_theta", 10000.0)))
    factor = float(scaling.get("factor", 1.0)) if kind == "linear" else 1.0
    frequencies = theta ** -(np.arange(0, shape.head_size, 2, dtype=np.float64) / shape.head_size)
    angles = np.outer(np.arange(shape.context) / factor, frequencies)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
