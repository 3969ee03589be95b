"""Point of view: who tells the story, counted outside of what the characters say."""

from __future__ import annotations

import math
from collections.abc import Iterable

from fabula.reading.text import Document, scan
from fabula.story import Span

FIRST = frozenset("i me my mine myself i'm i've i'd i'll we us our ours ourselves we're".split())
SECOND = frozenset("you your yours yourself you're you've you'd you'll".split())
THIRD = frozenset("he she him her his hers they them their himself herself themselves".split())
_PLAIN_I = frozenset("i i'm i've i'd i'll me my myself mine".split())


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
    # A narrator says "I" again and again: once in a hundred narrated words is already plenty,
    # while a stray "I" in the third person is a thought or a slip of the quotation marks.
    own, ours, address = (len(g) / narrated for g in (first, plural, second))
    if address > 0.02 and address > 2 * own and len(second) > len(third) / 2:
        return "second", _sure(len(second), len(third) + len(first)), second
    if own > 0.01 or (own + ours > 0.02 and len(first) + len(plural) > len(third) / 3):
        return "first", _sure(own, 0.01), first or plural
    if not third:
        return None, 0.0, []
    return "third", _sure(len(third) / narrated + 0.01, own + ours / 2), third


def _sure(this: float, other: float) -> float:
    return 1 / (1 + math.exp(-1.5 * math.log((this + 1e-3) / (other + 1e-3)) - 0.5))


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
