"""What a training step keeps in memory, counted on tensors that have shapes and no contents.

The model is built from its config with two layers and with one, as the run would build it (LoRA,
dropout, autocast), and run forward on meta tensors; every tensor that autograd saves is counted
once. The difference is what a layer adds, and all layers are alike. Nothing is estimated by hand,
so that any architecture that transformers knows can be counted.
"""

from __future__ import annotations

import copy
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fabula.training.models import add_adapter
from fabula.training.recipe import Recipe

_ATTENTION = "fabula_counted"
_PRODUCTS = frozenset((nn.functional.linear, torch.matmul, torch.mm, torch.bmm, torch.addmm))
TOKENS = 256


@dataclass(frozen=True, slots=True)
class Traced:
    """A model's sizes.

    Attributes:
        parameters: all of the base model's.
        quantised: those of linear layers, which QLoRA keeps in 4 bits.
        multiplied: those that each token is multiplied by: linear layers and the output.
        adapters: parameters of the LoRA adapter.
        saved: bytes that a layer keeps for each token until the backward pass.
        rest: bytes that what is not in a layer keeps for each token.
        hidden: size of the hidden states.
        widest: outputs of the widest linear layer.
        largest: parameters of the largest linear layer.
        vocabulary: rows of the output layer.
        layers: how many.
        heads: attention's width, all heads together.
        context: longest sequence in tokens, or None.
    """

    parameters: int
    quantised: int
    multiplied: int
    adapters: int
    saved: float
    rest: float
    hidden: int
    widest: int
    largest: int
    vocabulary: int
    layers: int
    heads: int
    context: int | None


class _Flash(torch.autograd.Function):
    """What a fused attention kernel saves: inputs, output, and a number a head and token."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = torch.empty_like(query)
        sums = torch.empty(query.shape[:3], dtype=torch.float32, device=query.device)
        ctx.save_for_backward(query, key, value, result, sums)
        return result

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        raise NotImplementedError("only the forward pass is traced")


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
) -> tuple[Tensor, None]:
    result: Tensor = _Flash.apply(query, key, value)  # type: ignore[no-untyped-call]
    return result.transpose(1, 2), None


class _Fused(torch.autograd.Function):
    """Dropout as a GPU's kernel does it: it keeps a byte an entry."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(torch.empty_like(value, dtype=torch.bool))
        return torch.empty_like(value)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        raise NotImplementedError("only the forward pass is traced")


class _Autocast(TorchFunctionMode):
    """Products in bfloat16, as `torch.autocast` does it where tensors have contents."""

    def __torch_function__(
        self, function: Any, types: Any, given: Any = (), options: Any = None
    ) -> Any:
        if function in _PRODUCTS:
            given = tuple(
                self._cast(v) if isinstance(v, Tensor) and v.dtype == torch.float32 else v
                for v in given
            )
        return function(*given, **(options or {}))

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[int, Tensor] = {}

    def _cast(self, value: Tensor) -> Tensor:
        # Copies of weights are made once.
        if not isinstance(value, nn.Parameter):
            return value.to(torch.bfloat16)
        return self.copies.setdefault(id(value), value.to(torch.bfloat16))


class _FusedDropout(nn.Dropout):
    def forward(self, input: Tensor) -> Tensor:
        if not self.p:
            return input
        result: Tensor = _Fused.apply(input)  # type: ignore[no-untyped-call]
        return result


def _layers_key(config: Any) -> str:
    return "n_layer" if hasattr(config, "n_layer") else "num_hidden_layers"


def set_layers(config: Any, layers: int) -> Any:
    """A copy of a config with another number of layers."""
    config = copy.deepcopy(config)
    setattr(config, _layers_key(config), layers)
    if isinstance(getattr(config, "layer_types", None), list):
        config.layer_types = config.layer_types[:layers]
    return config


def empty_model(config: Any, dtype: torch.dtype) -> nn.Module:
    """A causal language model; on the device that is the default one."""
    from transformers import AutoModelForCausalLM

    auto: Any = AutoModelForCausalLM
    model: nn.Module = auto.from_config(config, dtype=dtype)
    return model


