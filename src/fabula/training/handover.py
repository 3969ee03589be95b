"""The model that a run leaves: an adapter, or a whole model folder that engines can open."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fabula.errors import FabulaError
from fabula.training import parallel
from fabula.training.models import DTYPES, resolve
from fabula.training.recipe import Recipe
from fabula.training.tokenizer import TextTokenizer


def write_model(recipe: Recipe, model: nn.Module, tokenizer: TextTokenizer, folder: Path) -> Path:
    """Write `folder/final`, whole or not at all; return it.

    A full run's folder has the weights in `save_dtype`, and, for a Llama, the graphs by which it
    runs without torch.

    Raises:
        FabulaError: it cannot be written.
    """
    draft, final = folder / ".final", folder / "final"
    state = parallel.whole_state(model)
    if not parallel.world().first:
        parallel.wait()
        return final
    shutil.rmtree(draft, ignore_errors=True)
    inner: Any = model
    try:
        if recipe.method == "full":
            _make_whole(inner, recipe, tokenizer)
        if state is not None and recipe.method == "full" and recipe.save_dtype != "auto":
            state = {n: t.to(DTYPES[recipe.save_dtype]) for n, t in state.items()}
        inner.save_pretrained(str(draft), **({} if state is None else {"state_dict": state}))
        tokenizer.hf.save_pretrained(str(draft))
        if recipe.method == "full" and inner.config.model_type == "llama":
            from fabula.engines.graph import write_graph

            write_graph(draft)
        if recipe.method == "full":
            _write_names(recipe, draft)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
    except Exception as error:
        shutil.rmtree(draft, ignore_errors=True)
        # safetensors wraps the system's error in one of its own.
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            reason = getattr(error, "strerror", None) or str(error)
            raise FabulaError(
                f"The model cannot be written to {final} ({reason}); free some disk and go on with "
                "--resume."
            ) from None
        raise
    parallel.wait()
    return final


def _write_names(recipe: Recipe, draft: Path) -> None:
    """The names it has learnt to copy: the writer lends them to names that it cannot spell."""
    known = Path(resolve(recipe.base_model)) / "names.json" if recipe.base_model else None
    if recipe.augmentation.rename_characters:
        from fabula.corpus.names import POOLS

        (draft / "names.json").write_text(json.dumps(POOLS, indent=0) + "\n", "utf-8")
    elif known is not None and known.is_file():
        shutil.copyfile(known, draft / "names.json")


def _make_whole(model: Any, recipe: Recipe, tokenizer: TextTokenizer) -> None:
    from transformers import GenerationConfig

    if recipe.save_dtype != "auto" and not parallel.is_sharded(model):
        model.to(save_dtype(model, recipe))
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos,
        eos_token_id=tokenizer.eos,
        pad_token_id=tokenizer.pad,
        do_sample=True,
    )


def save_dtype(model: Any, recipe: Recipe) -> torch.dtype:
    """The dtype of the weights that a full run leaves."""
    dtype: torch.dtype = model.dtype
    return dtype if recipe.save_dtype == "auto" else DTYPES[recipe.save_dtype]
