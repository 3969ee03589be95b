"""Texts made ready to be read: words as columns, sentences, and who is speaking, in one pass.

Everything in `reading/` works on `Words`: a batch of texts, so that a question is asked of all
their words at once. Nothing here fails on any string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.vocabulary import (
    OPENS,
    PARAGRAPH,
    QUOTE,
    SILENT,
    SPEAK,
    START,
    STOP,
    TOGGLE,
    WORD,
    Vocabulary,
    vocabulary,
)

# Only this much of a text is read closely: some 70,000 words.
MAX_CHARACTERS = 400_000

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# Possessive quantifiers: nothing here is ever given back.
_WORD = r"[^\W_]++(?:['’][^\W\d_]++)*+(?:-[^\W_]++(?:['’][^\W\d_]++)*+)*+"
# Most words are letters between spaces: those first, and the space before them with them, which
# takes a quarter off.
_TOKEN = re.compile(
    r" *+([a-zA-Z]++(?![\w'’-])|"
    + _WORD
    + r"|\n\s*\n|\u2029\s*|[.!?…]++|[\"“”«»„]|``|''|[,;:—–()\n])"
)
_PLAIN_WORD = re.compile(_WORD)
_DOUBLE_MARK = re.compile(r"[\"“”«»]|``")
_SINGLE_MARK = re.compile(r"(?:^|[\s(—–])['‘](?=[^\W\d_])")
_BLANK_LINE = re.compile(r"\n\s*\n")
_SPEECH_LINE = re.compile(r"\n(?=[\"“—])")
# Books that quote with single marks: an apostrophe opens before a word, closes after a stop.
_MAY_OPEN = tuple(space + mark for space in " \n(—–" for mark in "'‘")
_OPEN = re.compile(r"(?<![^\s(\[—–-])['‘](?=\w)")
_CLOSE = re.compile(r"(?<=[.,!?…—–-])['’]")
_NO_DOUBLE = str.maketrans('"“”«»„', "      ")


def clip(text: str) -> str:
    """The part of a text that is read closely: its first MAX_CHARACTERS.

    Offsets into it are offsets into the text.
    """
    return text[:MAX_CHARACTERS]


def lower_words(text: str) -> list[str]:
    """The words of a text alone: lower-case, apostrophes straight, no possessive ``'s``."""
    found: list[str] = _PLAIN_WORD.findall(text.lower().replace("’", "'"))
    return [w[:-2] if w.endswith("'s") and len(w) > 2 else w for w in found]


def _marks(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))


def _one_layout(text: str) -> str:
    """The text, character for character, in one way of parting paragraphs and marking speech.

    U+2029 stands for a line's end that parts paragraphs; double marks for single ones.
    """
    head = text[:20_000]
    # Few texts open a quotation with a single mark: to count that closely takes time.
    single = sum(map(head.count, _MAY_OPEN)) + (head[:1] in ("'", "‘"))
    if single > head.count('"') and _marks(_SINGLE_MARK, head) > _marks(_DOUBLE_MARK, head):
        text = _CLOSE.sub("”", _OPEN.sub("“", text.translate(_NO_DOUBLE)))
    if "\n" not in text:
        return text
    if _BLANK_LINE.search(head) is None:
        return text.replace("\n", "\u2029")
    return _SPEECH_LINE.sub("\u2029", text)


@dataclass(slots=True)
class Words:
    """A batch of texts as columns, one entry a word; `n` words in `d` texts.

    Attributes:
        texts: the texts.
        vocabulary: what numbers mean.
        form, low: numbers of each word's form and of the word, shape [n].
        bits: classes of each word (see classes.py), shape [n].
        first: where each text's words begin, shape [d + 1].
        doc: which text a word is in, shape [n].
        gap: marks before the word (see vocabulary.py), 0 for none, shape [n].
        opens: whether a capital says nothing here (first word of a sentence or a quotation).
        spoken: whether the word stands inside quotation marks, shape [n].
        sentence: number of its sentence, over the whole batch, shape [n].
        stopped: whether a full stop belongs to it ("Mr."), shape [n].
    """

    texts: list[str]
    vocabulary: Vocabulary
    form: Ints
    low: Ints
    bits: Ints
    first: Ints
    doc: Ints
    gap: Bytes
    opens: Bools
    spoken: Bools
    sentence: Ints
    stopped: Bools

    def __len__(self) -> int:
        return len(self.form)

    @property
    def sizes(self) -> Ints:
        """Words in each text, shape [d]."""
        return np.diff(self.first)

    def at(self) -> npt.NDArray[np.float64]:
        """Where in its text each word stands, from 0 to 1, shape [n]."""
        place: npt.NDArray[np.float64] = self.within(np.arange(len(self)))
        return place

    def within(self, words: Ints) -> npt.NDArray[np.float64]:
        """Where in their texts some words stand, from 0 to 1."""
        doc = self.doc[words]
        place: npt.NDArray[np.float64] = (words - self.first[doc]) / np.maximum(self.sizes[doc], 1)
        return place

    def bits_of(self, low: Ints) -> Ints:
        """Classes of some words, by their lows."""
        bits: Ints = self.vocabulary.column("bits")[low]
        return bits

    def shown(self, word: int) -> str:
        """A word as written, without its possessive ``'s``."""
        return self.vocabulary.shown[int(self.form[word])]

    def lower(self, word: int) -> str:
        """A word in lower case."""
        return self.vocabulary.words[int(self.low[word])]

    def written(self, first: int, end: int) -> str:
        """A run of words as written, one space between, with the full stops of titles."""
        return " ".join(
            self.shown(i) + "." * (bool(self.stopped[i]) and i + 1 < end) for i in range(first, end)
        )

    def starts_of_sentences(self) -> Ints:
        """The first word of each sentence, in order."""
        return np.flatnonzero(np.diff(self.sentence, prepend=-1))

    def sentences(self, doc: int) -> list[tuple[int, int]]:
        """Word ranges of a text's sentences, end exclusive, in order."""
        start, end = int(self.first[doc]), int(self.first[doc + 1])
        starts = (np.flatnonzero(np.diff(self.sentence[start:end], prepend=-1)) + start).tolist()
        return list(zip(starts, [*starts[1:], end], strict=False))

    def spans(self, doc: int) -> list[tuple[int, int]]:
        """First character and one past the last of each word of a text, no possessive ``'s``."""
        text = _one_layout(self.texts[doc])
        owns = self.vocabulary.column("owns")[self.form[self.first[doc] : self.first[doc + 1]]]
        found = [m.span(1) for m in _TOKEN.finditer(text) if m[1][0].isalnum()]
        return [(a, b - 2 * bool(o)) for (a, b), o in zip(found, owns, strict=True)]


