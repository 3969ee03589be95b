"""Specimens: what a model in training writes, for the same briefs at every evaluation.

The model itself is asked, as it is at that moment, adapters in its layers; it writes the whole
completion (outline and passages) in the text format, all briefs side by side. Its mode, its
attention and torch's random numbers are afterwards as they were, so that training goes on as if
nothing had been written.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any

import torch
import yaml
from torch import nn

from fabula.errors import FabulaError
from fabula.reading.repetition import repetition
from fabula.story import Brief, render_brief
from fabula.story.format import parse_completion
from fabula.training.loss import base_of
from fabula.training.models import context_of, evaluating
from fabula.training.recipe import Specimens
from fabula.training.tokenizer import TextTokenizer
from fabula.writing.receipt import receipt

LEAST_ROOM = 16
"""Tokens of a story that are still worth writing."""
MOST_UNPACKED = 300_000_000
"""4-bit weights that are kept in full while a model writes: 1.2 GB."""


@dataclass(frozen=True)
class Specimen:
    """One story.

    Attributes:
        completion: all that was written, special tokens dropped.
        outline: its lines, if it wrote one.
        passages: (beat, text); one without a beat, where what was written is not in the format.
        words: of the passages.
        loop_rate: share of the text that lies in loops: runs of at least eight words that occur at
            least three times.
        wishes_kept: share of the brief's wishes that the text keeps.
        missed: the others.
        ended: whether it ended by itself.
        in_format: whether it is in the text format.
    """

    completion: str
    outline: list[str]
    passages: list[tuple[str, str]]
    words: int
    loop_rate: float
    wishes_kept: float
    missed: list[str]
    ended: bool
    in_format: bool

    @property
    def text(self) -> str:
        """The story alone."""
        return "\n\n".join(text for _, text in self.passages)


@cache
def own_briefs() -> tuple[Brief, ...]:
    """The three briefs that come with the package."""
    raw = (files("fabula.training") / "specimens.yaml").read_text(encoding="utf-8")
    return tuple(Brief.model_validate(brief) for brief in yaml.safe_load(raw))


def briefs_of(settings: Specimens) -> Sequence[Brief]:
    """What a recipe asks for."""
    return own_briefs() if settings.briefs is None else settings.briefs


def loop_rate(text: str) -> float:
    """Share of a text's characters that lie in loops, 0 to 1 (see `reading.repetition`)."""
    spans = sorted((s.start, s.end) for loop in repetition(text).loops for s in loop.spans)
    covered = end = 0
    for first, last in spans:
        covered += max(last - max(first, end), 0)
        end = max(end, last)
    return covered / max(len(text), 1)


def judged(brief: Brief, completion: str, ended: bool) -> Specimen:
    """What a completion is worth."""
    outline: list[str] = []
    passages: list[tuple[str, str]] = []
    try:
        _, planned, parts = parse_completion(completion)
        passages = [(part.beat, part.text) for part in parts]
        if planned is not None:
            outline = [f"{beat.beat}: {beat.summary}" for beat in planned.beats]
    except (FabulaError, ValueError):  # a beat without a name is no beat
        pass
    in_format = bool(passages)
    if not in_format:
        outline, passages = [], [("", completion.strip())]
    text = "\n\n".join(part for _, part in passages)
    wishes = receipt(brief, text).wishes
    return Specimen(
        completion=completion,
        outline=outline,
        passages=passages,
        words=len(re.findall(r"\w+", text)),
        loop_rate=loop_rate(text),
        wishes_kept=sum(wish.kept for wish in wishes) / max(len(wishes), 1),
        missed=[f"{wish.wish}: {wish.value}" for wish in wishes if not wish.kept],
        ended=ended,
        in_format=in_format,
    )


