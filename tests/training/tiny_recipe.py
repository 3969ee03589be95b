"""A recipe for a few steps of a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCABULARY = 700
CONTEXT = 512


def recipe_data(corpus: Path, **changes: Any) -> dict[str, Any]:
    """A recipe for a few steps of a tiny model from random weights."""
    data: dict[str, Any] = {
        "name": "tiny",
        "init": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": VOCABULARY,
            "context": CONTEXT,
        },
        "data": [{"corpus": str(corpus)}],
        "augmentation": {"drop_tag": 0.3, "drop_outline": 0.2, "write_premise": 0.3},
        "sequence_length": CONTEXT,
        "micro_batch_size": 1,
        "batch_size": 2,
        "optimiser": {"learning_rate": 3e-3},
        "schedule": {"warmup": 0.0},
        "steps": 4,
        "evaluation": {"max_documents": 4},
        "dtype": "float32",
        "specimens": None,
    }
    if "base_model" in changes:
        del data["init"]
    return {**data, **changes}
