"""Running a GGUF in llama.cpp itself: does it read text and write on as the model does?

llama.cpp comes as the package xllamacpp, prebuilt. It runs in a process of its own, so that what
stops it (it aborts where it dislikes a file) does not stop us. Its answers are taken as a user gets
them: text goes in as text, and its own tokenizer reads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError


@dataclass(frozen=True)
class Passage:
    """A prompt, and what the model writes after it.

    Attributes:
        text: the prompt.
        ids: its tokens, the one that opens a document among them.
        written: the likeliest tokens after it, one after the other.
    """

    text: str
    ids: list[int]
    written: list[int]


@dataclass(frozen=True)
class Difference:
    """A place where llama.cpp finds another token the likeliest.

    Attributes:
        passage: number of the passage.
        place: of its written tokens, from 0.
        token: llama.cpp's.
    """

    passage: int
    place: int
    token: int


@dataclass(frozen=True)
class Answer:
    """What llama.cpp made of a file.

    Attributes:
        tokens: of each text.
        differences: from the passages; after each it goes on from the model's own token.
    """

    tokens: list[list[int]] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def available() -> bool:
    """Whether llama.cpp is installed."""
    return find_spec("xllamacpp") is not None


def ask(
    gguf: Path,
    texts: Sequence[str],
    passages: Sequence[Passage],
    eos: int,
    threads: int = 1,
    exact: bool = True,
) -> Answer:
    """Let llama.cpp read texts, and write on after the passages' prompts.

    Args:
        gguf: the file.
        eos: the model's end-of-sequence id.
        threads: of llama.cpp.
        exact: keep keys and values in float32; its default is float16.

    Raises:
        FabulaError: llama.cpp is not installed, or does not take the file.
    """
    if not available():
        raise FabulaError("llama.cpp is not installed: pip install xllamacpp.")
    with tempfile.TemporaryDirectory() as scratch:
        question, reply = Path(scratch) / "question.json", Path(scratch) / "answer.json"
        question.write_text(
            json.dumps(
                {
                    "gguf": str(gguf),
                    "texts": list(texts),
                    "passages": [[p.text, p.ids, p.written] for p in passages],
                    "eos": eos,
                    "threads": threads,
                    "exact": exact,
                }
            ),
            "utf-8",
        )
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(question), str(reply)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if not reply.is_file():
            lines = [line.strip() for line in done.stdout.splitlines() if "error" in line.lower()]
            reason = lines[-1][:200] if lines else f"it ended with code {done.returncode}"
            raise FabulaError(f"llama.cpp does not take {gguf}: {reason}.")
        found = json.loads(reply.read_text("utf-8"))
    return Answer(found["tokens"], [Difference(*entry) for entry in found["differences"]])


def _serve(gguf: str, threads: int, exact: bool) -> Any:
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = gguf
    settings.n_ctx = 0
    settings.n_parallel = 1
    settings.n_gpu_layers = 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    settings.hostnames, settings.port, settings.ui = ["127.0.0.1"], 0, False
    settings.warmup, settings.verbosity = False, 1
    if exact:
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return xllamacpp.Server(settings)


def _post(address: str, path: str, data: dict[str, Any]) -> dict[str, Any]:
    from urllib.request import Request, urlopen

    request = Request(address + path, json.dumps(data).encode())
    request.add_header("Content-Type", "application/json")
    with urlopen(request) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


def _go_on(address: str, prompt: Any, count: int, eos: int) -> list[int]:
    """The likeliest tokens after a prompt (text or ids), to the end or `count` of them."""
    data = {"prompt": prompt, "n_predict": count, "return_tokens": True}
    data |= {"samplers": ["top_k"], "top_k": 1, "temperature": 0.0, "cache_prompt": True}
    reply = _post(address, "/completion", data)
    tokens = [int(t) for t in reply["tokens"]]
    if reply.get("stop_type") == "eos" and (not tokens or tokens[-1] != eos):
        tokens.append(eos)
    return tokens


def _main(question: Path, reply: Path) -> None:
    asked = json.loads(question.read_text("utf-8"))
    server = _serve(asked["gguf"], asked["threads"], asked["exact"])
    address, eos = server.listening_address, asked["eos"]
    tokens = [
        _post(address, "/tokenize", {"content": text, "add_special": True})["tokens"]
        for text in asked["texts"]
    ]
    differences = []
    for number, (text, ids, written) in enumerate(asked["passages"]):
        place = 0
        while place < len(written):
            prompt = text if place == 0 else [*ids, *written[:place]]
            theirs = _go_on(address, prompt, len(written) - place, eos)
            rest = written[place:]
            same = next(
                (i for i, (a, b) in enumerate(zip(theirs, rest, strict=False)) if a != b),
                min(len(theirs), len(rest)),
            )
            place += same
            if same < len(rest):
                other = theirs[same] if same < len(theirs) else -1
                differences.append([number, place, other])
                place += 1
    reply.write_text(json.dumps({"tokens": tokens, "differences": differences}), "utf-8")


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    # Not through the interpreter's end, where llama.cpp's threads may still run.
    import os

    os._exit(0)
