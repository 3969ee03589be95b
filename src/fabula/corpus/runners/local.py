"""Stages in this process, or in several on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import pyarrow as pa

from fabula.corpus.runners.runner import Stage
from fabula.errors import Broken

if TYPE_CHECKING:
    from fabula.corpus.stages import Settings

# A worker has one core: threads of its own would only get in the others' way.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _end_with_parent() -> None:
    """End this process when its parent is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _begin() -> None:
    # Ctrl-C reaches the whole process group; the parent alone decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pa.set_cpu_count(1)
    # What the stages need, while the parent reads the first batches.
    import fabula.corpus.stages  # noqa: F401


@contextmanager
def _deaf() -> Iterator[None]:
    """While what is started does not hear Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class LocalRunner:
    """Processes of this machine, that keep order and hold only a few batches in flight.

    Args:
        workers: processes; 1 works in this process.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> LocalRunner:
        if self.workers > 1:
            before = {name: os.environ.get(name) for name in _THREADS}
            os.environ.update(dict.fromkeys(_THREADS, "1"))
            self._pool = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _begin
            )
            # They start now, with these variables, and deaf to Ctrl-C from the first.
            with _deaf():
                for _ in range(self.workers):
                    self._pool.submit(os.getpid)
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(
        self, stage: Stage, batches: Iterable[pa.RecordBatch], settings: Settings
    ) -> Iterator[pa.RecordBatch]:
        """See `Runner.map`."""
        if self._pool is None:
            for batch in batches:
                if batch.num_rows:
                    yield stage(batch, settings)
            return
        pending: deque[Future[pa.RecordBatch]] = deque()
        try:
            for batch in batches:
                if not batch.num_rows:
                    continue
                pending.append(self._pool.submit(stage, batch, settings))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise Broken(
                "A worker process died (perhaps for want of memory); try --workers 1."
            ) from None
        finally:
            for future in pending:
                future.cancel()
