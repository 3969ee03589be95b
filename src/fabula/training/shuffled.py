"""Micro-batches of things that are no documents: pairs, contests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from torch.utils.data import IterableDataset

from fabula.training.packing import Batch, Cursor, Load


class Thing(Protocol):
    """What is learnt: it has a name, and a length in tokens."""

    @property
    def id(self) -> str:
        """Names it where something is wrong with it."""

    def __len__(self) -> int: ...


AnyThing = TypeVar("AnyThing", bound=Thing)


class Shuffled(IterableDataset[Batch], Generic[AnyThing]):
    """Micro-batches without end, each epoch in another order, from a cursor on.

    Args:
        things: what is learnt.
        size: things of a micro-batch; the last of an epoch may have fewer.
        seed: decides the orders.
        start: the first micro-batch to come.
        collate: makes tensors of the things of a micro-batch.
    """

    def __init__(
        self,
        things: Sequence[AnyThing],
        size: int,
        seed: int,
        start: Cursor,
        collate: Callable[[Sequence[AnyThing]], Batch],
    ) -> None:
        self.things, self.size, self.seed, self.start = things, size, seed, start
        self.collate = collate

    def __iter__(self) -> Iterator[Batch]:
        epoch, first, total = self.start.epoch, self.start.batch, len(self.things)
        batches = -(-total // self.size)
        while True:
            order = list(self.things)
            random.Random(f"{self.seed}/order/{epoch}").shuffle(order)
            for number in range(first, batches):
                chosen = order[number * self.size : (number + 1) * self.size]
                batch = self.collate(chosen)
                batch["load"] = Load(
                    ids=[thing.id for thing in chosen],
                    cursor=Cursor(epoch, 0, number + 1),
                    epochs=epoch + (number + 1) / batches,
                    dropped=0,
                    tokens=sum(map(len, chosen)),
                )
                yield batch
            epoch, first = epoch + 1, 0
