"""The transformers engine in the shape of a 7B model: writing and scoring, beside `generate`.

    python benchmarks/generation.py                    # one GPU; random weights, no download
    python benchmarks/generation.py --shape tiny       # a try on any machine

Tokens a second after a shared prefix of 300 tokens: written side by side in 1, 8 and 24 rows
(likeliest token each time), by our engine and by transformers' own `generate` (which computes the
prefix once a row); and log-probabilities of 8 given continuations of 200 tokens.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from shapes import SHAPES, random_model

PREFIX, STEPS, TEXT = 300, 64, 200


def clock(run: Any) -> float:
    """Seconds of the better of two runs."""
    times = []
    for _ in range(2):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-2-7b")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 24])
    options = parser.parse_args()
    from pathlib import Path

    from fabula.engines.tokens import Tokens
    from fabula.engines.transformers_engine import TransformersEngine
    from fabula.training.models import device, resolve

    place = device()
    model = random_model(options.shape, place, nf4=False).eval()
    tokens = Tokens.open(Path(resolve("embedded")))
    engine = TransformersEngine(options.shape, "random", model, tokens, 0, 1)
    rng = np.random.default_rng(0)
    prefix = rng.integers(10, 5000, PREFIX).tolist()

    def write(rows: int) -> None:
        decoding = engine.start(prefix, rows)
        for _ in range(STEPS):
            decoding.step(decoding.scores.argmax(axis=1).astype(np.int64))

    def generate(rows: int) -> None:
        model.generate(
            torch.tensor([prefix] * rows, device=place), max_new_tokens=STEPS, do_sample=False,
            min_new_tokens=STEPS, pad_token_id=2, eos_token_id=1,
        )  # fmt: skip

    with torch.inference_mode():
        for rows in options.rows:
            mine, peer = clock(lambda: write(rows)), clock(lambda: generate(rows))  # noqa: B023
            print(
                f"{options.shape}, {rows:2d} rows: ours {rows * STEPS / mine:,.0f} tok/s, generate "
                f"{rows * STEPS / peer:,.0f} tok/s, ratio {peer / mine:.2f}",
                flush=True,
            )
        texts = [rng.integers(10, 5000, TEXT).tolist() for _ in range(8)]
        taken = clock(lambda: engine.log_probabilities(prefix, texts))
        rate = len(texts) * TEXT / taken
        print(f"log-probabilities of {len(texts)} x {TEXT} tokens: {rate:,.0f} tok/s")
    if torch.cuda.is_available():
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
