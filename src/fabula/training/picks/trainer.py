"""The loop of tuning on picks: direct preference optimisation over the candidates of a place.

For a candidate y after all that is before it, x, the reward is r = beta * (log p(y | x) - log
p0(y | x)), with p0 the base model. A pair of candidates loses -log sigmoid(r_1 - r_2) (Rafailov et
al. 2023, arXiv:2305.18290). A place loses the mean over its pairs of the best and a wrong one;
`better` times that over the best and the others; `worse` times that over the others and the wrong;
and `keep` times how far the best one's reward has fallen below 0, so that it does not become
unlikelier only because the others do (Pal et al. 2024, *Smaug*, arXiv:2402.13228).

Stream, optimiser, annealing, checkpoints and limits are those of every run
(`fabula.training.trainer`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.functional import logsigmoid
from torch.utils.data import IterableDataset

from fabula.training.kinds import Figures
from fabula.training.models import evaluating
from fabula.training.packing import Batch, Cursor, Load, shuffled
from fabula.training.picks.branches import Branched, Pick, collate, log_probabilities, to_device
from fabula.training.recipe import Picks
from fabula.training.trainer import StoryTrainer


class PickStream(IterableDataset[Batch]):
    """Rows without end, each epoch in another order, from a cursor on.

    Args:
        pad: id of padding.
        seed: decides the orders.
        start: the first row to come.
    """

    def __init__(self, rows: Sequence[Branched], pad: int, seed: int, start: Cursor) -> None:
        self.rows, self.pad, self.seed, self.start = rows, pad, seed, start

    def __iter__(self) -> Iterator[Batch]:
        for (number,), cursor, epochs in shuffled(len(self.rows), 1, self.seed, self.start):
            row = self.rows[number]
            batch = collate(row, self.pad)
            batch["row"] = number
            batch["load"] = Load([row.id], cursor, epochs, dropped=0, tokens=len(row))
            yield batch


@dataclass(frozen=True)
class Taste(Figures):
    """How far a model agrees with a reader at places that it did not learn.

    Attributes:
        loss: of a place.
        better: share of (best, wrong) pairs in which it finds the best one likelier.
        best: share of places where it finds the best one the likeliest of all.
        wrong: share of places where the likeliest of all is a wrong one.
        documents: places.
    """

    loss: float
    better: float
    best: float
    wrong: float
    documents: int


def losses(
    told: torch.Tensor, before: torch.Tensor, picks: Sequence[Pick], settings: Picks
) -> torch.Tensor:
    """The loss of each place, [places].

    Args:
        told: log-probability of each candidate, nats, [branches].
        before: the same by the base model.
    """
    rewards = settings.beta * (told - before)

    def lost(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return -logsigmoid(one[:, None] - other[None]).mean()

    found = []
    for pick in picks:
        best, wrong, rest = (rewards[list(n)] for n in ([pick.best], pick.wrong, pick.rest))
        loss = settings.keep * torch.relu(-best).sum()
        if len(wrong):
            loss = loss + lost(best, wrong)
        if len(rest):
            loss = loss + settings.better * lost(best, rest)
        if len(wrong) and len(rest):
            loss = loss + settings.worse * lost(rest, wrong)
        found.append(loss)
    return torch.stack(found)


class PickTrainer(StoryTrainer):
    """A run on picks, or one sitting of it.

    Args:
        picks: of the recipe.
        reference: log-probabilities of a row's candidates by the base model, given its batch.
        others: what `StoryTrainer` takes; a batch of its stream is what `collate` makes.
    """

    def __init__(
        self, picks: Picks, reference: Callable[[Batch], torch.Tensor], **others: Any
    ) -> None:
        self.picks = picks
        self.reference = reference
        self._before: dict[int, torch.Tensor] = {}
        super().__init__(**others)

    def weigh(self, batch: Batch) -> tuple[torch.Tensor, int]:
        """Its places, and the tokens that are judged."""
        places = torch.tensor(len(batch["picks"]), dtype=torch.float64)
        return places, int((batch["branch"] < len(batch["lengths"])).sum())

    def parted(self, batch: Batch, parts: int) -> list[Batch]:
        """A story with its candidates is computed as one."""
        return [batch]

    def loss_sum(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Sum of the places' losses."""
        row = int(batch["row"])
        if row not in self._before:
            self._before[row] = self.reference(batch)
        # Not the wrapper that several GPUs get, which would part the row.
        told = log_probabilities(self.network, batch)
        return losses(told, self._before[row], batch["picks"], self.picks).sum()

    @torch.no_grad()
    def measure(self, held_out: HeldOutPicks) -> Taste:
        """Judge held-out places."""
        loss = better = pairs = best = wrong = 0.0
        places = 0
        with evaluating(self.network), self.casting():
            for number, row in enumerate(held_out.rows):
                batch = to_device(collate(row, held_out.pad), self.args.device)
                told = log_probabilities(self.network, batch)
                if number not in held_out.before:
                    held_out.before[number] = self.reference(batch)
                loss += float(losses(told, held_out.before[number], row.picks, self.picks).sum())
                for pick in row.picks:
                    places += 1
                    likeliest = max(pick.branches, key=lambda n: float(told[n]))
                    best += likeliest == pick.best
                    wrong += likeliest in pick.wrong
                    pairs += len(pick.wrong)
                    better += sum(bool(told[pick.best] > told[n]) for n in pick.wrong)
        return Taste(loss / places, better / max(pairs, 1.0), best / places, wrong / places, places)


class HeldOutPicks:
    """Rows that are not learnt, and what the base model makes of them."""

    def __init__(self, rows: Sequence[Branched], pad: int) -> None:
        self.rows, self.pad = rows, pad
        self.before: dict[int, torch.Tensor] = {}
