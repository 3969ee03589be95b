"""The loop: transformers' Trainer with our stream, loss, optimiser, schedule and checkpoints."""

from __future__ import annotations

import hashlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from fabula.errors import FabulaError
from fabula.training import checkpoint, memory, models, parallel
from fabula.training.loss import LossOf, base_of
from fabula.training.optimiser import build_optimiser, rate_factor
from fabula.training.packing import Batch, Load, divided
from fabula.training.recipe import Recipe
from fabula.training.throughput import product_rate, seen_pairs, work_of

ENDLESS = 10**9
DIVERGED_STEPS = 20
"""Steps whose mean loss says whether a run diverges: over twice the lowest that was, and 1."""
LOWEST_STEPS = 5
"""Steps whose mean is a loss that was."""
Step = list[tuple[int, Batch]]
"""Micro-batches of an optimiser step, each with its number."""
Report = Callable[[dict[str, Any]], None]


class Shared(NamedTuple):
    """What all processes know of a step: its loss, whether to stop, the first one's seconds."""

    loss: float
    stop: bool
    seconds: float


class Measure(Protocol):
    """What measures a model on what was held out."""

    def score(self, loss_of: Any, model: nn.Module) -> Any:
        """Figures, whose `metrics()` are a line of metrics.jsonl."""


