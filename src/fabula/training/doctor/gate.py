"""Inside `fabula train`: the cheap checks, made once before the first step.

What forbids a run is raised with the sentence that `fabula doctor` says; what may be meant so is
told. With `doctor: false` (`--no-doctor`) both are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fabula.errors import FabulaError
from fabula.training.doctor import data, documents, measured, settings, spelling, texts
from fabula.training.doctor.findings import Finding
from fabula.training.doctor.stamp import check_stamp, stamp, write_stamp
from fabula.training.doctor.texts import Seen
from fabula.training.loss import LossOf
from fabula.training.packing import Cursor, Stream, collate
from fabula.training.recipe import Recipe
from fabula.training.sitting import Announce
from fabula.training.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from fabula.training.picks.branches import Branched
    from fabula.training.preferences.thumb_trainer import EncodedThumb
    from fabula.training.preferences.trainer import EncodedPair

TEXTS = 32
"""Texts whose spelling is looked at."""
TOKENS = 512
"""Tokens through which gradients are sent, unless a single text has more."""


def settle(findings: Sequence[Finding | None], announce: Announce, strict: bool) -> None:
    """Tell what is to be warned of, and raise the first thing that forbids the run.

    Raises:
        FabulaError: there is one, and `strict`.
    """
    for finding in findings:
        if finding is None or finding.verdict not in ("warning", "refused"):
            continue
        if finding.verdict == "refused" and strict:
            raise FabulaError(finding.sentence)
        announce.note(f"Doctor: {finding.sentence}")


def inputs(
    recipe: Recipe,
    source: str | None,
    tokenizer: TextTokenizer,
    folder: Path,
    announce: Announce,
    strict: bool = True,
) -> None:
    """See that what the run keeps belongs to its inputs, or note these where it begins.

    Raises:
        FabulaError: they are others than when the run began.
    """
    now = stamp(recipe, source, tokenizer)
    settle([check_stamp(folder, lambda: now)], announce, strict)
    write_stamp(folder, now)


def stories(
    recipe: Recipe,
    source: str | None,
    stream: Stream,
    tokenizer: TextTokenizer,
    model: nn.Module,
    loss_of: LossOf,
    folder: Path,
    announce: Announce,
    resumed: bool,
    strict: bool = True,
) -> None:
    """All cheap checks of a run on stories; going on, only whether its inputs are the same.

    Args:
        stream: of the run, wherever it stands.
        model: as it will learn, its adapter in it, but not yet compiled.

    Raises:
        FabulaError: one forbids the run.
    """
    inputs(recipe, source, tokenizer, folder, announce, strict)
    if resumed:
        return
    first = Stream(stream.deck, tokenizer, tokenizer.pad, recipe, Cursor())
    batches, told, dropped = texts.stories(first, tokenizer)
    seen = [text for batch in batches for text in batch]
    found: list[Finding | None] = [
        settings.check_dtype(recipe),
        *data.check_manifests(recipe),
        *data.check_splits(recipe, stories=False),
        *spelling.check_tokenizer(tokenizer, told[:TEXTS], _rows(model)),
        *documents.check_texts(batches, tokenizer, recipe.loss_on_prompt),
        documents.check_endings(dropped, len(seen) + dropped, recipe.sequence_length),
    ]
    settle(found, announce, strict)
    if recipe.method != "full":
        small = measured.short([t.as_document() for t in seen], 2, TOKENS)
        batch = measured.place(collate([small], tokenizer.pad, 0.0), _placed(model))
        settle([measured.check_gradients(model, lambda: loss_of(batch), recipe)], announce, strict)


def judged(
    recipe: Recipe,
    learnt: Sequence[EncodedPair] | Sequence[EncodedThumb],
    given: int,
    tokenizer: TextTokenizer,
    model: nn.Module,
    announce: Announce,
    strict: bool = True,
) -> None:
    """All cheap checks of a run on pairs or thumbs.

    Args:
        learnt: those that fit, of `given`.
        model: as it will learn.

    Raises:
        FabulaError: one forbids the run.
    """
    seen = texts.judged(learnt, tokenizer.pad)
    what = "thumbs" if recipe.preferences and recipe.preferences.loss == "kto" else "pairs"
    found = [
        settings.check_dtype(recipe),
        *data.check_manifests(recipe),
        *_of_tokens(seen, tokenizer, _rows(model)),
        documents.check_endings(given - len(learnt), given, recipe.sequence_length, what=what),
    ]
    settle(found, announce, strict)
    if recipe.method != "full":
        shortest = min(seen, key=len)
        _placed(model)
        finding = measured.check_gradients(
            model, lambda: measured.plain_loss(model, shortest), recipe
        )
        settle([finding], announce, strict)


def picks(
    recipe: Recipe,
    learnt: Sequence[Branched],
    left_out: tuple[int, int],
    tokenizer: TextTokenizer,
    model: nn.Module,
    announce: Announce,
    strict: bool = True,
) -> None:
    """All cheap checks of a run on picks.

    Args:
        learnt: rows.
        left_out: places that do not fit, of how many.
        model: as it will learn, with the attention of branches.

    Raises:
        FabulaError: one forbids the run.
    """
    seen = texts.picks(learnt[:TEXTS])
    found = [
        settings.check_dtype(recipe),
        *_of_tokens(seen, tokenizer, _rows(model)),
        documents.check_endings(*left_out, recipe.sequence_length, what="places"),
    ]
    settle(found, announce, strict)
    if recipe.method != "full":
        settle([gradients_of_picks(recipe, learnt, tokenizer, model)], announce, strict)


def gradients_of_picks(
    recipe: Recipe, rows: Sequence[Branched], tokenizer: TextTokenizer, model: nn.Module
) -> Finding:
    """Who learns from the candidates of one row."""
    from fabula.training.picks import branches

    batch = branches.collate(min(rows, key=len), tokenizer.pad)
    placed = measured.place(batch, _placed(model))
    return measured.check_gradients(
        model, lambda: -branches.log_probabilities(model, placed).sum(), recipe
    )


def _of_tokens(
    seen: Sequence[Seen], tokenizer: TextTokenizer, vocabulary: int | None
) -> list[Finding]:
    told = [tokenizer.decode(text.ids) for text in seen[:TEXTS]]
    return [
        *spelling.check_tokenizer(tokenizer, told, vocabulary),
        *documents.check_texts([seen], tokenizer, 0.0),
    ]


def _rows(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _placed(model: Any) -> nn.Module:
    """The model where it will train; 4-bit weights are there."""
    from fabula.training import models

    if not getattr(model, "is_loaded_in_4bit", False):
        model.to(models.device())
    placed: nn.Module = model
    return placed