def _build(config: Any, layers: int, recipe: Recipe, weights: torch.dtype, gpu: bool) -> nn.Module:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(_ATTENTION, _attend)
    AttentionMaskInterface.register(_ATTENTION, lambda *given, attention_mask=None, **more: None)
    config = set_layers(config, layers)
    config._attn_implementation = _ATTENTION
    config.use_cache = False
    with torch.device("meta"):
        model: Any = empty_model(config, weights)
        if recipe.method != "full":
            model = add_adapter(model, recipe)
    if recipe.method == "qlora":
        # Over 4-bit layers PEFT leaves the inputs as they are.
        for module in model.modules():
            if hasattr(module, "lora_A"):
                module.cast_input_dtype_enabled = False
    if gpu:
        for module in list(model.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.Dropout:
                    setattr(module, name, _FusedDropout(child.p))
    model.train()
    built: nn.Module = model
    return built


def _saved(model: nn.Module, autocast: bool) -> int:
    """Bytes that one forward pass over TOKENS tokens keeps, parameters apart."""
    held: dict[int, Any] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held.setdefault(storage._cdata, storage)
        return tensor

    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    tokens = torch.zeros((1, TOKENS), dtype=torch.long, device="meta")
    places = torch.arange(TOKENS, device="meta")[None]
    mode = _Autocast()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        embedded = base.get_input_embeddings()(tokens)
        if not embedded.requires_grad:
            embedded = embedded.requires_grad_()
        with mode if autocast else nullcontext():
            base.base_model(
                inputs_embeds=embedded, position_ids=places, use_cache=False,
                attention_mask=torch.zeros((1, 1, 1, 1), dtype=torch.long, device="meta"),
            )  # fmt: skip
    owned = [*model.parameters(), *model.buffers(), *mode.copies.values()]
    own = {tensor.untyped_storage()._cdata for tensor in owned}
    return sum(storage.nbytes() for key, storage in held.items() if key not in own)


def trace(config: Any, recipe: Recipe, weights: torch.dtype, autocast: bool, gpu: bool) -> Traced:
    """Count a model.

    Args:
        config: of transformers.
        recipe: method and adapter.
        weights: what the weights are kept in where they are not quantised.
        autocast: whether products are computed in bfloat16.
        gpu: whether dropout is a GPU's.
    """
    from transformers.pytorch_utils import Conv1D

    from fabula.training.models import context_of

    layers = int(getattr(config, _layers_key(config)))
    counts, kept = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for depth in (1, 2):
            model = _build(config, depth, recipe, weights, gpu)
            kept.append(_saved(model, autocast))
            base: Any = model.get_base_model() if recipe.method != "full" else model  # type: ignore[operator]
            output = base.get_output_embeddings()
            linear = [
                module.base_layer if hasattr(module, "base_layer") else module
                for name, module in base.named_modules()
                if (isinstance(module, (nn.Linear, Conv1D)) or hasattr(module, "base_layer"))
                and module is not output
                and "lora_" not in name
                and not name.endswith("base_layer")
            ]
            adapters = sum(p.numel() for n, p in model.named_parameters() if "lora_" in n)
            everything = sum(p.numel() for p in model.parameters()) - adapters
            in_linear = sum(module.weight.numel() for module in linear)
            counts.append((everything, in_linear, adapters))
    (one, two), (less, more) = counts, kept

    def whole(index: int) -> int:
        return int(one[index] + (two[index] - one[index]) * (layers - 1))

    sides = [max(module.weight.shape) for module in linear]
    hidden = int(base.get_input_embeddings().weight.shape[1])
    heads = int(getattr(config, "num_attention_heads", 1))
    head = getattr(config, "head_dim", None) or hidden // heads
    scores = output.weight.numel() if output is not None else 0
    return Traced(
        parameters=whole(0),
        quantised=whole(1),
        multiplied=whole(1) + scores,
        adapters=whole(2),
        saved=(more - less) / TOKENS,
        rest=max(0.0, (2 * less - more) / TOKENS),
        hidden=hidden,
        widest=max(sides),
        largest=max(module.weight.numel() for module in linear),
        vocabulary=int(base.get_input_embeddings().weight.shape[0]),
        layers=layers,
        heads=heads * int(head),
        context=context_of(config),
    )