class StoryTrainer(Trainer):
    """One run, or one sitting of it.

    The run's own counts (`state_of_run`) decide progress, schedule and end, so that a sitting may
    end anywhere and the next goes on exactly.

    Args:
        model: what is trained; `loss_of` computes its loss.
        stream: where its batches come from, starting at the cursor of `counts`.
        held_out: what measures the model, or None.
        folder: the run's folder.
        counts: what earlier sittings counted.
        resume_from: the checkpoint whose weights `model` already has, or None.
        report: gets each line of metrics.
        note: gets each sentence.
        asked_to_stop: asked after each step; True checkpoints and stops.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        loss_of: LossOf | None,
        stream: IterableDataset[Batch],
        held_out: Any,
        folder: Path,
        counts: checkpoint.State,
        resume_from: Path | None,
        autocast: bool,
        report: Report,
        note: Callable[[str], None],
        asked_to_stop: Callable[[], bool],
    ) -> None:
        self.network = model
        self.recipe = recipe
        self.loss_of = loss_of
        self.stream = stream
        self.held_out = held_out
        self.folder = folder
        self.counts = counts
        self.resume_from = resume_from
        self.autocast = autocast
        self.report = report
        self.note = note
        self.asked_to_stop = asked_to_stop
        self.last_score: tuple[int, Any] | None = None
        self.after_evaluation: Callable[[StoryTrainer], None] = lambda trainer: None
        self.started = time.monotonic()
        self.world = parallel.world()
        self.sharded = parallel.is_sharded(model)
        if self.world.size > 1:
            # accelerate would add gradients while a process may still run out of memory.
            model._is_accelerate_prepared = True  # type: ignore[assignment]
        self.work = work_of(model, base_of(model).config)
        self._pairs = self.done = 0.0  # pairs of tokens in this step; FLOP so far
        self.peak = product_rate(models.device(), torch.bfloat16 if autocast else torch.float32)
        self._shared = Shared(0.0, False, counts.seconds)
        self._loads: list[Load] = []
        self._padding = 0
        self.gradient_norm = 0.0
        self._ran_out: tuple[int, str] | None = None
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments: dict[str, Any] = dict(  # noqa: C408
                output_dir=str(folder / "trackers"),
                max_steps=recipe.steps or ENDLESS,
                per_device_train_batch_size=recipe.micro_batch_size,
                # The steps of the library are ours whole: see `training_step`.
                gradient_accumulation_steps=1,
                max_grad_norm=recipe.optimiser.clip,
                seed=recipe.seed,
                report_to=list(recipe.report_to) or "none",
                logging_strategy="no",
                save_strategy="no",
                eval_strategy="no",
                disable_tqdm=True,
                logging_nan_inf_filter=False,
                remove_unused_columns=False,
                use_cpu=not torch.cuda.is_available(),
            )
            super().__init__(model=model, callbacks=[_Conductor(self)], **self.set_up(arguments))
        if self.world.size > 1:
            # trl gathers its notes from all processes, in which micro-batches may differ in size.
            self.accelerator.gather_for_metrics = self.accelerator.gather = _own
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)
        # Our loss is divided by the weight of the whole optimiser step, never by micro-batches,
        # which trl's trainers ask for.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True

    def set_up(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the library's trainer is made with, besides the model.

        Args:
            arguments: for its `TrainingArguments`.
        """
        return {"args": TrainingArguments(**arguments), "train_dataset": self.stream}

    @property
    def seconds(self) -> float:
        """Seconds of training so far, over all sittings; of several processes, of the first one."""
        return self._shared.seconds if self.world.size > 1 else self._seconds

    @property
    def _seconds(self) -> float:
        return self.counts.seconds + time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """Share of the run that is done, by whichever limit comes first."""
        recipe, done = self.recipe, 0.0
        if recipe.steps is not None:
            done = max(done, self.counts.step / recipe.steps)
        if recipe.epochs is not None:
            done = max(done, self.counts.epochs / recipe.epochs)
        if recipe.max_minutes is not None:
            done = max(done, self.seconds / 60 / recipe.max_minutes)
        return min(done, 1.0)

    @property
    def rate(self) -> float:
        """Learning rate of the step in hand."""
        return float(self.annealing.optimizer.param_groups[0]["lr"])

    @property
    def finished(self) -> bool:
        """True where a limit of the recipe is reached."""
        return self.progress >= 1.0

    def get_train_dataloader(self) -> DataLoader[Batch]:
        """The stream itself: accelerate would look one batch ahead."""
        # Its own generator: opening a loader draws from one, which would shift dropout on resume.
        return DataLoader(self.stream, batch_size=None, generator=torch.Generator())

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Step], torch.Tensor]:
        """One optimiser step: this process's micro-batches, by number, and the weight of all.

        All processes read all micro-batches, and each computes every `size`-th of them.
        """
        batches = [next(epoch_iterator) for _ in range(self.recipe.accumulation)]
        self._loads = [b.pop("load") for b in batches]
        self._padding = sum(b["input_ids"].numel() for b in batches)
        self._pairs = sum(map(seen_pairs, batches))
        weights, learnt = zip(*map(self.weigh, batches), strict=True)
        self._learnt = sum(learnt)
        mine = list(enumerate(batches))[self.world.rank :: self.world.size]
        return [mine], torch.stack(weights).sum().to(device, torch.float32)

    def training_step(  # type: ignore[override]  # a step is ours whole
        self, model: nn.Module, inputs: Step, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Gradients of a whole optimiser step, whose micro-batches are computed one by one.

        Where memory runs out, the step begins anew with each micro-batch in twice as many parts:
        the same documents in the same order, and the same sum of their losses.

        Raises:
            FabulaError: a loss is not a number, or memory runs out with the smallest parts.
        """
        while True:
            losses = self._accumulate(model, inputs, num_items_in_batch)
            shared = parallel.totals(
                [
                    0.0 if losses is None else math.fsum(losses),
                    float(losses is None),
                    float(self.asked_to_stop()),
                    self._seconds if self.world.first else 0.0,
                ]
            )
            self._shared = Shared(shared[0], shared[2] > 0, shared[3])
            if not shared[1]:
                break
            self._divide(model, inputs)
        assert losses is not None
        if not math.isfinite(shared[0]):
            bad = [
                n for loss, (n, _) in zip(losses, inputs, strict=True) if not math.isfinite(loss)
            ]
            names = parallel.gathered([name for n in bad for name in self._loads[n].ids])
            raise FabulaError(
                f"The loss of step {self.counts.step + 1} is {shared[0]} (documents "
                f"{_few(names)}); the last checkpoint is whole: lower optimiser.learning_rate and "
                "start a new run."
            )
        if not self.sharded:
            parallel.add_gradients(self.network)
        return torch.tensor(shared[0], device=self.args.device)

    def _accumulate(
        self, model: nn.Module, step: Step, weight: torch.Tensor | int | None
    ) -> list[float] | None:
        """The loss of each micro-batch, its gradients added; None if memory ran out."""
        losses = []
        compute = super().training_step
        try:
            for number, batch in step:
                self._ran_out = (number, "")
                # Dropout too is a function of the seed and the place, whatever came before.
                torch.manual_seed(_seed(self.recipe.seed, self.counts.step, number))
                parts = self._parts(batch, self.counts.divide)
                losses.append(torch.stack([compute(model, part, weight) for part in parts]).sum())
            self._ran_out = None
            # Read once a step: a GPU would have to stop for each.
            found: list[float] = torch.stack(losses).double().tolist()
            return found
        except Exception as error:
            if not memory.is_out_of_memory(error) or self._ran_out is None:
                raise
            self._ran_out = (self._ran_out[0], str(error).strip().splitlines()[0][:120])
            return None

    def _parts(self, batch: Batch, divide: int) -> list[Batch]:
        return [batch] if divide == 1 else self.parted(batch, divide)

    def _divide(self, model: nn.Module, step: Step) -> None:
        """Compute micro-batches in more parts from now on: twice as many, or as many as help.

        Raises:
            FabulaError: there are no smaller parts, or the processes cannot begin the step anew.
        """
        model.zero_grad()
        memory.free()
        divide, where = self.counts.divide * 2, f"Memory ran out in step {self.counts.step + 1}"
        if self._ran_out is not None:  # in this process
            number, told = self._ran_out
            where += f" ({told})"
            if self.sharded:
                raise FabulaError(
                    f"{where}, and processes that part a model cannot begin a step anew: lower "
                    "micro_batch_size or set gradient_checkpointing: true, and start over."
                )
            batch, documents = dict(step)[number], len(self._loads[number].ids)
            while self._widest(batch, divide) >= self._widest(batch, self.counts.divide):
                if divide >= documents:
                    raise FabulaError(
                        f"{where} with the smallest parts that its micro-batch has "
                        f"({self._widest(batch, divide):,} tokens at once); set "
                        "gradient_checkpointing: true or lower sequence_length."
                    )
                divide *= 2
        self.counts.divide = int(parallel.highest(divide))
        self.note(
            f"{where}; from now on each micro-batch is computed in {self.counts.divide} parts. The "
            "batch and the order of the data stay as they are."
        )

    def _widest(self, batch: Batch, divide: int) -> int:
        return max(int(part["input_ids"].numel()) for part in self._parts(batch, divide))

    def parted(self, batch: Batch, parts: int) -> list[Batch]:
        """A micro-batch in at most so many smaller ones, which together lose as much."""
        return divided(batch, parts)

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        """The norm of the gradients, which are clipped to the recipe's."""
        return clip_gradients(self.network, self.recipe.optimiser.clip)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> float:
        """The same as a number.

        Raises:
            FabulaError: it is none, though the loss is one.
        """
        self.gradient_norm = float(
            clip_gradients(self.network, 0) if grad_norm is None else grad_norm
        )
        if not math.isfinite(self.gradient_norm):
            names = [name for load in self._loads for name in load.ids]
            raise FabulaError(
                f"The gradient of step {self.counts.step + 1} is {self.gradient_norm} (documents "
                f"{_few(names)}); the last checkpoint is whole: lower optimiser.learning_rate and "
                "start a new run."
            )
        return self.gradient_norm

    def weigh(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """What a micro-batch weighs in the loss (float64), and how many tokens are learnt."""
        weights = batch["weights"]
        return weights.sum(dtype=torch.float64), int((weights > 0).sum())

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Sum of the micro-batch's losses over the weight of the whole optimiser step."""
        assert num_items_in_batch is not None
        with self.casting():
            loss = self.loss_sum(model, inputs) / num_items_in_batch
        return (loss, None) if return_outputs else loss

    def casting(self) -> torch.autocast:
        """accelerate would cast in model.forward, which the fused loss does not go through."""
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.autocast)

    def loss_sum(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Weighted sum of a micro-batch's losses."""
        assert self.loss_of is not None
        return self.loss_of(batch)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimiser."""
        optimiser: torch.optim.Optimizer = self.optimizer or build_optimiser(
            self.network, self.recipe
        )
        self.optimizer = optimiser
        return optimiser

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Annealing by progress, which knows steps, epochs and minutes."""
        self.annealing = LambdaLR(
            optimizer or self.create_optimizer(),
            lambda _: rate_factor(self.recipe.schedule, self.progress),
        )
        self.lr_scheduler = self.annealing
        return self.annealing

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted here: transformers' estimate is wrong for adapters."""
        return 0

    def restore(self) -> None:
        """Put the optimiser and the random state of the checkpoint back."""
        if self.resume_from is not None:
            checkpoint.load_rest(self.resume_from, self.optimizer)
        factor = rate_factor(self.recipe.schedule, self.progress)
        for group, rate in zip(
            self.annealing.optimizer.param_groups, self.annealing.base_lrs, strict=True
        ):
            group["lr"] = rate * factor

    def count_step(self) -> None:
        """Count what the optimiser step that was just made has used."""
        counts = self.counts
        counts.step += 1
        counts.cursor = self._loads[-1].cursor
        counts.epochs = self._loads[-1].epochs
        tokens = sum(load.tokens for load in self._loads)
        counts.tokens += tokens
        self.done += self.work.of(tokens, self._pairs)
        counts.learnt += self._learnt
        counts.padding += self._padding - tokens
        counts.documents += sum(len(load.ids) for load in self._loads)
        counts.dropped += sum(load.dropped for load in self._loads)

    def step_loss(self) -> float:
        """Loss of the optimiser step that was just made.

        Raises:
            FabulaError: the losses have left those of before; names the documents.
        """
        loss, counts = self._shared.loss, self.counts
        self._tr_loss.zero_()
        counts.recent = [*counts.recent, loss][-DIVERGED_STEPS:]
        if len(counts.recent) >= LOWEST_STEPS:
            mean = math.fsum(counts.recent[-LOWEST_STEPS:]) / LOWEST_STEPS
            counts.lowest = mean if counts.lowest is None else min(counts.lowest, mean)
            mean = math.fsum(counts.recent) / len(counts.recent)
            if len(counts.recent) == DIVERGED_STEPS and mean > 2 * counts.lowest + 1:
                names = [name for load in self._loads for name in load.ids]
                raise FabulaError(
                    f"The loss diverges: {mean:.2f} over the {DIVERGED_STEPS} steps up to step "
                    f"{counts.step} (the last one's documents: {_few(names)}), after "
                    f"{counts.lowest:.2f}; lower optimiser.learning_rate or optimiser.clip and "
                    "start a new run."
                )
        return loss

    @property
    def stopping(self) -> bool:
        """Whether the run ends after this step, in all processes alike."""
        asked = self._shared.stop if self.world.size > 1 else self.asked_to_stop()
        return self.finished or asked

    def evaluate_held_out(self) -> Any:
        """Score the held-out documents, and let be seen what the model writes."""
        score = self._score_held_out()
        self.after_evaluation(self)
        return score

    def _score_held_out(self) -> Any:
        """Score the held-out documents and report them, once a step."""
        if self.held_out is None:
            return None
        if self.last_score is not None and self.last_score[0] == self.counts.step:
            return self.last_score[1]
        score = self.measure(self.held_out)
        self.last_score = (self.counts.step, score)
        self.report({"step": self.counts.step, **score.metrics()})
        self.log({k: v for k, v in score.metrics().items() if isinstance(v, (int, float))})
        return score

    def measure(self, held_out: Any) -> Any:
        """Score what was held out: a `Measure`."""
        return held_out.score(self.loss_of, self.network)

    def save_checkpoint(self) -> Path:
        """Write a checkpoint of this moment."""
        now = replace(self.counts, seconds=self.seconds)
        return checkpoint.save(
            self.folder / "checkpoints",
            self.recipe.checkpoint.keep,
            self.network,
            self.optimizer,
            now,
        )


class _Conductor(TrainerCallback):
    """Counts, reports, evaluates, checkpoints and stops, in that order, after each step."""

    def __init__(self, trainer: StoryTrainer) -> None:
        self.trainer = trainer
        self.losses: list[float] = []
        self.mark = (time.monotonic(), 0, 0.0)
        self.saved_at = trainer.seconds

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on where the checkpoint stopped."""
        self.trainer.restore()
        self.trainer.note(
            f"Large products reach {self.trainer.peak / 1e12:.3g} TFLOP/s here, of which shares of "
            "the peak are told."
        )
        state.global_step = self.trainer.counts.step
        self.trainer.evaluate_held_out()
        # The run's clock measures training: a slow first evaluation must not eat its minutes.
        self.trainer.started = time.monotonic()
        self._set_mark()
        if self.trainer.finished:
            control.should_training_stop = True

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count before the scheduler asks for progress."""
        self.rate = self.trainer.rate
        self.trainer.count_step()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Everything that follows a step."""
        trainer, recipe = self.trainer, self.trainer.recipe
        counts = trainer.counts
        self.losses.append(trainer.step_loss())
        stopping = trainer.stopping
        if counts.step % recipe.log_every == 0 or stopping:
            self._report()
        every = recipe.evaluation.every
        if trainer.finished or (every is not None and counts.step % every == 0):
            trainer.evaluate_held_out()
            self._set_mark()
        due = recipe.checkpoint.every is not None and counts.step % recipe.checkpoint.every == 0
        minutes = recipe.checkpoint.every_minutes
        if minutes is not None and trainer.seconds - self.saved_at >= minutes * 60:
            due = True
        if due or stopping:
            trainer.save_checkpoint()
            self.saved_at = trainer.seconds
        if stopping:
            control.should_training_stop = True

    def _set_mark(self, now: float | None = None) -> None:
        """Rates are measured from here."""
        trainer = self.trainer
        self.mark = (now or time.monotonic(), trainer.counts.tokens, trainer.done)

    def _report(self) -> None:
        trainer, counts = self.trainer, self.trainer.counts
        now = time.monotonic()
        then, tokens, done = self.mark
        took = max(now - then, 1e-9)
        rate = (trainer.done - done) / took
        line = {
            "step": counts.step,
            "loss": sum(self.losses) / len(self.losses),
            "learning_rate": self.rate,
            "gradient_norm": round(trainer.gradient_norm, 4),
            "progress": round(trainer.progress, 6),
            "epoch": round(counts.epochs, 4),
            "tokens": counts.tokens,
            "loss_tokens": counts.learnt,
            "padding": counts.padding,
            "divide": counts.divide,
            "dropped": counts.dropped,
            "tokens_per_second": round((counts.tokens - tokens) / took, 1),
            "tflops": round(rate / 1e12, 4),
            "share_of_peak": round(rate / (trainer.peak * trainer.world.size), 4),
            "seconds": round(trainer.seconds, 2),
            "memory_mb": round(memory.peak() / 1e6, 1),
        }
        self.losses = []
        self._set_mark(now)
        trainer.report(line)
        trainer.log({k: float(v) for k, v in line.items() if k != "step"})


def clip_gradients(model: nn.Module, largest: float) -> torch.Tensor:
    """Clip the gradients' norm to `largest` (0: not at all); return what it was."""
    learns = [p for p in model.parameters() if p.grad is not None]
    norm = nn.utils.clip_grad_norm_(learns, largest or math.inf)
    return parallel.whole(norm)


def _seed(seed: int, step: int, number: int) -> int:
    digest = hashlib.sha256(f"{seed}/dropout/{step}/{number}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _own(values: Any, *others: Any, **more: Any) -> Any:
    return values


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
