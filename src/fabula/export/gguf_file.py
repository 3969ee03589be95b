"""A model folder as one GGUF file, for llama.cpp and what is built on it (Ollama, LM Studio).

Weights are read, laid out, rounded and written one at a time, so that a large model takes the
memory of its largest matrix. Matrices are kept in the type asked for; vectors and GPT-2's positions
in float32, as llama.cpp needs them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fabula.engines.shape import read_config
from fabula.engines.weights import weight_files
from fabula.errors import FabulaError, MissingExtra
from fabula.export.architecture import Architecture, read_architecture
from fabula.export.headers import read_header
from fabula.export.vocabulary import Vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

TYPES = ("f32", "f16", "bf16", "q8_0")
"""Types of numbers that matrices are kept in."""
EMBEDDINGS = ("model.embed_tokens.weight", "transformer.wte.weight", "wte.weight")
Progress = Callable[[int, int], None]
"""Called with (bytes written, bytes in all)."""


def need_gguf() -> None:
    """Refuse where the library is not installed.

    Raises:
        MissingExtra: it is not.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise MissingExtra("Writing GGUF", "export") from None


def check(folder: Path) -> tuple[Architecture, Vocabulary]:
    """What a model folder is in llama.cpp's terms, without reading its weights.

    Raises:
        FabulaError: llama.cpp would compute something else.
    """
    config = read_config(folder)
    architecture = read_architecture(config, str(folder))
    return architecture, read_vocabulary(folder, config, int(config["vocab_size"]))


def write_gguf(
    folder: Path, place: Path, kind: str, name: str, progress: Progress | None = None
) -> Path:
    """Write the model of a folder to a file, whole or not at all.

    Args:
        folder: in Hugging Face layout, weights in safetensors.
        place: the file.
        kind: one of `TYPES`.
        name: of the model.

    Raises:
        MissingExtra: gguf is not installed.
        FabulaError: llama.cpp would compute something else, a weight does not fit the type, or the
            file cannot be written.
    """
    need_gguf()
    from gguf import GGUFWriter, LlamaFileType

    architecture, vocabulary = check(folder)
    tensors = _plan(folder, architecture, kind)
    draft = place.with_name(f".{place.name}.part")
    writer = GGUFWriter(None, _label(architecture))
    writer.add_type("model")
    writer.add_name(name)
    writer.add_file_type(
        {
            "f32": LlamaFileType.ALL_F32,
            "f16": LlamaFileType.MOSTLY_F16,
            "bf16": LlamaFileType.MOSTLY_BF16,
            "q8_0": LlamaFileType.MOSTLY_Q8_0,
        }[kind]
    )
    architecture.describe(writer, len(vocabulary.pieces))
    _add_vocabulary(writer, vocabulary)
    try:
        _write(writer, folder, draft, architecture, tensors, progress)
        draft.replace(place)
    except OSError as error:
        raise FabulaError(
            f"The file {place} cannot be written ({error.strerror or error}); free some disk, or "
            "name another folder."
        ) from None
    finally:
        with suppress(Exception):
            writer.close()
        draft.unlink(missing_ok=True)
    return place


def _label(architecture: Architecture) -> str:
    import gguf

    from fabula.export.architecture import KINDS

    return str(gguf.MODEL_ARCH_NAMES[getattr(gguf.MODEL_ARCH, KINDS[architecture.kind])])


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.pieces)
    writer.add_token_types(vocabulary.kinds)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.space_first)
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    writer.add_eos_token_id(vocabulary.eos)
    for id_, add in (
        (vocabulary.bos, writer.add_bos_token_id),
        (vocabulary.pad, writer.add_pad_token_id),
        (vocabulary.unknown, writer.add_unk_token_id),
    ):
        if id_ is not None:
            add(id_)
    # One token opens every document that the model has learnt from, and none closes a prompt.
    writer.add_add_bos_token(vocabulary.bos is not None)
    writer.add_add_eos_token(False)


class _Tensor:
    """A weight on its way: where it is from, and what it becomes."""

    def __init__(
        self, own: str, name: str, path: Path | None, shape: tuple[int, ...], kind: Any
    ) -> None:
        import gguf

        self.own, self.name, self.path, self.shape, self.kind = own, name, path, shape, kind
        block, size = gguf.GGML_QUANT_SIZES[kind]
        self.bytes = int(np.prod(shape)) // block * size


def _plan(folder: Path, architecture: Architecture, kind: str) -> list[_Tensor]:
    """All weights of the file, in its order.

    Raises:
        FabulaError: a weight is one that llama.cpp does not know.
    """
    from gguf import GGMLQuantizationType as Type

    name_of = architecture.names()
    planned = [
        _Tensor(name, name, None, extra.shape, Type.F32)
        for name, extra in architecture.extra().items()
    ]
    tied = bool(architecture.config.get("tie_word_embeddings", architecture.kind == "gpt2"))
    for path in weight_files(folder):
        for own, (shape, _) in read_header(path).items():
            name = name_of(own)
            if name is None or (tied and own == "lm_head.weight"):
                continue
            if architecture.kind == "gpt2" and len(shape) == 2 and own.split(".")[-2][:2] == "c_":
                shape = shape[::-1]
            type_ = _type_of(name, shape, kind)
            planned.append(_Tensor(own, name, path, shape, type_))
    return planned


def _type_of(name: str, shape: tuple[int, ...], kind: str) -> GGMLQuantizationType:
    from gguf import GGMLQuantizationType as Type

    if len(shape) < 2 or name.startswith("position_embd"):
        return Type.F32
    if kind == "q8_0" and shape[-1] % 32:
        return Type.F16
    return Type[kind.upper()]


def _write(
    writer: GGUFWriter,
    folder: Path,
    draft: Path,
    architecture: Architecture,
    tensors: list[_Tensor],
    progress: Progress | None,
) -> None:
    import gguf

    for tensor in tensors:
        writer.add_tensor_info(
            tensor.name,
            gguf.quant_shape_to_byte_shape(tensor.shape, tensor.kind)
            if tensor.kind == gguf.GGMLQuantizationType.Q8_0
            else tensor.shape,
            np.dtype(np.uint8 if tensor.kind == gguf.GGMLQuantizationType.Q8_0 else np.float32),
            tensor.bytes,
            raw_dtype=tensor.kind,
        )
    writer.write_header_to_file(path=draft)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(tensor.bytes for tensor in tensors)
    written = 0
    extra = architecture.extra()
    for tensor in tensors:
        if tensor.path is None:
            weight = extra[tensor.own]
        else:
            weight = architecture.lay_out(tensor.own, _read(tensor.path, tensor.own))
        assert weight.shape == tensor.shape, tensor.own
        with np.errstate(over="ignore"):
            stored = gguf.quants.quantize(weight, tensor.kind)
        if not np.isfinite(weight).all() or (
            stored.dtype == np.float16 and not np.isfinite(stored).all()
        ):
            raise FabulaError(
                f"The weight '{tensor.own}' of '{folder}' holds numbers that are not finite in "
                f"{tensor.kind.name.lower()}: choose --gguf bf16 or f32."
            )
        writer.write_tensor_data(stored)
        written += tensor.bytes
        if progress is not None:
            progress(written, total)


def _read(path: Path, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """One weight, in float32."""
    from safetensors import safe_open

    # torch, because numpy has no bfloat16.
    with safe_open(path, framework="pt") as file:
        weight: np.ndarray[Any, np.dtype[np.float32]] = file.get_tensor(name).float().numpy()
        return weight
