"""A run: from a recipe to a folder with the model, its figures, its curve and its card."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from fabula.errors import FabulaError
from fabula.story.files import parse_data, read_text, validate, write_atomic
from fabula.training import adapters, checkpoint, loss, models, neftune, preflight
from fabula.training.card import write_card
from fabula.training.handover import write_model
from fabula.training.heldout import HeldOut, Score
from fabula.training.packing import Deck, Look, Stream, look, open_deck
from fabula.training.recipe import Recipe, dump_recipe
from fabula.training.sitting import Announce, Outcome, checkpoint_of, sit
from fabula.training.tokenizer import TextTokenizer, open_tokenizer, train_tokenizer


def train(
    recipe: Recipe, runs: Path, resume: bool, announce: Announce, force: bool = False
) -> Outcome[Any]:
    """Carry a recipe out, or go on with its run.

    Args:
        runs: the folder of all runs; this one's is `runs / recipe.name`.
        resume: go on with the run that is there.
        force: delete the run that is there first.

    Raises:
        FabulaError: anything that makes the run impossible, before time is spent.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise FabulaError(
            "Several training processes (WORLD_SIZE is more than 1) are not supported yet; start "
            "'fabula train' by itself, not through torchrun or accelerate."
        )
    folder = runs / recipe.name
    if force and not resume and (folder / "recipe.yaml").is_file():
        shutil.rmtree(folder)
    recipe = adapters.settle(models.choose_dtype(recipe))
    recipe = _prepare_folder(folder, recipe, resume)
    fresh = not (folder / "recipe.yaml").exists()
    try:
        return _train(recipe, folder, announce)
    except BaseException:
        # A run refused before its first step leaves nothing behind but what took time to draw.
        drawn = (*folder.glob("pairs*.jsonl"), *folder.glob("thumbs*.jsonl"))
        kept = any(f.stat().st_size for f in drawn)
        if fresh and not kept and not checkpoint.found(folder / "checkpoints"):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _prepare_folder(folder: Path, recipe: Recipe, resume: bool) -> Recipe:
    """Refuse a folder that is taken, or that does not belong to the recipe."""
    written = folder / "recipe.yaml"
    if not resume:
        if folder.exists() and any(folder.iterdir()):
            raise FabulaError(
                f"The run folder {folder} exists; go on with it by --resume, start over with "
                "--force, or give the run another --name."
            )
        return recipe
    if not written.is_file():
        raise FabulaError(f"There is no run to resume in {folder}; start it without --resume.")
    before = validate(Recipe, parse_data(read_text(written), str(written)), str(written))
    # What was measured at the start stays: another dtype would be another run.
    recipe = recipe.model_copy(update={"dtype": before.dtype})
    for key, value in recipe.resume_key.items():
        if before.resume_key[key] != value:
            raise FabulaError(
                f"{written} has another '{key}' than the recipe; a run is resumed with its own "
                "recipe (its limits, evaluation and checkpoints may change)."
            )
    return recipe


def _train(recipe: Recipe, folder: Path, announce: Announce) -> Outcome[Any]:
    from transformers import set_seed

    preflight.check_machine(recipe)
    # Before any weight is drawn, those of adapters too: equal seeds, equal runs.
    set_seed(recipe.seed)
    base = adapters.find_base(recipe.base_model) if recipe.base_model is not None else None
    source = base.source if base is not None else None
    if recipe.preferences is not None or recipe.picks is not None:
        assert base is not None
        assert source is not None
        _check_context(recipe, source)
        _make_folder(folder)
        if recipe.picks is not None:
            from fabula.training.picks.run import train_picks as tune
        else:
            # trl takes seconds to load, which no other run needs.
            from fabula.training.preferences.run import train_preferences as tune
        return tune(recipe, base, folder, announce)
    deck = open_deck(recipe)
    if source is not None:
        _check_context(recipe, source)
    _make_folder(folder)
    tokenizer = _tokenizer(recipe, source, deck, folder, announce)
    held_out = None
    if recipe.evaluation.max_documents:
        held_out = HeldOut(recipe, tokenizer, tokenizer.pad)
    last, counts = checkpoint_of(folder, announce)
    stream = Stream(deck, tokenizer, tokenizer.pad, recipe, counts.cursor)

    model = _model(recipe, source, tokenizer)
    if source is not None:
        preflight.check_base(model, tokenizer, source)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    seen = look(stream, vocabulary)
    _tell(seen, recipe, model, announce)
    loss_of = loss.choose(model, vocabulary)
    if recipe.method != "full":
        model = adapters.attach(model, recipe, base.adapter if base is not None else None)
        loss_of.inner = model.get_base_model()  # type: ignore[operator]
    if recipe.teacher is not None:
        loss_of.share = recipe.teacher.share
        loss_of.teachers = _teachers(recipe, tokenizer, vocabulary)
    if recipe.gradient_checkpointing:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    if recipe.neftune_alpha is not None:
        neftune.Noise(loss_of.inner, recipe.neftune_alpha)
    if recipe.compile:
        models.compile_layers(loss_of.inner)
    preflight.check_disk(folder, model, recipe)
    write_atomic(folder / "recipe.yaml", dump_recipe(recipe))
    trainer, lines = sit(recipe, model, loss_of, stream, held_out, folder, counts, last, announce)
    finished = trainer.finished
    before, after = _first_score(lines), trainer.last_score
    final = write_model(recipe, model, tokenizer, folder) if finished else None
    outcome = Outcome(
        folder=folder,
        model=final,
        finished=finished,
        before=before,
        after=after[1] if after is not None else None,
        counts=counts,
        parameters=models.count(model),
    )
    write_card(outcome, recipe, seen, deck, lines)
    return outcome


