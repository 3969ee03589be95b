"""How llama.cpp names and lays out a model's weights and shape: Llama, Mistral, GPT-2, Qwen3.

Names come from gguf's own map. Three things differ from transformers:

- llama.cpp turns neighbouring pairs of a head's numbers by their position where transformers turns
  the n-th of one half with the n-th of the other, so rows of Llama's query and key weights are laid
  out anew (Qwen3 is computed as transformers does);
- GPT-2's matrices are stored transposed;
- llama.cpp computes Llama without a sliding window. Within one window that is the same, so the
  context that a Mistral's file states is its window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fabula.errors import FabulaError
from fabula.export.vocabulary import ELSEWHERE

if TYPE_CHECKING:
    from gguf import GGUFWriter

Array = npt.NDArray[np.float32]
KINDS = {"llama": "LLAMA", "mistral": "LLAMA", "gpt2": "GPT2", "qwen3": "QWEN3"}
"""transformers' model_type -> gguf's architecture."""
_NEEDED: dict[str, dict[str, Any]] = {
    "llama": {"hidden_act": "silu"},
    "mistral": {"hidden_act": "silu"},
    "qwen3": {"hidden_act": "silu", "use_sliding_window": False, "attention_bias": False},
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "add_cross_attention": False,
    },
}
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True)
class Architecture:
    """A model as llama.cpp knows it.

    Attributes:
        kind: transformers' model_type.
        config: its config.json.
        context: tokens that it reads as transformers does.
        window: of its attention, in tokens, where that is what bounds the context.
    """

    kind: str
    config: dict[str, Any]
    context: int
    window: int | None = None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config["n_layer" if self.kind == "gpt2" else "num_hidden_layers"])

    @property
    def heads(self) -> tuple[int, int]:
        """Query heads, and key and value heads."""
        if self.kind == "gpt2":
            return self.config["n_head"], self.config["n_head"]
        heads = self.config["num_attention_heads"]
        return heads, self.config.get("num_key_value_heads") or heads

    @property
    def head_size(self) -> int:
        """Numbers of one head."""
        width = self.config["n_embd" if self.kind == "gpt2" else "hidden_size"]
        return int(self.config.get("head_dim") or width // self.heads[0])

    def names(self) -> Callable[[str], str | None]:
        """From transformers' name of a weight to llama.cpp's; None for one that it lacks.

        Raises:
            FabulaError: (of the function) llama.cpp has no such weight.
        """
        import gguf

        table = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, KINDS[self.kind]), self.layers)

        def name(own: str) -> str | None:
            if own.endswith(_BUFFERS):
                return None
            found = table.get_name(own, try_suffixes=(".weight", ".bias"))
            if found is None:
                raise FabulaError(
                    f"llama.cpp's '{KINDS[self.kind].lower()}' has no weight '{own}': {ELSEWHERE}."
                )
            return str(found)

        return name

    def lay_out(self, own: str, weight: Array) -> Array:
        """A weight as llama.cpp reads it; `own` is transformers' name."""
        module = own.rsplit(".", 2)[-2]
        if self.kind == "gpt2" and module in ("c_attn", "c_proj", "c_fc") and weight.ndim == 2:
            return np.ascontiguousarray(weight.T)
        if self.kind in ("llama", "mistral") and module in ("q_proj", "k_proj"):
            heads = self.heads[module == "k_proj"]
            halves = weight.reshape(heads, 2, len(weight) // heads // 2, *weight.shape[1:])
            return halves.swapaxes(1, 2).reshape(weight.shape)
        return weight

    def extra(self) -> dict[str, Array]:
        """Weights that llama.cpp has and transformers computes: Llama 3's stretched positions."""
        rope = rope_of(self.config)
        if rope["rope_type"] != "llama3":
            return {}
        size, factor = self.head_size, float(rope["factor"])
        trained = float(rope["original_max_position_embeddings"])
        low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
        waves = 2 * math.pi * rope["rope_theta"] ** (np.arange(0, size, 2, dtype=np.float64) / size)
        smooth = np.clip((trained / waves - low) / (high - low), 0.0, 1.0)
        factors = 1 / ((1 - smooth) / factor + smooth)
        return {"rope_freqs.weight": factors.astype(np.float32)}

    def describe(self, writer: GGUFWriter, rows: int) -> None:
        """Write the shape.

        Args:
            rows: of the embedding.
        """
        import gguf

        config = self.config
        writer.add_context_length(self.context)
        writer.add_vocab_size(rows)
        writer.add_block_count(self.layers)
        writer.add_head_count(self.heads[0])
        writer.add_head_count_kv(self.heads[1])
        if self.kind == "gpt2":
            writer.add_embedding_length(config["n_embd"])
            writer.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
            writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-5))
            return
        writer.add_embedding_length(config["hidden_size"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
        writer.add_key_length(self.head_size)
        writer.add_value_length(self.head_size)
        writer.add_rope_dimension_count(self.head_size)
        rope = rope_of(config)
        writer.add_rope_freq_base(rope["rope_theta"])
        if rope["rope_type"] == "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])


def rope_of(config: dict[str, Any]) -> dict[str, Any]:
    """Rotary positions of a config, as transformers 5 or earlier versions write them."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = said.get("rope_type", said.get("type")) or "default"
    theta = said.get("rope_theta", config.get("rope_theta")) or 10000.0
    return {**said, "rope_type": kind, "rope_theta": float(theta)}


def read_architecture(config: dict[str, Any], where: str) -> Architecture:
    """What llama.cpp computes for a config.json.

    Raises:
        FabulaError: not what transformers computes.
    """
    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise FabulaError(
            f"'{where}' is a '{kind}', and GGUF is written here for {', '.join(KINDS)} only: "
            f"{ELSEWHERE}."
        )
    for key, value in _NEEDED[kind].items():
        if config.get(key, value) != value:
            raise FabulaError(
                f"'{where}' has {key} = {config[key]!r}, which llama.cpp does not compute: "
                f"{ELSEWHERE}."
            )
    if kind == "gpt2":
        if config.get("activation_function", "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
            raise FabulaError(
                f"'{where}' has activation_function = {config['activation_function']!r}, which "
                f"llama.cpp does not compute in a GPT-2: {ELSEWHERE}."
            )
        return Architecture(kind, config, int(config["n_positions"]))
    rope = rope_of(config)
    if rope["rope_type"] not in ("default", "linear", "llama3"):
        raise FabulaError(
            f"'{where}' scales its positions by '{rope['rope_type']}', for which no GGUF is "
            f"written here: {ELSEWHERE}."
        )
    context = int(config["max_position_embeddings"])
    window = config.get("sliding_window") if kind == "mistral" else None
    if isinstance(window, int) and 0 < window < context:
        return Architecture(kind, config, window, window)
    return Architecture(kind, config, context)
