"""The discriminator: which of some sentences a person would have written here.

A small model's samples are fluent word by word and lose the thread from sentence to sentence; its
own probabilities cannot tell, for it believes what it writes. A second model that has learnt to
tell people's next sentence from the first one's samples can (Holtzman et al. 2018, *Learning to
Write with Cooperative Discriminators*; Deng et al. 2020, *Residual Energy-Based Models for Text
Generation*). Here it is a LoRA adapter of the writing model itself, in the folder `discriminator`
beside its weights; what it thinks of a text is the score it gives the beginning-of-sequence token
(end-of-sequence, where there is none) right after it. `fabula.training.discriminator` trains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fabula.engines.choose import EMBEDDED, embedded_folder, is_adapter, runs_embedded
from fabula.engines.embedded import EmbeddedDecoding, EmbeddedEngine

FOLDER = "discriminator"
KEPT = 512
"""Texts whose score is remembered: the same ones are asked for again."""


class Discriminator:
    """Scores texts; comparable among texts that share all but their last sentence.

    Args:
        engine: the writing model with the discriminator's adapter.
    """

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine = engine
        self.token = engine.eos if engine.bos is None else engine.bos
        self._read = np.zeros(0, dtype=np.int64)
        self._decoding: EmbeddedDecoding | None = None
        self._scores: dict[bytes, float] = {}

    def score(self, ids: Sequence[int]) -> float:
        """How much like a person's the last sentence of a document is, nats up to a constant.

        Keys and values are kept for what a text shares with the one scored before.

        Args:
            ids: tokens of prompt and completion so far; what is longer than the model's context
                scores 0, for nothing is known of it.
        """
        if not 0 < len(ids) <= self.engine.context:
            return 0.0
        text = np.asarray(ids, dtype=np.int64)
        key = text.tobytes()
        found = self._scores.get(key)
        if found is not None:
            return found
        if self._decoding is None:
            self._decoding = self.engine.start(ids, 1)
        else:
            shared = min(_shared(self._read, text), len(text) - 1)
            self._decoding.rewind(shared)
            self._decoding.feed(ids[shared:])
        self._read = text
        if len(self._scores) >= KEPT:
            self._scores.clear()
        self._scores[key] = float(self._decoding.scores[0, self.token])
        return self._scores[key]


def _shared(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> int:
    """Length of what two sequences begin with alike."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    return int(differs.argmax()) if differs.any() else n


def discriminator_for(model: str) -> Discriminator | None:
    """The discriminator that comes with a model, if there is one.

    Args:
        model: the name that an engine was opened by.

    Raises:
        FabulaError: it is damaged, or was made for another model.
    """
    folder = embedded_folder() if model == EMBEDDED else Path(model)
    adapter = folder / FOLDER
    if not is_adapter(adapter) or not runs_embedded(folder):
        return None
    return Discriminator(EmbeddedEngine.open(folder, adapter, str(adapter)))
