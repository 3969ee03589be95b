"""The second engine: any causal language model that `transformers` knows, with PEFT adapters.

Left as plain as possible: what is fast is the embedded engine's business. Only safetensors are
read, and no code that comes with a model is run.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fabula.engines.digest import combine, digest_file
from fabula.engines.hardware import memory_bytes
from fabula.engines.hub import fetch
from fabula.engines.packed import with_floats
from fabula.engines.protocol import Ids, Scores
from fabula.engines.tokens import Tokens
from fabula.engines.weights import weight_files
from fabula.errors import FabulaError, MissingExtra

if TYPE_CHECKING:
    import torch

CHUNK = 512
"""Most tokens computed at once: bounds the memory of the scores of a large vocabulary."""


class TransformersEngine:
    """A causal language model run by torch, its adapter left beside the weights."""

    def __init__(
        self,
        name: str,
        weights: str,
        model: Any,
        tokens: Tokens,
        bos: int | None,
        eos: int,
    ) -> None:
        config = model.config.get_text_config(decoder=True)
        self.name = name
        self.weights = weights
        self.vocabulary: int = config.vocab_size
        # A model that states no limit (relative positions) gets one that fits any story.
        self.context: int = getattr(config, "max_position_embeddings", None) or 32768
        self.bos = bos
        self.eos = eos
        self.model = model
        self.encode = tokens.encode
        self.decode = tokens.decode
        parameters = inspect.signature(_base(model).forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        # transformers 5.24 renamed the argument.
        self._cache = "cache" if "cache" in parameters else "past_key_values"

    @classmethod
    def open(
        cls, place: Path | str, adapter: Path | None = None, name: str | None = None
    ) -> TransformersEngine:
        """Open a model folder or hub id, and a PEFT adapter folder over it.

        Raises:
            MissingExtra: torch, transformers or peft is not installed.
            FabulaError: the model cannot be fetched or read, or its parts do not fit.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging
        except ImportError:
            raise MissingExtra(f"The model '{name or place}'", "train") from None
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        folder = fetch(place) if isinstance(place, str) else place
        digests = [combine([digest_file(f) for f in weight_files(folder)])]
        folder = with_floats(folder)
        files = weight_files(folder)
        device, dtype = device_and_dtype(sum(f.stat().st_size for f in files))
        loader: Any = AutoModelForCausalLM
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model, report = loader.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # from OSError to the Rust readers' bare exceptions
            raise _unreadable(place, error) from None
        if report["missing_keys"]:
            raise FabulaError(
                f"The weights of '{place}' lack the tensor '{min(report['missing_keys'])}': they "
                "are not whole, or belong to another config.json."
            )
        if model._is_stateful:
            raise FabulaError(
                f"'{place}' is a recurrent model, whose state cannot be shared between "
                "candidates: choose one that attends to its whole text."
            )
        if adapter is not None:
            model = _with_adapter(model, adapter)
            digests.append(digest_file(adapter / "adapter_model.safetensors"))
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise FabulaError(f"The model '{place}' has no tokenizer.json: choose one that has.")
        if tokenizer.eos_token_id is None:
            raise FabulaError(f"The tokenizer of '{place}' has no end-of-sequence token.")
        tokens = Tokens(backend)
        model.eval().to(device)
        for tensor, parameter in model.named_parameters():
            # Attention can swallow a NaN, so the scores alone would not show it.
            if not torch.isfinite(parameter).all():
                raise FabulaError(
                    f"The weight '{tensor}' of '{name or place}' is not finite; fetch it again."
                )
        engine = cls(
            name or str(adapter or place),
            combine(digests),
            model,
            tokens,
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
        )
        tokens.check(engine.vocabulary, str(place))
        return engine

    def start(self, prefix: Ids, rows: int) -> TransformersDecoding:
        """Compute the prefix once and share it between rows (see `protocol.Engine`)."""
        decoding = TransformersDecoding(self, self.new_cache(), 0)
        decoding.feed(prefix)
        if not np.isfinite(decoding.scores).all():
            raise FabulaError(
                f"The model '{self.name}' gives scores that are not numbers: it overflows "
                f"{self.model.dtype}; choose another, or run it without a GPU."
            )
        return decoding if rows == 1 else decoding.spread(rows)

    def log_probabilities(
        self, prefix: Ids, continuations: Sequence[Ids]
    ) -> list[npt.NDArray[np.float32]]:
        """Natural log-probability of each token of each continuation after the prefix."""
        import torch

        decoding = self.start(prefix, 1)
        first = torch.from_numpy(decoding.scores).to(self.model.device)
        results = []
        for continuation in continuations:
            branch = decoding.copy(0, decoding.length, 1)
            chosen = [
                torch.log_softmax(scores.float(), dim=-1)
                .gather(1, torch.tensor(part, device=scores.device)[:, None])[:, 0]
                .cpu()
                for scores, part in zip(
                    [first, *branch.every_position(continuation[:-1])],
                    [continuation[:1], *_parts(continuation[1:])],
                    strict=False,
                )
                if len(part)
            ]
            results.append(torch.cat(chosen).numpy() if chosen else np.zeros(0, np.float32))
        return results

    def new_cache(self) -> Any:
        """An empty cache that keeps every token, sliding windows or not, so that it can fork."""
        from transformers import DynamicCache

        return DynamicCache()

    def forward(self, tokens: torch.Tensor, cache: Any, every_position: bool) -> torch.Tensor:
        """Scores after the last new token [rows, vocabulary], or after each [rows, new, ...]."""
        import torch

        with torch.inference_mode():
            output = self.model(
                input_ids=tokens.to(self.model.device),
                use_cache=True,
                **{self._cache: cache},
                **({} if every_position else self._last_only),
            )
        scores: torch.Tensor = output.logits if every_position else output.logits[:, -1]
        return scores


