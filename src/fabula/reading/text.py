"""A text made ready to be read: words with offsets, sentences, and who is speaking, in one pass.

Everything in `reading/` works on a `Document`, so that a text is walked once. The walk is a
single compiled pattern; nothing here fails on any string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Only this much of a text is read closely: some 70,000 words.
MAX_CHARACTERS = 400_000

_WORD = r"(?P<word>[^\W_]+(?:['’][^\W\d_]+)*(?:-[^\W_]+(?:['’][^\W\d_]+)*)*)"
_STOP = r"|(?P<stop>[.!?…]+)"
_QUOTE = r"|(?P<quote>[\"“”«»„]|``|'')"
# Books that quote with single marks: an apostrophe opens before a word, closes after a stop.
_SINGLE = r"|(?P<open>(?<![^\s(\[—–-])['‘](?=\w))|(?P<close>(?<=[.,!?…—–-])['’])"
_OTHER = r"|(?P<other>[,;:—–()\n])"
_BLANK = r"|(?P<para>\n\s*\n|\n(?=[\"“—]))"
_LINE = r"|(?P<para>\n\s*)"


def _pattern(paragraph: str, quote: str) -> re.Pattern[str]:
    return re.compile(_WORD + paragraph + _STOP + quote + _OTHER)


# (blank lines part paragraphs?, single quotation marks?) -> the walk's pattern.
_PATTERNS = {
    (blank, single): _pattern(_BLANK if blank else _LINE, _SINGLE if single else _QUOTE)
    for blank in (True, False)
    for single in (True, False)
}
_DOUBLE_MARK = re.compile(r"[\"“”«»]|``")
_SINGLE_MARK = re.compile(r"(?:^|[\s(—–])['‘](?=[^\W\d_])")
_BLANK_LINE = re.compile(r"\n\s*\n")


def _layout(text: str) -> re.Pattern[str]:
    """The pattern for a text's way of parting paragraphs and marking speech."""
    head = text[:20_000]
    double = len(_DOUBLE_MARK.findall(head))
    single = len(_SINGLE_MARK.findall(head))
    return _PATTERNS[_BLANK_LINE.search(head) is not None, single > double]


_TITLES_WITH_STOP = frozenset({"mr", "mrs", "ms", "dr", "st", "prof", "capt", "col", "sgt", "lt"})

ENGLISH = frozenset(
    "the and to of a in was he she it that his her had they with for on at as i my you not but "
    "is said from were him them me up out so then when what be there no into all by one would "
    "could did down an back like been this their have over if who old before or your we".split()
)


@dataclass(slots=True)
class Document:
    """A text and its words. All lists run in parallel, one entry a word.

    Attributes:
        text: the text itself; every offset counts its characters.
        words: the words as written, without a possessive ``'s``.
        lower: the same, lower-case, apostrophes straight.
        starts: first character of each word.
        ends: one past the last character (a possessive ``'s`` not included).
        opens: whether a capital says nothing here (first word of a sentence or a quotation).
        spoken: whether the word stands inside quotation marks.
        sentence: number of the sentence the word is in.
        before: punctuation between the word before and this one.
        possessive: whether ``'s`` follows.
    """

    text: str
    words: list[str] = field(default_factory=list)
    lower: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    opens: list[bool] = field(default_factory=list)
    spoken: list[bool] = field(default_factory=list)
    sentence: list[int] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    possessive: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.words)

    def sentences(self) -> list[tuple[int, int]]:
        """Word ranges of the sentences, end exclusive, in order."""
        number = -1
        starts = []
        for i, n in enumerate(self.sentence):
            if n != number:
                starts.append(i)
                number = n
        return list(zip(starts, [*starts[1:], len(self.words)], strict=False))


def clip(text: str) -> str:
    """The part of a text that is read closely: its first MAX_CHARACTERS.

    Offsets into it are offsets into the text.
    """
    return text[:MAX_CHARACTERS]


def scan(text: str) -> Document:
    """Walk a text once."""
    doc = Document(text)
    lower, opens, spoken, before = doc.lower, doc.opens, doc.spoken, doc.before
    # One bound method a list: this loop is most of the time a text takes.
    add_word, add_lower, add_start, add_end = (
        doc.words.append, lower.append, doc.starts.append, doc.ends.append
    )  # fmt: skip
    add_opens, add_spoken, add_before = opens.append, spoken.append, before.append
    add_sentence, add_possessive = doc.sentence.append, doc.possessive.append
    number, opening, speaking, gap, fresh = 0, True, False, "", True
    for match in _layout(text).finditer(text):
        kind = match.lastgroup
        if kind == "word":
            word = match[0]
            start, end = match.span()
            low = word.lower()
            owned = False
            if "’" in low or "'" in low:
                low = low.replace("’", "'")
                owned = low.endswith("'s") and len(low) > 2
                if owned:
                    word, low, end = word[:-2], low[:-2], end - 2
            add_word(word)
            add_lower(low)
            add_start(start)
            add_end(end)
            add_opens(opening)
            add_spoken(speaking)
            add_sentence(number)
            add_before(gap)
            add_possessive(owned)
            opening, gap, fresh = False, "", False
        elif kind == "other":
            mark = match[0]
            gap += mark
            if mark == "(" or mark == ":":
                opening = True
        elif kind == "stop":
            if lower and not gap and lower[-1] in _TITLES_WITH_STOP and match[0] == ".":
                continue
            gap += match[0]
            opening = True
            if not fresh:
                number, fresh = number + 1, True
        elif kind == "para":
            gap += "\n"
            opening, speaking = True, False
            if not fresh:
                number, fresh = number + 1, True
        else:
            mark = match[0]
            speaking = (
                kind == "open" or mark in "“„«" or mark == "``" or (mark == '"' and not speaking)
            )
            gap += '"'
            opening = opening or speaking
    return doc


def english_share(doc: Document) -> float:
    """Share of a text's words that are among the most frequent English ones, 0 to 1."""
    sample = doc.lower[:2_000]
    return sum(w in ENGLISH for w in sample) / len(sample) if sample else 0.0
