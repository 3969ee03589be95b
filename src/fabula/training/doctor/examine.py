"""The examination: every check of a recipe, and the batch that is shown; nothing is trained."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from fabula.errors import FabulaError
from fabula.training import adapters, loss, models
from fabula.training.doctor import data, documents, gate, measured, settings, spelling
from fabula.training.doctor.findings import Finding, refusals, refused, skipped
from fabula.training.doctor.material import Material, gather
from fabula.training.doctor.stamp import check_stamp, stamp
from fabula.training.doctor.texts import Seen
from fabula.training.packing import collate, open_deck
from fabula.training.recipe import Recipe
from fabula.training.sitting import Announce
from fabula.training.tokenizer import TextTokenizer

TEXTS = 128
"""Texts whose spelling is looked at."""
TOKENS = 1024
"""Tokens of the texts that a measurement takes, unless a single one has more."""
MEASURED = ("first loss", "packing", "accumulation", "gradients")
"""What needs weights."""


@dataclass
class Examination:
    """What the doctor found.

    Attributes:
        recipe: with its dtype decided.
        kind: stories, pairs or picks.
        findings: of all checks, in order.
        batch: the texts of one micro-batch.
        tokenizer: by which they are shown, if there is one.
        vocabulary: tokens that the weights know.
    """

    recipe: Recipe
    kind: str
    findings: list[Finding] = field(default_factory=list)
    batch: list[Seen] = field(default_factory=list)
    tokenizer: TextTokenizer | None = None
    vocabulary: int | None = None

    @property
    def refused(self) -> bool:
        """Whether the run would be refused."""
        return bool(refusals(self.findings))


def examine(recipe: Recipe, runs: Path, announce: Announce) -> Examination:
    """Make every check that can be made here.

    Args:
        runs: the folder of all runs; what one of this name keeps is looked at.

    Raises:
        FabulaError: the data cannot be read.
    """
    kind = "pairs" if recipe.preferences else "picks" if recipe.picks else "stories"
    safe = settings.check_dtype(recipe)
    if safe.verdict != "refused":
        recipe = models.choose_dtype(recipe)
        safe = settings.check_dtype(recipe)
    told = Examination(recipe, kind, [safe])
    if recipe.data:
        open_deck(recipe)
    told.findings += data.check_manifests(recipe)
    announce.note("Looking at the data.")
    told.findings += data.check_splits(recipe)
    source, config, why = _base(recipe)
    with tempfile.TemporaryDirectory() as draft:
        tokenizer = _tokenizer(recipe, source, runs, Path(draft), announce, why)
        if isinstance(tokenizer, FabulaError):
            told.findings.append(skipped("tokenizer", str(tokenizer)))
            names = ("labels", "bos", "eos", "prompt", "endings", "schedule", *MEASURED)
            told.findings += [skipped(name, "there is no tokenizer") for name in names]
            return told
        told.tokenizer = tokenizer
        _examine(told, source, config, why, runs / recipe.name, announce)
    return told


def _base(recipe: Recipe) -> tuple[str | None, Any, str]:
    """(folder or hub id, its config, why it cannot be had)."""
    if recipe.base_model is None:
        return None, None, ""
    source: str | None = None
    try:
        source = adapters.find_base(recipe.base_model).source
        return source, models.read_config(source), ""
    except FabulaError as error:
        return source, None, str(error)


def _tokenizer(
    recipe: Recipe, source: str | None, runs: Path, draft: Path, announce: Announce, why: str
) -> TextTokenizer | FabulaError:
    """The run's tokenizer; one that it would train is trained for the moment."""
    from fabula.training.run import _tokenizer as tokenizer_of

    kept = runs / recipe.name
    folder = kept if (kept / "tokenizer" / "tokenizer.json").is_file() else draft
    if recipe.base_model is not None:
        # Where the hub gave no config it has no tokenizer either, and asking again takes long.
        lost = source is None or (why and not Path(source).exists())
        return FabulaError(why) if lost else spelling.opened(str(source))
    try:
        return tokenizer_of(recipe, None, open_deck(recipe), folder, announce)
    except FabulaError as error:
        return error


def _examine(
    told: Examination,
    source: str | None,
    config: Any,
    why: str,
    folder: Path,
    announce: Announce,
) -> None:
    """Everything that needs a tokenizer, and then what needs weights."""
    recipe, tokenizer, found = told.recipe, told.tokenizer, told.findings
    assert tokenizer is not None
    kept = check_stamp(folder, lambda: stamp(recipe, source, tokenizer))
    found += [kept] if kept is not None else []
    vocabulary = getattr(config, "vocab_size", None)
    if recipe.init is not None:
        vocabulary = max(tokenizer.vocabulary, recipe.init.vocab_size)
    told.vocabulary = vocabulary
    material = gather(recipe, tokenizer, source, folder, announce)
    found += spelling.check_tokenizer(tokenizer, material.plain[:TEXTS], vocabulary)
    if config is not None:
        found.append(spelling.check_end_of_generation(tokenizer, config))
        context = models.context_of(config)
        if context is not None and recipe.sequence_length > context:
            found.append(
                refused(
                    "context",
                    f"The sequence_length is {recipe.sequence_length}, but {source} reads at most "
                    f"{context} tokens",
                    "lower it",
                )
            )
    if not material.texts:
        reason = material.note or f"no text fits {recipe.sequence_length} tokens"
        found += [skipped(name, reason) for name in ("labels", "bos", "eos", "prompt")]
    else:
        weight = recipe.loss_on_prompt if told.kind == "stories" else 0.0
        found += documents.check_texts(material.batches, tokenizer, weight)
    if material.note:
        found.append(skipped("endings", material.note))
    else:
        found.append(
            documents.check_endings(
                material.dropped,
                material.looked,
                recipe.sequence_length,
                material.longest,
                material.what,
            )
        )
    found.append(settings.check_schedule(recipe, material.per_epoch))
    told.batch = material.batches[0] if material.batches else []
    material.batches = [[t for t in b if t.learnt] for b in material.batches]
    reason = "" if material.texts else "there is no text to learn from"
    _measure(told, material, source, why or _too_large(recipe, config) or reason, announce)


