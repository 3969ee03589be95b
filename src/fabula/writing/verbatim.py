"""Held back from reciting: a passage may not run on in the words of a story tree.

The wordings of a tree form a graph: words follow words, alternatives part and meet again, and a
slot breaks the graph, since a reader's own things stand there. While a candidate is drawn, each
run of its words that is also a path of the graph is followed; where a run has reached the limit,
the words that would continue it are made unlikely (MemFree decoding: Ippolito et al. 2022,
*Preventing Verbatim Memorization in Language Models Gives a False Sense of Privacy*; there for
n-grams of fixed texts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import numpy as np

from fabula.engines.protocol import Scores
from fabula.story.trees import CHOICE, SLOT, Tree, load_trees, own_trees
from fabula.writing.copying import finished_words, words_of

_GAP = "\0"
Runs = Mapping[int, int]
"""Places in the graph where a run may go on, and how many words long each run is."""


class Wordings:
    """The graph of all wordings of some texts with alternatives and slots.

    Places are numbered; an edge is a word that leads from one place to the next.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._edges: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
        self._pairs: dict[tuple[str, str], set[int]] = defaultdict(set)
        self._places = 0
        for text in texts:
            self._lay(SLOT.sub(_GAP, text))
        for edges in list(self._edges.values()):
            for word, ends in edges.items():
                for end in ends:
                    for after, lasts in self._edges.get(end, {}).items():
                        self._pairs[word, after] |= lasts

    def _place(self) -> int:
        self._places += 1
        return self._places

    def _lay(self, text: str) -> None:
        at = {self._place()}
        last = 0
        for choice in CHOICE.finditer(text):
            at = self._path(at, text[last : choice.start()])
            ends = [self._path(at, option) for option in choice[1].split("|")]
            at = set().union(*ends)
            last = choice.end()
        self._path(at, text[last:])

    def _path(self, starts: set[int], text: str) -> set[int]:
        """Add a path of words; nothing leads over a gap."""
        for number, stretch in enumerate(text.split(_GAP)):
            starts = {self._place()} if number else starts
            for word in words_of(stretch):
                end = self._place()
                for start in starts:
                    self._edges[start][word].add(end)
                starts = {end}
        return starts

    def go_on(self, runs: Runs, before: str | None, word: str) -> dict[int, int]:
        """The runs after one more word.

        Args:
            runs: the runs up to the word before.
            before: that word; a run starts with two words.
            word: the new word.
        """
        found: dict[int, int] = {}
        if before is not None:
            found = dict.fromkeys(self._pairs.get((before, word), ()), 2)
        for place, length in runs.items():
            edges = self._edges.get(place)
            for end in edges.get(word, ()) if edges is not None else ():
                found[end] = max(length + 1, found.get(end, 0))
        return found

    def next_words(self, runs: Runs, least: int) -> set[str]:
        """Words that would continue a run of at least `least` words."""
        return {
            word
            for place, length in runs.items()
            if length >= least
            for word in self._edges.get(place, ())
        }

    def windows(self, size: int) -> Iterator[tuple[str, ...]]:
        """Every path of `size` words."""
        for start in list(self._edges):
            paths: list[tuple[int, tuple[str, ...]]] = [(start, ())]
            for _ in range(size):
                paths = [
                    (end, (*words, word))
                    for place, words in paths
                    for word, ends in (self._edges[place].items() if place in self._edges else ())
                    for end in ends
                ]
            yield from {words for _, words in paths}

    def longest_run(self, text: str) -> str:
        """The longest stretch of a text, at least two words, that is a path of the graph."""
        words = words_of(text)
        runs: dict[int, int] = {}
        best, end = 0, 0
        for number, word in enumerate(words):
            runs = self.go_on(runs, words[number - 1] if number else None, word)
            longest = max(runs.values(), default=0)
            if longest > best:
                best, end = longest, number + 1
        return " ".join(words[end - best : end])


class Reciting:
    """The runs of a batch of rows that are being written.

    Args:
        wordings: what must not be recited.
        rows: rows being written.
        piece: text of a token.
        openers: tokens that begin a word, in its several spellings.
        least: words of a run before its continuation costs something.
        penalty: what it costs, in nats.
    """

    def __init__(
        self,
        wordings: Wordings,
        rows: int,
        piece: Callable[[int], str],
        openers: Callable[[str], frozenset[int]],
        least: int,
        penalty: float,
    ) -> None:
        self.wordings, self.piece, self.openers = wordings, piece, openers
        self.least, self.penalty = least, np.float32(penalty)
        self.runs: list[Runs] = [{} for _ in range(rows)]
        self.before: list[str | None] = [None] * rows
        self.unfinished = [""] * rows

    def append(self, row: int, token: int) -> None:
        """Tell what was written in a row."""
        finished, self.unfinished[row] = finished_words(self.unfinished[row] + self.piece(token))
        for word in finished:
            self._finish(row, word)

    def _finish(self, row: int, word: str) -> None:
        self.runs[row] = self.wordings.go_on(self.runs[row], self.before[row], word)
        self.before[row] = word

    def apply(self, scores: Scores) -> None:
        """Take the penalty off tokens that would continue a long run, in place."""
        for row in range(len(scores)):
            runs, unfinished = self.runs[row], words_of(self.unfinished[row])
            if max(runs.values(), default=0) < self.least - 1:
                continue
            for word in unfinished:
                runs = self.wordings.go_on(runs, self.before[row], word)
            tokens = {
                t for w in self.wordings.next_words(runs, self.least) for t in self.openers(w)
            }
            scores[row, list(tokens)] -= self.penalty


def wordings_of(trees: Iterable[Tree]) -> Wordings:
    """The graph of all passages of some trees."""
    return Wordings(
        text
        for tree in trees
        for text in (
            *(node.text for node in tree.nodes.values()),
            *(part for trait in tree.traits for part in (trait.told, trait.shown)),
        )
    )


@cache
def own_wordings() -> Wordings:
    """The graph of the trees in the package."""
    return wordings_of(load_trees(own_trees()))
