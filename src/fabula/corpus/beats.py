"""Cutting a story into its beats, and summing each up in a sentence of its own.

Stories rarely say where a beat ends, so the cut looks for a paragraph's end or a turn ("But
then", "The next morning") near where writers put it. The places are those of the sample
corpus's training stories, whose beats were labelled by hand: after 17, 41, 63 and 80 per cent.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fabula.story import FREYTAG

FREYTAG_CUTS = (0.169, 0.405, 0.632, 0.796)
MAX_SUMMARY_WORDS = 24

_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]*]*\s+(?=[\"'“‘(\[*]*[A-Z0-9])|\s*\n\s*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Capt|Col|Gen|Lt|Sgt|Rev|Jr|Sr|vs|No)|\b[A-Z])\.$"
)
# How a sentence opens says how likely it opens a beat. The weights are log-odds over the sample
# corpus's training stories (12,008 sentences, of which 1,800 open a later beat).
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_OPENING = re.compile(
    rf"(?P<time>In (?:{_MONTHS}|(?:the )?(?:spring|summer|autumn|winter|morning|evening|end)\b)"
    r"|On (?:\w+day|the \w+ (?:day|night|morning))\b|The (?:next|first|following)\b|Next\b"
    r"|(?:One|That) (?:day|night|morning|evening|afternoon|week|winter|spring|summer|autumn)\b"
    r"|At (?:last|dawn|midnight|noon|dusk)\b|Then (?:a|the|came|one)\b|Now\b|Last\b"
    r"|(?:\w+ )?(?:[Yy]ears|[Ww]eeks|[Mm]onths|[Dd]ays|[Hh]ours) later\b)"
    r"|(?P<turn>(?:In|On|At|Then|One|For|Soon|By|After|When|So|But the|From|All|Finally|Suddenly"
    r"|First)\b)"
    r"|(?P<goes_on>(?:He|She|It|They|Her|His|You|No|And|There|What|Nobody|Someone|Two|Each)\b)"
    r"|(?P<speech>[\"“'‘])"
)
_OPENING_WEIGHT = {"time": 1.7, "turn": 1.0, "goes_on": -0.5, "speech": -0.7, None: 0.0}
_INSIDE_SPEECH = -4.0
# A beat starts with a paragraph nine times in ten, where the text has paragraphs at all.
_PARAGRAPH_SHARE = 0.9
# Standard deviation of a beat's start around its usual place, as a share of the text.
_SPREAD = 0.045
_WORD = re.compile(r"[^\W\d_]{4,}")
_STOP = frozenset(
    "that this with from they them their there then than when what were have been would could "
    "into your about just like over only very some more down back away again which where while "
    "because before after still said says will does didn well even here come came went know "
    "knew asked told".split()
)
# Words that cannot end a sentence.
_DANGLING = re.compile(
    r"(?: (?:a|an|the|and|or|but|as|if|that|which|who|of|in|on|at|to|for|from|with|by|into|his|her"
    r"|their|my|your|its|was|were|is|are|had|has|so|than|when|while|not|very|be|been))+$"
)
_CLAUSE = re.compile(r"(?:[,;:]|\s[-–—]+|—)\s")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's place in its text (characters, end exclusive)."""

    start: int
    end: int
    opens_paragraph: bool
    inside_speech: bool


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text, in order; together they cover all but the space between them."""
    found: list[Sentence] = []
    start, opens, quotes = 0, True, 0
    for match in _SENTENCE_END.finditer(text):
        breaks = match[0][0].isspace()
        end = match.start() if breaks else match.start() + len(match[0].rstrip())
        if not breaks and _ABBREVIATION.search(text, max(start, end - 6), end):
            continue
        if end > start:
            found.append(Sentence(start, end, opens, quotes % 2 == 1))
            quotes += text.count('"', start, end)
            opens = False
        if "\n" in match[0]:
            opens, quotes = True, 0
        start = match.end()
    if (end := len(text.rstrip())) > start:
        found.append(Sentence(start, end, opens, quotes % 2 == 1))
    return found


def has_five_sentences(text: str) -> bool:
    """Whether there can be one sentence a beat; the head of a text usually tells."""
    return any(len(sentences(part)) >= len(FREYTAG) for part in (text[:2_000], text))


def cut(text: str, units: Sequence[Sentence], targets: Sequence[float]) -> list[int]:
    """Indices of the sentences that open a new piece, one for each target share of the text.

    Each cut has the best sum of three log-odds: how far it is from its usual place, how its
    sentence opens, and whether a paragraph starts there.

    Args:
        text: the story.
        units: its sentences, more than there are targets.
        targets: where the cuts belong, as shares of the text, rising.
    """
    size, begin = units[-1].end - units[0].start, units[0].start
    share = sum(u.opens_paragraph for u in units) / len(units)
    paragraph = math.log(_PARAGRAPH_SHARE / share) if share else 0.0
    no_paragraph = math.log((1 - _PARAGRAPH_SHARE) / (1 - share)) if share < 1 else 0.0
    cuts: list[int] = []
    first = 1
    for number, target in enumerate(targets):
        last = len(units) - (len(targets) - number)
        best, best_score = first, float("-inf")
        for index in range(first, last + 1):
            unit = units[index]
            distance = ((unit.start - begin) / size - target) / _SPREAD
            if distance > 4 and index > first:
                break
            score = -distance * distance / 2
            if score < -12 and index < last:
                continue
            score += paragraph if unit.opens_paragraph else no_paragraph
            if unit.inside_speech:
                score += _INSIDE_SPEECH
            elif opening := _OPENING.match(text, unit.start):
                score += _OPENING_WEIGHT[opening.lastgroup]
            if score > best_score:
                best, best_score = index, score
        cuts.append(best)
        first = best + 1
    return cuts


def pieces(text: str, units: Sequence[Sentence], cuts: Sequence[int]) -> list[Sequence[Sentence]]:
    """The runs of sentences between cuts."""
    edges = [0, *cuts, len(units)]
    return [units[a:b] for a, b in itertools.pairwise(edges)]


def summarise(text: str, units: Sequence[Sentence], weights: Counter[str]) -> str:
    """The sentence that best says what its piece is about, shortened if it is long.

    The score is linear; its weights were fitted to the word overlap (ROUGE-1) with the summaries
    people wrote for the sample corpus's training beats, where early sentences win: 0.155 against
    0.082 for a sentence at random and 0.257 for the best there is. Speech is held back, because
    an outline tells.

    Args:
        text: the whole story.
        units: the sentences of one piece.
        weights: how often each content word stands in the whole story.
    """
    best, best_score = units[0], float("-inf")
    for index, unit in enumerate(units):
        sentence = text[unit.start : unit.end]
        length = min(sentence.count(" ") + 1, MAX_SUMMARY_WORDS) / 10
        words = set(_WORD.findall(sentence.lower()))
        central = sum(min(weights[w] - 1, 5) for w in words if w in weights) / (len(words) + 1)
        score = 0.042 * (index == 0) - 0.042 * index / len(units)
        score += 0.016 * length - 0.005 * length * length + 0.035 * central + 0.02 * len(words) / 10
        if unit.inside_speech:
            score -= 0.08
        elif '"' in sentence:
            score -= 0.04
        if length < 0.5:
            score -= 0.05
        if score > best_score:
            best, best_score = unit, score
    return shorten(text[best.start : best.end], best.inside_speech)


def shorten(sentence: str, inside_speech: bool = False) -> str:
    """At most `MAX_SUMMARY_WORDS` words on one line, cut after a clause where there is one.

    Args:
        sentence: as it stands in the text.
        inside_speech: quotation marks were open before it, so a single one closes.
    """
    sentence = " ".join(sentence.split())
    words = sentence.split(" ")
    if len(words) > MAX_SUMMARY_WORDS:
        head = " ".join(words[:MAX_SUMMARY_WORDS])
        clauses = [m.start() for m in _CLAUSE.finditer(head) if head.count(" ", 0, m.start()) > 3]
        head = head[: clauses[-1]] if clauses else _DANGLING.sub("", head)
        sentence = head.rstrip(" ,;:—–-\"'(") + "."
    if sentence.count('"') % 2:
        sentence = '"' + sentence if inside_speech else sentence + '"'
    return sentence


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
