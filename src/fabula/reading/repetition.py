"""Repetition: verbatim loops, repeated n-grams, distinct-n."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from fabula.story import Span
from fabula.story.brief import Model

LOOP_WORDS = 8
LOOP_TIMES = 3
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")

Share = Annotated[float, Field(ge=0, le=1)]


class Loop(Model):
    """Words that come again verbatim: what, how often, and where."""

    text: str
    times: int
    spans: list[Span]


class Repetition(Model):
    """How much a text repeats itself.

    Attributes:
        words: number of words.
        loops: runs of at least 8 words that occur at least 3 times, longest first.
        repeated_3: share of 3-grams (tokens) that had occurred before, 0 to 1.
        repeated_4: the same for 4-grams.
        distinct: distinct-n for n = 1, 2, 3 (Li et al. 2016): types over tokens. It falls with
            length; compare texts of equal length only.
    """

    words: int
    loops: list[Loop]
    repeated_3: Share
    repeated_4: Share
    distinct: tuple[Share, Share, Share]


def _distinct(words: list[str], n: int) -> float:
    total = len(words) - n + 1
    return len(set(zip(*(words[k:] for k in range(n)), strict=False))) / total if total > 0 else 1.0


def _loops(words: list[str], text: str, offsets: list[tuple[int, int]]) -> list[Loop]:
    n = LOOP_WORDS
    where: dict[tuple[str, ...], list[int]] = {}
    for i, gram in enumerate(zip(*(words[k:] for k in range(n)), strict=False)):
        where.setdefault(gram, []).append(i)
    looping = sorted(i for at in where.values() if len(at) >= LOOP_TIMES for i in at)
    groups: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    position = 0
    while position < len(looping):
        # Extend a run of looping starts for as long as the next start is also looping and the
        # run has not come round to its own beginning.
        first = looping[position]
        gram = tuple(words[first : first + n])
        last = first
        while position + 1 < len(looping) and looping[position + 1] == last + 1:
            if tuple(words[last + 1 : last + 1 + n]) == gram:
                break
            position, last = position + 1, last + 1
        position += 1
        groups.setdefault(gram, []).append((first, last + n))
    found = []
    for runs in groups.values():
        spans = []
        for a, b in runs:
            start, end = offsets[a][0], offsets[min(b, len(offsets)) - 1][1]
            spans.append(Span(start=start, end=end, text=text[start:end]))
        times = len(where[tuple(words[runs[0][0] : runs[0][0] + n])])
        found.append(Loop(text=spans[0].text, times=times, spans=spans))
    return sorted(found, key=lambda loop: -len(loop.text))


def repetition(text: str) -> Repetition:
    """Measure how much a text repeats itself."""
    matches = list(_WORD.finditer(text))
    words = [m[0].lower() for m in matches]
    shares = [1 - _distinct(words, n) for n in (3, 4)]
    return Repetition(
        words=len(words),
        loops=_loops(words, text, [m.span() for m in matches]),
        repeated_3=shares[0],
        repeated_4=shares[1],
        distinct=(_distinct(words, 1), _distinct(words, 2), _distinct(words, 3)),
    )
