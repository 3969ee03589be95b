"""The choice among candidates: features of a candidate, weighed by the settings.

Features (larger is better; `Weights` has one weight for each):

=============  =========  ==================================================================
likelihood     nats < 0   log-probability of its last sentence given all before it
tokens         0 to 16    tokens of its last sentence: each costs likelihood, so that by likelihood
                          alone the shortest sentence is chosen, which says least
weakest        nats < 0   mean log-probability of the three unlikeliest tokens of its last sentence:
                          where a sentence makes no sense, two or three tokens tell it
gain           nats       how much likelier the brief makes a token (only under guidance)
due            0, 1, ...  wishes due by now that it is the first to keep
early          0, 1, ...  wishes due later that it keeps already
follows        0 to 1     share of the outline sentence's content words that it takes up
point_of_view  -1 to 0    -1 where it is told from another point of view than wished or begun
tense          -1 to 0    how far its tense is from the tense of the story so far
arc            -2 to 0    distance of its valence (VADER) from the one wanted at this beat
reads_genre    -4 to 0    log-chance that the story so far, with it, reads as the genre wished;
                          its words are read where they will stand in the whole story; above what
                          is enough nothing is gained (`WriterSettings.read_enough`)
reads_tone     -4 to 0    the same of the tone
reads_arc      -4 to 0    the same of the arc
reads_ending   -4 to 0    the same of the ending, times the square of how much is told by then:
                          how a story ends is not for its beginning to say
length         < 0        |log(words / words wanted)|, negative
unfinished     -2 to 0    cut off, an open quotation, or no full stop at its end
repetition     -1 to 0    share of its word 4-grams (in a line: pairs) that had occurred before
dwelling       -3 to 0    content words of the sentence before its last that this says again
twice          -3 to 0    content words that one sentence says twice ("a stone on the stone"), names
                          aside; one after the other ("a post post") counts as two
echo           -3 to 0    sentences of three words and more that the story has said already
stranger       -3 to 0    new capitalised names, where the brief has named its characters
harping        -4 to 0    how often it says a wished word again, or where it was said enough, and
                          twice how often it says one thing twice ("a scarf and a scarf")
selfsame       -3 to 0    sentences in which somebody is named twice ("Ann saw Ann"), or speaks to
                          themself by name
spelling       -1 to 0    share of words that a small model cannot have learnt: misspelt, mostly
=============  =========  ==================================================================
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from fabula.reading.arcs import shapes, split_sentences, valence
from fabula.reading.features import extract_words
from fabula.reading.labels import predict
from fabula.reading.pov import point_of_view
from fabula.reading.read import FEWEST_WORDS
from fabula.reading.text import clip, lower_words
from fabula.story import ARCS, ENDINGS, GENRES, TONES, Brief
from fabula.writing.copying import words_of
from fabula.writing.drafts import CLOSED, Draft
from fabula.writing.settings import Weights
from fabula.writing.wishes import Want

LEAST_CHANCE = -4.0
USUAL_WORDS = 40
"""Words of a beat where no length is wished."""
ENOUGH = 5
"""People say a wished thing in two or three places of a story, in simple ones in four or five."""
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”")
_PAST = re.compile(
    r"\b(?:was|were|had|did|could|would|said|went|came|took|saw|knew|got|made|found|thought|told|"
    r"felt|kept|stood|ran|sat|gave|held|left|heard|began|put|fell|\w{3,}ed)\b",
    re.IGNORECASE,
)
_PRESENT = re.compile(
    r"\b(?:is|are|am|has|does|can|will|says|goes|comes|takes|sees|knows|gets|makes|finds|thinks|"
    r"tells|feels|keeps|stands|runs|sits|gives|holds|leaves|hears|begins|puts|falls|looks)\b",
    re.IGNORECASE,
)
# A capital that no sentence or quotation begins with.
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][\w’'-]+")
# "a red scarf and a red scarf", "soft and soft", "her horses, and then her horses", "......"
_DOUBLED = re.compile(
    r"\b(\w[\w' ]{2,40}),? (?:and|or|but|and then|then) (?:the |a |his |her |my )?\1\b|[.!?]{4,}",
    re.IGNORECASE,
)
# "a post post"; but "had had" and "that that" are English.
_STUTTER = re.compile(r"\b(?!had\b|that\b)([a-z]+) \1\b")
# "Help me, Ann!" said Ann; but not "I am Ann," said Ann.
_TO_ONESELF = re.compile(
    r"\"(?![^\"]*(?:\bI am|\bname is|\bI,) )[^\"]*\b([A-Z]\w+)\b[^\"]*\" "
    r"(?:said|asked|called|cried) \1\b"
)
_CAPITAL = re.compile(r"\b[A-Z]\w+")
_LOWER = re.compile(r"\b[a-z]+\b")
_SMALL = frozenset(
    "the and but for with from that this they them their his her she him you your our its was "
    "were are had has have who what when where which into onto over under than then there too "
    "not all out off his one two only very must may can will would could should does did been "
    "being about after before again against because while until".split()
)


@dataclass
class Scene:
    """What a candidate is held against.

    Attributes:
        line: candidates are lines of the outline, not passages.
        closing: this is the last beat.
        due: wishes due by now and not kept yet.
        later: wishes due later and not kept yet.
        summary: outline sentence of this beat.
        view: point of view wished, or that of the story so far.
        past: share of past tense in the story so far; None before there is any.
        mood: valence wanted, -1 to 1; None where nothing is wished.
        labels: labels wished that a story can be read for: {"genre": "western", ...}.
        span: where the beat will begin and end in the whole story, 0 to 1.
        usual: words that the beat will have, or has as a rule.
        words: words wanted; None where no length is wished.
        before: the texts so far, whose word 4-grams should not come again.
        named: names that may occur; None where anyone may enter.
        lexicon: words that may occur; None where the model is to be trusted with spelling.
        wished: words of the wishes (of things, places and traits), which a small model likes to
            say over and over.
        enough: log-chance of a label, nats, from which it is read well enough.
    """

    line: bool = False
    closing: bool = False
    due: Sequence[Want] = ()
    later: Sequence[Want] = ()
    summary: str = ""
    view: str | None = None
    past: float | None = None
    mood: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    span: tuple[float, float] = (0.0, 1.0)
    usual: int = USUAL_WORDS
    words: int | None = None
    before: str = ""
    named: frozenset[str] | None = None
    lexicon: frozenset[str] | None = None
    wished: frozenset[str] = frozenset()
    enough: float = 0.0
    _grams: set[tuple[str, ...]] = field(default_factory=set)
    _said: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        words = words_of(self.before)
        self._grams = set(_grams(words, self.line))
        self._said = Counter(w for w in words if w in self.wished)

    @cached_property
    def told(self) -> list[str]:
        """The words of what was told before, as the reading sees them."""
        return words_read(self.before)

    @cached_property
    def sentences(self) -> list[str]:
        """The sentences that were said before."""
        return split_sentences(self.before)

    @cached_property
    def sayings(self) -> frozenset[str]:
        """The same, as `echoes` compares them."""
        return frozenset(_sayings(self.sentences))

    def harping(self, words: Sequence[str]) -> int:
        """How often a passage says a wished word again, or anew where it was said enough."""
        here = Counter(w for w in words if w in self.wished)
        return sum(n - (self._said[word] < ENOUGH) for word, n in here.items())


def _grams(words: list[str], line: bool) -> list[tuple[str, ...]]:
    return list(zip(*(words[k:] for k in range(2 if line else 4)), strict=False))


def content(text: str) -> set[str]:
    """The content words of a text, crudely stemmed: their first five letters."""
    return {w[:5] for w in words_of(text) if len(w) > 2 and w not in _SMALL}


def narration(text: str) -> str:
    """A text without what its characters say."""
    return _QUOTED.sub(" ", text)


def past_share(text: str) -> float | None:
    """Share of past tense among the tensed verbs of the narration; None without any."""
    told = narration(text)
    past, present = len(_PAST.findall(told)), len(_PRESENT.findall(told))
    return past / (past + present) if past + present else None


def mood_of(text: str) -> float:
    """Mean valence of the sentences, VADER's compound, -1 to 1."""
    scores = valence(split_sentences(text))
    return float(scores.mean()) if len(scores) else 0.0


