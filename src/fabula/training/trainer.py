"""The loop: transformers' Trainer with our stream, loss, optimiser, schedule and checkpoints."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from fabula.errors import FabulaError
from fabula.training import checkpoint
from fabula.training.loss import LossOf
from fabula.training.optimiser import build_optimiser, rate_factor
from fabula.training.packing import Batch, Load
from fabula.training.recipe import Recipe

ENDLESS = 10**9
Report = Callable[[dict[str, Any]], None]


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
        self.asked_to_stop = asked_to_stop
        self.last_score: tuple[int, Any] | None = None
        self.after_evaluation: Callable[[StoryTrainer], None] = lambda trainer: None
        self.started = time.monotonic()
        self._loads: list[Load] = []
        self._padding = 0
        logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arguments: dict[str, Any] = dict(  # noqa: C408
                output_dir=str(folder / "trackers"),
                max_steps=recipe.steps or ENDLESS,
                per_device_train_batch_size=recipe.micro_batch_size,
                gradient_accumulation_steps=recipe.accumulation,
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
        """Seconds of training so far, over all sittings."""
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
    ) -> tuple[list[Batch], torch.Tensor]:
        """The micro-batches of one optimiser step and the sum of their weights."""
        batches = [next(epoch_iterator) for _ in range(num_batches)]
        self._loads = [b.pop("load") for b in batches]
        self._padding = sum(b["input_ids"].numel() for b in batches)
        weights, learnt = zip(*map(self.weigh, batches), strict=True)
        self._learnt = sum(learnt)
        return batches, torch.stack(weights).sum().to(device, torch.float32)

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
        counts.learnt += self._learnt
        counts.padding += self._padding - tokens
        counts.documents += sum(len(load.ids) for load in self._loads)
        counts.dropped += sum(load.dropped for load in self._loads)

    def step_loss(self) -> float:
        """Loss of the optimiser step that was just made.

        Raises:
            FabulaError: it is not a number; names the documents.
        """
        loss = float(self._tr_loss)
        self._tr_loss.zero_()
        if not math.isfinite(loss):
            names = [name for load in self._loads for name in load.ids]
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise FabulaError(
                f"The loss of step {self.counts.step} is {loss} (documents {shown}); the last "
                "checkpoint is whole: lower optimiser.learning_rate and start a new run."
            )
        return loss

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
        now = checkpoint.State(**{**vars(self.counts), "seconds": self.seconds})
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
        self.mark = (time.monotonic(), 0)
        self.saved_at = time.monotonic()
        self.saved_step = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Go on where the checkpoint stopped."""
        self.trainer.restore()
        state.global_step = self.trainer.counts.step
        self.trainer.evaluate_held_out()
        # The run's clock measures training: a slow first evaluation must not eat its minutes.
        self.trainer.started = time.monotonic()
        self.mark = (time.monotonic(), self.trainer.counts.tokens)
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
        stopping = trainer.finished or trainer.asked_to_stop()
        if counts.step % recipe.log_every == 0 or stopping:
            self._report()
        every = recipe.evaluation.every
        if trainer.finished or (every is not None and counts.step % every == 0):
            trainer.evaluate_held_out()
            self.mark = (time.monotonic(), counts.tokens)
        due = recipe.checkpoint.every is not None and counts.step % recipe.checkpoint.every == 0
        minutes = recipe.checkpoint.every_minutes
        if minutes is not None and time.monotonic() - self.saved_at >= minutes * 60:
            due = True
        if due or stopping:
            trainer.save_checkpoint()
            self.saved_at = time.monotonic()
        if stopping:
            control.should_training_stop = True

    def _report(self) -> None:
        trainer, counts = self.trainer, self.trainer.counts
        now = time.monotonic()
        then, tokens = self.mark
        line = {
            "step": counts.step,
            "loss": sum(self.losses) / len(self.losses),
            "learning_rate": self.rate,
            "progress": round(trainer.progress, 6),
            "epoch": round(counts.epochs, 4),
            "tokens": counts.tokens,
            "loss_tokens": counts.learnt,
            "padding": counts.padding,
            "dropped": counts.dropped,
            "tokens_per_second": round((counts.tokens - tokens) / max(now - then, 1e-9), 1),
            "seconds": round(trainer.seconds, 2),
            "memory_mb": round(peak_memory() / 1e6, 1),
        }
        self.mark, self.losses = (now, counts.tokens), []
        trainer.report(line)
        trainer.log({k: float(v) for k, v in line.items() if k != "step"})


def peak_memory() -> int:
    """Peak memory of this process in bytes: the GPU's where there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
