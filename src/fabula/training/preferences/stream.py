"""The stream of micro-batches of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.utils.data import IterableDataset

from fabula.training.packing import Batch, Cursor, Load, shuffled
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
        parts = shuffled(len(self.pairs), self.size, self.seed, self.start)
        for numbers, cursor, epochs in parts:
            chosen = [self.pairs[n] for n in numbers]
            batch = collate(chosen, self.pad)
            batch["load"] = Load(
                ids=[pair.id for pair in chosen],
                cursor=cursor,
                epochs=epochs,
                dropped=0,
                tokens=sum(map(len, chosen)),
            )
            yield batch
