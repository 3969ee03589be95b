"""The loop of KTO: trl's loss on thumbs in our loop (Ethayarajh et al. 2024, arXiv:2402.01306).

A thumb up loses lambda_D (1 - sigmoid(beta (r - z))), a thumb down lambda_U (1 - sigmoid(beta
(z - r))), where r is how much likelier than the reference the model makes the story, in nats, and z
how much likelier it makes other briefs' stories, a bound on its distance from the reference.

trl estimates z anew for each micro-batch, so that its loss depends on how a batch is cut. Here z is
that of the whole optimiser step, found before its first backward pass; and the other brief's story
that stands under a brief is the one before it in the epoch's order. Both depend on the seed and the
place in the data alone: gradient accumulation equals the large batch, and a run can be resumed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils.data import IterableDataset

from fabula.errors import FabulaError, MissingExtra
from fabula.training import memory, parallel
from fabula.training.kinds import Figures
from fabula.training.models import evaluating
from fabula.training.packing import ALIGNMENT, Batch, Cursor, Load, epoch_order, shuffled
from fabula.training.preferences.trainer import Tuned
from fabula.training.trainer import Step

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.trainer.kto_config import KTOConfig
        from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer
except ImportError:
    raise MissingExtra("Preference tuning (trl)", "train") from None

NEAR = 32
"""Other briefs' stories that are looked at for one that fits under a brief."""


@dataclass(frozen=True)
class EncodedThumb:
    """A thumb as token ids: BOS and brief, and what follows with EOS."""

    id: str
    prompt: list[int]
    completion: list[int]
    label: bool

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def mismatched(
    thumbs: Sequence[EncodedThumb], order: Sequence[int], most: int
) -> dict[int, list[int]]:
    """For each thumb, by its number, the story of another brief: the nearest before it that fits.

    Where none of the near ones fits into `most` tokens with the brief, the nearest is cut. Thumbs
    have to be of at least two briefs.
    """
    found = {}
    for place, number in enumerate(order):
        prompt = thumbs[number].prompt
        before = (thumbs[order[place - back]] for back in range(1, len(order)))
        near = list(islice((t.completion for t in before if t.prompt != prompt), NEAR))
        room = most - len(prompt)
        found[number] = next((c for c in near if len(c) <= room), near[0])[:room]
    return found


def collate(thumbs: Sequence[EncodedThumb], others: Sequence[list[int]], pad: int) -> Batch:
    """Tensors of some thumbs, each [thumbs, ...], so that rows may be parted.

    `input_ids`; `attention_mask`, 0 at padding; `completion_mask`, 1 where a token is judged; the
    same three with `KL_` in front for the brief with another's story; `label`, True for up.
    """
    collator = DataCollatorForUnpairedPreference(pad_token_id=pad, pad_to_multiple_of=ALIGNMENT)
    rows = [
        {
            "prompt_ids": thumb.prompt,
            "completion_ids": thumb.completion,
            "KL_completion_ids": other,
            "label": thumb.label,
        }
        for thumb, other in zip(thumbs, others, strict=True)
    ]
    batch: Batch = collator.torch_call(rows)
    return batch


class ThumbStream(IterableDataset[Batch]):
    """Micro-batches of thumbs without end, each epoch in another order, from a cursor on.

    Args:
        size: thumbs of a micro-batch; the last of an epoch may have fewer.
        most: tokens of the longest row.
        pad: id of padding.
        seed: decides the orders.
        start: the first micro-batch to come.
    """

    def __init__(
        self,
        thumbs: Sequence[EncodedThumb],
        size: int,
        most: int,
        pad: int,
        seed: int,
        start: Cursor,
    ) -> None:
        self.thumbs, self.size, self.most = thumbs, size, most
        self.pad, self.seed, self.start = pad, seed, start

    def __iter__(self) -> Iterator[Batch]:
        parts = shuffled(len(self.thumbs), self.size, self.seed, self.start)
        epoch, others = -1, dict[int, list[int]]()
        for numbers, cursor, epochs in parts:
            if cursor.epoch != epoch:
                epoch = cursor.epoch
                order = epoch_order(len(self.thumbs), self.seed, epoch)
                others = mismatched(self.thumbs, order, self.most)
            chosen = [self.thumbs[n] for n in numbers]
            batch = collate(chosen, [others[n] for n in numbers], self.pad)
            batch["load"] = Load(
                ids=[thumb.id for thumb in chosen],
                cursor=cursor,
                epochs=epochs,
                dropped=0,
                tokens=sum(map(len, chosen)),
            )
            yield batch


