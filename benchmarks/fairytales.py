"""How well names and places are read in fairy tales, against experts' answers.

    python benchmarks/fairytales.py fairytales.jsonl.xz

FairytaleQA (Xu et al. 2022) asks of each tale who did what, and where; its experts' answers are
the truth here. The file has the layout that `fabula prepare` reads (title, sections, questions
with `about` and `answers`). Printed are, with 95% bootstrap intervals over tales:

- who: of the questions about a character that begin with "Who", the share of which an answer is
  among the characters read ("the hare" is "Mr. Hare");
- named: of the characters read, the share that any question or answer of the tale speaks of;
- where: of the tales of which a question about the setting is asked, the share in which the place
  read has a noun of one of the answers.

The floor is what one would say who knows the sample's labels and can hardly read: capitals inside
sentences, and the place that would do best on the sample if it were always given.

Who is a character is learnt from the train split's tales too: on these, `fabula read --fit
--tales FILE` prints who and named for tales that were held out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fabula.corpus.fairytale import read_tales
from fabula.reading import read_all
from fabula.reading.match import content
from fabula.reading.score import baseline_brief
from fabula.reading.tales import Tale
from fabula.story import Brief

DRAWS = 1000
Count = tuple[float, float]


def who(tale: Tale, brief: Brief) -> Count:
    names = [c.name for c in brief.characters if c.name]
    return float(tale.answered(names)), float(len(tale.asked))


def named(tale: Tale, brief: Brief) -> Count:
    names = [c.name for c in brief.characters if c.name]
    return float(sum(map(tale.speaks_of, names))), float(len(names))


def where(tale: Tale, brief: Brief) -> Count:
    place = brief.setting.place if brief.setting else None
    hit = any(content(place or "") & content(answer) for answer in tale.places)
    return float(hit), float(bool(tale.places))


MEASURES: dict[str, Callable[[Tale, Brief], Count]] = {
    "who": who, "named": named, "where": where,
}  # fmt: skip


def figure(counts: np.ndarray) -> np.ndarray:
    return counts[..., 0] / np.maximum(counts[..., 1], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", type=Path)
    asked_for = parser.parse_args()
    tales = read_tales(asked_for.file)
    texts = [tale.text for tale in tales]
    ours = [reading.brief for reading in read_all(texts)]
    floor = [baseline_brief(text, number) for number, text in enumerate(texts)]
    draws = np.random.default_rng(0).integers(0, len(tales), (DRAWS, len(tales)))
    print(
        f"{len(tales)} tales\n\n| | of | read (95%) | floor | gain (95%) |\n|---|--:|---|--:|---|"
    )
    for name, measure in MEASURES.items():
        mine = np.array([measure(t, b) for t, b in zip(tales, ours, strict=True)])
        theirs = np.array([measure(t, b) for t, b in zip(tales, floor, strict=True)])
        drawn, base = (figure(c[draws].sum(axis=1)) for c in (mine, theirs))
        low, high = np.percentile(drawn, [2.5, 97.5])
        less, more = np.percentile(drawn - base, [2.5, 97.5])
        print(
            f"| {name} | {mine[:, 1].sum():.0f} | {figure(mine.sum(axis=0)):.2f} "
            f"({low:.2f}-{high:.2f}) | {figure(theirs.sum(axis=0)):.2f} "
            f"| {less:+.2f} to {more:+.2f} |"
        )


if __name__ == "__main__":
    main()
