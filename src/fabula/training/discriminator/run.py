"""A run that trains a discriminator: draw rivals, learn to tell them, write the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from fabula.corpus.augment import Example
from fabula.errors import FabulaError
from fabula.story.files import write_atomic
from fabula.training import models
from fabula.training.discriminator.contest import (
    ContestLoss,
    ContestStream,
    HeldOutContests,
    Verdict,
)
from fabula.training.discriminator.rivals import Contest, read_rivals, write_rivals
from fabula.training.handover import write_final
from fabula.training.heldout import held_out_rows
from fabula.training.packing import Deck
from fabula.training.recipe import Recipe, dump_recipe
from fabula.training.sitting import Announce, Outcome, checkpoint_of, sit, stop_signals, stopped
from fabula.training.tokenizer import open_tokenizer

HELD_OUT_FILE, RIVALS_FILE = "rivals-held-out.jsonl", "rivals.jsonl"
READ_AT_ONCE = 256


def train_discriminator(
    recipe: Recipe, source: str, deck: Deck, folder: Path, announce: Announce
) -> Outcome[Verdict]:
    """Carry a discriminator's recipe out, or go on with it.

    Args:
        source: folder or hub id of the base model.
        deck: the recipe's data, opened.
        folder: of the run.

    Raises:
        FabulaError: no held-out stories, no rivals, or anything that makes the run impossible.
    """
    assert recipe.discriminator is not None
    held_out = _held_out(recipe)
    examples = _examples(deck, recipe.discriminator.stories)
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    for number, (chosen, file) in enumerate(((held_out, HELD_OUT_FILE), (examples, RIVALS_FILE))):
        if not _draw(recipe, source, chosen, folder / file, announce, "held-out " * (not number)):
            return stopped(folder)
    contests, judged = read_rivals(folder / RIVALS_FILE), read_rivals(folder / HELD_OUT_FILE)
    for found, what in ((contests, "stories"), (judged, "held-out stories")):
        if not found:
            raise FabulaError(
                f"None of the {what} fits a sequence_length of {recipe.sequence_length} tokens; "
                "raise it."
            )
    last, counts = checkpoint_of(folder, announce)
    tokenizer = open_tokenizer(source)
    model = models.add_adapter(models.load_base(source, recipe), recipe)
    token = tokenizer.eos if tokenizer.bos is None else tokenizer.bos
    loss_of = ContestLoss(model, token)
    announce.note(
        f"{recipe.name}: {len(contests)} stories with {_count(contests)} rivals, "
        f"{models.count(model)[0] / 1e6:.2f} M parameters to tell them by."
    )
    trainer, lines = sit(
        recipe=recipe,
        model=model,
        loss_of=loss_of,
        stream=ContestStream(contests, tokenizer.pad, recipe.seed, counts.cursor),
        held_out=HeldOutContests(judged, tokenizer.pad),
        folder=folder,
        counts=counts,
        last=last,
        announce=announce,
    )
    final = _write_adapter(model, folder) if trainer.finished else None
    first = next((line for line in lines if "eval_loss" in line), None)
    outcome = Outcome(
        folder=folder,
        model=final,
        finished=trainer.finished,
        before=Verdict.of(first) if first is not None else None,
        after=trainer.last_score[1] if trainer.last_score is not None else None,
        counts=counts,
        parameters=models.count(model),
    )
    if final is not None:
        text = _card(recipe, outcome, contests)
        write_atomic(folder / "CARD.md", text)
        write_atomic(final / "CARD.md", text)
    return outcome


def _count(contests: list[Contest]) -> str:
    return f"{sum(len(spot.rivals) for c in contests for spot in c.spots):,}"


def _examples(deck: Deck, most: int | None) -> list[Example]:
    """The stories of the first epoch, in its order."""
    order = deck.order(0)[:most]
    found: dict[tuple[int, int], Example] = {}
    for number, (examples, _) in enumerate(deck.sources):
        rows = sorted({row for source, row in order if source == number})
        for start in range(0, len(rows), READ_AT_ONCE):
            part = rows[start : start + READ_AT_ONCE]
            read = examples.read(part)
            found.update({(number, r): e for r, e in zip(part, read, strict=True)})
    return [found[place] for place in order]


def _held_out(recipe: Recipe) -> list[Example]:
    """The stories that are held out and measured."""
    if not recipe.evaluation.max_documents:
        raise FabulaError(
            "A discriminator that is not measured is worth nothing: give evaluation.max_documents."
        )
    return [e for examples, rows in held_out_rows(recipe) for e in examples.read(rows)]


def _draw(
    recipe: Recipe,
    source: str,
    examples: list[Example],
    path: Path,
    announce: Announce,
    what: str,
) -> bool:
    from fabula.engines import open_engine

    with stop_signals() as asked:
        return write_rivals(
            open_engine(source),
            examples,
            recipe,
            path,
            tick=lambda done, all_: announce.drawn(f"{what}rivals", done, all_),
            stop=lambda: bool(asked),
        )


def _write_adapter(model: nn.Module, folder: Path) -> Path:
    """Write the adapter alone, in float16, to `folder/final`, whole or not at all; return it.

    Raises:
        FabulaError: it cannot be written.
    """

    def fill(draft: Path) -> None:
        inner: Any = model
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.half()
        inner.save_pretrained(str(draft))
        (draft / "README.md").unlink(missing_ok=True)  # PEFT's empty card

    return write_final(folder, fill)


def _card(recipe: Recipe, outcome: Outcome[Verdict], contests: list[Contest]) -> str:
    assert outcome.before is not None
    assert outcome.after is not None
    rows = [
        f"| {name} | {v.loss:.3f} | {v.pairs:.1%} | {v.first:.1%} |"
        for name, v in (("before", outcome.before), ("after", outcome.after))
    ]
    table = "\n".join(
        ["| held out | nats a place | rivals told | right one first |", "|---|--:|--:|--:|", *rows]
    )
    return (
        f"# {recipe.name}\n\nA discriminator for {recipe.base_model}: a LoRA adapter (rank "
        f"{recipe.lora.r}) that tells the sentences of people from those that the model draws at "
        "the same places. In a folder `discriminator` beside the model's weights it helps `fabula "
        f"write` to choose.\n\n{table}\n\n{outcome.after.places} places of "
        f"{outcome.after.documents} held-out stories; by chance the right one is first in "
        f"{outcome.after.chance:.1%}. Learnt in {outcome.counts.step} steps "
        f"({outcome.counts.epochs:.2f} epochs, {outcome.counts.seconds / 60:.0f} minutes) from "
        f"{len(contests)} stories and {_count(contests)} rivals, by the `recipe.yaml` of this "
        "run.\n"
    )
