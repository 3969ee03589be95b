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

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fabula.engines.choose import EMBEDDED, embedded_folder, is_adapter, runs_embedded
from fabula.engines.protocol import Decoding, Engine

FOLDER = "discriminator"
KEPT = 24
"""Texts whose keys and values are kept: candidates go on from one another."""


class Discriminator:
    """Scores texts; comparable among texts that share all but their last sentence.

    Args:
        engine: the writing model with the discriminator's adapter.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.token = engine.eos if engine.bos is None else engine.bos
        self._kept: deque[tuple[npt.NDArray[np.int64], Decoding]] = deque(maxlen=KEPT)

    def score(self, ids: Sequence[int]) -> float:
        """How much like a person's the last sentence of a document is, nats up to a constant.

        Args:
            ids: tokens of prompt and completion so far; what is longer than the model's context
                scores 0, for nothing is known of it.
        """
        if not 0 < len(ids) <= self.engine.context:
            return 0.0
        text = np.asarray(ids, dtype=np.int64)
        shared, base = 0, None
        for old, decoding in self._kept:
            n = _shared(old, text)
            if n == len(text) == len(old):
                return float(decoding.scores[0, self.token])
            if n > shared:
                shared, base = n, decoding
        shared = min(shared, len(text) - 1)
        if base is None or not shared:
            fresh = self.engine.start(ids, 1)
        else:
            fresh = base.fork(0, shared, ids[shared:], 1)
        self._kept.append((text, fresh))
        return float(fresh.scores[0, self.token])


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
    from fabula.engines.embedded import EmbeddedEngine

    return Discriminator(EmbeddedEngine.open(folder, adapter, str(adapter)))
