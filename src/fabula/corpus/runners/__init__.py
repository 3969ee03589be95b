"""Runners: what maps a pure function over Arrow batches, in order, here or on a cluster."""

from __future__ import annotations

from fabula.corpus.runners.local import LocalRunner
from fabula.corpus.runners.runner import Runner
from fabula.errors import FabulaError

__all__ = ["RUNNERS", "LocalRunner", "Runner", "open_runner"]

RUNNERS = ("local", "ray")


def open_runner(name: str, workers: int, address: str | None = None) -> Runner:
    """The runner of a name, to be used as a context.

    Args:
        name: one of RUNNERS.
        workers: processes of the local one.
        address: of the Ray cluster; a local one if None.

    Raises:
        FabulaError: no such runner.
        MissingExtra: Ray is asked for and not installed.
    """
    if name == "local":
        return LocalRunner(workers)
    if name == "ray":
        from fabula.corpus.runners.cluster import RayRunner

        return RayRunner(address)
    raise FabulaError(f"--engine is '{name}'; it is one of: {', '.join(RUNNERS)}.")
