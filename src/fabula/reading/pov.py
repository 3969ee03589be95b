"""Point of view: who tells the story, counted outside of what the characters say."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fabula.reading.text import Document, scan
from fabula.story import Span

# Not "mine": narrators seldom say it, and stories are told of mines.
FIRST = frozenset("i me my myself i'm i've i'd i'll we us our ours ourselves we're".split())
SECOND = frozenset("you your yours yourself you're you've you'd you'll".split())
THIRD = frozenset("he she him her his hers they them their himself herself themselves".split())
SELDOM = 0.01  # least share of the narration's words
LEAST_SHARE = 0.18  # least share of "I" among the pronouns that tell a point of view
_PLAIN_I = frozenset("i i'm i've i'd i'll me my myself".split())


def _positions(doc: Document, words: frozenset[str]) -> list[int]:
    spoken = doc.spoken
    return [i for i, w in enumerate(doc.lower) if w in words and not spoken[i]]


def decide(doc: Document) -> tuple[str | None, float, list[int]]:
    """Point of view, confidence (0 to 1), and the positions of the words that show it."""
    first = _positions(doc, _PLAIN_I)
    plural = _positions(doc, FIRST - _PLAIN_I)
    second = _positions(doc, SECOND)
    third = _positions(doc, THIRD)
    narrated = sum(not s for s in doc.spoken)
    total = len(first) + len(plural) + len(second) + len(third)
    if not total or not narrated:
        return None, 0.0, []
    own, address = len(first) / narrated, len(second) / narrated
    if address > 0.02 and address > 2 * own and len(second) > len(third) / 2:
        return "second", _sure(len(second), len(third) + len(first), 0.5), second
    # Of the train split's narrators the most modest says "I" in 24% of "I", "he", "she" and "they"
    # together; the wordiest third person, with its thoughts and letters, in 9%.
    mine = first if len(first) >= len(plural) else plural
    if not mine and not third:  # a stray "you", too rare to tell anything
        return None, 0.0, []
    share = len(mine) / (len(mine) + len(third))
    if len(mine) / narrated > SELDOM and share > LEAST_SHARE:
        return "first", _sure(share, 1 - share, LEAST_SHARE), mine
    if not third:
        return None, 0.0, []
    return "third", _sure(1 - share, share, 1 - LEAST_SHARE), third


def _sure(this: float, other: float, even: float) -> float:
    """Confidence that grows with the odds; one half where the share is `even`."""
    odds = math.log((this + 1e-3) / (other + 1e-3)) - math.log(even / (1 - even))
    return 1 / (1 + math.exp(-2 * odds))


def spans(doc: Document, positions: Iterable[int]) -> list[Span]:
    """Spans of some words of a document."""
    return [
        Span(start=doc.starts[i], end=doc.ends[i], text=doc.text[doc.starts[i] : doc.ends[i]])
        for i in positions
    ]


def point_of_view(text: str) -> tuple[str | None, float, list[Span]]:
    """Who tells the story: ``"first"``, ``"second"``, ``"third"`` or None.

    Returns:
        The point of view, a confidence from 0 to 1, and the pronouns in the narration that
        show it (at most 20).
    """
    doc = scan(text)
    view, confidence, positions = decide(doc)
    return view, confidence, spans(doc, positions[:20])
