"""From a cleaned story to documents: one, or several parts if it is long.

A long story is never cut before its ending: it is parted at its beats, and each part says in its
premise which it is and what went before ("Part 2 of 3. So far: ..."). A beat that alone is too
long comes in pieces with numbered names ("rising action", "rising action 2"). All of it is plain
text in tags that the one format already has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.corpus.beats import FREYTAG_CUTS, beat_names, cut, openings, summaries
from fabula.corpus.sentences import Sentences, find_sentences
from fabula.story import FREYTAG, Beat, Outline, Passage

Ints = npt.NDArray[np.int64]

MAX_SO_FAR = 400


@dataclass(frozen=True, slots=True)
class Part:
    """One document's worth of a story.

    Attributes:
        number, total: part `number` (from 1) of `total`.
        names, summaries, texts: of its beats. Plain strings, because making models of them takes
            as long as the cutting.
        so_far: the summaries before it, shortened; empty for the first part.
        words: in its passages.
    """

    number: int
    total: int
    names: list[str]
    summaries: list[str]
    texts: list[str]
    so_far: str
    words: int

    @property
    def outline(self) -> Outline:
        """Its beats and their sentences."""
        pairs = zip(self.names, self.summaries, strict=True)
        return Outline(beats=[Beat(beat=name, summary=summary) for name, summary in pairs])

    @property
    def passages(self) -> list[Passage]:
        """Its text beat by beat."""
        pairs = zip(self.names, self.texts, strict=True)
        return [Passage(beat=name, text=text) for name, text in pairs]

    @property
    def text(self) -> str:
        """Its passages, a blank line between them."""
        return "\n\n".join(self.texts)

    def premise(self, premise: str | None) -> str | None:
        """The premise that tells a model which part it is to write."""
        if self.total == 1:
            return premise
        words = [f"Part {self.number} of {self.total}."]
        if premise:
            words.append(premise)
        if self.so_far:
            words.append(f"So far: {self.so_far}")
        return " ".join(words)


def parts_of(
    texts: Sequence[str], max_words: int, cuts: Sequence[Sequence[int]] = ()
) -> list[list[Part]]:
    """Cut stories into beats and, those that have more than `max_words`, into parts.

    Args:
        texts: the stories.
        max_words: of a part.
        cuts: for each text the characters at which its later beats begin, if they are known
            (see given.py); an empty sequence if not.

    Returns:
        The parts of each text in order; none where it has fewer than five sentences.
    """
    found = find_sentences(texts)
    edges, beats = found.edges, len(FREYTAG)
    able = np.flatnonzero(np.diff(edges) >= beats)
    first, last = edges[able], edges[able + 1]
    opening = openings(found)
    targets = np.tile(FREYTAG_CUTS, (len(able), 1))
    opens = np.column_stack([first, cut(found, first, last, targets, opening)])
    if any(cuts):
        _take_given(opens, found, able, cuts)
    closes = np.column_stack([opens[:, 1:], last])
    # A beat that alone is too long comes in pieces.
    total = found.words(found.start[first], found.end[last - 1])
    words = found.words(found.start[opens], found.end[closes - 1])
    pieces = np.minimum(np.ceil(words / (max_words / 2)).astype(np.int64), closes - opens)
    sizes = np.where(total[:, None] > max_words, np.maximum(pieces, 1), 1)
    heads = _pieces(found, opens.ravel(), closes.ravel(), sizes.ravel(), opening)
    owner = np.searchsorted(last, heads, side="right")
    tails = np.where(np.append(owner[1:], -1) == owner, np.append(heads[1:], 0), last[owner])
    lines = summaries(found, heads, tails)
    start, end = found.start[heads].tolist(), found.end[tails - 1].tolist()
    counts = found.words(found.start[heads], found.end[tails - 1]).tolist()
    result: list[list[Part]] = [[] for _ in texts]
    begin = 0
    for number, text in enumerate(able.tolist()):
        size = int(sizes[number].sum())
        mine = slice(begin, begin + size)
        names = beat_names(sizes[number].tolist())
        passages = [found.string(text, a, b) for a, b in zip(start[mine], end[mine], strict=True)]
        result[text] = _parts(names, lines[mine], passages, counts[mine], max_words)
        begin += size
    return result


def _take_given(opens: Ints, found: Sentences, able: Ints, cuts: Sequence[Sequence[int]]) -> None:
    """Put the beats that are known in the place of those that were looked for, in `opens`."""
    for row, text in enumerate(able.tolist()):
        if len(cuts[text]) == len(FREYTAG) - 1:
            places = found.base[text] + np.array(cuts[text])
            opens[row, 1:] = np.searchsorted(found.start, places)


def _pieces(
    found: Sentences, opens: Ints, closes: Ints, sizes: Ints, opening: npt.NDArray[np.float64]
) -> Ints:
    """The first sentence of every piece of some beats, in order."""
    long = np.flatnonzero(sizes > 1)
    most = int(sizes.max(initial=1))
    heads = np.full((len(opens), most), -1)
    heads[:, 0] = opens
    if len(long):
        number = np.arange(1, most)
        shares = number / sizes[long, None]
        targets = np.where(number < sizes[long, None], shares, np.nan)
        inner = cut(found, opens[long], closes[long], targets, opening)
        heads[long, 1:] = np.where(np.isnan(targets), -1, inner)
    flat: Ints = heads[heads >= 0]
    return flat


def _parts(
    names: list[str], summaries: list[str], texts: list[str], words: list[int], max_words: int
) -> list[Part]:
    groups = _group(words, max_words)
    return [
        Part(
            number=number,
            total=len(groups),
            names=[names[i] for i in group],
            summaries=[summaries[i] for i in group],
            texts=[texts[i] for i in group],
            so_far=_so_far(summaries[: group[0]]),
            words=sum(words[i] for i in group),
        )
        for number, group in enumerate(groups, 1)
    ]


def _group(words: list[int], max_words: int) -> list[list[int]]:
    """Neighbours together, in as few groups of at most `max_words` as can be.

    Of these the groups whose largest is smallest.
    """
    low, high = max(words), max(max(words), max_words)
    fewest = len(_fill(words, high))
    while low < high:
        middle = (low + high) // 2
        if len(_fill(words, middle)) <= fewest:
            high = middle
        else:
            low = middle + 1
    return _fill(words, low)


def _fill(words: list[int], most: int) -> list[list[int]]:
    """Neighbours together as long as they have at most so many words."""
    groups: list[list[int]] = [[]]
    held = 0
    for index, count in enumerate(words):
        if groups[-1] and held + count > most:
            groups.append([])
            held = 0
        groups[-1].append(index)
        held += count
    return groups


def _so_far(summaries: list[str]) -> str:
    """The last summaries that fit, in order."""
    kept: list[str] = []
    size = 0
    for summary in reversed(summaries):
        size += len(summary) + 1
        if kept and size > MAX_SO_FAR:
            break
        kept.append(summary)
    return " ".join(reversed(kept))
