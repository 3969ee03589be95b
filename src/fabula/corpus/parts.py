"""From a cleaned story to documents: one, or several parts if it is long.

A long story is never cut before its ending: it is parted at its beats, and each part says in its
premise which it is and what went before ("Part 2 of 3. So far: ..."). A beat that alone is too
long comes in pieces with numbered names ("rising action", "rising action 2"). All of it is plain
text in tags that the one format already has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fabula.corpus.beats import (
    FREYTAG_CUTS,
    Sentence,
    beat_names,
    content_words,
    cut,
    pieces,
    sentences,
    summarise,
)
from fabula.story import FREYTAG, Beat, Outline, Passage

MAX_SO_FAR = 400


@dataclass(frozen=True, slots=True)
class Part:
    """One document's worth of a story.

    Attributes:
        number, total: part `number` (from 1) of `total`.
        outline, passages: its beats.
        so_far: the summaries before it, shortened; empty for the first part.
    """

    number: int
    total: int
    outline: Outline
    passages: list[Passage]
    so_far: str

    @property
    def text(self) -> str:
        """Its passages, a blank line between them."""
        return "\n\n".join(p.text for p in self.passages)

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


def parts_of(text: str, max_words: int) -> list[Part]:
    """Cut a story into beats and, where it has more than `max_words`, into parts.

    Returns:
        The parts in order; none where the text has fewer than five sentences.
    """
    units = sentences(text)
    if len(units) < len(FREYTAG):
        return []
    weights = content_words(text)
    beats = pieces(text, units, cut(text, units, FREYTAG_CUTS))
    total_words = len(text.split())
    runs: list[list[Sentence]] = []
    sizes = [1] * len(beats)
    for index, beat in enumerate(beats):
        if total_words > max_words:
            words = len(text[beat[0].start : beat[-1].end].split())
            sizes[index] = min(math.ceil(words / (max_words / 2)), len(beat))
        size = sizes[index]
        cuts = cut(text, beat, [n / size for n in range(1, size)]) if size > 1 else []
        runs += [list(piece) for piece in pieces(text, beat, cuts)]
    passages = [
        Passage(beat=name, text=text[run[0].start : run[-1].end])
        for name, run in zip(beat_names(sizes), runs, strict=True)
    ]
    summaries = [summarise(text, run, weights) for run in runs]
    groups = _group([len(p.text.split()) for p in passages], max_words)
    return [
        Part(
            number=number,
            total=len(groups),
            outline=Outline(
                beats=[Beat(beat=passages[i].beat, summary=summaries[i]) for i in group]
            ),
            passages=[passages[i] for i in group],
            so_far=_so_far(summaries[: group[0]]),
        )
        for number, group in enumerate(groups, 1)
    ]


def _group(words: list[int], max_words: int) -> list[list[int]]:
    """Neighbours together, evenly, up to about `max_words` a group."""
    if sum(words) <= max_words:
        return [list(range(len(words)))]
    wanted = sum(words) / math.ceil(sum(words) / max_words)
    groups: list[list[int]] = [[]]
    held = 0
    for index, count in enumerate(words):
        if groups[-1] and (held + count > max_words or held + count / 2 > wanted):
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
