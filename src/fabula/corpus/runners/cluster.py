"""Stages on a Ray cluster, mapped by Ray Data.

Batches travel through the object store, so that the machines need Fabula installed and nothing
else: no file system in common.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fabula.corpus.runners.runner import Stage
from fabula.errors import Broken, FabulaError, MissingExtra

if TYPE_CHECKING:
    from fabula.corpus.stages import Settings

REFUSAL = "fabula refuses"
PATIENCE = 10.0
"""Seconds in which a cluster has to answer."""
RETRIES = 3
"""How often a batch whose process or machine died is tried again, elsewhere."""
WINDOW = 64
"""Batches that are on the cluster at a time: what bounds memory, and what starting costs."""


def _on_table(table: pa.Table, stage: Stage, settings: Settings) -> pa.Table:
    """A stage over a table that holds one batch."""
    (batch,) = table.combine_chunks().to_batches()
    try:
        return pa.Table.from_batches([stage(batch, settings)])
    except FabulaError as error:
        # Ray would lose the sentence among its own.
        return pa.table({REFUSAL: [str(error)]})


def _retries() -> dict[str, Any]:
    return {"max_retries": RETRIES}


def _answers(address: str) -> bool:
    """Whether somebody listens at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):
        return True
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError):
        return False
    return True


class RayRunner:
    """Runs the stages by Ray Data.

    Args:
        address: of the cluster; else the one that RAY_ADDRESS names; else one of this machine.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        # Before Ray is imported: neither log lines nor bars on a screen that is ours.
        os.environ.setdefault("RAY_DEDUP_LOGS", "1")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        try:
            import ray
            import ray.data
        except ImportError:
            raise MissingExtra("The engine 'ray'", "ray") from None
        self._ray: Any = ray
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._ours = False

    def __enter__(self) -> RayRunner:
        ray = self._ray
        if not ray.is_initialized():
            if self._address is not None and not _answers(self._address):
                raise self._absent("nobody answers")
            try:
                ray.init(
                    address=self._address, log_to_driver=False, logging_level=logging.ERROR,
                    include_dashboard=False if self._address is None else None,
                )  # fmt: skip
            except (ConnectionError, ValueError, RuntimeError, SystemExit) as error:
                raise self._absent(str(error).splitlines()[0].rstrip(".")) from None
            self._ours = True
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        # A block is a batch, whatever its size: the result must not depend on the cluster.
        context.target_max_block_size = None
        context.print_on_execution_start = False
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return self

    def _absent(self, reason: str) -> FabulaError:
        return FabulaError(
            f"There is no Ray cluster at {self._address or 'this machine'} ({reason}); start one "
            "with 'ray start --head', or leave --ray-address out."
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._ours:
            with contextlib.suppress(Exception):
                self._ray.shutdown()

    def map(
        self, stage: Stage, batches: Iterable[pa.RecordBatch], settings: Settings
    ) -> Iterator[pa.RecordBatch]:
        """See `Runner.map`."""
        ray = self._ray
        waiting = (batch for batch in batches if batch.num_rows)
        work = functools.partial(_on_table, stage=stage, settings=settings)
        while window := list(islice(waiting, WINDOW)):
            blocks = [pa.Table.from_batches([batch]) for batch in window]
            try:
                with warnings.catch_warnings():
                    # No other way to bound the retries yet; Ray warns of a later version.
                    warnings.simplefilter("ignore")
                    mapped = ray.data.from_arrow(blocks).map_batches(
                        work, batch_format="pyarrow", batch_size=None, zero_copy_batch=True,
                        ray_remote_args_fn=_retries,
                    )  # fmt: skip
                tables = [ray.get(ref) for ref in mapped.to_arrow_refs()]
            except Exception as error:
                if "UserCodeException" in f"{type(error).__name__} {error}":
                    raise  # A fault of ours, whose traceback is wanted.
                reason = str(error).strip().splitlines()[-1][:200].rstrip(".")
                raise Broken(
                    f"The Ray cluster broke off ({type(error).__name__}: {reason})"
                ) from None
            if len(tables) != len(window):
                raise Broken(f"Ray gave {len(tables)} blocks back for {len(window)}.")
            for table in tables:
                if table.column_names == [REFUSAL]:
                    raise FabulaError(table[REFUSAL][0].as_py())
                (batch,) = table.combine_chunks().to_batches()
                yield batch
