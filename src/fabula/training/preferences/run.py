"""A run on preferences: pairs from a file or of the model's own, learnt through trl."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

from fabula.errors import FabulaError
from fabula.story.files import write_atomic
from fabula.training import models, parallel
from fabula.training.doctor import gate
from fabula.training.documents import encode_documents
from fabula.training.handover import write_model
from fabula.training.packing import open_deck
from fabula.training.preferences.drawing import first_examples, held_out_examples
from fabula.training.preferences.pairs import Pair, drawn_pairs, parted, read_pairs, write_pairs
from fabula.training.preferences.stream import PairStream
from fabula.training.preferences.trainer import (
    Agreement,
    EncodedPair,
    HeldOutPairs,
    PreferenceTrainer,
)
from fabula.training.recipe import Preferences, Recipe, dump_recipe
from fabula.training.sitting import Announce, Outcome, checkpoint_of, sit, stop_signals, stopped
from fabula.training.tokenizer import TextTokenizer, open_tokenizer

HELD_OUT_FILE, PAIRS_FILE = "pairs-held-out.jsonl", "pairs.jsonl"


def train_preferences(
    recipe: Recipe, source: str, folder: Path, announce: Announce, doctor: bool = True
) -> Outcome[Agreement]:
    """Carry a recipe with preferences out, or go on with it.

    Args:
        source: folder or hub id of the base model.
        folder: of the run.
        doctor: refuse what the doctor refuses; else it is only told.

    Raises:
        FabulaError: no pairs, none that fit, or anything that makes the run impossible.
    """
    preferences = recipe.preferences
    assert preferences is not None
    tokenizer = open_tokenizer(source)
    gate.inputs(recipe, source, tokenizer, folder, announce, doctor)
    found = _pairs(recipe, preferences, source, folder, announce)
    if found is None:
        return stopped(folder)
    learnt, held_out = (_encode(pairs, tokenizer, recipe.sequence_length) for pairs in found)
    for pairs, fitting, what in zip(found, (learnt, held_out), ("", "held-out "), strict=True):
        if not fitting:
            raise FabulaError(
                f"None of {len(pairs)} {what}pairs fits a sequence_length of "
                f"{recipe.sequence_length} tokens; raise it."
                if pairs
                else f"There are no {what}pairs; give more of them, more stories, or a smaller "
                "preferences.margin."
            )
    last, counts = checkpoint_of(folder, announce)
    model = models.load_base(source, recipe)
    reference = None
    if recipe.method == "full":
        # Before a checkpoint is loaded into the model: the reference never learns.
        reference = copy.deepcopy(model).requires_grad_(False)
    else:
        model = models.add_adapter(model, recipe)
    if recipe.gradient_checkpointing:
        models.recompute_activations(model)
    if last is None:
        gate.pairs(recipe, learnt, len(found[0]), tokenizer, model, announce, doctor)
    announce.note(
        f"{recipe.name}: {recipe.method}, {len(learnt)} pairs of stories, {len(held_out)} held "
        f"out, {models.count(model)[0] / 1e6:.2f} M parameters that learn."
    )
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    pad, size = tokenizer.pad, recipe.micro_batch_size
    trainer, lines = sit(
        recipe=recipe,
        model=model,
        loss_of=None,
        stream=PairStream(learnt, size, pad, recipe.seed, counts.cursor),
        held_out=HeldOutPairs(held_out, pad, size),
        folder=folder,
        counts=counts,
        last=last,
        announce=announce,
        make=partial(PreferenceTrainer, preferences, tokenizer, reference),
    )
    final = write_model(recipe, model, tokenizer, folder) if trainer.finished else None
    first = next((line for line in lines if "eval_loss" in line), None)
    outcome = Outcome(
        folder=folder,
        model=final,
        finished=trainer.finished,
        before=Agreement.of(first) if first is not None else None,
        after=trainer.last_score[1] if trainer.last_score is not None else None,
        counts=counts,
        parameters=models.count(model),
    )
    if final is not None and parallel.world().first:
        text = _card(recipe, preferences, outcome, len(learnt))
        write_atomic(folder / "CARD.md", text)
        write_atomic(final / "CARD.md", text)
    return outcome


def _pairs(
    recipe: Recipe, preferences: Preferences, source: str, folder: Path, announce: Announce
) -> tuple[list[Pair], list[Pair]] | None:
    """(learnt, held out); None where drawing them was interrupted."""
    if preferences.pairs is not None:
        path = Path(preferences.pairs).expanduser()
        return parted(read_pairs(path), preferences.held_out)
    from fabula.engines import open_engine

    held_out = held_out_examples(recipe)
    learnt = first_examples(open_deck(recipe), preferences.stories)
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    engine = open_engine(source)
    with stop_signals() as asked:
        for examples, file in ((held_out, HELD_OUT_FILE), (learnt, PAIRS_FILE)):
            whole = write_pairs(
                engine,
                examples,
                preferences,
                folder / file,
                tick=lambda done, all_: announce.drawn("pairs", done, all_),
                stop=lambda: bool(asked),
            )
            if not whole:
                return None
    return drawn_pairs(folder / PAIRS_FILE), drawn_pairs(folder / HELD_OUT_FILE)


def _encode(pairs: list[Pair], tokenizer: TextTokenizer, most: int) -> list[EncodedPair]:
    """The pairs of which both stories fit."""
    found = []
    for pair in pairs:
        better, worse = encode_documents(
            tokenizer, [(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)]
        )
        start = sum(label < 0 for label in better[1])
        if max(len(better[0]), len(worse[0])) <= most:
            found.append(
                EncodedPair(pair.id, better[0][:start], better[0][start:], worse[0][start:])
            )
    return found


def _card(recipe: Recipe, preferences: Preferences, outcome: Outcome[Agreement], pairs: int) -> str:
    assert outcome.before is not None
    assert outcome.after is not None
    rows = [
        f"| {name} | {score.loss:.3f} | {score.accuracy:.1%} | {score.margin:.3f} |"
        for name, score in (("before", outcome.before), ("after", outcome.after))
    ]
    table = "\n".join(
        ["| held out | loss | better one preferred | margin |", "|---|--:|--:|--:|", *rows]
    )
    whence = (
        f"a file of pairs ({preferences.pairs})"
        if preferences.pairs is not None
        else f"its own stories for the briefs of {recipe.data[0].corpus}, ranked by their receipts"
    )
    return (
        f"# {recipe.name}\n\n{recipe.base_model}, tuned ({recipe.method}, {preferences.loss}, beta "
        f"{preferences.beta:g}) on {pairs} pairs of stories: {whence}.\n\n{table}\n\n"
        f"{outcome.after.documents} held-out pairs; before the first step model and reference are "
        f"the same, and no story is preferred. Learnt in {outcome.counts.step} steps "
        f"({outcome.counts.epochs:.2f} epochs, {outcome.counts.seconds / 60:.0f} minutes) by the "
        "`recipe.yaml` of this run. Whether it writes better is for `fabula evaluate` to say.\n"
    )