@dataclass(frozen=True)
class Verdict(Figures):
    """How well a model tells held-out thumbs.

    Attributes:
        loss: of a thumb.
        told: share of the thumbs whose story has become likelier than the reference makes it,
            where they are up, and less likely, where they are down.
        auc: chance that a story with a thumb up has gained more than one with a thumb down (ties
            count half); 0.5 tells nothing.
        ups, downs: mean reward of either, nats times beta.
        documents: thumbs.
    """

    loss: float
    told: float
    auc: float
    ups: float
    downs: float
    documents: int

    @classmethod
    def from_rewards(cls, loss: float, rewards: torch.Tensor, labels: torch.Tensor) -> Verdict:
        """The figures of thumbs.

        Args:
            rewards: [thumbs], nats times beta.
            labels: [thumbs], True for up; there are some of either.
        """
        from scipy.stats import mannwhitneyu

        ups, downs = rewards[labels], rewards[~labels]
        wins = mannwhitneyu(ups.numpy(), downs.numpy(), method="asymptotic").statistic
        right = int((ups > 0).sum()) + int((downs < 0).sum())
        return cls(
            loss=loss,
            told=right / len(rewards),
            auc=float(wins) / (len(ups) * len(downs)),
            ups=float(ups.mean()),
            downs=float(downs.mean()),
            documents=len(rewards),
        )


@dataclass(frozen=True)
class HeldOutThumbs:
    """Thumbs that are not learnt, in micro-batches."""

    thumbs: Sequence[EncodedThumb]
    pad: int
    size: int
    most: int

    @property
    def count(self) -> int:
        """How many."""
        return len(self.thumbs)

    def batches(self) -> Iterator[Batch]:
        """Their tensors."""
        others = mismatched(self.thumbs, range(len(self.thumbs)), self.most)
        for start in range(0, len(self.thumbs), self.size):
            part = self.thumbs[start : start + self.size]
            yield collate(part, [others[start + n] for n in range(len(part))], self.pad)


