"""A run on picks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fabula.engines.digest import digest_file
from fabula.errors import FabulaError
from fabula.story.files import write_atomic
from fabula.training import adapters, models, parallel, preflight
from fabula.training.doctor import gate
from fabula.training.handover import write_model
from fabula.training.packing import Batch, check_ids
from fabula.training.picks import branches
from fabula.training.picks.branches import Branched
from fabula.training.picks.places import PickedStory, parted, read_picks
from fabula.training.picks.trainer import HeldOutPicks, PickStream, PickTrainer, Taste
from fabula.training.recipe import Blend, Picks, Recipe, dump_recipe
from fabula.training.sitting import Announce, Outcome, checkpoint_of, sit


def train_picks(
    recipe: Recipe, base: adapters.Base, folder: Path, announce: Announce, doctor: bool = True
) -> Outcome[Taste]:
    """Carry a recipe with picks out, or go on with it.

    Args:
        base: the model, and the adapter on it, that the run starts from.
        folder: of the run.
        doctor: refuse what the doctor refuses; else it is only told.

    Raises:
        FabulaError: no picks, none that fit, or anything that makes the run impossible.
    """
    picks = recipe.picks
    assert picks is not None
    paths = [Path(file).expanduser() for file in picks.files]
    stories, others = parted([s for path in paths for s in read_picks(path)], picks.held_out)
    tokenizer = preflight.own_tokenizer(base.source)
    parts = ([_fewer(story, picks) for story in stories], others)
    learnt, held_out = (
        [
            row
            for story in part
            for row in branches.encode(story, tokenizer, recipe.sequence_length, picks.row)
        ]
        for part in parts
    )
    for rows, what in ((learnt, "to learn from"), (held_out, "to hold out")):
        if not rows:
            raise FabulaError(
                f"{_named(picks)} no place {what} that fits a sequence_length of "
                f"{recipe.sequence_length} and a picks.row of {picks.row} tokens; give more "
                "stories, raise these, or change picks.held_out."
            )
    last, counts = checkpoint_of(folder, announce)
    _remember(paths, folder, resumed=last is not None)
    gate.inputs(recipe, base.source, tokenizer, folder, announce, doctor)
    model = models.load_base(base.source, recipe)
    preflight.check_base(model, tokenizer, base.source)
    # Opened now, so that what is wrong with it is said before time is spent.
    other = _other(recipe, picks.blend, model) if picks.blend is not None else {}
    rows = [*learnt, *held_out]
    check_ids(
        [ids for row in rows for ids in (row.trunk, *(b.ids for b in row.branches))],
        int(model.get_input_embeddings().weight.shape[0]),  # type: ignore[operator]
    )
    branches.prepare(model.to(models.device()), tokenizer.vocabulary)
    _without_dropout(model)
    reference: nn.Module | None = None
    if recipe.method == "full":
        # Before a checkpoint is loaded into the model: the reference never learns.
        reference = copy.deepcopy(model).requires_grad_(False).eval()
    else:
        model = adapters.attach(model, recipe, base.adapter)
        adapters.hold(model, adapters.snapshot(model) if base.adapter is not None else None)
    if recipe.gradient_checkpointing:
        models.recompute_activations(model)
    if last is None:
        shown = sum(len(story.places) for story in parts[0])
        left_out = (shown - sum(len(row.picks) for row in learnt), shown)
        gate.picks(recipe, learnt, left_out, tokenizer, model, announce, doctor)
    if recipe.compile:
        for each in (model, reference):
            if each is not None:
                models.compile_layers(each)
    places = [sum(len(row.picks) for row in rows) for rows in (learnt, held_out)]
    left = sum(len(story.places) for part in parts for story in part) - sum(places)
    announce.note(
        f"{recipe.name}: {recipe.method}, {places[0]:,} places of {len(learnt):,} stories, "
        f"{places[1]:,} places held out, {models.count(model)[0] / 1e6:.2f} M parameters that "
        f"learn.{f' {left:,} places do not fit and are left out.' if left else ''}"
    )
    preflight.check_disk(folder, model, recipe)
    if parallel.world().first:
        write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    trainer, lines = sit(
        recipe=recipe,
        model=model,
        loss_of=None,
        stream=PickStream(learnt, tokenizer.pad, recipe.seed, counts.cursor),
        held_out=HeldOutPicks(held_out, tokenizer.pad),
        folder=folder,
        counts=counts,
        last=last,
        announce=announce,
        make=partial(PickTrainer, picks, _told_by(reference, model)),
    )
    if trainer.finished and picks.blend is not None:
        _mix(model, other, picks.blend.share)
        trainer.last_score = None
        trainer.evaluate_held_out()
    if reference is None:
        adapters.hold(model, None)
    final = write_model(recipe, model, tokenizer, folder) if trainer.finished else None
    first = next((line for line in lines if "eval_loss" in line), None)
    outcome = Outcome(
        folder=folder,
        model=final,
        finished=trainer.finished,
        before=Taste.of(first) if first is not None else None,
        after=trainer.last_score[1] if trainer.last_score is not None else None,
        counts=counts,
        parameters=models.count(model),
    )
    if final is not None and parallel.world().first:
        text = _card(recipe, outcome, learnt, places[0])
        write_atomic(folder / "CARD.md", text)
        write_atomic(final / "CARD.md", text)
    return outcome


def _fewer(story: PickedStory, picks: Picks) -> PickedStory:
    """A story with as many candidates a place as are learnt from."""
    places = [place.fewer(picks.wrong, picks.rest) for place in story.places]
    # A place with one candidate left tells nothing.
    told = [place for place in places if len(place.candidates) > 1]
    return story.model_copy(update={"places": told})


def _named(picks: Picks) -> str:
    return f"{', '.join(picks.files)} {'has' if len(picks.files) == 1 else 'have'}"


def _remember(paths: list[Path], folder: Path, resumed: bool) -> None:
    """Note which picks a run learns from, or see that they are still the same.

    Raises:
        FabulaError: a file has changed since the run began.
    """
    digests, note = [digest_file(path) for path in paths], folder / "picks.sha256"
    if not resumed or not note.is_file():
        write_atomic(note, "".join(digest + "\n" for digest in digests))
        return
    before = note.read_text("utf-8").split()
    if len(before) != len(paths):
        raise FabulaError(
            f"This run began with {len(before)} files of picks, and the recipe has {len(paths)}; "
            "go on with those of that time, or start over with --force."
        )
    for path, digest, known in zip(paths, digests, before, strict=True):
        if digest != known:
            raise FabulaError(
                f"{path} has changed since this run began; go on with the file of that time, or "
                "start over with --force."
            )


def _other(recipe: Recipe, blend: Blend, model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that the learnt ones are averaged with.

    Raises:
        FabulaError: unreadable, or of another shape.
    """
    weights: dict[str, torch.Tensor] = models.load_base(
        models.resolve(blend.model), recipe
    ).state_dict()
    shapes = {name: t.shape for name, t in model.state_dict().items()}
    if {name: t.shape for name, t in weights.items()} != shapes:
        raise FabulaError(
            f"picks.blend.model: {blend.model} is of another shape than {recipe.base_model}; name "
            "an earlier model of the same line."
        )
    return weights


