"""Looking at stories: a system's and the human ones, through the same instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from fabula.errors import FabulaError
from fabula.evaluation.bootstrap import derangements
from fabula.evaluation.heldout import SAMPLE, HeldOut
from fabula.evaluation.options import PAIRINGS, Options, Progress
from fabula.evaluation.portrait import Portrait, portray
from fabula.evaluation.rows import Side
from fabula.evaluation.sharing import Shared, corpus_texts, longest_shared, recited
from fabula.evaluation.similarity import similarity
from fabula.evaluation.systems import System
from fabula.evaluation.texts import first_words
from fabula.evaluation.wishes import tally
from fabula.writing import check_receipt

T = TypeVar("T")


def pairings_of(groups: Sequence[str], seed: int) -> list[list[int]]:
    """The derangements behind all floors.

    Raises:
        FabulaError: fewer than two prompts, or one with more than half of the stories.
    """
    pairings = derangements(groups, PAIRINGS, seed)
    if not pairings:
        largest = max(map(list(groups).count, set(groups)), default=0)
        raise FabulaError(
            "Floors pair every story with another prompt's, but "
            f"{largest} of the {len(groups)} stories at hand share one prompt; "
            "take more stories (--limit, --split, --drawn), at least two prompts."
        )
    return pairings


class Bench:
    """The briefs, and human stories if there are, that all systems' stories are held against."""

    def __init__(
        self, items: Sequence[HeldOut], other_story: Sequence[str | None], options: Options
    ) -> None:
        self.items, self.other_story, self.options = items, other_story, options
        self.pairings = pairings_of([item.group for item in items], options.seed)
        self.references = [self._cut(item.text) for item in items]

    def _cut(self, text: str) -> str:
        return first_words(text, self.options.cut_words)

    @property
    def steps(self) -> int:
        """Steps that looking at one system takes, for the progress."""
        return len(self.items) * (2 if any(self.references) else 1) * (1 + len(self.pairings))

    def human(self, shared: Sequence[Shared] | None, tick: Callable[[], None]) -> Side | None:
        """Look at the human stories; their likeness is to another human's for the same prompt.

        None for drawn briefs.
        """
        if not any(self.references):
            return None
        texts = [item.text for item in self.items]
        others = [None if text is None else self._cut(text) for text in self.other_story]
        return self._look(texts, others, shared, tick)

    def system(
        self, system: System, shared: Sequence[Shared] | None, tick: Callable[[], None]
    ) -> Side:
        """Look at a system's stories, one for each item."""
        return self._look([story.text for story in system.told], self.references, shared, tick)

    def _look(
        self,
        texts: Sequence[str],
        references: Sequence[str | None],
        shared: Sequence[Shared] | None,
        tick: Callable[[], None],
    ) -> Side:
        briefs = [item.brief for item in self.items]
        cut = [self._cut(text) for text in texts]
        portraits = [portray(text) for text in texts]
        return Side(
            portraits=portraits,
            tallies=[
                _ticked(tick, tally(check_receipt(b, t)))
                for b, t in zip(briefs, texts, strict=True)
            ],
            chance_tallies=[
                [
                    _ticked(tick, tally(check_receipt(b, texts[j])))
                    for b, j in zip(briefs, pairing, strict=True)
                ]
                for pairing in self.pairings
            ],
            chance_ranks=[
                [_rank(portraits[j], b.arc) for b, j in zip(briefs, pairing, strict=True)]
                for pairing in self.pairings
            ],
            chance_reads=[
                [
                    None if b.arc is None else portraits[j].read_arc == b.arc
                    for b, j in zip(briefs, pairing, strict=True)
                ]
                for pairing in self.pairings
            ],
            likeness=similarity(cut, references, tick) if any(references) else None,
            chance_likeness=[
                similarity(cut, [self.references[j] for j in pairing], tick)
                for pairing in self.pairings
                if any(self.references)
            ],
            shared=shared,
        )


def _ticked(tick: Callable[[], None], value: T) -> T:
    tick()
    return value


def _rank(portrait: Portrait, arc: str | None) -> int | None:
    return portrait.arc.rank(arc) if portrait.arc is not None and arc is not None else None


def training_texts(options: Options) -> tuple[str, Iterator[tuple[str, str]]] | None:
    """(name, texts) of what the systems may have learnt by heart; None if there is no such split.

    Raises:
        FabulaError: a corpus that was named cannot be read.
    """
    folders: Sequence[Path | None] = list(options.trained_on) or [options.corpus]
    own = options.corpus if not options.trained_on else None
    if own is not None and not (own / "train.parquet").is_file():
        return None
    name = ", ".join(SAMPLE if f is None else str(f) for f in folders)
    return f"{name} and the story trees", (
        row for folder in folders for row in corpus_texts(folder)
    )


def shared_runs(
    options: Options, texts: Sequence[Sequence[str]], progress: Progress
) -> tuple[str, list[list[Shared]]] | None:
    """(name of the corpora, longest shared runs of each list of texts); None without corpora."""
    found = training_texts(options)
    if found is None:
        return None
    name, corpus = found
    tick = progress.stage("shared words: stories searched", None)

    def counted() -> Iterator[tuple[str, str]]:
        for row in corpus:
            tick()
            yield row

    flat = [text for group in texts for text in group]
    runs = recited(flat, longest_shared(flat, counted()))
    split, start = [], 0
    for group in texts:
        split.append(runs[start : start + len(group)])
        start += len(group)
    return name, split
