"""Cutting a story into its beats, and summing each up in a sentence of its own.

Stories rarely say where a beat ends, so the cut looks for a paragraph's end or a turn ("But
then", "The next morning") near where writers put it. The places are those of the sample
corpus's training stories, whose beats were labelled by hand: after 17, 41, 63 and 80 per cent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from fabula.corpus.sentences import Sentences, find_sentences
from fabula.story import FREYTAG

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FREYTAG_CUTS = (0.169, 0.405, 0.632, 0.796)
MAX_SUMMARY_WORDS = 24
MAX_SUMMARY = 400
"""Characters; there are "words" that fill a page."""

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


def openings(sentences: Sentences) -> Floats:
    """Log-odds of each sentence that it opens a beat, by its first words, shape [sentences]."""
    result = np.full(len(sentences), _INSIDE_SPEECH)
    base = sentences.base.tolist()
    for text in range(len(sentences.texts)):
        whole = sentences.texts[text]
        mine = np.arange(sentences.edges[text], sentences.edges[text + 1])
        mine = mine[~sentences.inside_speech[mine]]
        for n, start in zip(mine.tolist(), sentences.start[mine].tolist(), strict=True):
            found = _OPENING.match(whole, start - base[text])
            result[n] = _OPENING_WEIGHT[found.lastgroup] if found else 0.0
    return result


def cut(sentences: Sentences, first: Ints, last: Ints, targets: Floats, opening: Floats) -> Ints:
    """The sentences that open a new piece, of some runs of sentences.

    Each cut has the best sum of three log-odds: how far it is from its usual place, how its
    sentence opens, and whether a paragraph starts there.

    Args:
        sentences: of a batch of texts.
        first, last: each run of sentences, end exclusive, with more sentences than targets;
            shape [runs].
        targets: where the cuts belong, as shares of the run, rising; nan where a run wants
            fewer; shape [runs, cuts].
        opening: of `openings`.

    Returns:
        Numbers of sentences, rising along each row; `last` where a run wants fewer, shape
        [runs, cuts].
    """
    result = np.empty(targets.shape, dtype=np.int64)
    # Runs of about the same length together, so that little is computed for nothing.
    width = np.maximum(last - first, 1)
    for size in np.unique(np.ceil(np.log2(width))).tolist():
        rows = np.flatnonzero(np.ceil(np.log2(width)) == size)
        result[rows] = _cut(
            sentences, first[rows], last[rows], targets[rows], opening, int(width[rows].max())
        )
    return result


def _cut(
    sentences: Sentences, first: Ints, last: Ints, targets: Floats, opening: Floats, width: int
) -> Ints:
    column = np.arange(width)
    place = np.minimum(first[:, None] + column, last[:, None] - 1)
    there = first[:, None] + column < last[:, None]
    begin = sentences.start[first]
    span = sentences.end[last - 1] - begin
    at = (sentences.start[place] - begin[:, None]) / span[:, None]
    paragraph = sentences.opens_paragraph[place]
    share = (paragraph & there).sum(axis=1) / (last - first)
    with np.errstate(divide="ignore", invalid="ignore"):
        opens = np.where(share > 0, np.log(_PARAGRAPH_SHARE / share), 0.0)
        closed = np.where(share < 1, np.log((1 - _PARAGRAPH_SHARE) / (1 - share)), 0.0)
    base = opening[place] + np.where(paragraph, opens[:, None], closed[:, None])
    earliest = np.ones(len(first), dtype=np.int64)
    wanted = (~np.isnan(targets)).sum(axis=1)
    cuts = np.repeat(last[:, None], targets.shape[1], axis=1)
    for number in range(targets.shape[1]):
        latest = (last - first) - (wanted - number)
        distance = (at - targets[:, number, None]) / _SPREAD
        near = -distance * distance / 2
        is_first, is_last = column == earliest[:, None], column == latest[:, None]
        able = (column >= earliest[:, None]) & (column <= latest[:, None])
        able &= ((near >= -12) | is_last) & ((distance <= 4) | is_first)
        score = np.where(able, near + base, -np.inf)
        best = np.where(able.any(axis=1), score.argmax(axis=1), earliest)
        active = number < wanted
        cuts[active, number] = (first + best)[active]
        earliest = np.where(active, best + 1, earliest)
    return cuts


@cache
def _stop_numbers() -> npt.NDArray[np.uint64]:
    return np.unique(find_sentences([" ".join(sorted(_STOP))]).content_words()[1])


def summaries(sentences: Sentences, first: Ints, last: Ints) -> list[str]:
    """The sentence that best says what each of some runs is about, shortened if it is long.

    The score is linear; its weights were fitted to the word overlap (ROUGE-1) with the summaries
    people wrote for the sample corpus's training beats, where early sentences win: 0.155 against
    0.082 for a sentence at random and 0.257 for the best there is. Speech is held back, because
    an outline tells.

    Args:
        sentences: of a batch of texts.
        first, last: runs of sentences that follow each other, end exclusive, shape [runs].
    """
    if not len(first):
        return []
    in_sentence, number = sentences.content_words()
    # How often each word stands in its text, for every different word of a sentence once.
    _, word = np.unique(number, return_inverse=True)
    size = int(word.max(initial=0)) + 1
    in_text = sentences.text[in_sentence] * size + word
    _, kind, times = np.unique(in_text, return_inverse=True, return_counts=True)
    once = np.unique(in_sentence * len(in_text) + kind, return_index=True)[1]
    weight = np.minimum(times[kind[once]] - 1, 5)
    weight[np.isin(number[once], _stop_numbers())] = 0
    count = len(sentences)
    different = np.bincount(in_sentence[once], minlength=count)
    central = np.bincount(in_sentence[once], weight, count) / (different + 1)
    words = sentences.words(sentences.start, sentences.end)
    length = np.minimum(words, MAX_SUMMARY_WORDS) / 10
    worth = 0.016 * length - 0.005 * length * length + 0.035 * central + 0.002 * different
    worth -= np.where(sentences.inside_speech, 0.08, np.where(sentences.quotes, 0.04, 0.0))
    worth -= np.where(length < 0.5, 0.05, 0.0)
    sizes = last - first
    run = np.repeat(np.arange(len(first)), sizes)
    starts = np.cumsum(sizes) - sizes
    index = np.arange(len(run)) - starts[run]
    score = worth[first[run] + index] + 0.042 * (index == 0) - 0.042 * index / sizes[run]
    order = np.lexsort((index, -score, run))
    best = first + index[order[starts]]
    return [
        shorten(sentences.string(text, start, end), inside)
        for text, start, end, inside in zip(
            sentences.text[best].tolist(), sentences.start[best].tolist(),
            sentences.end[best].tolist(), sentences.inside_speech[best].tolist(), strict=True,
        )
    ]  # fmt: skip


def shorten(sentence: str, inside_speech: bool = False) -> str:
    """At most `MAX_SUMMARY_WORDS` words on one line, cut after a clause where there is one.

    Args:
        sentence: as it stands in the text.
        inside_speech: quotation marks were open before it, so a single one closes.
    """
    words = sentence.split()
    sentence = " ".join(words)
    if len(sentence) > MAX_SUMMARY:
        sentence = sentence[:MAX_SUMMARY].rstrip()
        words = sentence.split(" ")
    if len(words) > MAX_SUMMARY_WORDS:
        head = " ".join(words[:MAX_SUMMARY_WORDS])
        clauses = [m.start() for m in _CLAUSE.finditer(head) if head.count(" ", 0, m.start()) > 3]
        head = head[: clauses[-1]] if clauses else _DANGLING.sub("", head)
        sentence = head.rstrip(" ,;:—–-\"'(") + "."
    if sentence.count('"') % 2:
        sentence = '"' + sentence if inside_speech else sentence + '"'
    return sentence


def beat_names(sizes: Sequence[int]) -> list[str]:
    """Names for beats that come in several pieces: "climax", "climax 2", ..."""
    return [
        beat if number == 1 else f"{beat} {number}"
        for beat, size in zip(FREYTAG, sizes, strict=True)
        for number in range(1, size + 1)
    ]
