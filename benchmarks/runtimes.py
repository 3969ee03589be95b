"""The runtimes that could carry the embedded engine, measured side by side.

    python benchmarks/runtimes.py                        # ours, a numpy loop, transformers
    python benchmarks/runtimes.py --peers build/peers     # llama.cpp and onnxruntime-genai as well
    python benchmarks/runtimes.py --model FOLDER --threads 1

All of them run the same weights (random ones in the shape of recipes/embedded-base.yaml, or
those of --model), go on from the same 300 tokens, and take the likeliest token: no sampler is
measured.
The peers are for this benchmark only, and live in an environment of their own that also sees
ours:

    python -m venv build/peers
    build/peers/bin/pip install xllamacpp gguf onnxruntime-genai onnx-ir
    python -c 'import site; print("import site; site.addsitedir(%r)" % site.getsitepackages()[0])' \
        > build/peers/lib/python3.11/site-packages/ours.pth

Columns: tokens a second, alone and for eight rows that share the prefix, best of --repeats runs
of 120 steps in each of --rounds processes; the same per second of processor time, which other
programs disturb least (take --threads 1 for it); and from the start of the process to the first
token after a brief of 60 tokens, by the clock and in processor time. The contenders take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

STEPS, ROWS, PREFIX = 120, 8, 300
Moment = tuple[float, float]
"""Time on the clock, and time of the processor."""
Write = Callable[[list[int], int, int], list[Moment]]
"""(prompt, rows, steps) -> the moment at which each token was there, all rows together."""

OURS = ["fabula int8", "fabula float32", "numpy float32", "transformers float32"]
PEERS = ["llama.cpp q8_0", "onnxruntime-genai int8"]


def open_fabula(folder: Path, threads: int, precision: str) -> Write:
    from fabula.engines.embedded import EmbeddedEngine

    engine = EmbeddedEngine.open(folder, precision=precision, threads=threads)  # type: ignore[arg-type]
    return stepping(engine)


def open_transformers(folder: Path, threads: int) -> Write:
    import torch

    torch.set_num_threads(threads)
    from fabula.engines.transformers_engine import TransformersEngine

    return stepping(TransformersEngine.open(folder))


def stepping(engine: object) -> Write:
    def write(prompt: list[int], rows: int, steps: int) -> list[Moment]:
        decoding = engine.start(prompt, rows)  # type: ignore[attr-defined]
        moments = []
        for _ in range(steps):
            tokens = decoding.scores.argmax(axis=1)
            moments += [(time.perf_counter(), time.process_time())] * rows
            decoding.step(tokens)
        return moments

    return write


def open_contender(name: str, folder: Path, threads: int) -> Write:
    import peers

    return {
        "fabula int8": lambda: open_fabula(folder, threads, "int8"),
        "fabula float32": lambda: open_fabula(folder, threads, "float32"),
        "numpy float32": lambda: peers.open_numpy(folder),
        "transformers float32": lambda: open_transformers(folder, threads),
        "llama.cpp q8_0": lambda: peers.open_llama_cpp(folder, threads),
        "onnxruntime-genai int8": lambda: peers.open_genai(folder, threads),
    }[name]()


def rates(moments: list[Moment], rows: int) -> tuple[float, float]:
    """Tokens a second, by the clock and in processor time; reading the prompt is not counted."""
    clock, processor = np.array(moments[-1]) - np.array(moments[0])
    return (len(moments) - rows) / clock, (len(moments) - rows) / processor


def child(name: str, folder: Path, threads: int, repeats: int, started: float) -> None:
    """Measure one contender in this process; print one line of JSON."""
    write = open_contender(name, folder, threads)
    rng = np.random.default_rng(1)
    write([0, *rng.integers(300, 2000, 59).tolist()], 1, 1)
    figures = {"first": time.time() - started, "first_cpu": time.process_time()}
    prompt = [0, *rng.integers(300, 2000, PREFIX - 1).tolist()]
    for key, rows in (("alone", 1), ("batch", ROWS)):
        write(prompt, rows, 8)
        found = [rates(write(prompt, rows, STEPS), rows) for _ in range(repeats)]
        figures[key], figures[key + "_cpu"] = np.max(found, axis=0).tolist()
    figures["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("FIGURES " + json.dumps(figures), flush=True)


def random_model(folder: Path) -> None:
    """Random weights and a fresh tokenizer in the shape of the embedded model's recipe."""
    import torch
    import yaml

    from fabula.engines.graph import write_graph
    from fabula.story import render_brief, render_completion
    from fabula.story.sample import load_sample
    from fabula.training.models import random_llama
    from fabula.training.recipe import Init
    from fabula.training.tokenizer import train_tokenizer

    recipe = Path(__file__).parent.parent / "recipes" / "embedded-base.yaml"
    init = Init.model_validate(yaml.safe_load(recipe.read_text())["init"])
    torch.manual_seed(0)
    random_llama(init, init.vocab_size, 0, 1, 2).half().save_pretrained(folder)
    train_tokenizer(
        (
            render_brief(s.brief) + render_completion(s.outline, s.passages)
            for s in load_sample("train")
        ),
        init.vocab_size,
        init.context,
        folder,
    )
    write_graph(folder)


