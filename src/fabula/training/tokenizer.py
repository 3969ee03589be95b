"""Tokenizers: opening one safely, and training a byte-level BPE on the rendered documents."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError

BEGIN, END, PAD = "<|begin|>", "<|end|>", "<|pad|>"


class TextTokenizer:
    """A tokenizer that adds no special token and lets none be typed.

    Attributes:
        hf: the transformers tokenizer.
        bos: beginning-of-sequence id, or None where the model has none.
        eos: end-of-sequence id.
        pad: padding id (the EOS where the tokenizer has none: labels are masked by position,
            never by id, so EOS is still learnt).
        vocabulary: number of ids.
    """

    def __init__(self, hf: Any, where: str) -> None:
        self.hf = hf
        if hf.eos_token_id is None:
            raise FabulaError(
                f"{where}: the tokenizer has no end-of-sequence token, so a model could not learn "
                "to stop; use the tokenizer that belongs to the weights."
            )
        self.bos: int | None = hf.bos_token_id
        self.eos: int = hf.eos_token_id
        self.pad: int = hf.eos_token_id if hf.pad_token_id is None else hf.pad_token_id
        self.vocabulary = len(hf)
        self.backend = getattr(hf, "backend_tokenizer", None)
        if self.backend is not None:
            self.backend.encode_special_tokens = True
            self.backend.no_padding()
            self.backend.no_truncation()

    @property
    def fingerprint(self) -> str:
        """Equal for tokenizers that give the same ids to the same pieces."""
        pieces = json.dumps(self.hf.get_vocab(), sort_keys=True)
        return hashlib.sha256(pieces.encode()).hexdigest()

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        """Plain token ids of each text."""
        if self.backend is None:
            return [
                list(self.hf.encode(t, add_special_tokens=False, split_special_tokens=True))
                for t in texts
            ]
        return [e.ids for e in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens dropped."""
        return str(self.hf.decode(ids, skip_special_tokens=True))


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int, folder: Path) -> None:
    """Train a byte-level BPE (Sennrich et al. 2016; on bytes as GPT-2's) and save it.

    The same texts in the same order give the same files. Digits are single tokens; the special
    tokens have the ids 0 (begin), 1 (end) and 2 (pad).

    Args:
        texts: rendered documents.
        vocabulary: number of ids, the three special ones and the 256 bytes among them.
        context: longest sequence the model will take, in tokens.
        folder: where tokenizer.json and tokenizer_config.json go.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[BEGIN, END, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        ),
    )
    fast: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(str(folder))


def open_tokenizer(source: str) -> TextTokenizer:
    """Open the tokenizer of a model folder or hub id; no code of the model is run.

    Raises:
        FabulaError: there is none, or it is damaged.
    """
    from transformers import AutoTokenizer

    from fabula.training.hub import explain_load

    try:
        hf = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:
        raise explain_load(error, source, "tokenizer") from None
    return TextTokenizer(hf, source)
