"""Cleaning: from a source's text to a story's, or the reason why it is none."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass, field

from fabula.corpus.detokenise import detokenise, looks_tokenised, tidy_quotes
from fabula.corpus.gutenberg import is_gutenberg, strip_gutenberg
from fabula.corpus.notes import is_comment, is_continuation, is_rule, trim_notes
from fabula.errors import MissingExtra

MIN_WORDS = 40
"""Shorter texts are no story with five beats."""

_REMOVED = re.compile(r"(?i)\W*(?:removed|deleted|deleted by user|comment removed)\W*")
_MODERATOR = re.compile(
    r"(?i)off-topic (?:discussion|comments)|\bI am a bot\b|action was performed automatically"
    r"|message the moderators|top-level (?:comments|replies) must"
    r"|\byour (?:post|submission|comment) (?:has been|was) removed"
)
_LINK = re.compile(
    r"\[ ?([^\]\n]{0,300}?) ?\] ?\( ?(?:https?:|www\.|/|#)[^()\n]*(?:\([^()\n]*\)[^()\n]*)?\)"
)
_URL = re.compile(r"(?i)[<(\[]?(?:https?: ?//|www\.)[^\s)>\]]+(?: ?\? ?\w+=[^\s)>\]]*)?[>)\]]?")
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|~~)(?=\S)([^*_~\n]+?)(?<=\S)\1(?![\w*])")
_LINE_MARKUP = re.compile(r"(?m)^ *(?:> ?)+|^ *(?:# ?)+(?!\d)|\^+(?=[\w(])")
_ESCAPED = re.compile(r"\\([*_~`#>\[\]().!-])")
_STARS = re.compile(r" *\*+ *$|(?<=\w) \*+(?=[\s.,!?])|\*+", re.M)
_SPACED_ENTITY = re.compile(r"(?i)& ?(nbsp|amp|lt|gt|quot|#x?\d\w*) ?;")
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" *\n *")
_GOES_ON = re.compile(r"[\w,;]\n[a-z]")
_TERMINAL = ".!?\"'”’:"
# Soft hyphens, hair and zero-width spaces, word joiners, byte-order marks: layout, not text.
_INVISIBLE = re.compile("[\u00ad\u200a-\u200d\u2060\ufeff]")
# Mojibake that lost a byte, so that ftfy must leave it.
_BROKEN_QUOTES = (
    ("â€œ", '"'),
    ("â€™", "'"),
    ("â€˜", "'"),
    ("â€¦", "..."),
    ('â€"', "—"),
    ("â€“", "—"),
)
_BROKEN_CLOSE = re.compile(r"â€(?=[\s,.!?]|$)")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(slots=True)
class Cleaned:
    """A cleaned text, what was changed, and why it falls if it does."""

    text: str
    reason: str | None = None
    trims: list[str] = field(default_factory=list)


def fix_encoding(text: str) -> str:
    """Mojibake, entities and odd line ends put right (ftfy); plain ASCII passes untouched."""
    if not text.isascii() or "&" in text or "\r" in text or _CONTROL.search(text):
        try:
            import ftfy
        except ImportError:
            raise MissingExtra("Cleaning texts", "corpus") from None
        text = ftfy.fix_text(text, uncurl_quotes=True, normalization="NFC")
        if "&" in text:
            text = html.unescape(_SPACED_ENTITY.sub(r"&\1;", text))
        if "â€" in text:
            for broken, mended in _BROKEN_QUOTES:
                text = text.replace(broken, mended)
            text = _BROKEN_CLOSE.sub('"', text)
        text = _INVISIBLE.sub("", _CONTROL.sub(" ", text))
    return text


def squeeze(text: str) -> str:
    """One space between words, none at the ends of lines."""
    return _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text)).strip()


def strip_markup(text: str, web: bool) -> str:
    """Markdown out: links to their words, bare addresses to ⟨link⟩, emphasis to plain words.

    Args:
        text: a story or prompt.
        web: it comes from a site that writes Markdown, so that stray marks go too.
    """
    if "://" in text or ": //" in text or "www." in text or "](" in text or "] (" in text:
        text = _URL.sub("⟨link⟩", _LINK.sub(r"\1⟨link⟩", text))
    if "*" in text or "_" in text or "~~" in text:
        text = _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    if web:
        text = _LINE_MARKUP.sub("", _ESCAPED.sub(r"\1", text))
    return text


def unwrap(text: str) -> str:
    """Join hard-wrapped lines; in other texts every line end is a paragraph's end.

    A text is hard-wrapped if its lines are short and a good part of them go on in lower case.
    There a paragraph ends at a blank line, or after a sentence that leaves its line unfilled.
    """
    if not _GOES_ON.search(text):
        return text
    lines = text.split("\n")
    pairs = [(a, b) for a, b in itertools.pairwise(lines) if a and b]
    going_on = sum(b[0].islower() and a[-1] not in _TERMINAL for a, b in pairs)
    widths = sorted(len(a) for a, _ in pairs)
    width = widths[len(widths) * 9 // 10]
    if len(pairs) < 3 or going_on < 0.3 * len(pairs) or width > 120:
        return text
    joined = [lines[0]]
    for before, line in itertools.pairwise(lines):
        ends = before[-1:] in _TERMINAL and len(before) < 0.75 * width
        # A heading, or a line of verse.
        ends = ends or (len(before) < 0.5 * width and not line[:1].islower())
        if not before or not line or ends:
            joined.append("\n" + line)
        else:
            joined.append(" " + line)
    return "".join(joined)


def clean_text(text: str, published: bool = False, web: bool = False) -> Cleaned:
    """Clean one story.

    Args:
        text: as the source has it.
        published: it is in the published form of WritingPrompts.
        web: it was posted on the web, so that notes around it and Markdown are looked for.
    """
    trims: list[str] = []
    if published or looks_tokenised(text):
        text = detokenise(text)
    before = text
    text = fix_encoding(text)
    if not published and len(text) != len(before):
        trims.append("encoding")
    if is_gutenberg(text):
        text = strip_gutenberg(text)
        trims.append("Project Gutenberg's header and licence")
    if _REMOVED.fullmatch(text, 0, 200) and len(text) < 200:
        return Cleaned("", "post was removed or deleted")
    if _MODERATOR.search(text, 0, 1000):
        return Cleaned("", "moderators' post")
    before = text = squeeze(text)
    text = strip_markup(text, web)
    if len(text) != len(before):
        trims.append("markup or links")
    before, text = text, unwrap(text)
    if text is not before:
        trims.append("hard-wrapped lines")
    paragraphs = [p for p in (line.strip() for line in text.split("\n")) if p]
    if web:
        if is_comment(paragraphs):
            return Cleaned("", "comments on another's story", trims)
        paragraphs, notes, unfinished = trim_notes(paragraphs)
        trims += notes
        if unfinished:
            return Cleaned("", "author says it is unfinished", trims)
        if is_continuation(paragraphs):
            return Cleaned("", "continues another post", trims)
    if any(is_rule(p) for p in paragraphs):
        trims.append("scene-break rules")
        paragraphs = [p for p in paragraphs if not is_rule(p)]
    text = "\n\n".join(paragraphs)
    if web:
        text = tidy_quotes(squeeze(_STARS.sub("", text)) if "*" in text else text)
    if "⟨link⟩" in text:
        text = squeeze(re.sub(r" ?⟨link⟩", "", text))
    return Cleaned(text, None if text else "text is empty", trims)