def mood_wanted(brief: Brief, number: int, beats: int) -> float | None:
    """The valence that arc and ending want at a beat, -1 to 1."""
    wanted: float | None = None
    if brief.arc is not None:
        shape = shapes(beats)[brief.arc] if beats > 1 else shapes(2)[brief.arc][1:]
        wanted = 0.15 + 0.45 * float(shape[number] / abs(shape).max())
    if number == beats - 1 and brief.ending in ("happy", "sad"):
        wanted = 0.6 if brief.ending == "happy" else -0.3
    return wanted


def labels_wanted(brief: Brief) -> dict[str, str]:
    """The labels wished that a story can be read for.

    A label that the reader does not know cannot be read.
    """
    known = {"genre": GENRES, "tone": TONES, "arc": ARCS, "ending": ENDINGS}
    wished = {key: getattr(brief, key) for key in known}
    return {key: value for key, value in wished.items() if value in known[key]}


def words_read(text: str) -> list[str]:
    """The words of a text as the reading sees them, in lower case."""
    return lower_words(clip(text))


def log_chances(lower: list[str], labels: Mapping[str, str], told: float = 1.0) -> dict[str, float]:
    """Log-probability of each of some labels of a story, nats, at least `LEAST_CHANCE`.

    Args:
        lower: the words of the story so far, in lower case, as `words_read` gives them.
        labels: as `labels_wanted` gives them.
        told: how much of the whole story that is, 0 to 1: arc and ending are read off where
            words stand.
    """
    at = np.linspace(0, told, len(lower), endpoint=False, dtype=np.float64)
    chances = predict(extract_words([lower], [at]))
    return {
        key: max(math.log(chances[key].get(value, 0) or 1e-9), LEAST_CHANCE)
        for key, value in labels.items()
    }


def names_in(text: str) -> set[str]:
    """Capitalised words inside sentences, lower-case: names, mostly."""
    return {m[0].lower().removesuffix("'s").removesuffix("’s") for m in _NAME.finditer(text)}


