"""Cutting a story into its beats, and summing each up in a sentence of its own.

Stories rarely say where a beat ends, so the cut looks for a paragraph's end or a turn ("But
then", "The next morning") near where writers put it. The places are those of the sample
corpus's training stories, whose beats were labelled by hand: after 17, 41, 63 and 80 per cent.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fabula.story import FREYTAG

FREYTAG_CUTS = (0.169, 0.405, 0.632, 0.796)
MAX_SUMMARY_WORDS = 24

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*]*\s+(?=[\"'“‘(\[*]*[A-Z0-9])|\n\s*", re.UNICODE)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Col|Gen|Lt|Sgt|Rev|Jr|Sr|vs|No)|\b[A-Z])\.$"
)  # noqa: E501
_TURN = re.compile(
    r"(?i)[\"'“‘]?(?:(?:but|and) )?(?:then\b|suddenly|one (?:day|morning|night|evening|afternoon)|"
    r"(?:the )?next (?:day|morning|week|time)|that (?:night|evening|day|afternoon|morning)|"
    r"at last|finally|later|years? later|days? later|weeks? later|after (?:that|a while|many)|"
    r"when\b|from (?:that|then)|in the end|at that moment|just then|but\b|on the \w+ day|by \w+day|"
    r"in (?:the morning|spring|summer|autumn|winter)|now\b|so\b|soon)"
)
_WORD = re.compile(r"[^\W\d_]{4,}")
_STOP = frozenset(
    "that this with from they them their there then than when what were have been would could "
    "into your about just like over only very some more down back away again which where while "
    "because before after still said says will does didn well even here come came went know "
    "knew asked told".split()
)
_QUOTE = re.compile(r"[\"“”]")
_CLAUSE = re.compile(r"(?:[,;:]|\s[-–—]+|—)\s")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's place in its text (characters, end exclusive)."""

    start: int
    end: int
    opens_paragraph: bool


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order; together they cover all but the space between them."""
    found: list[Sentence] = []
    start, opens = 0, True
    for match in _SENTENCE_END.finditer(text):
        breaks = "\n" in match[0]
        end = match.end() if not breaks else match.start() + len(match[0].rstrip())
        if not breaks and _ABBREVIATION.search(
            text, max(start, match.start() - 6), match.start() + 1
        ):  # noqa: E501
            continue
        end = match.start() + len(match[0].rstrip())
        if end > start:
            found.append(Sentence(start, end, opens))
        start, opens = match.end(), breaks or (opens and end <= start)
    if text[start:].strip():
        found.append(Sentence(start, len(text), opens))
    return found


def cut(text: str, units: Sequence[Sentence], targets: Sequence[float]) -> list[int]:
    """Indices of the sentences that open a new piece, one for each target share of the text.

    Args:
        text: the story.
        units: its sentences, more than there are targets.
        targets: where the cuts belong, as shares of the text, rising.
    """
    size, begin = units[-1].end - units[0].start, units[0].start
    cuts: list[int] = []
    first = 1
    for number, target in enumerate(targets):
        last = len(units) - (len(targets) - number)
        best, best_score = first, float("-inf")
        for index in range(first, last + 1):
            unit = units[index]
            distance = ((unit.start - begin) / size - target) / 0.06
            if distance > 2.5 and index > first:
                break
            score = -distance * distance
            if unit.opens_paragraph:
                score += 1.0
            if _TURN.match(text, unit.start):
                score += 0.7
            if score > best_score:
                best, best_score = index, score
        cuts.append(best)
        first = best + 1
    return cuts


def pieces(text: str, units: Sequence[Sentence], cuts: Sequence[int]) -> list[Sequence[Sentence]]:
    """The runs of sentences between cuts."""
    edges = [0, *cuts, len(units)]
    return [units[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def summarise(text: str, units: Sequence[Sentence], weights: Counter[str]) -> str:
    """The sentence that says most of what its piece is about, shortened if it is long.

    Args:
        text: the whole story.
        units: the sentences of one piece.
        weights: how often each content word stands in the whole story.
    """
    here = content_words(text[units[0].start : units[-1].end])
    best, best_score = units[0], float("-inf")
    for unit in units:
        sentence = text[unit.start : unit.end]
        length = sentence.count(" ") + 1
        words = set(_WORD.findall(sentence.lower()))
        score = sum(here[w] * (1.0 + 0.3 * min(weights[w], 5)) for w in words if w in here)
        score /= (length + 8) ** 0.75
        if length < 4:
            score *= 0.3
        if _QUOTE.search(sentence):
            score *= 0.5
        if sentence.endswith(("?", "!", ":")):
            score *= 0.7
        if score > best_score:
            best, best_score = unit, score
    return shorten(text[best.start : best.end])


def shorten(sentence: str) -> str:
    """At most `MAX_SUMMARY_WORDS` words on one line, cut after a clause where there is one."""
    sentence = " ".join(sentence.split())
    words = sentence.split(" ")
    if len(words) <= MAX_SUMMARY_WORDS:
        return sentence
    head = " ".join(words[:MAX_SUMMARY_WORDS])
    clauses = [m.start() for m in _CLAUSE.finditer(head) if m.start() > len(head) // 3]
    head = head[: clauses[-1]] if clauses else head
    head = head.rstrip(" ,;:—–-\"“'‘(")
    if head.count('"') % 2:
        head += '"'
    if head.count("“") > head.count("”"):
        head += "”"
    return head if head.endswith((".", "!", "?")) else head + "."


def content_words(text: str) -> Counter[str]:
    """How often each content word stands in a text (lower case, four letters or more)."""
    counts = Counter(_WORD.findall(text.lower()))
    for word in _STOP & counts.keys():
        del counts[word]
    return counts


def beat_names(sizes: Sequence[int]) -> list[str]:
    """Names for beats that come in several pieces: "climax", "climax 2", ..."""
    return [
        beat if number == 1 else f"{beat} {number}"
        for beat, size in zip(FREYTAG, sizes, strict=True)
        for number in range(1, size + 1)
    ]
