"""A run: from a recipe to a folder with the model, its figures, its curve and its card."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from fabula.errors import FabulaError
from fabula.story.files import parse_data, read_text, validate, write_atomic
from fabula.training import (
    adapters,
    checkpoint,
    loss,
    memory,
    models,
    neftune,
    parallel,
    preflight,
)  # fmt: skip
from fabula.training.card import write_card
from fabula.training.doctor import gate
from fabula.training.handover import write_model
from fabula.training.heldout import HeldOut, Score
from fabula.training.kernels import use_liger
from fabula.training.packing import Deck, Look, Stream, look, open_deck
from fabula.training.recipe import Recipe, dump_recipe
from fabula.training.seeing import watched
from fabula.training.sitting import Announce, Log, Outcome, checkpoint_of, sit
from fabula.training.tokenizer import TextTokenizer, open_tokenizer, train_tokenizer
from fabula.training.trackers import check_trackers


def train(
    recipe: Recipe,
    runs: Path,
    resume: bool,
    announce: Announce,
    force: bool = False,
    doctor: bool = True,
) -> Outcome[Any]:
    """Carry a recipe out, or go on with its run.

    Args:
        runs: the folder of all runs; this one's is `runs / recipe.name`.
        resume: go on with the run that is there.
        force: delete the run that is there first.
        doctor: refuse what `fabula doctor` refuses; else it is only told.

    Raises:
        FabulaError: anything that makes the run impossible, before time is spent.
    """
    parallel.check_launcher()
    here = parallel.world()
    if parallel.launched_sharded():
        recipe = recipe.model_copy(update={"parallel": "fsdp"})
    _check_shares(recipe, here.size)
    parallel.join()
    check_trackers(recipe.report_to)
    folder = runs / recipe.name
    if here.first:
        if force and not resume and (folder / "recipe.yaml").is_file():
            shutil.rmtree(folder)
        recipe = adapters.settle(models.choose_dtype(recipe))
        recipe = _prepare_folder(folder, recipe, resume)
    else:
        announce = Announce()
    recipe = parallel.of_first(recipe)
    fresh = here.first and not (folder / "recipe.yaml").exists()
    if here.size > 1:
        how = "the model parted among them (FSDP2)" if recipe.parallel == "fsdp" else "DDP"
        announce.note(f"{here.size} processes, {how}.")
    try:
        with watched(announce, folder) as noted:
            return _train(recipe, folder, noted, doctor)
    except BaseException as error:
        # A run refused before its first step leaves nothing behind but what took time to draw.
        drawn = (*folder.glob("pairs*.jsonl"), *folder.glob("thumbs*.jsonl"))
        kept = any(f.stat().st_size for f in drawn)
        kept = kept or any("loss" in line for line in Log(folder / "metrics.jsonl", None).lines())
        if fresh and not kept and not checkpoint.found(folder / "checkpoints"):
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, Exception) and memory.is_out_of_memory(error):
            told = str(error).strip().splitlines()[0][:160]
            raise FabulaError(
                f"Memory does not hold {recipe.name}'s model and what it learns with ({told}); "
                "'fabula plan' says what fits."
            ) from None
        raise


def _check_shares(recipe: Recipe, size: int) -> None:
    """Refuse what several processes cannot do.

    Raises:
        FabulaError: the batch has no equal shares, or something needs whole weights.
    """
    if size == 1:
        return
    if recipe.accumulation % size:
        raise FabulaError(
            f"A batch of {recipe.batch_size} rows has {recipe.accumulation} micro-batches of "
            f"{recipe.micro_batch_size}, which {size} processes cannot share equally; change "
            "batch_size, micro_batch_size or the number of processes."
        )
    chosen = recipe.preferences
    if chosen is not None and chosen.file is None:
        raise FabulaError(
            "The model's own stories are drawn by one process; run it alone with --steps 1, and "
            "give what it leaves (pairs.jsonl, thumbs.jsonl) as preferences.pairs or thumbs."
        )
    if recipe.parallel != "fsdp":
        return
    without = {
        "preferences": recipe.preferences is not None,
        "picks": recipe.picks is not None,
        "compile": recipe.compile,
        f"optimiser.name: {recipe.optimiser.name}": recipe.optimiser.name != "adamw",
    }
    for what, asked in without.items():
        if asked:
            raise FabulaError(
                f"A model that is parted among processes (parallel: fsdp) does not go with {what}: "
                "each needs whole weights; set parallel: ddp, or change it."
            )


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


def _train(recipe: Recipe, folder: Path, announce: Announce, doctor: bool = True) -> Outcome[Any]:
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
        return tune(recipe, base, folder, announce, doctor)
    deck = open_deck(recipe)
    if source is not None:
        _check_context(recipe, source)
    _make_folder(folder)
    tokenizer = _tokenizer(recipe, source, deck, folder, announce)
    held_out = None
    if recipe.evaluation.max_documents:
        held_out = HeldOut(recipe, tokenizer, tokenizer.pad)
    last, counts = checkpoint_of(folder, announce)
    here = parallel.world()
    stream = Stream(deck, tokenizer, tokenizer.pad, recipe, counts.cursor)

    model = _model(recipe, source, tokenizer)
    if source is not None:
        preflight.check_base(model, tokenizer, source)
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    if recipe.kernels == "liger":
        use_liger(model.to(models.device()))
    seen = look(stream, vocabulary)
    _tell(seen, recipe, model, announce)
    loss_of = loss.choose(model, vocabulary)
    if recipe.method != "full":
        model = adapters.attach(model, recipe, base.adapter if base is not None else None)
        loss_of.adapted(model)
    if recipe.teacher is not None:
        loss_of.share = recipe.teacher.share
        loss_of.teachers = _teachers(recipe, tokenizer, vocabulary)
    if recipe.gradient_checkpointing:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    if recipe.neftune_alpha is not None:
        neftune.Noise(loss_of.inner, recipe.neftune_alpha)
    resumed = last is not None
    gate.stories(
        recipe, source, stream, tokenizer, model, loss_of, folder, announce, resumed, doctor
    )
    if recipe.compile:
        models.compile_layers(loss_of.inner)
    preflight.check_disk(folder, model, recipe)
    if here.size > 1 and recipe.parallel == "fsdp":
        parallel.shard(loss_of.inner, recipe.dtype == "bfloat16")
        loss_of.through_shards()
    if here.first:
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
    if here.first:
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
    if parallel.world().first and not (place / "tokenizer.json").is_file():
        announce.note(f"Training a tokenizer of {recipe.init.vocab_size} tokens.")
        draft = folder / ".tokenizer"
        train_tokenizer(_all_texts(deck), recipe.init.vocab_size, recipe.init.context, draft)
        draft.rename(place)
    parallel.wait()
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
