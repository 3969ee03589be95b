"""Point of view: who tells the story, counted outside of what the characters say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.groups import count_in
from fabula.reading.text import Words, scan_one
from fabula.story import Span

SELDOM = 0.01  # least share of the narration's words
LEAST_SHARE = 0.18  # least share of "I" among the pronouns that tell a point of view
VIEWS = (None, "first", "second", "third")
NONE, FIRST, SECOND, THIRD = range(4)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Views:
    """Points of view of a batch of texts.

    Attributes:
        view: number into VIEWS, shape [texts].
        sure: confidence, 0 to 1, shape [texts].
        shows: which class of words shows it (bits), shape [texts].
    """

    view: npt.NDArray[np.int64]
    sure: Floats
    shows: npt.NDArray[np.int64]


def _sure(this: Floats, other: Floats, even: float) -> Floats:
    """Confidence that grows with the odds; one half where the share is `even`."""
    odds = np.log((this + 1e-3) / (other + 1e-3)) - np.log(even / (1 - even))
    result: Floats = 1 / (1 + np.exp(-2 * odds))
    return result


def decide(words: Words) -> Views:
    """The point of view of each text."""
    texts = len(words.texts)
    told = ~words.spoken
    doc = words.doc[told]
    bits = words.bits[told]
    first, plural, second, third = (
        count_in(doc, texts, bits & c != 0)
        for c in (classes.FIRST, classes.FIRST_PLURAL, classes.SECOND, classes.THIRD)
    )
    narrated = np.maximum(np.bincount(doc, minlength=texts), 1)
    mine = np.where(first >= plural, first, plural)
    share = mine / np.maximum(mine + third, 1)
    # A narrator may say "you" to somebody; who says it to the reader says little else.
    addressed = (second / narrated > 0.02) & (second > 2 * first) & (second > third / 2)
    # Of the train split's narrators the most modest says "I" in 24% of "I", "he", "she" and "they"
    # together; the wordiest third person, with its thoughts and letters, in 9%.
    owned = (mine / narrated > SELDOM) & (share > LEAST_SHARE)
    view = np.select([addressed, owned, third > 0], [SECOND, FIRST, THIRD], NONE)
    sure = np.select(
        [view == SECOND, view == FIRST, view == THIRD],
        [
            _sure(second, third + first, 0.5),
            _sure(share, 1 - share, LEAST_SHARE),
            _sure(1 - share, share, 1 - LEAST_SHARE),
        ],
        0.0,
    )
    own = np.where(first >= plural, classes.FIRST, classes.FIRST_PLURAL)
    shows = np.select(
        [view == SECOND, view == FIRST, view == THIRD],
        [np.full(texts, classes.SECOND), own, np.full(texts, classes.THIRD)],
        0,
    )
    return Views(view, sure, shows)


def showing(words: Words, views: Views, doc: int) -> list[int]:
    """The words of a text that show its point of view."""
    begin, end = words.first[doc], words.first[doc + 1]
    shows = (words.bits[begin:end] & views.shows[doc] != 0) & ~words.spoken[begin:end]
    found: list[int] = (np.flatnonzero(shows) + begin).tolist()
    return found


def point_of_view(text: str) -> tuple[str | None, float, list[Span]]:
    """Who tells the story: ``"first"``, ``"second"``, ``"third"`` or None.

    Returns:
        The point of view, a confidence from 0 to 1, and the pronouns in the narration that
        show it (at most 20).
    """
    words = scan_one(text)
    views = decide(words)
    spans = words.spans(0)
    found = [spans[i] for i in showing(words, views, 0)[:20]]
    return (
        VIEWS[views.view[0]],
        float(views.sure[0]),
        [Span(start=a, end=b, text=text[a:b]) for a, b in found],
    )
