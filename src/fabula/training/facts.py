"""What is true of a run's machine, libraries, model and data: for its page."""

from __future__ import annotations

import importlib
import math
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fabula import __version__
from fabula.engines.hardware import memory_bytes
from fabula.training import models
from fabula.training.loss import base_of
from fabula.training.recipe import Recipe

LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "tokenizers")


def gather(recipe: Recipe, model: nn.Module, stream: Any, held_out: Any) -> dict[str, Any]:
    """What there is to tell before the first step.

    Args:
        stream: where the batches come from; of stories, its deck names its sources.
        held_out: what measures the model, or None.
    """
    learns, total = models.count(model)
    deck = getattr(stream, "deck", None)
    data = [
        {
            "corpus": examples.name,
            "stories": len(examples),
            "repeat": repeat,
            "licences": list(examples.licences),
        }
        for examples, repeat in (deck.sources if deck is not None else ())
    ]
    things = getattr(held_out, "documents", None) or getattr(held_out, "pairs", None) or ()
    return {
        "parameters": {"learn": learns, "all": total},
        "architecture": type(base_of(model)).__name__,
        "weights": recipe.dtype,
        "data": data,
        "held_out": len(things),
        "machine": machine(),
        "versions": versions(),
    }


def machine() -> dict[str, Any]:
    """This machine, in words and numbers."""
    memory = memory_bytes()
    found: dict[str, Any] = {
        "system": platform.platform(terse=True),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(memory / 1e9, 1) if math.isfinite(memory) else None,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["gpu"] = properties.name
        found["gpu_memory_gb"] = round(properties.total_memory / 1e9, 1)
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of what computes."""
    found = {"fabula": __version__, "Python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def memory_now() -> int:
    """Memory held at this moment in bytes: the GPU's where there is one; 0 where unknown."""
    if torch.cuda.is_available():
        return int(torch.cuda.memory_allocated())
    with suppress(ImportError, OSError):
        psutil: Any = importlib.import_module("psutil")  # comes with accelerate
        return int(psutil.Process().memory_info().rss)
    return 0