def _check_context(recipe: Recipe, source: str) -> None:
    context = models.context_of(models.read_config(source))
    if context is not None and recipe.sequence_length > context:
        raise FabulaError(
            f"sequence_length is {recipe.sequence_length}, but {source} reads at most {context} "
            "tokens; lower it."
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FabulaError(f"The run folder {folder} cannot be made: {error.strerror}.") from None


def _tokenizer(
    recipe: Recipe, source: str | None, deck: Deck, folder: Path, announce: Announce
) -> TextTokenizer:
    if source is not None:
        return preflight.own_tokenizer(source)
    assert recipe.init is not None
    if recipe.init.tokenizer != "train":
        return open_tokenizer(models.resolve(recipe.init.tokenizer))
    place = folder / "tokenizer"
    if not (place / "tokenizer.json").is_file():
        announce.note(f"Training a tokenizer of {recipe.init.vocab_size} tokens.")
        draft = folder / ".tokenizer"
        train_tokenizer(_all_texts(deck), recipe.init.vocab_size, recipe.init.context, draft)
        draft.rename(place)
    return open_tokenizer(str(place))


def _all_texts(deck: Deck) -> Iterator[str]:
    """Every document of the first epoch as it will be seen, new names among them."""
    for window in range(deck.windows(0)):
        for _, _, prompt, completion in deck.texts(0, window):
            yield prompt
            yield completion


def _model(recipe: Recipe, source: str | None, tokenizer: TextTokenizer) -> nn.Module:
    if source is not None:
        return models.load_base(source, recipe)
    assert recipe.init is not None
    vocabulary = max(tokenizer.vocabulary, recipe.init.vocab_size)
    return models.random_llama(recipe.init, vocabulary, tokenizer.bos, tokenizer.eos, tokenizer.pad)


def _teachers(recipe: Recipe, tokenizer: TextTokenizer, vocabulary: int) -> list[loss.LossOf]:
    """The recipe's teachers, frozen, where the training is.

    Raises:
        FabulaError: one has another tokenizer, or its loss cannot be fused.
    """
    assert recipe.teacher is not None
    found = []
    for name in recipe.teacher.models:
        source = models.resolve(name)
        if open_tokenizer(source).fingerprint != tokenizer.fingerprint:
            raise FabulaError(
                f"The teacher {name} has another tokenizer than the model that is trained; give "
                "init.tokenizer the teacher's folder."
            )
        teacher = models.load_base(source, recipe).requires_grad_(False)
        teacher = teacher.to(models.device()).eval()
        taught = loss.choose(teacher, vocabulary)
        if not taught.fused:
            raise FabulaError(f"The teacher {name} caps or scales its scores; choose another.")
        found.append(taught)
    return found


def _tell(seen: Look, recipe: Recipe, model: nn.Module, announce: Announce) -> None:
    _, total = models.count(model)
    announce.note(
        f"{recipe.name}: {recipe.method}, {total / 1e6:.1f} M parameters, {seen.stories} stories "
        f"an epoch, {seen.tokens:.0f} tokens each, {seen.learnt:.0%} of them learnt."
    )
    if seen.too_long:
        announce.note(
            f"{seen.too_long} of the first {seen.looked} stories are longer than a row of "
            f"{recipe.sequence_length} tokens (longest {seen.longest}) and are left out whole."
        )


def _first_score(lines: list[dict[str, Any]]) -> Score | None:
    first = next((line for line in lines if "eval_loss" in line), None)
    if first is None:
        return None
    return Score(
        loss=first["eval_loss"],
        bits_per_byte=first["eval_bits_per_byte"],
        word_perplexity=first["eval_word_perplexity"],
        documents=first["eval_documents"],
        left_out=0,
        by_corpus=first.get("eval_by_corpus", {}),
    )
