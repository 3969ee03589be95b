"""What runs the stages: order kept, deaths told, a cluster's bytes the same as this machine's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made_stages import die_at_seven, refuse, slow_at_first, threads
from made_stories import story

from conftest import Files, Preparer
from fabula.corpus.runners import LocalRunner, open_runner
from fabula.corpus.runners.cluster import RayRunner
from fabula.corpus.stages import Settings
from fabula.errors import Broken, FabulaError

# Ray's own, of which it knows.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


def batches(count: int) -> Iterator[pa.RecordBatch]:
    for n in range(count):
        yield pa.RecordBatch.from_pydict(
            {"n": [n] * (n % 3)}, schema=pa.schema([("n", pa.int64())])
        )


def numbers(found: Iterator[pa.RecordBatch]) -> list[int]:
    return [batch["n"][0].as_py() for batch in found]


@pytest.mark.parametrize("workers", [1, 2])
def test_order_is_kept_and_empty_batches_are_passed_over(workers: int) -> None:
    with LocalRunner(workers) as runner:
        found = numbers(runner.map(slow_at_first, batches(12), Settings()))
    assert found == [1, 2, 4, 5, 7, 8, 10, 11]


def test_a_killed_worker_is_a_sentence() -> None:
    with LocalRunner(2) as runner, pytest.raises(Broken, match="worker process died"):
        list(runner.map(die_at_seven, batches(12), Settings()))


def test_a_workers_refusal_comes_through() -> None:
    with LocalRunner(2) as runner, pytest.raises(FabulaError, match="no such luck"):
        list(runner.map(refuse, batches(12), Settings()))


def test_workers_have_one_thread_each() -> None:
    before = dict(os.environ)
    with LocalRunner(2) as runner:
        (found, *_) = runner.map(threads, batches(3), Settings())
    assert found["n"].to_pylist() == [1, 1]
    assert dict(os.environ) == before


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_workers_end_with_a_parent_that_was_killed() -> None:
    program = (
        "import os, time\n"
        "from fabula.corpus.runners import LocalRunner\n"
        "if __name__ == '__main__':\n"
        "    with LocalRunner(2) as runner:\n"
        "        workers = [runner._pool.submit(os.getpid).result() for _ in range(20)]\n"
        "        print(*set(workers), flush=True)\n"
        "        time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert workers
        assert all(map(alive, workers))
        parent.kill()
    until = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_an_unknown_engine_is_a_sentence() -> None:
    with pytest.raises(FabulaError, match="--engine is 'spark'; it is one of: local, ray"):
        open_runner("spark", 1)


@pytest.mark.parametrize(
    ("absent", "arguments", "said"),
    [
        ("pyarrow", ["sample"], "The corpus needs the 'corpus' extra"),
        ("ray", ["sample", "--engine", "ray"], "The engine 'ray' needs the 'ray' extra"),
    ],
)
def test_an_extra_that_is_not_there_is_a_sentence(
    tmp_path: Path, absent: str, arguments: list[str], said: str
) -> None:
    program = f"import sys; sys.modules['{absent}'] = None; from fabula.cli import main; main()"
    command = [sys.executable, "-c", program, "prepare", *arguments, "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes on this machine, one processor each."""
    from ray.cluster_utils import Cluster

    store = {"num_cpus": 1, "object_store_memory": 100_000_000}
    nodes = Cluster(initialize_head=True, head_node_args={**store, "include_dashboard": False})
    nodes.add_node(**store)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


def test_a_cluster_gives_the_same_bytes(
    cluster: Any, prep: Preparer, tmp_path: Path, jsonl: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fabula.corpus.runners import cluster as module

    # Several windows, the last of them short.
    monkeypatch.setattr(module, "WINDOW", 2)
    source = jsonl([{"prompt": f"P {n}", "story": story(n, 18 + n % 60)} for n in range(1_200)])
    prep(source, out="here", max_words=300)
    prep(source, out="there", max_words=300, runner=RayRunner(cluster.address))
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_a_clusters_deaths_and_refusals_are_sentences(cluster: Any) -> None:
    import made_stages
    from ray import cloudpickle

    # These stages are the tests' own, which the nodes do not have.
    cloudpickle.register_pickle_by_value(made_stages)
    with RayRunner(cluster.address) as runner:
        with pytest.raises(FabulaError, match="no such luck"):
            list(runner.map(refuse, batches(3), Settings()))
        with pytest.raises(Broken, match="Ray cluster broke off"):
            list(runner.map(die_at_seven, batches(9), Settings()))


def test_no_cluster_is_a_sentence() -> None:
    with (
        pytest.raises(FabulaError, match=r"no Ray cluster at 127\.0\.0\.1:1 "),
        RayRunner("127.0.0.1:1"),
    ):
        pass
