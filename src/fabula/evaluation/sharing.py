"""The longest run of words that a story shares with a corpus: what was copied, not written.

The corpus is streamed past the stories' own n-grams, so memory does not grow with it. For each
length L, hashes of the corpus's L-grams are looked up among the stories'; only places that match
at L can match at L + 1, so few are left after the first steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fabula.evaluation.texts import spoken_words

Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

CHUNK_WORDS = 500_000
# An odd multiplier mixes a word's random number with its place in the run (mod 2^64).
_BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Shared:
    """The longest run of a story that also stands in the corpus.

    Attributes:
        words: its length in spoken words; 0 if not even one word is shared.
        text: the words, lower-case, without punctuation.
        source: id of a corpus text that has them.
    """

    words: int
    text: str = ""
    source: str | None = None


class _Runs:
    """Rolling hashes of runs of words; runs never reach over the end of a text."""

    def __init__(self, texts: Sequence[Sequence[int]], numbers: Hashes) -> None:
        lengths = [len(t) for t in texts]
        self.ids = np.fromiter((w for t in texts for w in t), dtype=np.int64, count=sum(lengths))
        self.text = np.repeat(np.arange(len(texts)), lengths)
        ends = np.repeat(np.cumsum(lengths), lengths)
        self.room = ends - np.arange(len(self.ids))
        self.values = numbers[self.ids]
        self.places: Places = np.arange(len(self.ids))
        self.hashes: Hashes = np.zeros(len(self.ids), dtype=np.uint64)
        self.length = 0

    def grow(self) -> None:
        """Lengthen the runs that are left by one word; drop those that hit the text's end."""
        fits = self.room[self.places] > self.length
        self.places, self.hashes = self.places[fits], self.hashes[fits]
        added = self.values[self.places + self.length]
        self.hashes = self.hashes * _BASE + added
        self.length += 1

    def keep(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Forget the runs that are not chosen."""
        self.places, self.hashes = self.places[chosen], self.hashes[chosen]

    def run(self, place: int) -> Places:
        """Word ids of the run that starts at a place."""
        return self.ids[place : place + self.length]


def longest_shared(
    stories: Sequence[str],
    corpus: Iterable[tuple[str, str]],
    tick: Callable[[int], None] = lambda words: None,
) -> list[Shared]:
    """The longest run of words each story shares with any one text of a corpus.

    Args:
        stories: the texts that are asked about.
        corpus: (id, text) pairs, read once.
        tick: called with the words read so far.
    """
    vocabulary: dict[str, int] = {}
    asked = [
        [vocabulary.setdefault(w, len(vocabulary) + 1) for w in spoken_words(s)] for s in stories
    ]
    words = ["", *vocabulary]
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 2**64, size=len(words), dtype=np.uint64)
    best = [Shared(0) for _ in stories]
    read = 0
    for names, texts in _chunks(corpus, vocabulary):
        _search(asked, texts, names, numbers, words, best)
        read += sum(map(len, texts))
        tick(read)
    return best


def _chunks(
    corpus: Iterable[tuple[str, str]], vocabulary: dict[str, int]
) -> Iterator[tuple[list[str], list[list[int]]]]:
    """Corpus texts as word ids (0 for words no story has), some `CHUNK_WORDS` at a time."""
    names: list[str] = []
    texts: list[list[int]] = []
    size = 0
    for name, text in corpus:
        ids = [vocabulary.get(w, 0) for w in spoken_words(text)]
        names.append(name)
        texts.append(ids)
        size += len(ids)
        if size >= CHUNK_WORDS:
            yield names, texts
            names, texts, size = [], [], 0
    if texts:
        yield names, texts


def _search(
    asked: Sequence[Sequence[int]],
    texts: Sequence[Sequence[int]],
    names: Sequence[str],
    numbers: Hashes,
    words: Sequence[str],
    best: list[Shared],
) -> None:
    """Raise `best` by what one chunk of the corpus shares with the stories."""
    mine, theirs = _Runs(asked, numbers), _Runs(texts, numbers)
    while True:
        mine.grow()
        theirs.grow()
        unknown = theirs.ids[theirs.places + (theirs.length - 1)] == 0
        theirs.keep(~unknown)
        order = np.argsort(theirs.hashes, kind="stable")
        hashes, places = theirs.hashes[order], theirs.places[order]
        if not len(hashes) or not len(mine.places):
            return
        at = np.minimum(np.searchsorted(hashes, mine.hashes), len(hashes) - 1)
        hit = hashes[at] == mine.hashes
        for i in np.flatnonzero(hit):
            place, other = int(mine.places[i]), int(places[at[i]])
            story = int(mine.text[place])
            # Hashes may collide; words do not.
            if mine.length > best[story].words and np.array_equal(
                mine.run(place), theirs.run(other)
            ):
                run = " ".join(words[w] for w in mine.run(place))
                best[story] = Shared(mine.length, run, names[int(theirs.text[other])])
        mine.keep(hit)
        theirs.keep(np.isin(theirs.hashes, mine.hashes))


def recited(stories: Sequence[str], best: Sequence[Shared]) -> list[Shared]:
    """What the story trees have in common with the stories, where it is longer than `best`.

    A run is followed through all wordings of a tree; a slot ends it.
    """
    from fabula.writing.verbatim import own_wordings

    runs = [own_wordings().longest_run(story) for story in stories]
    return [
        Shared(len(run.split()), run, "story trees") if len(run.split()) > other.words else other
        for run, other in zip(runs, best, strict=True)
    ]


def corpus_texts(corpus: Path | None, split: str = "train") -> Iterator[tuple[str, str]]:
    """(id, text) of every story of a split: what a model may have learnt by heart.

    Args:
        corpus: a prepared corpus, or None for the sample.

    Raises:
        FabulaError: as `fabula.corpus.schema.load_corpus`.
    """
    if corpus is None:
        from fabula.story.sample import load_sample

        for story in load_sample(split):  # type: ignore[arg-type]
            yield story.id, story.text
        return
    from fabula.corpus import load_corpus

    table = load_corpus(corpus, split)
    for batch in table.select(["id", "text"]).to_batches(max_chunksize=1_000):
        for row in batch.to_pylist():
            yield row["id"], row["text"]
