"""The ONNX graph of a Llama model, without its weights.

The graph is a few kilobytes and lies beside `model.safetensors`; `fabula.engines.load` feeds it
the weights from there, so that one weight file serves torch training and the torch-free engine.
`write_graph` needs the `onnx` package (the 'train' extra); running a graph does not.

Inputs, for a batch of `rows` sequences that each get `new` tokens:

    tokens    int64 [rows, new]   the new tokens
    last      int32 [rows]        index of each row's last new token in its sequence
    total     int32 []            tokens of the longest row, the new ones included
    select    int64 [selected]    which of the rows * new positions to score
    key.N, value.N  float32 [rows, key_value_heads, capacity, head_size]

Outputs: `scores` float32 [selected, vocabulary], and `key.N.new`, `value.N.new`, which are to be
bound to the same memory as `key.N` and `value.N`: then nothing but the new tokens is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from fabula.engines.shape import Shape, read_config, read_shape
from fabula.errors import MissingExtra

if TYPE_CHECKING:
    import onnx

Precision = Literal["int8", "float32"]
BLOCK = 64
"""Weights that share one scale. Zero-padded where a row is not a multiple of it."""
MICROSOFT = "com.microsoft"


def graph_name(precision: Precision) -> str:
    """File name of a graph in a model folder."""
    return "graph.onnx" if precision == "int8" else f"graph.{precision}.onnx"


def write_graph(folder: Path) -> list[Path]:
    """Write the graphs of a Llama model folder beside its weights; return their paths.

    Raises:
        MissingExtra: the `onnx` package is not installed.
        FabulaError: the folder's `config.json` is damaged, or not one of a plain Llama model.
    """
    from fabula.story.files import write_atomic

    shape = read_shape(folder, read_config(folder))
    paths = []
    for precision in get_args(Precision):
        paths.append(folder / graph_name(precision))
        write_atomic(paths[-1], build_graph(shape, precision).SerializeToString())
    return paths


def build_graph(shape: Shape, precision: Precision) -> onnx.ModelProto:
    """The graph of a shape, its linear layers in 8-bit blocks or in float32."""
    try:
        from onnx import TensorProto, helper
    except ImportError:
        raise MissingExtra("Writing a model's ONNX graph", "train") from None
    builder = _Builder(shape, precision)
    builder.body()
    cache: list[str | int] = ["rows", shape.key_value_heads, "capacity", shape.head_size]
    names = [f"{kind}.{n}" for n in range(shape.layers) for kind in ("key", "value")]

    def value(name: str, kind: int, dims: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, dims)

    graph = helper.make_graph(
        builder.nodes,
        "llama",
        [
            value("tokens", TensorProto.INT64, ["rows", "new"]),
            value("last", TensorProto.INT32, ["rows"]),
            value("total", TensorProto.INT32, []),
            value("select", TensorProto.INT64, ["selected"]),
            *(value(name, TensorProto.FLOAT, cache) for name in names),
        ],
        [
            value("scores", TensorProto.FLOAT, ["selected", shape.vocabulary]),
            *(value(name + ".new", TensorProto.FLOAT, cache) for name in names),
        ],
        builder.initializers,
    )
    # The oldest versions that have what is used, so that older runtimes take the graph too.
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=9,
        producer_name="fabula",
    )
    helper.set_model_props(model, {"shape": shape.fingerprint(), "precision": precision})
    return model


class _Builder:
    """Collects nodes and the declarations of the weights that will be fed."""

    def __init__(self, shape: Shape, precision: Precision) -> None:
        self.shape = shape
        self.precision = precision
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(
        self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any
    ) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))

    def declare(self, name: str, kind: str, dims: list[int]) -> str:
        """Declare a weight that lies outside the graph."""
        from onnx import TensorProto

        tensor = TensorProto(name=name, dims=dims, data_type=getattr(TensorProto, kind))
        tensor.data_location = TensorProto.EXTERNAL
        # Never opened: the runtime is handed every weight in memory, by name.
        tensor.external_data.add(key="location", value="weights")
        self.initializers.append(tensor)
        return name

    def linear(self, name: str, source: str, inputs: int, outputs: int, result: str) -> None:
        if self.precision == "float32":
            self.node("MatMul", [source, self.declare(name, "FLOAT", [inputs, outputs])], [result])
            return
        blocks = -(-inputs // BLOCK)
        self.node(
            "MatMulNBits",
            [
                source,
                self.declare(name, "UINT8", [outputs, blocks, BLOCK]),
                self.declare(name + ".scale", "FLOAT", [outputs, blocks]),
            ],
            [result],
            MICROSOFT,
            K=inputs,
            N=outputs,
            bits=8,
            block_size=BLOCK,
            # Level 4 quantises the activations too and multiplies in int8: without it this
            # operator is some thirty times slower than float32.
            accuracy_level=4,
        )

    def norm(self, name: str, residual: str, added: str | None) -> tuple[str, str]:
        """RMS norm of the residual stream plus what is to be added: (normed, new residual)."""
        gamma = self.declare(name, "FLOAT", [self.shape.hidden])
        normed, total = f"{name}.out", f"{name}.residual"
        if added is None:
            self.node(
                "SimplifiedLayerNormalization",
                [residual, gamma],
                [normed],
                axis=-1,
                epsilon=self.shape.epsilon,
                stash_type=1,
            )
            return normed, residual
        self.node(
            "SkipSimplifiedLayerNormalization",
            [residual, added, gamma],
            [normed, "", "", total],
            MICROSOFT,
            epsilon=self.shape.epsilon,
        )
        return normed, total

    def body(self) -> None:
        from onnx import numpy_helper

        shape = self.shape
        query, key = shape.heads * shape.head_size, shape.key_value_heads * shape.head_size
        wide = self.precision == "float32"
        table = self.declare(
            "embed", "FLOAT" if wide else "FLOAT16", [shape.vocabulary, shape.hidden]
        )
        self.node("Gather", [table, "tokens"], ["embedded"])
        self.node("Cast", ["embedded"], ["residual"], to=1)
        tables = [
            self.declare(n, "FLOAT", [shape.context, shape.head_size // 2]) for n in ("cos", "sin")
        ]
        residual, added = "residual", None
        for n in range(shape.layers):
            at = f"layer.{n}."
            normed, residual = self.norm(at + "norm.attention", residual, added)
            self.linear(at + "qkv", normed, shape.hidden, query + 2 * key, at + "qkv.out")
            past = [f"key.{n}", f"value.{n}"]
            self.node(
                "GroupQueryAttention",
                [at + "qkv.out", "", "", *past, "last", "total", *tables],
                [at + "attention.out", *(name + ".new" for name in past)],
                MICROSOFT,
                num_heads=shape.heads,
                kv_num_heads=shape.key_value_heads,
                do_rotary=1,
            )
            self.linear(at + "out", at + "attention.out", query, shape.hidden, at + "out.out")
            normed, residual = self.norm(at + "norm.mlp", residual, at + "out.out")
            self.linear(at + "gate_up", normed, shape.hidden, 2 * shape.inner, at + "gate_up.out")
            self.node(
                "Split", [at + "gate_up.out"], [at + "gate", at + "up"], axis=-1, num_outputs=2
            )
            # QuickGelu with alpha 1 is x * sigmoid(x), that is SiLU, in one node.
            self.node("QuickGelu", [at + "gate"], [at + "silu"], MICROSOFT, alpha=1.0)
            self.node("Mul", [at + "silu", at + "up"], [at + "inner"])
            self.linear(at + "down", at + "inner", shape.inner, shape.hidden, at + "down.out")
            added = at + "down.out"
        normed, _ = self.norm("norm.last", residual, added)
        import numpy as np

        flat = numpy_helper.from_array(np.array([-1, shape.hidden], dtype=np.int64), "flat")
        self.initializers.append(flat)
        self.node("Reshape", [normed, "flat"], ["positions"])
        self.node("Gather", ["positions", "select"], ["selected"])
        self.linear("head", "selected", shape.hidden, shape.vocabulary, "scores")
