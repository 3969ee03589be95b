"""What a discriminator learns: to tell people's sentences from a model's own at the same places.

At each place of a story the right sentence and its rivals (`rivals.py`) get a score, and the loss
is the cross-entropy of the right one among them: ranking noise-contrastive estimation (Ma &
Collins 2018, arXiv:1809.01812), by which a residual energy-based model is learnt (Deng et al.
2020, arXiv:2004.11714). The score of a text is what its last token gives the
beginning-of-sequence token (`fabula.writing.discriminator` uses it when the writer chooses).

A story and all its rivals are one row: rivals stand behind the story, each with the positions it
would have in its place, and an attention mask lets it see the story up to there and itself.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from fabula.training.discriminator.rivals import Contest
from fabula.training.loss import LossOf, base_of
from fabula.training.packing import ALIGNMENT, Batch, Cursor, Load


def collate(contest: Contest, pad: int) -> Batch:
    """Tensors of one story and its rivals, behind one another in one row.

    `input_ids`, `position_ids`: [1, width]; `attention_mask`: bool [1, 1, width, width], True
    where the token of the row sees that of the column; `places`: [spots, 1 + rivals], where each
    sentence has its last token, the right one first, -1 for none; `weights`: ones [spots].
    """
    ids = [*contest.prompt, *contest.completion]
    positions = list(range(len(ids)))
    story, before = len(ids), len(contest.prompt)
    spans, places = [], []
    for spot in contest.spots:
        start = before + spot.at
        ends = [before + spot.end - 1]
        for rival in spot.rivals:
            spans.append((len(ids), len(rival), start))
            ids += rival
            positions += range(start, start + len(rival))
            ends.append(len(ids) - 1)
        places.append(ends)
    width = -(-len(ids) // ALIGNMENT) * ALIGNMENT
    sees = torch.zeros(width, width, dtype=torch.bool)
    sees[:story, :story] = torch.ones(story, story, dtype=torch.bool).tril()
    for first, length, seen in spans:
        own = slice(first, first + length)
        sees[own, :seen] = True
        sees[own, own] = torch.ones(length, length, dtype=torch.bool).tril()
    # Padding sees itself: a row that sees nothing has no softmax.
    sees.fill_diagonal_(True)
    spare = width - len(ids)
    most = max(map(len, places))
    return {
        "input_ids": torch.tensor([ids + [pad] * spare]),
        "position_ids": torch.tensor([positions + [0] * spare]),
        "attention_mask": sees[None, None],
        "places": torch.tensor([p + [-1] * (most - len(p)) for p in places]),
        "weights": torch.ones(len(places)),
    }


class ContestStream(IterableDataset[Batch]):
    """Stories and their rivals without end, each epoch in another order, from a cursor on."""

    def __init__(self, contests: Sequence[Contest], pad: int, seed: int, start: Cursor) -> None:
        self.contests, self.pad, self.seed, self.start = contests, pad, seed, start

    def __iter__(self) -> Iterator[Batch]:
        epoch, first, total = self.start.epoch, self.start.batch, len(self.contests)
        while True:
            order = list(range(total))
            random.Random(f"{self.seed}/contests/{epoch}").shuffle(order)
            for number in range(first, total):
                contest = self.contests[order[number]]
                batch = collate(contest, self.pad)
                batch["load"] = Load(
                    ids=[contest.id],
                    cursor=Cursor(epoch, 0, number + 1),
                    epochs=epoch + (number + 1) / total,
                    dropped=0,
                    tokens=len(contest.prompt) + len(contest.completion)
                    + sum(len(r) for s in contest.spots for r in s.rivals),
                )  # fmt: skip
                yield batch
            epoch, first = epoch + 1, 0


class ContestLoss(LossOf):
    """The loss of a discriminator.

    Args:
        model: with its adapter.
        token: whose score is what the model thinks of a text.
    """

    def __init__(self, model: nn.Module, token: int) -> None:
        super().__init__(model)
        self.inner = base_of(model)
        self.inner.set_attn_implementation("sdpa")
        self.token = token

    def scores(self, batch: Batch) -> Tensor:
        """Score of each sentence, float32 [spots, 1 + rivals]; -inf where there is none."""
        hidden = self.inner.base_model(
            input_ids=batch["input_ids"],
            position_ids=batch["position_ids"],
            attention_mask=batch["attention_mask"],
            use_cache=False,
        ).last_hidden_state[0]
        places = batch["places"]
        direction = self.inner.get_output_embeddings().weight[self.token].float()
        scores: Tensor = hidden[places.clamp(min=0)].float() @ direction
        return scores.masked_fill(places < 0, -math.inf)

    def __call__(self, batch: Batch) -> Tensor:
        """Sum over the places of the right sentence's cross-entropy, nats."""
        scores = self.scores(batch)
        right = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        return nn.functional.cross_entropy(scores, right, reduction="sum")


@dataclass(frozen=True)
class Verdict:
    """How well a discriminator tells held-out sentences from their rivals.

    Attributes:
        loss: nats a place.
        pairs: share of the rivals that score below the right sentence.
        first: share of the places where the right sentence scores highest.
        chance: what `first` would be by chance.
        documents: stories; places: of them.
    """

    loss: float
    pairs: float
    first: float
    chance: float
    documents: int
    places: int

    @staticmethod
    def of(line: dict[str, Any]) -> Verdict:
        """Back from a line of metrics.jsonl."""
        return Verdict(**{name: line[f"eval_{name}"] for name in Verdict.__dataclass_fields__})

    def metrics(self) -> dict[str, Any]:
        """As a line of metrics.jsonl has them."""
        return {f"eval_{name}": value for name, value in vars(self).items()}


class HeldOutContests:
    """Held-out stories and their rivals."""

    def __init__(self, contests: Sequence[Contest], pad: int) -> None:
        self.contests, self.pad = contests, pad

    @torch.no_grad()
    def score(self, loss_of: ContestLoss, model: nn.Module) -> Verdict:
        """Judge all places, without autocast."""
        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        loss = chance = 0.0
        pairs = rivals = first = places = 0
        for contest in self.contests:
            batch = {k: v.to(device) for k, v in collate(contest, self.pad).items()}
            scores = loss_of.scores(batch).double().cpu()
            right, others = scores[:, :1], scores[:, 1:]
            there = others > -math.inf
            below = (others < right) & there
            loss += float(-scores.log_softmax(dim=1)[:, 0].sum())
            pairs += int(below.sum())
            rivals += int(there.sum())
            first += int((below == there).all(dim=1).sum())
            chance += float((1 / (1 + there.sum(dim=1))).sum())
            places += len(scores)
        model.train(was_training)
        return Verdict(
            loss=loss / places,
            pairs=pairs / rivals,
            first=first / places,
            chance=chance / places,
            documents=len(self.contests),
            places=places,
        )
