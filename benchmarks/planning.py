"""How far `fabula plan` is from what runs take on this machine.

    python benchmarks/planning.py [--cases 6]

Tiny models of the real architectures, with random weights, are trained for twelve steps by
`fabula train`, each in a process of its own; its peak of memory (on a CPU the resident set, on a
GPU what PyTorch allocated) and its rate stand beside the plan's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from fabula.planning import plan_run, this_machine
from fabula.planning.random_base import random_base
from fabula.training.recipe import Recipe

LLAMA = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
         "vocab_size": 5120}  # fmt: skip
GPT2 = {"n_embd": 256, "n_layer": 6, "n_head": 4, "n_positions": 2048, "vocab_size": 5120}
# (architecture, its shape, method, rows of a micro-batch, tokens of a row, layers again)
CASES: list[tuple[str, dict[str, Any], str, int, int, bool]] = [
    ("llama", LLAMA, "qlora", 8, 512, False),
    ("llama", LLAMA, "full", 16, 512, False),
    ("gpt2", GPT2, "lora", 8, 512, False),
    ("mistral", LLAMA | {"hidden_size": 512, "intermediate_size": 1408}, "qlora", 4, 512, False),
    ("llama", LLAMA | {"num_hidden_layers": 12}, "lora", 4, 512, False),
    ("llama", LLAMA, "qlora", 16, 512, True),
]  # fmt: skip


def make(folder: Path, kind: str, shape: dict[str, Any]) -> None:
    """A model folder with random weights and the embedded model's tokenizer."""
    from transformers import AutoConfig

    from fabula.engines.choose import embedded_folder

    config = AutoConfig.for_model(
        kind, **shape, tie_word_embeddings=kind == "gpt2", bos_token_id=1, eos_token_id=2
    )
    torch.manual_seed(0)
    model: Any = random_base(config, torch.float32, "cpu")
    model.save_pretrained(folder)
    for file in embedded_folder().glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cases", type=int, default=len(CASES))
    asked = parser.parse_args()
    machine = this_machine()
    print(f"{machine.title}, {'bfloat16' if machine.bfloat16 else 'float32'}\n")
    print("| model | method | rows | again | MiB | planned | error | tokens/s | planned |")
    print("|---|---|--:|---|--:|--:|--:|--:|--:|")
    for kind, shape, method, rows, length, again in CASES[: asked.cases]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            make(folder, kind, shape)
            data = {
                "name": "r", "base_model": str(folder), "method": method, "steps": 12,
                "lora": {"dropout": 0.05}, "data": [{"corpus": "sample"}],
                "sequence_length": length, "micro_batch_size": rows, "batch_size": rows,
                "gradient_checkpointing": again, "evaluation": {"max_documents": 0},
                "specimens": None,
                "checkpoint": {"every_minutes": None},
                "dtype": "bfloat16" if machine.bfloat16 else "float32",
            }  # fmt: skip
            plan = plan_run(str(folder), Recipe.model_validate(data), machine, rows=rows)
            Path(scratch, "r.yaml").write_text(yaml.safe_dump(data))
            command = [sys.executable, "-m", "fabula", "train", f"{scratch}/r.yaml"]
            subprocess.run([*command, "--runs", scratch], check=True, capture_output=True)
            text = Path(scratch, "r", "metrics.jsonl").read_text()
            lines = [json.loads(line) for line in text.splitlines()]
            peak = max(line.get("memory_mb", 0) for line in lines) * 1e6 / 2**20
            rates = [line["tokens_per_second"] for line in lines if "tokens_per_second" in line]
            told = plan.memory.total - (plan.memory.libraries if machine.gpu else 0)
            print(
                f"| {kind} | {method} | {rows} | {'yes' if again else 'no'} | {peak:,.0f} "
                f"| {told / 2**20:,.0f} | {told / 2**20 / peak - 1:+.1%} "
                f"| {max(rates):,.0f} | {plan.rate:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
