"""How surely duplicates, reprints and shared passages are found, and how often wrongly.

    python benchmarks/duplicates.py                          # the sample corpus
    python benchmarks/duplicates.py jsonl:tales.jsonl.xz     # any source that 'prepare' reads

Real stories are recombined into copies of known kinds, which stand among all the others. Printed
is what `decide` makes of each kind; how many pairs of untouched stories are found, and how many
of those are none by the exact answer (all shingles of all stories compared, no sampling); and the
time and memory of both.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.corpus import Settings, open_source
from fabula.corpus.clean import clean_text
from fabula.corpus.fingerprint import fingerprints, normalise, shingle_hashes
from fabula.corpus.groups import REASONS, Candidate, Candidates, decide
from fabula.corpus.passages import shared_passages

COPIES = 200
Ints = npt.NDArray[np.int64]


def edited(words: list[str], share: float, dice: random.Random, other: list[str]) -> list[str]:
    """The words with a share of them replaced, left out or doubled by another."""
    made: list[str] = []
    for word in words:
        if dice.random() >= share:
            made.append(word)
        elif (kind := dice.randrange(3)) < 2:
            made += [dice.choice(other)] if kind else [word, dice.choice(other)]
    return made


def kinds() -> dict[str, Callable[[list[str], list[str], random.Random], list[str]]]:
    """Name -> what makes a copy out of a story, another story, and dice."""

    def change(share: float) -> Callable[..., list[str]]:
        return lambda one, other, dice: edited(one, share, dice, other)

    def excerpt(length: int, share: float = 0.0) -> Callable[..., list[str]]:
        def make(one: list[str], other: list[str], dice: random.Random) -> list[str]:
            start = dice.randrange(max(1, len(one) - length))
            return edited(one[start : start + length], share, dice, other)

        return make

    def inside(length: int, share: float = 0.0) -> Callable[..., list[str]]:
        def make(one: list[str], other: list[str], dice: random.Random) -> list[str]:
            at = dice.randrange(len(other))
            return [*other[:at], *excerpt(length, share)(one, other, dice), *other[at:]]

        return make

    table: dict[str, Callable[..., list[str]]] = {"same words, other layout": change(0.0)}
    table |= {f"whole, {p}% of words edited": change(p / 100) for p in (1, 2, 4, 8, 16)}
    table |= {f"excerpt of {n} words, {p}% edited": excerpt(n, p / 100)
              for n in (80, 120, 200) for p in (0, 2, 5)}  # fmt: skip
    table["whole, inside a collection"] = lambda one, other, dice: [*other, *one, *other[::-1]]
    table |= {f"opening of {n} words, then another": (
        lambda one, other, dice, n=n: [*one[:n], *other]) for n in (25, 40, 60, 100)}  # fmt: skip
    table |= {f"{n} words inside another, {p}% edited": inside(n, p / 100)
              for n, p in ((25, 0), (40, 0), (60, 0), (80, 0), (120, 0),
                           (60, 3), (120, 3), (120, 6))}  # fmt: skip
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="sample")
    parser.add_argument("--stories", type=int, default=6000, help="at most so many (%(default)s)")
    arguments = parser.parse_args()
    settings = Settings()
    texts = [
        text
        for row in open_source(arguments.source, set()).rows()
        if len((text := clean_text(row.text, row.published).text).split()) >= 130
    ][: arguments.stories]
    stories = [normalise(text) for text in texts]
    print(
        f"{len(stories):,} stories of {arguments.source}, "
        f"{np.mean([s.count(' ') + 1 for s in stories]):.0f} words in the mean\n"
    )
    found_by_kind(stories, settings)
    found_among_the_untouched(stories, settings)


def candidates(stories: list[str]) -> Candidates:
    """As `clean_batch` makes them, each with a prompt of its own."""
    return Candidates.of(
        [
            Candidate(f"{n:016x}", one.digest, one.signature, None, one.passages)
            for start in range(0, len(stories), 256)
            for n, one in enumerate(fingerprints(stories[start : start + 256]), start)
        ]
    )


def found_by_kind(stories: list[str], settings: Settings) -> None:
    """What becomes of each kind of copy."""
    dice = random.Random(0)
    print(
        "| kind of copy | exact | near | reprint | one group | missed |\n|---|--:|--:|--:|--:|--:|"
    )
    for name, make in kinds().items():
        chosen = dice.sample(range(len(stories)), min(COPIES, len(stories) // 3))
        rest = sorted(set(range(len(stories))) - set(chosen))
        copies = []
        for n in chosen:
            # What it is mixed with is no story of the corpus, so that only `n` is its origin.
            pool = stories[rest.pop(dice.randrange(len(rest)))].split()
            copies.append(" ".join(make(stories[n].split(), pool, dice)))
        order = [stories[n] for n in chosen] + [stories[n] for n in rest]
        both = candidates([*order, *copies])
        decisions = decide(both, settings)
        first = len(order)
        joined = pairs_of(both, settings)
        counts = dict.fromkeys(
            ("exact duplicate", "near duplicate", "reprint of a passage", "group", "missed"), 0
        )
        for n in range(len(copies)):
            reason = REASONS[decisions.reason[first + n]] or REASONS[decisions.reason[n]]
            if reason is None:
                reason = "group" if (n, first + n) in joined else "missed"
            counts[reason] += 1
        cells = " | ".join(f"{c / len(copies):.1%}" for c in counts.values())
        print(f"| {name} | {cells} |")


def pairs_of(both: Candidates, settings: Settings) -> set[tuple[int, int]]:
    """Pairs that must lie in one split."""
    from fabula.corpus.alike import alike_pairs

    alike = alike_pairs(both.signature, settings.related)
    first, second = alike.first, alike.second
    shared = shared_passages(both.samples, settings.passage)
    return set(zip(first.tolist(), second.tolist(), strict=True)) | set(
        zip(shared.first.tolist(), shared.second.tolist(), strict=True)
    )


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What it returns, seconds, and MB at the peak (in a second run)."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return result, seconds, peak


def found_among_the_untouched(stories: list[str], settings: Settings) -> None:
    """Pairs found among stories as they are, against the exact answer."""
    ours = candidates(stories)
    found, seconds, peak = measured(lambda: shared_passages(ours.samples, settings.passage))
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    exact, exact_seconds, exact_peak = measured(lambda: exact_pairs(stories))
    print("\nAmong the untouched, pairs that share a passage, by its length in words:\n")
    print("| longest run shared | pairs there are | found |\n|---|--:|--:|")
    lengths = {pair: longest_run(stories[pair[0]], stories[pair[1]]) for pair in {*exact, *pairs}}
    for low, high in ((0, 13), (13, 25), (25, 40), (40, 60), (60, 10**6)):
        here = {p for p, n in lengths.items() if low <= n < high}
        name = f"{low} to {high - 1}" if high < 10**6 else f"{low} and more"
        print(f"| {name} | {len(here):,} | {len(here.intersection(pairs)):,} |")
    print(
        f"\nThe join of samples: {seconds:.2f} s, {peak:.0f} MB; of all shingles: "
        f"{exact_seconds:.2f} s, {exact_peak:.0f} MB: "
        f"{exact_seconds / seconds:.0f} times the time, {exact_peak / peak:.0f} times the memory."
    )


def exact_pairs(stories: list[str]) -> set[tuple[int, int]]:
    """Pairs that share nine or more five-word shingles, all shingles compared."""
    hashes = [np.unique(shingle_hashes(story)) for story in stories]
    keys = np.concatenate(hashes)
    owner = np.repeat(np.arange(len(stories)), [len(h) for h in hashes])
    order = np.argsort(keys, kind="stable")
    keys, owner = keys[order], owner[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sizes = np.diff(np.append(starts, len(keys)))
    codes = [np.empty(0, np.int64)]
    for size in range(2, 51):
        rows = starts[sizes == size][:, None]
        one, other = np.triu_indices(size, 1)
        codes.append((owner[rows + one] * len(stories) + owner[rows + other]).ravel())
    pairs, counts = np.unique(np.concatenate(codes), return_counts=True)
    enough: Ints = pairs[counts >= 9]
    return {(int(p) // len(stories), int(p) % len(stories)) for p in enough}


def longest_run(one: str, other: str) -> int:
    """Words of the longest run that two texts share."""
    a, b = one.split(), other.split()
    places: dict[tuple[str, ...], list[int]] = {}
    for j in range(len(b) - 2):
        places.setdefault(tuple(b[j : j + 3]), []).append(j)

    def runs() -> Iterator[int]:
        for i in range(len(a) - 2):
            for j in places.get(tuple(a[i : i + 3]), ()):
                if i and j and a[i - 1] == b[j - 1]:
                    continue
                length = 3
                while a[i + length : i + length + 1] == b[j + length : j + length + 1] != []:
                    length += 1
                yield length

    return max(runs(), default=0)


if __name__ == "__main__":
    main()
