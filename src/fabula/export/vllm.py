"""The commands that serve a model by vLLM, merged or as an adapter beside its base."""

from __future__ import annotations

import shlex
from typing import Any

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank of an adapter."""


def merged_command(folder: str, name: str, dtype: str, context: int) -> str:
    """Serve a merged folder.

    Args:
        folder: where it is.
        name: that requests give as `model`.
        dtype: of its weights.
        context: tokens.
    """
    words = ["vllm", "serve", folder, "--served-model-name", name, "--dtype", dtype]
    return shlex.join([*words, "--max-model-len", str(context)])


def adapter_command(
    base: str, folder: str, name: str, adapter: dict[str, Any], context: int
) -> tuple[str | None, str | None]:
    """Serve an adapter beside its base, unmerged.

    Args:
        base: folder or hub id.
        folder: of the adapter.
        adapter: its adapter_config.json.

    Returns:
        the command, or None where vLLM does not serve such an adapter; and why not.
    """
    rank = max([int(adapter.get("r") or 0), *(adapter.get("rank_pattern") or {}).values()])
    for key, what in (("use_dora", "DoRA"), ("modules_to_save", "whole modules beside the LoRA")):
        if adapter.get(key):
            return None, f"vLLM does not serve {what} unmerged: serve the merged folder."
    largest = next((r for r in RANKS if r >= rank), None)
    if largest is None:
        return (
            None,
            f"vLLM serves ranks up to {RANKS[-1]}, this has {rank}: serve the merged folder.",
        )
    words = ["vllm", "serve", base, "--enable-lora", "--lora-modules", f"{name}={folder}"]
    words += ["--max-lora-rank", str(largest), "--max-model-len", str(context)]
    return shlex.join(words), None
