"""How fast a corpus of WritingPrompts' size is prepared, beside plain `datasets.map`.

    python benchmarks/prepare.py                     # 20,000 stories; the peer takes 2,000
    python benchmarks/prepare.py --stories 300000    # the whole size: minutes, and 4 GB of disk

The load is made here: real sentences of the sample corpus in new orders, in the published form of
WritingPrompts, as long as its stories are (log-normal, median 500 words, 95th percentile 1,570).
The peer does the same to each story (cleaning, fingerprint, beats and summaries, tags) with the
same functions, a story at a time, as one writes it with `Dataset.map(..., num_proc=CORES)`; it
leaves out what looks at all stories together (duplicates, splits, leak check). Memory is the
largest sum of resident sets over all processes, seen ten times a second; what they share is
counted once for each.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from fabula.corpus.sentences import find_sentences
from fabula.story.sample import load_sample

MEDIAN, SPREAD = 6.207, 0.707
SHORTEST, LONGEST = 60, 2_200


def sentences() -> list[str]:
    """Every sentence of the sample's training stories."""
    texts = [story.text for story in load_sample("train")[:6_000]]
    found = find_sentences(texts)
    return [
        found.string(text, a, b).replace("\n", " ")
        for text, a, b in zip(
            found.text.tolist(), found.start.tolist(), found.end.tolist(), strict=True
        )
    ]


def publish(text: str) -> str:
    """The published form: quotes as `` and '', contractions and brackets apart."""
    text = re.sub(r'(^|(?<=[ (]))"', "`` ", text).replace('"', " ''")
    text = re.sub(r"(?i)([a-z])(n't\b|'(?:s|m|re|ve|ll|d)\b)", r"\1 \2", text)
    return re.sub(r"([()])", r" \1 ", text)


def make_load(folder: Path, stories: int, seed: int = 0) -> int:
    """Write train.wp_source and train.wp_target; returns the number of words."""
    dice = random.Random(seed)
    pool = [publish(sentence) for sentence in sentences()]
    sizes = [sentence.count(" ") + 1 for sentence in pool]
    total = 0
    with (
        (folder / "train.wp_source").open("w", encoding="utf-8") as prompts,
        (folder / "train.wp_target").open("w", encoding="utf-8") as targets,
    ):
        for number in range(stories):
            wanted = min(LONGEST, max(SHORTEST, round(dice.lognormvariate(MEDIAN, SPREAD))))
            words, paragraphs = 0, []
            while words < wanted:
                chosen = [dice.randrange(len(pool)) for _ in range(dice.choice((1, 1, 2, 3, 4)))]
                words += sum(sizes[i] for i in chosen)
                paragraphs.append(" ".join(pool[i] for i in chosen))
            total += words
            # Every second prompt has two stories, as WritingPrompts' have several.
            prompts.write(f"[ WP ] {pool[(number // 2) * 7919 % len(pool)]} {number // 2} .\n")
            targets.write(" <newline> <newline> ".join(paragraphs) + "\n")
    return total


def prepare(source: Path, out: Path, cores: int) -> tuple[float, float]:
    """Seconds of `fabula prepare` as a whole process, and the most memory in bytes."""
    command = [sys.executable, "-c", "from fabula.cli import main; main()", "prepare", str(source)]
    command += ["-o", str(out), "--workers", str(cores), "--max-words", "2500", "--json"]
    started, most = time.perf_counter(), 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [watched, *watched.children(recursive=True)]
                most = max(most, sum(p.memory_info().rss for p in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit("fabula prepare failed")
    return time.perf_counter() - started, most


def one_by_one(row: dict[str, Any]) -> dict[str, Any]:
    """What preparing does to a story, as a function of one row."""
    from fabula.corpus.clean import clean_text
    from fabula.corpus.fingerprint import digest, normalise, prompt_id, signature
    from fabula.corpus.parts import parts_of
    from fabula.corpus.prompts import clean_prompt
    from fabula.corpus.tagging import brief_json, complete
    from fabula.reading import read_fields
    from fabula.story import render_brief, render_completion

    prompt, _ = clean_prompt(row["prompt"])
    text = clean_text(row["story"], published=True, web=True).text
    plain = normalise(text)
    (part,) = parts_of([text], 2_500)[0]
    (fields,) = read_fields([text], min_confidence=0.5)
    brief = complete(fields, words=part.words, title=None, premise=prompt)
    return {
        "id": prompt_id(prompt or ""), "digest": digest(plain), "signature": signature(plain),
        "brief": brief_json(brief), "prompt": render_brief(brief), "text": text,
        "completion": render_completion(part.outline, part.passages),
    }  # fmt: skip


PEER = """
import json, sys, time
from pathlib import Path
import datasets
sys.path.insert(0, sys.argv[4])
from prepare import one_by_one
datasets.disable_progress_bars()
folder, stories, cores = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
started = time.perf_counter()
lines = [open(folder / f"train.wp_{half}", encoding="utf-8") for half in ("source", "target")]
rows = [dict(zip(("prompt", "story"), pair)) for pair, _ in zip(zip(*lines), range(stories))]
table = datasets.Dataset.from_list(rows)
table = table.map(one_by_one, num_proc=cores, remove_columns=["prompt", "story"])
table.to_parquet(folder / "peer.parquet")
print(json.dumps(time.perf_counter() - started))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--stories", type=int, default=20_000)
    parser.add_argument("--peer", type=int, default=2_000, help="stories for the peer; 0: none")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "load"
        folder.mkdir()
        words = make_load(folder, asked.stories)
        print(
            f"{asked.stories:,} stories of {words / asked.stories:,.0f} words, {asked.cores} cores"
        )
        seconds, memory = prepare(folder, Path(scratch) / "corpus", asked.cores)
        rate = asked.stories / seconds
        print(f"fabula prepare   {rate:8,.0f} stories/s   {seconds:6.0f} s   {memory / 1e9:.2f} GB")
        if asked.peer:
            command = [sys.executable, "-c", PEER, str(folder), str(asked.peer)]
            command += [str(asked.cores), str(Path(__file__).parent)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peer = asked.peer / json.loads(done.stdout.strip().split("\n")[-1])
            print(f"datasets.map     {peer:8,.0f} stories/s   (on {asked.peer:,})")
            print(f"ratio            {rate / peer:8.1f}")


if __name__ == "__main__":
    main()