@torch.no_grad()
def _mix(model: nn.Module, other: dict[str, torch.Tensor], share: float) -> None:
    """Average a model's weights with others."""
    for name, parameter in model.named_parameters():
        parameter.lerp_(other[name].to(parameter), share)


def _without_dropout(model: nn.Module) -> None:
    """What the reference tells is without noise, and so has to be what is held against it."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def _told_by(reference: nn.Module | None, model: nn.Module) -> Callable[[Batch], torch.Tensor]:
    """What the base model makes of a row: a frozen copy, or the model without its adapter."""

    @torch.no_grad()
    def told(batch: Batch) -> torch.Tensor:
        if reference is not None:
            return branches.log_probabilities(reference, batch)
        with models.evaluating(model), adapters.as_reference(model):
            return branches.log_probabilities(model, batch)

    return told


def _card(recipe: Recipe, outcome: Outcome[Taste], learnt: list[Branched], places: int) -> str:
    assert outcome.before is not None
    assert outcome.after is not None
    rows = [
        f"| {name} | {taste.loss:.3f} | {taste.better:.1%} | {taste.best:.1%} | {taste.wrong:.1%} |"
        for name, taste in (("before", outcome.before), ("after", outcome.after))
    ]
    table = "\n".join(
        [
            "| held out | loss | best likelier than wrong | best likeliest of all | "
            "wrong likeliest of all |",
            "|---|--:|--:|--:|--:|",
            *rows,
        ]
    )
    assert recipe.picks is not None
    blend = recipe.picks.blend
    mixed = f", then averaged with {blend.share:.0%} of {blend.model}'s weights" if blend else ""
    return (
        f"# {recipe.name}\n\n{recipe.base_model}, tuned ({recipe.method}, beta "
        f"{recipe.picks.beta:g}) on what readers picked at {places:,} places of "
        f"{len({row.id for row in learnt}):,} stories ({', '.join(recipe.picks.files)}){mixed}."
        f"\n\n{table}\n\n"
        f"{outcome.after.documents:,} held-out places. Learnt in {outcome.counts.step} steps "
        f"({outcome.counts.epochs:.2f} epochs, {outcome.counts.seconds / 60:.0f} minutes) by the "
        "`recipe.yaml` of this run. Whether it writes better is for `fabula evaluate` to say.\n"
    )