class ThumbTrainer(Tuned, KTOTrainer):
    """A run on thumbs, or one sitting of it; a batch of its stream is what `collate` makes.

    Args:
        weights: of a thumb up and of a thumb down.
        others: what `Tuned` takes.
    """

    def __init__(self, weights: tuple[float, float], *given: Any, **others: Any) -> None:
        self.weights = weights
        super().__init__(*given, **others)
        # What the reference makes of a batch comes with it; see `refer`.
        self.precompute_ref_logps = True

    def set_up(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """KTO's loss, with the weights of either thumb."""
        desirable, undesirable = self.weights
        # trl refuses micro-batches of one thumb, for which it could not estimate z.
        size = max(2, arguments["per_device_train_batch_size"])
        losses = {
            "per_device_train_batch_size": size,
            "loss_type": "kto",
            "desirable_weight": desirable,
            "undesirable_weight": undesirable,
        }
        return self.trl_setup({**arguments, **losses}, KTOConfig)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Step], torch.Tensor]:
        """The micro-batches of one optimiser step, with what the reference makes of them."""
        steps, weight = super().get_batch_samples(epoch_iterator, num_batches, device)
        batches = [batch for step in steps for _, batch in step]
        while not self._referred(batches):
            if self.world.size > 1 or self.counts.divide >= max(len(b["label"]) for b in batches):
                raise FabulaError(
                    f"Memory ran out where the reference read step {self.counts.step + 1}; lower "
                    "micro_batch_size or sequence_length."
                )
            memory.free()
            self.counts.divide *= 2
            self.note(
                f"Memory ran out where the reference read step {self.counts.step + 1}; from now on "
                f"each micro-batch is computed in {self.counts.divide} parts."
            )
        return steps, weight

    def _referred(self, batches: Sequence[Batch]) -> bool:
        try:
            self.refer(batches)
        except Exception as error:
            if not memory.is_out_of_memory(error):
                raise
            return False
        return True

    def parted(self, batch: Batch, parts: int) -> list[Batch]:
        """Whole thumbs, in order."""
        count = len(batch["label"])
        size = -(-count // parts)
        return [{k: v[i : i + size] for k, v in batch.items()} for i in range(0, count, size)]

    @torch.no_grad()
    def refer(self, batches: Sequence[Batch]) -> None:
        """Give batches of one step `ref_logps` and `ref_KL_logps`, each [thumbs].

        The loss takes z for the mean of a micro-batch's own differences of `ref_KL_logps`: they
        are all given that of the step, against zeros (`_compute_kl_logps`).
        """
        trl: Any = KTOTrainer
        reference = self.model if self.ref_model is None else self.ref_model
        gains = []
        with evaluating(self.network), self.casting():
            for batch in batches:
                told = []
                for part in self.parted(batch, self.counts.divide):
                    placed = {k: v.to(self.args.device) for k, v in part.items()}
                    known, apart = trl.compute_ref_log_probs(self, reference, placed)
                    here = trl._compute_kl_logps(self, self.model, placed)
                    gains.append((here - apart).double())
                    told.append(known)
                batch["ref_logps"] = torch.cat(told)
        gained = torch.cat(gains)
        total, count = parallel.totals([float(gained.sum()), len(gained)])
        z = torch.tensor(total / count)
        for batch in batches:
            batch["ref_KL_logps"] = (-z).to(batch["ref_logps"]).expand(len(batch["label"]))

    def _compute_kl_logps(self, model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return torch.zeros_like(batch["ref_KL_logps"])

    def weigh(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """Its thumbs, and the tokens that are judged."""
        thumbs = torch.tensor(len(batch["label"]), dtype=torch.float64)
        return thumbs, int(batch["completion_mask"].sum())

    def loss_sum(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Sum of the thumbs' losses; trl notes its other figures in `_metrics`."""
        loss: torch.Tensor = KTOTrainer.compute_loss(  # type: ignore[no-untyped-call]
            self, model, batch
        )
        return loss * len(batch["label"])

    @torch.no_grad()
    def measure(self, held_out: HeldOutThumbs) -> Verdict:
        """Judge held-out thumbs, z being that of all of them."""
        loss, rewards, labels = 0.0, [], []
        batches = list(held_out.batches())
        self.refer(batches)
        with evaluating(self.network), self.casting():
            for batch in batches:
                placed = {k: v.to(self.args.device) for k, v in batch.items()}
                loss += float(self.loss_sum(self.network, placed))
                rewards.append(self.rewards(placed).cpu())
                labels.append(batch["label"])
        self._metrics["eval"].clear()
        return Verdict.from_rewards(
            loss / len(held_out.thumbs), torch.cat(rewards), torch.cat(labels)
        )

    def rewards(self, batch: Batch) -> torch.Tensor:
        """How much likelier than the reference the model makes each story, nats times beta."""
        judged = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        made: Any = self.network(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=judged,
            use_cache=False,
            fused_lm_head=True,
        )
        found: torch.Tensor = self.preferences.beta * (made.log_probs.sum(-1) - batch["ref_logps"])
        return found
