"""The stream of micro-batches of pairs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import IterableDataset

from fabula.training.packing import Batch, Cursor, Load
from fabula.training.preferences.trainer import EncodedPair, collate


class PairStream(IterableDataset[Batch]):
    """Micro-batches of pairs without end, each epoch in another order, from a cursor on.

    Args:
        size: pairs of a micro-batch; the last of an epoch may have fewer.
        pad: id of padding.
        seed: decides the orders.
        start: the first micro-batch to come.
    """

    def __init__(
        self, pairs: Sequence[EncodedPair], size: int, pad: int, seed: int, start: Cursor
    ) -> None:
        self.pairs, self.size, self.pad, self.seed, self.start = pairs, size, pad, seed, start

    def __iter__(self) -> Iterator[Batch]:
        epoch, first, total = self.start.epoch, self.start.batch, len(self.pairs)
        batches = -(-total // self.size)
        while True:
            order = list(self.pairs)
            random.Random(f"{self.seed}/order/{epoch}").shuffle(order)
            for number in range(first, batches):
                chosen = order[number * self.size : (number + 1) * self.size]
                batch = collate(chosen, self.pad)
                batch["load"] = Load(
                    ids=[pair.id for pair in chosen],
                    cursor=Cursor(epoch, 0, number + 1),
                    epochs=epoch + (number + 1) / batches,
                    dropped=0,
                    tokens=sum(map(len, chosen)),
                )
                yield batch
            epoch, first = epoch + 1, 0
