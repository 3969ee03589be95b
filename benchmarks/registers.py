"""How well models foresee the sample's held-out stories, by how plainly they are told.

    python benchmarks/registers.py                        # the embedded model
    python benchmarks/registers.py runs/embedded-simple/final runs/embedded/final

Bits per byte of outline and passages, given the brief with its length and without a premise.
"""

from __future__ import annotations

import argparse
import math
import random
import re

import torch
from transformers import AutoModelForCausalLM

from fabula.story.sample import load_sample
from fabula.training.documents import IGNORED, encode_document, vary
from fabula.training.models import context_of, resolve
from fabula.training.recipe import Augmentation
from fabula.training.sources import SampleExamples
from fabula.training.tokenizer import open_tokenizer

REGISTERS = {"simple": r"b[a-z]-", "plain": r"a[a-z]-|[ijlmno]-", "first": ""}
ASKED = Augmentation(drop_premise=1.0, add_length=True)


def register(story_id: str) -> str:
    return next(name for name, ids in REGISTERS.items() if re.match(ids, story_id))


@torch.no_grad()
def bits_per_byte(folder: str) -> dict[str, tuple[float, int]]:
    """(bits per byte, stories that fit the context) of each register."""
    source = resolve(folder)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    tokenizer, context = open_tokenizer(source), context_of(model.config)
    sums: dict[str, list[float]] = {name: [0.0, 0.0, 0.0] for name in REGISTERS}
    for example in SampleExamples("valid").read(range(len(load_sample("valid")))):
        prompt, completion = vary(example, ASKED, random.Random(0))
        ids, labels = encode_document(tokenizer, prompt, completion)
        if context is not None and len(ids) > context:
            continue
        log_p = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        own = log_p.gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        learnt = torch.tensor(labels[1:]) != IGNORED
        found = sums[register(example.id)]
        found[0] -= float(own[learnt].sum()) / math.log(2)
        found[1] += len(completion.encode())
        found[2] += 1
    return {name: (bits / size, int(count)) for name, (bits, size, count) in sums.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["embedded"], help="model folders")
    for folder in parser.parse_args().models:
        found = bits_per_byte(folder)
        print(folder, *(f"{k} {bits:.3f} ({n})" for k, (bits, n) in found.items()), sep="  ")


if __name__ == "__main__":
    main()
