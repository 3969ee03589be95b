"""A pure function mapped over batches in order, in this process or in several."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

from fabula.errors import FabulaError

S = TypeVar("S")
T = TypeVar("T")
X = TypeVar("X")


def _ignore_interrupt() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Workers:
    """A pool that keeps order and holds only a few batches in flight.

    Args:
        count: processes; 1 works in this process.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self.count > 1:
            self._pool = ProcessPoolExecutor(
                self.count, multiprocessing.get_context("spawn"), _ignore_interrupt
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[S, X], T], items: Iterable[S], extra: X) -> Iterator[T]:
        """``function(item, extra)`` for each item, in order.

        Raises:
            FabulaError: a worker process died.
        """
        if self._pool is None:
            for item in items:
                yield function(item, extra)
            return
        pending: deque[Future[T]] = deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, item, extra))
                if len(pending) > 2 * self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise FabulaError(
                "A worker process died (perhaps for want of memory); try --workers 1."
            ) from None
        finally:
            for future in pending:
                future.cancel()
