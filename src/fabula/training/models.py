"""The model of a recipe: random Llama, full weights, LoRA or QLoRA."""

from __future__ import annotations

import importlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fabula.engines.choose import EMBEDDED, embedded_folder
from fabula.engines.packed import with_floats
from fabula.errors import FabulaError, MissingExtra
from fabula.training.hub import explain_load
from fabula.training.recipe import Init, Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_dtype(recipe: Recipe) -> Recipe:
    """The recipe with `dtype: auto` decided for this machine.

    bfloat16 on GPUs that have it; on CPUs, where some compute it faster than float32 and some much
    slower, what a short measurement says. float16 is never used: it overflows in Llama-2.

    Raises:
        FabulaError: bfloat16 is asked for on a GPU without it.
    """
    if recipe.dtype == "bfloat16" and not has_bfloat16():
        raise FabulaError("This GPU has no bfloat16; set dtype: float32 (or auto) in the recipe.")
    if recipe.dtype != "auto":
        return recipe
    pays = has_bfloat16() if torch.cuda.is_available() else bfloat16_pays()
    return recipe.model_copy(update={"dtype": "bfloat16" if pays else "float32"})


def has_bfloat16() -> bool:
    """Whether this machine computes in bfloat16 at all: every CPU does, older GPUs do not."""
    return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)


def bfloat16_pays() -> bool:
    """Whether this CPU multiplies bfloat16 matrices clearly faster than float32 ones."""
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.ones(shape, dtype=dtype) for shape in ((2048, 512), (512, 512)))
        times = []
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        best[dtype] = min(times)
    return best[torch.bfloat16] * 1.2 < best[torch.float32]


def uses_autocast(recipe: Recipe) -> bool:
    """Whether products are computed in bfloat16 around weights that are kept in float32."""
    return recipe.dtype == "bfloat16"


def weights_dtype(recipe: Recipe) -> torch.dtype:
    """The dtype weights are kept in: float32 where they learn or memory is no matter (CPU)."""
    frozen = recipe.method != "full" and torch.cuda.is_available()
    return DTYPES[recipe.dtype] if frozen else torch.float32


def resolve(base: str) -> str:
    """The folder or hub id that a recipe's `base_model` means, with weights that torch can read.

    Raises:
        FabulaError: the embedded model is not in this installation, or its 8-bit weights cannot
            be written out.
    """
    path = embedded_folder() if base == EMBEDDED else Path(base).expanduser()
    return str(with_floats(path)) if path.exists() else base


def read_config(source: str) -> Any:
    """The config of a model folder or hub id; no weights are read, no code is run.

    Raises:
        FabulaError: it cannot be read, is no causal language model, or is quantised already.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise explain_load(error, source, "model") from None
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise FabulaError(
            f"{source} is a '{config.model_type}', no causal language model; use a Llama, Mistral "
            "or GPT-2 kind of model."
        )
    stored = getattr(config, "quantization_config", None)
    if stored:
        kind = stored.get("quant_method") if isinstance(stored, dict) else None
        raise FabulaError(
            f"{source} is quantised already ({kind or 'its config says how'}), and training needs "
            "the float weights that it was made from: name that model; method 'qlora' quantises it."
        )
    return config


def context_of(config: Any) -> int | None:
    """Longest sequence in tokens, where the config says it."""
    for key in ("max_position_embeddings", "n_positions", "n_ctx"):
        value = getattr(config, key, None)
        if isinstance(value, int):
            return value
    return None


def random_llama(init: Init, vocabulary: int, bos: int | None, eos: int, pad: int) -> nn.Module:
    """A Llama with random weights; the seed has to be set before."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=init.hidden_size,
        intermediate_size=init.intermediate_size,
        num_hidden_layers=init.num_hidden_layers,
        num_attention_heads=init.num_attention_heads,
        num_key_value_heads=init.num_key_value_heads,
        max_position_embeddings=init.context,
        rope_parameters={"rope_type": "default", "rope_theta": init.rope_theta},
        tie_word_embeddings=init.tie_embeddings,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    model: nn.Module = LlamaForCausalLM(config)
    # Layers that write into the residual stream start smaller, by their number (GPT-2's rule).
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_((2 * init.num_hidden_layers) ** -0.5)
    return model