def measure(
    name: str, python: str, folder: Path, threads: int, repeats: int
) -> dict[str, float] | None:
    command = [python, __file__, "--child", name, "--model", str(folder)]
    command += ["--threads", str(threads), "--repeats", str(repeats)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    environment["OPENBLAS_NUM_THREADS"] = str(threads)
    ran = subprocess.run(
        [*command, "--started", str(time.time())], env=environment, capture_output=True, text=True
    )
    lines = [line[8:] for line in ran.stdout.splitlines() if line.startswith("FIGURES ")]
    if not lines:
        print(f"{name} failed:\n{ran.stderr[-2000:]}", file=sys.stderr)
        return None
    figures: dict[str, float] = json.loads(lines[0])
    return figures


SMALL = ("first", "first_cpu", "megabytes")


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """The best of all rounds, and each figure's ratio to ours."""
    best = {
        name: {key: (min if key in SMALL else max)(f[key] for f in figures) for key in figures[0]}
        for name, figures in results.items()
    }
    lines = [
        "| runtime | alone | eight rows | alone, per CPU s | eight rows, per CPU s "
        "| first token s | in CPU s | peak MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    ours = best[OURS[0]]
    for name, figures in best.items():
        cells = [
            f"{figures[key]:,.0f} ({figures[key] / ours[key]:.2f})"
            for key in ("alone", "batch", "alone_cpu", "batch_cpu")
        ]
        cells += [f"{figures[key]:.2f}" for key in ("first", "first_cpu")]
        cells.append(f"{figures['megabytes']:.0f}")
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="model folder; by default random weights")
    parser.add_argument("--peers", type=Path, help="environment with llama.cpp and genai")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child, asked.model, asked.threads, asked.repeats, asked.started)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.model or Path(scratch) / "model"
        if asked.model is None:
            random_model(folder)
        pythons = dict.fromkeys(OURS, sys.executable)
        if asked.peers:
            pythons |= dict.fromkeys(PEERS, str(asked.peers / "bin" / "python"))
            subprocess.run(
                [pythons[PEERS[0]], Path(__file__).parent / "peers.py", folder],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        results: dict[str, list[dict[str, float]]] = {}
        for round_ in range(asked.rounds):
            for name, python in pythons.items():
                figures = measure(name, python, folder, asked.threads, asked.repeats)
                if figures is not None:
                    results.setdefault(name, []).append(figures)
                    print(f"round {round_ + 1}: {name}: {figures}", file=sys.stderr)
        print(f"{asked.threads} thread(s), best of {asked.rounds} rounds; in brackets: to ours\n")
        print(table(results))


if __name__ == "__main__":
    main()
