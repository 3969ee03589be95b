"""Stages made for the tests of what runs them; a process that imports them needs nothing else."""

from __future__ import annotations

import os
import time

import pyarrow as pa

from fabula.corpus.stages import Settings
from fabula.errors import FabulaError


def slow_at_first(batch: pa.RecordBatch, _: Settings) -> pa.RecordBatch:
    time.sleep(0.3 if batch["n"][0].as_py() == 1 else 0)
    return batch


def die_at_seven(batch: pa.RecordBatch, _: Settings) -> pa.RecordBatch:
    if batch["n"][0].as_py() == 7:
        os._exit(9)
    return batch


def refuse(batch: pa.RecordBatch, _: Settings) -> pa.RecordBatch:
    raise FabulaError("no such luck")


def threads(batch: pa.RecordBatch, _: Settings) -> pa.RecordBatch:
    counts = [int(os.environ["OMP_NUM_THREADS"]), pa.cpu_count()]
    return pa.RecordBatch.from_pydict({"n": counts})