def load_base(source: str, recipe: Recipe) -> nn.Module:
    """Open the base model's weights in the recipe's precision, quantised for QLoRA.

    Raises:
        FabulaError: missing, gated, damaged; or bitsandbytes is absent.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": weights_dtype(recipe), "trust_remote_code": False}
    if recipe.method == "qlora":
        options |= {"quantization_config": quantisation_config(recipe), "device_map": device()}
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            source, use_safetensors=True, output_loading_info=True, **options
        )
    except Exception as error:
        raise explain_load(error, source, "model") from None
    model: nn.Module
    model, told = opened
    # transformers draws at random what it does not find, and goes on.
    if lacking := sorted(told["missing_keys"]):
        raise FabulaError(
            f"{source} lacks {len(lacking)} of the weights of a {type(model).__name__} (such as "
            f"{lacking[0]}); give the whole model, with its output layer."
        )
    for layer in model.modules():
        module: Any = layer
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # On such CPUs bitsandbytes repacks 4-bit weights at the first evaluation, for a kernel
            # through which no gradient flows: training would go on silently wrong.
            module.support_avx512bf16_for_cpu = False
    return model


def device() -> str:
    """Where this process trains."""
    if torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return "cpu"


def has_bitsandbytes() -> bool:
    """Whether bitsandbytes is installed and starts on this machine."""
    try:
        importlib.import_module("bitsandbytes")
    except Exception:
        return False
    return True


def quantisation_config(recipe: Recipe) -> Any:
    """NF4 as the recipe has it."""
    if not has_bitsandbytes():
        raise MissingExtra("QLoRA (bitsandbytes)", "train")
    from transformers import BitsAndBytesConfig

    settings = recipe.quantisation
    compute = settings.compute_dtype
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.type,
        bnb_4bit_use_double_quant=settings.double_quant,
        bnb_4bit_compute_dtype=DTYPES[recipe.dtype if compute == "auto" else compute],
    )


def add_adapter(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Freeze the model and give it a LoRA adapter; the seed has to be set before.

    Raises:
        FabulaError: the target names no layer of this model.
    """
    from peft import LoraConfig, get_peft_model

    settings = recipe.lora
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # fractions work
        lora_dropout=settings.dropout,
        target_modules=settings.target,
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        fan_in_fan_out=_has_conv1d(model) and recipe.method == "lora",
        task_type="CAUSAL_LM",
    )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    try:
        adapted: nn.Module = get_peft_model(model, config)
    except ValueError as error:
        raise FabulaError(
            f"lora.target {settings.target!r} fits no layer of this model "
            f"({str(error).splitlines()[0][:120]}); 'all-linear' always does."
        ) from None
    # PEFT would name the folder that the weights were read from: inside the package, or its cache.
    adapted.peft_config["default"].base_model_name_or_path = portable_name(recipe.base_model or "")  # type: ignore[union-attr,index]
    learn_in_float32(adapted)
    return adapted


def learn_in_float32(model: nn.Module) -> None:
    """Adapters learn in float32 whatever the frozen weights are kept in."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def portable_name(base: str) -> str:
    """How an adapter names its base: "embedded" and hub ids as they are, folders in full."""
    path = Path(base).expanduser()
    return str(path.resolve()) if base != EMBEDDED and path.is_dir() else base


def _has_conv1d(model: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(m, Conv1D) for m in model.modules())


def recompute_activations(model: nn.Module) -> None:
    """Trade a second forward pass for memory (gradient checkpointing)."""
    inner: Any = model
    enable = getattr(inner, "activation_checkpointing_enable", None)
    if enable is not None:
        enable(activation_checkpointing_kwargs={"use_reentrant": False})
    else:
        inner.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In the model's evaluation mode, and then in the mode that it was in."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def count(model: nn.Module) -> tuple[int, int]:
    """(parameters that learn, all parameters); a 4-bit byte holds two."""
    learns = total = 0
    for parameter in model.parameters():
        size = parameter.numel()
        if type(parameter).__name__ == "Params4bit" and parameter.dtype == torch.uint8:
            size *= 2
        total += size
        learns += size if parameter.requires_grad else 0
    return learns, total


def decoder_layers(inner: nn.Module) -> nn.ModuleList | None:
    """The layers of a transformers model, which stand in its first list."""
    return next((m for m in inner.modules() if isinstance(m, nn.ModuleList) and len(m) > 0), None)


def compile_layers(inner: Any) -> None:
    """Compile each layer of the decoder; its attention, whose shapes always differ, stays eager.

    Raises:
        FabulaError: there is no C++ compiler, or the architecture's layers are not in a list.
    """
    layers = decoder_layers(inner)
    if layers is None:
        raise FabulaError(f"{type(inner).__name__} has no list of layers; set compile: false.")
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        raise FabulaError("'compile: true' needs a C++ compiler (g++); set compile: false.")
    dynamo: Any = importlib.import_module("torch._dynamo")
    # All layers share their code, and training and evaluation differ in dtype and gradients.
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, 8 * len(layers))
    for layer in layers:
        layer.compile(dynamic=True)
