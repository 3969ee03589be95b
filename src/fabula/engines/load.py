"""A graph and its weights into a running onnxruntime session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.engines.graph import BLOCK, Precision, graph_name
from fabula.engines.runtime import onnxruntime
from fabula.engines.shape import Shape
from fabula.engines.weights import Tensors
from fabula.errors import FabulaError

Array = npt.NDArray[Any]


def quantise(weight: Array) -> tuple[Array, Array]:
    """A linear layer in signed 8 bits, one scale for each block of a row.

    Returns:
        codes uint8 [out, blocks, BLOCK] (offset 128) and scales float32 [out, blocks]: the weight
        is (code - 128) * scale, with an error of at most half a scale.
    """
    rows, columns = weight.shape
    blocks = -(-columns // BLOCK)
    missing = blocks * BLOCK - columns
    grouped = np.pad(weight, ((0, 0), (0, missing))).reshape(rows, blocks, BLOCK)
    scales = np.maximum(grouped.max(axis=2), -grouped.min(axis=2)) / np.float32(127)
    # Blocks of zeros, or of denormal numbers whose inverse would overflow, count as zero.
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 1e-30)
    grouped *= inverse[:, :, None]
    # Adding 128.5 and cutting off rounds to nearest: all values are positive by then.
    grouped += np.float32(128.5)
    return grouped.astype(np.uint8), scales


def graph_inputs(shape: Shape, tensors: Tensors, precision: Precision) -> dict[str, Array]:
    """The weights under the names and in the layout that the graph declares.

    Raises:
        FabulaError: a weight is not finite.
    """
    feeds: dict[str, Array] = {}

    def linear(name: str, *parts: str) -> None:
        weight = np.concatenate([tensors[part].astype(np.float32, copy=False) for part in parts])
        if precision == "float32":
            feeds[name] = np.ascontiguousarray(weight.T)
            finite = np.isfinite(weight).all()
        else:
            with np.errstate(invalid="ignore"):
                feeds[name], feeds[name + ".scale"] = quantise(weight)
            finite = np.isfinite(feeds[name + ".scale"]).all()
        if not finite:
            raise FabulaError(f"The model's weight '{parts[0]}' is not finite; fetch it again.")

    def plain(name: str, part: str, kind: type = np.float32) -> None:
        feeds[name] = np.ascontiguousarray(tensors[part].astype(kind, copy=False))
        if not np.isfinite(feeds[name]).all():
            raise FabulaError(f"The model's weight '{part}' is not finite; fetch it again.")

    plain(
        "embed", "model.embed_tokens.weight", np.float32 if precision == "float32" else np.float16
    )
    for n in range(shape.layers):
        here, there = f"layer.{n}.", f"model.layers.{n}."
        plain(here + "norm.attention", there + "input_layernorm.weight")
        linear(here + "qkv", *(f"{there}self_attn.{p}_proj.weight" for p in "qkv"))
        linear(here + "out", there + "self_attn.o_proj.weight")
        plain(here + "norm.mlp", there + "post_attention_layernorm.weight")
        linear(here + "gate_up", there + "mlp.gate_proj.weight", there + "mlp.up_proj.weight")
        linear(here + "down", there + "mlp.down_proj.weight")
    plain("norm.last", "model.norm.weight")
    linear("head", "model.embed_tokens.weight" if shape.tied else "lm_head.weight")
    return feeds


def start_session(
    folder: Path, shape: Shape, feeds: dict[str, Array], precision: Precision, threads: int
) -> Any:
    """An onnxruntime session over a folder's graph, its weights handed over in memory.

    Raises:
        FabulaError: the graph is missing, damaged, or belongs to a model of another shape.
    """
    runtime = onnxruntime()
    path = folder / graph_name(precision)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Keeps the weights alive while the session copies them into its own layout.
    values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in feeds.values()]
    options.add_external_initializers(list(feeds), values)
    try:
        graph = path.read_bytes()
    except OSError:
        raise FabulaError(
            f"The model folder '{folder}' has no {path.name}: write it with "
            f"`fabula models --graph {folder}`."
        ) from None
    try:
        session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        properties = session.get_modelmeta().custom_metadata_map
    except Exception as error:  # onnxruntime's own errors share no base class but this one
        raise FabulaError(f"'{path}' is damaged or does not fit the weights ({error}).") from None
    if properties.get("shape") != shape.fingerprint():
        raise FabulaError(f"'{path}' was written for a model of another shape; write it again.")
    return session
