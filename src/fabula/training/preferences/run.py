"""A run on preferences: pairs or thumbs, from a file or of the model's own, learnt through trl."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset

from fabula.errors import FabulaError
from fabula.story.files import write_atomic
from fabula.training import adapters, models, preflight
from fabula.training.documents import encode_documents
from fabula.training.handover import write_model
from fabula.training.kinds import PREFERENCES, THUMBS, Kind
from fabula.training.packing import Batch, Cursor, check_ids, open_deck
from fabula.training.preferences import thumb_trainer as kto
from fabula.training.preferences.drawing import first_examples, held_out_examples
from fabula.training.preferences.pairs import Pair, drawn_pairs, parted, read_pairs, write_pairs
from fabula.training.preferences.stream import PairStream
from fabula.training.preferences.thumbs import (
    Thumb,
    balance,
    drawn_thumbs,
    read_thumbs,
    write_thumbs,
)
from fabula.training.preferences.trainer import (
    Agreement,
    EncodedPair,
    HeldOutPairs,
    PreferenceTrainer,
)
from fabula.training.recipe import Preferences, Recipe, dump_recipe
from fabula.training.sitting import Announce, Outcome, checkpoint_of, sit, stop_signals, stopped
from fabula.training.tokenizer import TextTokenizer


@dataclass(frozen=True)
class Lesson:
    """What is learnt, and how.

    Attributes:
        kind: how its figures are told.
        learnt: how many of its things are learnt.
        held_out: those that are measured.
        stream: the micro-batches from a cursor on.
        make: the trainer, of the arguments of `Tuned`.
        figures: of the held-out ones, back from a line of metrics.jsonl.
        said: what is to be told of it beside.
    """

    kind: Kind
    learnt: int
    held_out: Any
    stream: Callable[[Cursor], IterableDataset[Batch]]
    make: Callable[..., Any]
    figures: Any
    said: str = ""


def train_preferences(
    recipe: Recipe, base: adapters.Base, folder: Path, announce: Announce
) -> Outcome[Any]:
    """Carry a recipe with preferences out, or go on with it.

    Args:
        base: the model, and the adapter on it, that the run starts from.
        folder: of the run.

    Raises:
        FabulaError: nothing to learn from, nothing that fits, or anything that makes the run
            impossible.
    """
    preferences = recipe.preferences
    assert preferences is not None
    tokenizer = preflight.own_tokenizer(base.source)
    teach = _thumbs if preferences.loss == "kto" else _pairs
    lesson = teach(recipe, preferences, tokenizer, base, folder, announce)
    if lesson is None:
        return stopped(folder)
    last, counts = checkpoint_of(folder, announce)
    model = models.load_base(base.source, recipe)
    preflight.check_base(model, tokenizer, base.source)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    for batch in lesson.held_out.batches():
        check_ids(batch["input_ids"].tolist(), vocabulary)
    reference = start = None
    if recipe.method == "full":
        # Before a checkpoint is loaded into the model: the reference never learns.
        reference = copy.deepcopy(model).requires_grad_(False)
    else:
        model = adapters.attach(model, recipe, base.adapter)
        start = adapters.snapshot(model) if base.adapter is not None else None
    if recipe.gradient_checkpointing:
        models.recompute_activations(model)
    things = lesson.kind.things
    announce.note(
        f"{recipe.name}: {recipe.method}, {lesson.learnt} {things} of stories, "
        f"{lesson.held_out.count} held out, {models.count(model)[0] / 1e6:.2f} M parameters that "
        f"learn.{lesson.said}"
    )
    preflight.check_disk(folder, model, recipe)
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    trainer, lines = sit(
        recipe=recipe,
        model=model,
        loss_of=None,
        stream=lesson.stream(counts.cursor),
        held_out=lesson.held_out,
        folder=folder,
        counts=counts,
        last=last,
        announce=announce,
        make=partial(lesson.make, preferences, tokenizer, reference, start),
    )
    if reference is None:
        adapters.hold(model, None)
    final = write_model(recipe, model, tokenizer, folder) if trainer.finished else None
    first = next((line for line in lines if "eval_loss" in line), None)
    outcome = Outcome(
        folder=folder,
        model=final,
        finished=trainer.finished,
        before=lesson.figures.of(first) if first is not None else None,
        after=trainer.last_score[1] if trainer.last_score is not None else None,
        counts=counts,
        parameters=models.count(model),
    )
    if final is not None:
        text = _card(recipe, preferences, outcome, lesson)
        write_atomic(folder / "CARD.md", text)
        write_atomic(final / "CARD.md", text)
    return outcome


def _pairs(
    recipe: Recipe,
    preferences: Preferences,
    tokenizer: TextTokenizer,
    base: adapters.Base,
    folder: Path,
    announce: Announce,
) -> Lesson | None:
    """The lesson of a recipe with pairs; None where drawing them was interrupted."""
    if preferences.pairs is not None:
        path = Path(preferences.pairs).expanduser()
        found = parted(read_pairs(path), preferences.held_out)
    elif _draw(recipe, preferences, base, folder, announce, write_pairs, "pairs"):
        found = drawn_pairs(folder / "pairs.jsonl"), drawn_pairs(folder / "pairs-held-out.jsonl")
    else:
        return None
    learnt, held_out = (_encode_pairs(p, tokenizer, recipe.sequence_length) for p in found)
    _check(recipe, found, (learnt, held_out), "pairs")
    pad, size = tokenizer.pad, recipe.micro_batch_size
    return Lesson(
        kind=PREFERENCES,
        learnt=len(learnt),
        held_out=HeldOutPairs(held_out, pad, size),
        stream=lambda start: PairStream(learnt, size, pad, recipe.seed, start),
        make=PreferenceTrainer,
        figures=Agreement,
    )


def _thumbs(
    recipe: Recipe,
    preferences: Preferences,
    tokenizer: TextTokenizer,
    base: adapters.Base,
    folder: Path,
    announce: Announce,
) -> Lesson | None:
    """The lesson of a recipe with thumbs; None where drawing them was interrupted."""
    if preferences.file is not None:
        path = Path(preferences.file).expanduser()
        found = parted(read_thumbs(path), preferences.held_out)
    elif _draw(recipe, preferences, base, folder, announce, write_thumbs, "thumbs"):
        found = (
            drawn_thumbs(folder / "thumbs.jsonl"),
            drawn_thumbs(folder / "thumbs-held-out.jsonl"),
        )
    else:
        return None
    most = recipe.sequence_length
    learnt, held_out = (_encode_thumbs(thumbs, tokenizer, most) for thumbs in found)
    _check(recipe, found, (learnt, held_out), "thumbs")
    for thumbs, what in ((learnt, ""), (held_out, "held-out ")):
        up = sum(thumb.label for thumb in thumbs)
        if not 0 < up < len(thumbs):
            raise FabulaError(
                f"All {len(thumbs)} {what}thumbs are {'up' if up else 'down'}; KTO needs some of "
                "either, in what is learnt and in what is held out."
            )
        if all(thumb.prompt == thumbs[0].prompt for thumb in thumbs):
            raise FabulaError(
                f"All {len(thumbs)} {what}thumbs are of one brief; KTO compares stories of several."
            )
    ups = sum(thumb.label for thumb in learnt)
    weights = balance(ups, len(learnt) - ups, preferences)
    pad, size = tokenizer.pad, recipe.micro_batch_size
    return Lesson(
        kind=THUMBS,
        learnt=len(learnt),
        held_out=kto.HeldOutThumbs(held_out, pad, size, most),
        stream=lambda start: kto.ThumbStream(learnt, size, most, pad, recipe.seed, start),
        make=partial(kto.ThumbTrainer, weights),
        figures=kto.Verdict,
        said=f" {ups} thumbs up weigh {weights[0]:.3g} each, {len(learnt) - ups} down "
        f"{weights[1]:.3g}.",
    )


def _draw(
    recipe: Recipe,
    preferences: Preferences,
    base: adapters.Base,
    folder: Path,
    announce: Announce,
    write: Callable[..., bool],
    what: str,
) -> bool:
    """Let the base model write what is learnt and what is held out; False where interrupted."""
    from fabula.engines import open_engine

    held_out = held_out_examples(recipe)
    learnt = first_examples(open_deck(recipe), preferences.stories)
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    engine = open_engine(base.source if base.adapter is None else base.adapter)
    with stop_signals() as asked:
        return all(
            write(
                engine,
                examples,
                preferences,
                folder / file,
                tick=lambda done, all_: announce.drawn(what, done, all_),
                stop=lambda: bool(asked),
            )
            for examples, file in (
                (held_out, f"{what}-held-out.jsonl"),
                (learnt, f"{what}.jsonl"),
            )
        )


def _check(
    recipe: Recipe, found: tuple[Sequence[Any], ...], fitting: tuple[Sequence[Any], ...], what: str
) -> None:
    """Refuse where nothing is left to learn, or to hold out."""
    for all_, fit, which in zip(found, fitting, ("", "held-out "), strict=True):
        if not fit:
            raise FabulaError(
                f"None of {len(all_)} {which}{what} fits a sequence_length of "
                f"{recipe.sequence_length} tokens; raise it."
                if all_
                else f"There are no {which}{what}; give more of them, more stories, or a smaller "
                "preferences.margin."
            )


def _encode_pairs(pairs: list[Pair], tokenizer: TextTokenizer, most: int) -> list[EncodedPair]:
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


def _encode_thumbs(
    thumbs: list[Thumb], tokenizer: TextTokenizer, most: int
) -> list[kto.EncodedThumb]:
    """The thumbs whose story fits."""
    texts = [(thumb.prompt, thumb.completion) for thumb in thumbs]
    found = []
    encoded = encode_documents(tokenizer, texts) if texts else []
    for thumb, (ids, labels) in zip(thumbs, encoded, strict=True):
        start = sum(label < 0 for label in labels)
        if len(ids) <= most:
            found.append(kto.EncodedThumb(thumb.id, ids[:start], ids[start:], thumb.label))
    return found


def _card(recipe: Recipe, preferences: Preferences, outcome: Outcome[Any], lesson: Lesson) -> str:
    kind, before, after = lesson.kind, outcome.before, outcome.after
    assert before is not None
    assert after is not None
    table = "\n".join(
        [
            "| held out | before | after |",
            "|---|--:|--:|",
            *(
                f"| {label} | {getattr(before, key):.3f} | {getattr(after, key):.3f} |"
                for label, key in kind.rows
            ),
        ]
    )
    whence = (
        f"a file ({preferences.file})"
        if preferences.file is not None
        else f"its own stories for the briefs of {recipe.data[0].corpus}, ranked by their receipts"
    )
    return (
        f"# {recipe.name}\n\n{recipe.base_model}, tuned ({recipe.method}, {preferences.loss}, beta "
        f"{preferences.beta:g}) on {lesson.learnt} {kind.things} of stories: {whence}."
        f"{lesson.said}\n\n{table}\n\n"
        f"{after.documents} held-out {kind.things}; before the first step model and reference are "
        f"the same, and no story is preferred. Learnt in {outcome.counts.step} steps "
        f"({outcome.counts.epochs:.2f} epochs, {outcome.counts.seconds / 60:.0f} minutes) by the "
        "`recipe.yaml` of this run. Whether it writes better is for `fabula evaluate` to say.\n"
    )