def scan(texts: Sequence[str], words: Vocabulary | None = None) -> Words:
    """Walk texts once.

    Args:
        texts: any strings.
        words: the vocabulary to number them with; the shipped one if None.
    """
    known = words or vocabulary()
    number = known.forms.__getitem__
    tokens: list[int] = []
    for text in texts:
        tokens.append(START)
        tokens.extend(map(number, _TOKEN.findall(_one_layout(text))))
    form = np.array(tokens, dtype=np.int64)
    is_word = known.column("kind")[form] == WORD
    before = np.cumsum(is_word) - is_word  # words before a token: the word that a mark precedes
    starts = np.flatnonzero(form == START)
    count = int(is_word.sum())
    first = np.append(before[starts], count)
    doc = np.repeat(np.arange(len(texts)), np.diff(first))
    words_at = np.flatnonzero(is_word)
    word_form = form[words_at]
    low = known.column("low")[word_form]
    bits = known.column("bits")[low]

    marks = np.flatnonzero(~is_word)
    text_of = np.cumsum(form[marks] == START) - 1
    target = before[marks]
    gap_of = known.column("gap")[form[marks]]
    stop = known.forms.get(".", -1)
    after_title = np.zeros(len(marks), dtype=bool)
    if count:
        # "Mr." ends no sentence.
        dots = np.flatnonzero((form[marks] == stop) & is_word[marks - 1])
        title = (bits[target[dots] - 1] & classes.TITLES_WITH_STOP) != 0
        after_title[dots[title]] = True
    stopped = np.zeros(count, dtype=bool)
    stopped[target[after_title] - 1] = True
    speaking = _speech(known.column("speech")[form])
    here = (target < first[text_of + 1]) & ~after_title
    gap = np.zeros(count, dtype=np.uint8)
    for bit in range(6):
        gap[target[here & (gap_of & (1 << bit) != 0)]] |= np.uint8(1 << bit)
    opens = gap & (OPENS | STOP | PARAGRAPH) != 0
    opens[target[here & (gap_of & QUOTE != 0) & speaking[marks]]] = True
    heads = first[:-1][np.diff(first) > 0]
    opens[heads] = True
    fresh = gap & (STOP | PARAGRAPH) != 0
    fresh[heads] = True
    return Words(
        list(texts), known, word_form, low, bits, first, doc, gap, opens, speaking[words_at],
        np.cumsum(fresh) - 1, stopped,
    )  # fmt: skip


@lru_cache(maxsize=64)
def scan_one(text: str) -> Words:
    """Walk a single text; what was walked last is remembered, since several questions follow."""
    return scan([text])


def _speech(marks: Bytes) -> Bools:
    """Whether speech goes on after each token, shape [tokens]."""
    toggles = np.cumsum(marks == TOGGLE)
    place = np.arange(len(marks))
    fixed = np.maximum.accumulate(np.where((marks == SPEAK) | (marks == SILENT), place, 0))
    since = toggles - toggles[fixed]
    state: Bools = (marks[fixed] == SPEAK) ^ (since % 2 == 1)
    return state


def english_share(words: Words) -> npt.NDArray[np.float64]:
    """Share of each text's first 2,000 words that are among the most frequent English ones."""
    use = np.arange(len(words)) - words.first[words.doc] < 2_000
    english = use & (words.bits & classes.ENGLISH != 0)
    texts = len(words.texts)
    return np.bincount(words.doc, english, texts) / np.maximum(
        np.bincount(words.doc, use, texts), 1
    )