def selfsame(text: str) -> int:
    """Sentences in which somebody is named twice, and speeches to oneself by name."""
    found = len(_TO_ONESELF.findall(text))
    for sentence in split_sentences(narration(text)):
        named = Counter(_CAPITAL.findall(sentence))
        found += any(n > 1 for n in named.values())
    return found


def _sayings(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        words = words_of(sentence)
        if len(words) >= 3:
            yield " ".join(words)


def echoes(sentences: Sequence[str], before: Set[str]) -> int:
    """Sentences of three words and more that come twice, or were said before (`Scene.sayings`)."""
    said = set(before)
    found = 0
    for saying in _sayings(sentences):
        found += saying in said
        said.add(saying)
    return found


def twice(sentences: Sequence[str]) -> int:
    """Content words that one sentence says twice, names aside, and words said at once again."""
    found = 0
    for sentence in sentences:
        said = Counter(w for w in _LOWER.findall(sentence) if len(w) > 3 and w not in _SMALL)
        found += sum(n - 1 for n in said.values()) + len(_STUTTER.findall(sentence))
    return found


def dwelling(sentences: Sequence[str], before: Sequence[str]) -> int:
    """Content words that the last sentence shares with the one before it."""
    *previous, last = [*before[-1:], *sentences][-2:] or [""]
    return len(content(last) & content(previous[0])) if previous and sentences else 0


def features(draft: Draft, scene: Scene) -> dict[str, float]:
    """The features of one candidate, by the names of `Weights`."""
    text = draft.text
    words = words_of(text)
    grams = _grams(words, scene.line)
    known = set(scene._grams)
    repeated = 0
    for gram in grams:
        repeated += gram in known
        known.add(gram)
    found = {
        "likelihood": draft.likelihood,
        "tokens": float(draft.tokens),
        "weakest": draft.weakest,
        "gain": draft.mean_gain,
        "due": float(sum(bool(w.found(text)) for w in scene.due)),
        "early": float(sum(bool(w.found(text)) for w in scene.later)),
        "repetition": -repeated / len(grams) if grams else 0.0,
        "unfinished": -_unfinished(draft, scene),
    }
    if scene.words and words:
        beside = math.log(len(words) / scene.words)
        # What goes on is not too short yet.
        found["length"] = -max(beside, 0.0) if draft.end == "sentence" else -abs(beside)
    if scene.named is not None:
        found["stranger"] = -float(min(len(names_in(text) - scene.named), 3))
    if scene.lexicon is not None and words:
        known_names = scene.named or frozenset()
        wrong = sum(not _spelled(w, scene.lexicon) and w not in known_names for w in words)
        found["spelling"] = -wrong / len(words)
    if scene.labels and len(words) + len(words_of(scene.before)) >= FEWEST_WORDS:
        start, end = scene.span
        if draft.end == "sentence":
            end = start + (end - start) * min(1.0, len(words) / scene.usual)
        chances = log_chances([*scene.told, *words_read(text)], scene.labels, end)
        found |= {f"reads_{label}": min(c, scene.enough) for label, c in chances.items()}
        if "reads_ending" in found:
            found["reads_ending"] *= end**2
    sentences = split_sentences(text)
    found["twice"] = -float(min(twice(sentences), 3))
    if scene.line:
        return found
    doubled = len(_DOUBLED.findall(text))
    found["harping"] = -float(min(scene.harping(words) + 2 * doubled, 4))
    found["selfsame"] = -float(min(selfsame(text), 3))
    found["dwelling"] = -float(min(dwelling(sentences, scene.sentences), 3))
    found["echo"] = -float(min(echoes(sentences, scene.sayings), 3))
    wanted = content(scene.summary)
    if wanted:
        found["follows"] = len(wanted & content(text)) / len(wanted)
    if scene.view is not None:
        view = point_of_view(text)[0]
        found["point_of_view"] = -float(view is not None and view != scene.view)
    past = past_share(text)
    if past is not None and scene.past is not None:
        found["tense"] = -abs(past - scene.past)
    if scene.mood is not None:
        found["arc"] = -abs(mood_of(text) - scene.mood)
    return found


def _spelled(word: str, lexicon: frozenset[str]) -> bool:
    """Whether a word, or what is left without a common ending, is in the lexicon."""
    if word in lexicon or word.isdecimal():
        return True
    stems = (word.removesuffix(end) for end in ("'s", "s", "es", "d", "ed", "ing", "ly"))
    return any(len(stem) > 2 and {stem, stem + "e"} & lexicon for stem in stems if stem != word)


def _unfinished(draft: Draft, scene: Scene) -> float:
    proper = ("line",) if scene.line else ("story",) if scene.closing else ("heading",)
    lacks = 0.0 if draft.end in (*proper, "sentence") else 1.0
    lacks += 0.5 * (draft.text.count('"') % 2)
    return lacks + (0.0 if CLOSED.search(draft.text) else 0.5)


def score(found: dict[str, float], weights: Weights) -> float:
    """The weighted sum."""
    return float(sum(getattr(weights, name) * value for name, value in found.items()))
