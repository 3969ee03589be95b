"""What a runner is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from fabula.corpus.stages import Settings

Stage = Callable[[pa.RecordBatch, "Settings"], pa.RecordBatch]


class Runner(Protocol):
    """Maps one of the stages over batches; a context that holds its processes."""

    def __enter__(self) -> Runner:
        """Start what it needs.

        Raises:
            FabulaError: it cannot be had.
        """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""

    def map(
        self, stage: Stage, batches: Iterable[pa.RecordBatch], settings: Settings
    ) -> Iterator[pa.RecordBatch]:
        """``stage(batch, settings)`` for each batch that has rows, in order.

        Raises:
            Broken: a process or machine died; what was yielded before stands.
        """
