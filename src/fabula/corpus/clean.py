"""Cleaning: from a source's text to a story's, or the reason why it is none."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from fabula.corpus.detokenise import detokenise, looks_tokenised
from fabula.corpus.encoding import fix_encoding, squeeze
from fabula.corpus.gutenberg import is_gutenberg, strip_gutenberg
from fabula.corpus.notes import is_comment, is_continuation, is_rule, trim_notes
from fabula.corpus.quotes import tidy_quotes
from fabula.corpus.rules import apply, make_rules

MIN_WORDS = 40
"""Shorter texts are no story with five beats."""

_REMOVED = re.compile(r"(?i)\W*(?:removed|deleted|deleted by user|comment removed)\W*")
_MODERATOR_SIGNS = (
    "off-topic",
    "i am a bot",
    "automatically",
    "moderators",
    "top-level",
    "removed",
)
_MODERATOR = re.compile(
    r"(?i)off-topic (?:discussion|comments)|\bI am a bot\b|action was performed automatically"
    r"|message the moderators|top-level (?:comments|replies) must"
    r"|\byour (?:post|submission|comment) (?:has been|was) removed"
)
_LINK = re.compile(
    r"\[ ?([^\]\n]{0,300}?) ?\] ?\( ?(?:https?:|www\.|/|#)[^()\n]*(?:\([^()\n]*\)[^()\n]*)?\)"
)
_URL = re.compile(r"(?i)[<(\[]?(?:https?: ?//|www\.)[^\s)>\]]+(?: ?\? ?\w+=[^\s)>\]]*)?[>)\]]?")
_EMPHASIS = make_rules(
    ("*", r"\*(?<![\w*]\*)(\*{0,2})(?=\S)([^*_~\n]+?)(?<=\S)\*\1(?![\w*])", r"\2"),
    ("_", r"_(?<![\w*]_)(_{0,2})(?=\S)([^*_~\n]+?)(?<=\S)_\1(?![\w*])", r"\2"),
    ("~~", r"~~(?<![\w*]~~)(?=\S)([^*_~\n]+?)(?<=\S)~~(?![\w*])", r"\1"),
)
_LINE_MARKUP = make_rules(
    ("\\", r"\\([*_~`#>\[\]().!-])", r"\1"),
    (">", r"(?m)^ *(?:> ?)+", ""),
    ("#", r"(?m)^ *(?:# ?)+(?!\d)", ""),
    ("^", r"\^+ ?(?=[\w(])", ""),
    # ": )" lost its space, or another's
    (":)|:(", r":(?=[()](?:\s|$))(?<=[.!?]:)", " :"),
    (": p|: P", r": (?=[pP](?:[\s.!?)]|$))(?<=[\w.!?)]: )", " :"),
)
_STARS = re.compile(r" (?=\*)(?<=\w )\*+(?=[\s.,!?]|$)|\*+")
_GOES_ON = re.compile(r"\n[a-z](?<=[\w,;]\n.)")
_TERMINAL = ".!?\"'”’:"


@dataclass(slots=True)
class Cleaned:
    """A cleaned text, what was changed, and why it falls if it does."""

    text: str
    reason: str | None = None
    trims: list[str] = field(default_factory=list)


def strip_markup(text: str, web: bool) -> str:
    """Markdown out: links to their words, bare addresses to ⟨link⟩, emphasis to plain words.

    Args:
        text: a story or prompt.
        web: it comes from a site that writes Markdown, so that stray marks go too.
    """
    if "://" in text or ": //" in text or "www." in text or "](" in text or "] (" in text:
        text = _URL.sub("⟨link⟩", _LINK.sub(r"\1⟨link⟩", text))
    # Twice, for emphasis within emphasis.
    text = apply(_EMPHASIS, apply(_EMPHASIS, text))
    if web:
        text = apply(_LINE_MARKUP, text)
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
    # The lines of verse are short, or of all lengths; a wrapped text's are nearly of one.
    if len(pairs) < 3 or going_on < 0.3 * len(pairs) or not 50 <= width <= 120:
        return text
    if widths[len(widths) // 2] < 0.6 * width:
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


def _from_moderators(head: str) -> bool:
    small = head.lower()
    return any(sign in small for sign in _MODERATOR_SIGNS) and bool(_MODERATOR.search(head))


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
    if len(text) < 200 and _REMOVED.fullmatch(text):
        return Cleaned("", "post was removed or deleted")
    if _from_moderators(text[:1000]):
        return Cleaned("", "moderators' post")
    before = text = squeeze(text)
    text = strip_markup(text, web)
    if len(text) != len(before):
        trims.append("markup or links")
    # The published form has lost no line's end, so there each is a paragraph's.
    before, text = text, text if published else unwrap(text)
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