def means(specimens: Sequence[Specimen]) -> dict[str, float]:
    """The means over the specimens, as a line of metrics.jsonl has them."""
    count = len(specimens)
    return {
        "eval_loop_rate": round(sum(s.loop_rate for s in specimens) / count, 4),
        "eval_wishes_kept": round(sum(s.wishes_kept for s in specimens) / count, 4),
        "eval_ended": round(sum(s.ended for s in specimens) / count, 4),
        "eval_in_format": round(sum(s.in_format for s in specimens) / count, 4),
        "eval_words": round(sum(s.words for s in specimens) / count, 1),
    }


@contextmanager
def _as_it_writes(inner: Any, seed: int) -> Iterator[None]:
    """A model that can go on from its own keys and values; all as it was in the end.

    In training, attention knows documents packed into a row, and no keys of before.
    """
    trained_with = inner.config._attn_implementation
    dense = _unpacked(inner)
    here = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        inner.set_attn_implementation("sdpa")
        with (
            evaluating(inner),
            torch.random.fork_rng(devices=here),
            torch.compiler.set_stance("force_eager"),
        ):
            torch.manual_seed(seed)
            for layer, weight in dense:
                layer.forward = partial(_multiplied, weight, layer.bias)
            yield
    finally:
        for layer, _ in dense:
            vars(layer).pop("forward", None)  # the class's own again
        inner.set_attn_implementation(trained_with)


def _unpacked(inner: nn.Module) -> list[tuple[Any, torch.Tensor]]:
    """4-bit layers of a small model on a CPU with their weights in full.

    Unpacking them again for every token would take as long as all the rest.
    """
    # An adapter's own layers are called the same, and hold these.
    kept = [m for m in inner.modules() if not hasattr(m, "base_layer")]
    layers = [m for m in kept if type(getattr(m, "weight", None)).__name__ == "Params4bit"]
    weights: list[Any] = [layer.weight for layer in layers]
    size = sum(2 * weight.numel() for weight in weights)
    if not layers or size > MOST_UNPACKED or weights[0].device.type != "cpu":
        return []
    unpack: Any = importlib.import_module("bitsandbytes.functional").dequantize_4bit
    return [
        (layer, unpack(weight.data, weight.quant_state).float())
        for layer, weight in zip(layers, weights, strict=True)
    ]


def _multiplied(weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(x.to(weight.dtype), weight, bias).to(x.dtype)


def write_specimens(
    model: nn.Module, tokenizer: TextTokenizer, settings: Specimens, seed: int
) -> list[Specimen]:
    """Let a model write for each brief: one sample each, the same from the same weights.

    Args:
        model: the model in training, or its adapter over it.
        settings: of the recipe.

    Raises:
        FabulaError: the briefs leave no room in the model's context.
    """
    from transformers import GenerationConfig

    inner = base_of(model)
    device = next(inner.parameters()).device
    briefs = briefs_of(settings)
    begin = [] if tokenizer.bos is None else [tokenizer.bos]
    prompts = [begin + ids for ids in tokenizer.encode_batch([render_brief(b) for b in briefs])]
    width = max(map(len, prompts))
    context = context_of(inner.config)
    most = settings.tokens if context is None else min(settings.tokens, context - width)
    if most < LEAST_ROOM:
        raise FabulaError(
            f"the briefs take {width} of the {context} tokens that the model reads at once"
        )
    # Padded on the left, so that all go on from the same column.
    ids = torch.tensor([[tokenizer.pad] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=most,
        do_sample=True,
        temperature=settings.temperature,
        top_k=0,
        top_p=settings.top_p,
        min_p=settings.min_p or None,
        eos_token_id=tokenizer.eos,
        pad_token_id=tokenizer.pad,
        bos_token_id=tokenizer.bos,
        use_cache=True,
    )
    with _as_it_writes(inner, seed):
        rows = inner.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config
        )
    found = []
    for brief, row in zip(briefs, rows[:, width:].tolist(), strict=True):
        ended = tokenizer.eos in row
        told = row[: row.index(tokenizer.eos)] if ended else row
        found.append(judged(brief, tokenizer.decode(told), ended))
    return found