class TransformersDecoding:
    """Sequences written side by side over one `DynamicCache`."""

    def __init__(self, engine: TransformersEngine, cache: Any, length: int) -> None:
        self.engine = engine
        self.cache = cache
        self.length = length
        self.scores: Scores = np.zeros((1, engine.vocabulary), dtype=np.float32)

    def step(self, tokens: npt.NDArray[np.int64]) -> Scores:
        """Append one token to each row and return the new scores."""
        import torch

        if tokens.shape != (len(self.scores),):
            raise ValueError(f"step takes one token for each of {len(self.scores)} rows")
        self._reserve(1)
        self._keep(self.engine.forward(torch.from_numpy(tokens)[:, None], self.cache, False))
        self.length += 1
        return self.scores

    def fork(self, row: int, length: int, tail: Ids, rows: int) -> TransformersDecoding:
        """Continue one row's first `length` tokens and `tail` in new rows."""
        if not 0 < length <= self.length or not len(tail):
            raise ValueError("a fork keeps at least one token and adds at least one")
        one = self.copy(row, length, 1)
        one.feed(tail)
        return one if rows == 1 else one.spread(rows)

    def spread(self, rows: int) -> TransformersDecoding:
        """New rows that continue this only row."""
        wide = self.copy(0, self.length, rows)
        wide.scores = np.repeat(self.scores, rows, axis=0)
        return wide

    def copy(self, row: int, length: int, rows: int) -> TransformersDecoding:
        """The first tokens of a row, in so many rows; `scores` are still to come."""
        cache = self.engine.new_cache()
        for number, layer in enumerate(self.cache.layers):
            # `update` joins to new tensors, so that the original is left alone.
            cache.update(
                layer.keys[row : row + 1, :, :length].repeat_interleave(rows, dim=0),
                layer.values[row : row + 1, :, :length].repeat_interleave(rows, dim=0),
                number,
            )
        return TransformersDecoding(self.engine, cache, length)

    def feed(self, tokens: Ids) -> None:
        """Append tokens to the only row."""
        import torch

        if not len(tokens):
            raise ValueError("a prefix holds at least one token")
        self._reserve(len(tokens))
        for part in _parts(tokens):
            self._keep(self.engine.forward(torch.tensor([part]), self.cache, False))
        self.length += len(tokens)

    def every_position(self, tokens: Ids) -> list[torch.Tensor]:
        """Append tokens to the only row; for each chunk the scores after each token."""
        import torch

        self._reserve(len(tokens))
        self.length += len(tokens)
        return [
            self.engine.forward(torch.tensor([part]), self.cache, True)[0]
            for part in _parts(tokens)
        ]

    def _keep(self, scores: torch.Tensor) -> None:
        self.scores = scores.float().cpu().numpy()

    def _reserve(self, new: int) -> None:
        if self.length + new > self.engine.context:
            raise FabulaError(
                f"The text needs {self.length + new} tokens, but the model '{self.engine.name}' "
                f"sees at most {self.engine.context}: shorten the brief or the story."
            )


def _parts(tokens: Ids) -> list[list[int]]:
    return [list(tokens[i : i + CHUNK]) for i in range(0, len(tokens), CHUNK)]


def _base(model: Any) -> Any:
    """The transformers model inside a PEFT one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_and_dtype(weight_bytes: int) -> tuple[str, str]:
    """Where a model runs, and in which numbers.

    A GPU gets bfloat16, or float16 where it has no bfloat16; a processor float32, which is what
    it computes fastest, unless that would not fit its memory.
    """
    import torch

    if torch.cuda.is_available():
        return "cuda", "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    if torch.backends.mps.is_available():
        return "mps", "float16"
    # Weights are nearly always stored in 16 bits.
    return "cpu", "float32" if 2 * weight_bytes < 0.7 * memory_bytes() else "bfloat16"


def _with_adapter(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel
    except ImportError:
        raise MissingExtra(f"The adapter '{adapter}'", "train") from None
    if not (adapter / "adapter_model.safetensors").is_file():
        raise FabulaError(
            f"The adapter folder '{adapter}' has no adapter_model.safetensors "
            "(pickled adapters are never loaded)."
        )
    try:
        return PeftModel.from_pretrained(model, adapter)
    except Exception as error:  # torch's, peft's and the Rust reader's own kinds
        raise _unreadable(adapter, error) from None


def _unreadable(place: Path | str, error: Exception) -> FabulaError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0][:200].rstrip(".:") if lines else type(error).__name__
    return FabulaError(f"The model '{place}' cannot be read: {reason}.")
