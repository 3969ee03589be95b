"""The loop of preference tuning: trl's loss in our loop.

The loss, the reference model and the collation are trl's `DPOTrainer`; stream, optimiser,
annealing, checkpoints and limits are those of every run (`fabula.training.trainer`). The reference
is the base model: a frozen copy beside a model that learns as a whole, and else the model without
its adapter, or with the adapter as it was where the run goes on with an earlier one
(`fabula.training.adapters`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fabula.errors import MissingExtra
from fabula.training import adapters
from fabula.training.kinds import Figures
from fabula.training.models import evaluating
from fabula.training.packing import ALIGNMENT, Batch
from fabula.training.recipe import Preferences
from fabula.training.tokenizer import TextTokenizer
from fabula.training.trainer import StoryTrainer

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.trainer.dpo_config import DPOConfig
        from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
except ImportError:
    raise MissingExtra("Preference tuning (trl)", "train") from None

LOSSES = {"dpo": "sigmoid", "ipo": "ipo"}
"""How trl calls them."""


@dataclass(frozen=True)
class EncodedPair:
    """A pair as token ids: BOS and brief, and what follows, each with EOS."""

    id: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    def __len__(self) -> int:
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


def collate(pairs: Sequence[EncodedPair], pad: int) -> Batch:
    """Tensors of some pairs, [2 * pairs, width]: all that are chosen, then all that are rejected.

    `input_ids`; `attention_mask`, 0 at padding; `completion_mask`, 1 where a token is judged.
    """
    collator = DataCollatorForPreference(pad_token_id=pad, pad_to_multiple_of=ALIGNMENT)
    rows = [
        {"prompt_ids": p.prompt, "chosen_ids": p.chosen, "rejected_ids": p.rejected} for p in pairs
    ]
    batch: Batch = collator.torch_call(rows)
    return batch


@dataclass(frozen=True)
class Agreement(Figures):
    """How well a model tells the better story of held-out pairs.

    Attributes:
        loss: of a pair.
        accuracy: share of the pairs whose better story has become likelier, against the base
            model, by more than the other.
        margin: mean of that difference, nats times beta.
        documents: pairs.
    """

    loss: float
    accuracy: float
    margin: float
    documents: int


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs that are not learnt, in micro-batches."""

    pairs: Sequence[EncodedPair]
    pad: int
    size: int

    @property
    def count(self) -> int:
        """How many."""
        return len(self.pairs)

    def batches(self) -> Iterator[Batch]:
        """Their tensors."""
        for start in range(0, len(self.pairs), self.size):
            yield collate(self.pairs[start : start + self.size], self.pad)


class Tuned(StoryTrainer):
    """What runs on pairs and on thumbs share; one of trl's trainers comes last of the bases.

    Args:
        preferences: of the recipe.
        tokenizer: of the model.
        reference: the base model, beside a model that learns as a whole; None with an adapter.
        start: the adapter's weights at the start of the run, where it goes on with an earlier one.
        others: what `StoryTrainer` takes.
    """

    def __init__(
        self,
        preferences: Preferences,
        tokenizer: TextTokenizer,
        reference: nn.Module | None,
        start: Mapping[str, torch.Tensor] | None,
        **others: Any,
    ) -> None:
        self.preferences = preferences
        self.text_tokenizer = tokenizer
        self.reference = reference
        model = others["model"]
        learns = [p for p in model.parameters() if p.requires_grad]
        before = [p.data for p in learns]
        super().__init__(**others)
        # trl rounds an adapter beside 4-bit weights to bfloat16, and would take the adapter of a
        # resumed run for the reference.
        for parameter, value in zip(learns, before, strict=True):
            parameter.data = value.to(parameter.device)
        if reference is None:
            adapters.hold(self.network, start)

    def trl_setup(self, arguments: dict[str, Any], config: Any) -> dict[str, Any]:
        """What trl's trainer is made with; its own data are never looked at.

        Args:
            config: makes trl's settings.
        """
        from datasets import Dataset  # type: ignore[import-untyped]

        return {
            "args": config(
                **arguments,
                beta=self.preferences.beta,
                max_length=None,
                bf16=False,
                gradient_checkpointing=False,
            ),
            "train_dataset": Dataset.from_dict({"prompt": [""]}),
            "ref_model": self.reference,
            "processing_class": self.text_tokenizer.hf,
        }

    def _prepare_dataset(self, dataset: Any, *others: Any) -> Any:
        """Stories come from the stream, encoded as all documents are."""
        return dataset


class PreferenceTrainer(Tuned, DPOTrainer):
    """A run on pairs, or one sitting of it; a batch of its stream is what `collate` makes."""

    def set_up(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The recipe's loss, as trl calls it."""
        losses: dict[str, Any] = {"loss_type": [LOSSES[self.preferences.loss]]}
        if self.preferences.sft:
            losses = {
                "loss_type": [*losses["loss_type"], "sft"],
                "loss_weights": [1.0, self.preferences.sft],
            }
        return self.trl_setup({**arguments, **losses}, DPOConfig)

    def weigh(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """Its pairs, and the tokens that are judged."""
        pairs = torch.tensor(_pairs(batch), dtype=torch.float64)
        return pairs, int(batch["completion_mask"].sum())

    def parted(self, batch: Batch, parts: int) -> list[Batch]:
        """Whole pairs, in order."""
        count = _pairs(batch)
        size = -(-count // parts)
        numbers = [range(i, min(i + size, count)) for i in range(0, count, size)]
        return [
            {k: v[[*part, *(n + count for n in part)]] for k, v in batch.items()}
            for part in numbers
        ]

    def loss_sum(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Sum of the pairs' losses; trl notes its other figures in `_metrics`."""
        loss: torch.Tensor = DPOTrainer.compute_loss(  # type: ignore[no-untyped-call]
            self, model, batch
        )
        return loss * _pairs(batch)

    @torch.no_grad()
    def measure(self, held_out: HeldOutPairs) -> Agreement:
        """Judge held-out pairs."""
        noted = self._metrics["eval"]
        loss = accuracy = margin = 0.0
        with evaluating(self.network), self.casting():
            for batch in held_out.batches():
                placed = {k: v.to(self.args.device) for k, v in batch.items()}
                loss += float(self.loss_sum(self.network, placed))
                accuracy += _pairs(batch) * noted["rewards/accuracies"][-1]
                margin += _pairs(batch) * noted["rewards/margins"][-1]
        noted.clear()
        count = len(held_out.pairs)
        return Agreement(loss / count, accuracy / count, margin / count, count)


def _pairs(batch: Batch) -> int:
    return len(batch["input_ids"]) // 2
