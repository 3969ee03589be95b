"""How likely a model holds the end of the document where a story ends."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fabula.engines.protocol import Engine
from fabula.story import Brief, Outline, Passage, render_brief, render_completion


def end_probability(
    engine: Engine, brief: Brief, outline: Outline | None, passages: Sequence[Passage]
) -> float | None:
    """Probability, 0 to 1, that the document ends right behind these passages.

    Asked behind the brief, the outline and the passages in the one text format, as the model
    was trained. None where they do not fit the context.
    """
    prefix = ([] if engine.bos is None else [engine.bos]) + engine.encode(render_brief(brief))
    ids = engine.encode(render_completion(outline, list(passages)))
    if len(prefix) + len(ids) + 1 > engine.context or not ids:
        return None
    (log,) = engine.log_probabilities([*prefix, *ids], [[engine.eos]])
    return math.exp(float(log[0]))