def _too_large(recipe: Recipe, config: Any) -> str:
    """Why the weights would not fit this machine, or nothing."""
    if config is None:
        return ""
    import torch
    from transformers import AutoModelForCausalLM

    from fabula.engines.hardware import memory_bytes

    with torch.device("meta"):
        shape: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    count = sum(p.numel() for p in shape.parameters())
    gpu = torch.cuda.is_available()
    room = torch.cuda.mem_get_info()[0] if gpu else min(memory_bytes(), _free())
    size = 0.6 if recipe.method == "qlora" else models.weights_dtype(recipe).itemsize
    # A full run holds a gradient beside each weight.
    needed = count * size * (2 if recipe.method == "full" else 1.1)
    if needed < 0.8 * room:
        return ""
    return (
        f"{count / 1e9:.1f} billion parameters take {needed / 2**30:.1f} GiB, of which "
        f"{room / 2**30:.1f} are free here"
    )


def _free() -> float:
    """Bytes of memory that no process holds, where the system says it."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return float("inf")
    said = dict(line.split(":", 1) for line in lines if ":" in line)
    return float(said.get("MemAvailable", "inf kB").split()[0]) * 1024


def _measure(
    told: Examination,
    material: Material,
    source: str | None,
    why: str,
    announce: Announce,
) -> None:
    """What needs weights."""
    recipe, tokenizer, found = told.recipe, told.tokenizer, told.findings
    assert tokenizer is not None
    if why:
        found += [skipped(name, why) for name in MEASURED]
        return
    announce.note("Opening the model.")
    try:
        model = _open(recipe, source, tokenizer)
        rows = int(model.get_input_embeddings().weight.shape[0])
    except FabulaError as error:
        found += [skipped(name, str(error)) for name in MEASURED]
        return
    told.vocabulary = rows
    if tokenizer.vocabulary > rows:
        found += [skipped(name, "the tokenizer does not fit the weights") for name in MEASURED]
        return
    weights = settings.check_weights(recipe, model)
    found += [weights] if weights is not None else []
    try:
        loss_of = loss.choose(model, rows)
    except FabulaError as error:
        found.append(refused("packing", str(error).rstrip("."), ""))
        found += [skipped(n, "documents cannot be isolated") for n in MEASURED if n != "packing"]
        return
    announce.note("Computing the losses of a batch.")
    most = max(recipe.sequence_length, *map(len, told.batch))
    told.batch = measured.losses(told.batch[:64], loss_of, model, tokenizer.pad, most)
    found.append(measured.check_first_loss(told.batch, rows, recipe.base_model is not None))
    small = measured.short([t.as_document() for t in material.texts], 4, TOKENS)
    found.append(measured.check_packing(small, loss_of, model))
    if recipe.method != "full":
        earlier = adapters.find_base(recipe.base_model or "").adapter
        model = adapters.attach(model, recipe, earlier)
        loss_of.adapted(model)
    found.append(measured.check_accumulation(small, loss_of, model))
    if recipe.gradient_checkpointing:
        models.recompute_activations(loss_of.inner)
        loss_of.inner.enable_input_require_grads()
    found.append(_gradients(told, material, model, loss_of))


def _open(recipe: Recipe, source: str | None, tokenizer: TextTokenizer) -> Any:
    from transformers import set_seed

    from fabula.training.run import _model

    set_seed(recipe.seed)
    model = _model(recipe, source, tokenizer)
    return gate._placed(model)


def _gradients(
    told: Examination, material: Material, model: nn.Module, loss_of: loss.LossOf
) -> Finding:
    """Who learns from a micro-batch, computed as the run of this kind does."""
    recipe, tokenizer = told.recipe, told.tokenizer
    assert tokenizer is not None
    if told.kind == "picks":
        from fabula.training.picks import branches

        loss_of.inner.set_attn_implementation("sdpa")
        try:
            branches.prepare(loss_of.inner, tokenizer.vocabulary)
        except FabulaError as error:
            return refused("gradients", str(error).rstrip("."), "")
        return gate.gradients_of_picks(recipe, material.rows, tokenizer, model)
    if told.kind == "pairs":
        loss_of.inner.set_attn_implementation("sdpa")
        shortest = min(material.texts, key=len)
        return measured.check_gradients(model, lambda: measured.plain_loss(model, shortest), recipe)
    small = measured.short([t.as_document() for t in material.texts], 2, TOKENS)
    batch = measured.place(collate([small], tokenizer.pad, 0.0), model)
    return measured.check_gradients(model, lambda: loss_of(batch), recipe)
