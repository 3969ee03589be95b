"""Cleaning: from a source's row to a story's text, or the reason why it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fabula.corpus.detokenise import detokenise, looks_tokenised, split_prompt_tag

MIN_WORDS = 40
"""Shorter texts are no story with five beats."""

_REMOVED = re.compile(r"\s*[\[(]? ?(removed|deleted|deleted by user) ?[\])]?\s*", re.I)
_MODERATOR = re.compile(
    r"\*\*Off-Topic Discussion\*\*|Off-Topic Discussion:? All top-level|I am a bot|"
    r"action was performed automatically|message the moderators|top-level (?:comments|replies) must"
    r"|your (?:post|submission|comment) (?:has been|was) removed",
    re.I,
)
_BLANKS = re.compile(r"[^\S\n]+")
_LINE_ENDS = re.compile(r" *\n *")
_PARAGRAPHS = re.compile(r"\n{2,}")


@dataclass(slots=True)
class Cleaned:
    """A cleaned text, what was changed, and why it falls if it does."""

    text: str
    reason: str | None = None
    trims: list[str] = field(default_factory=list)


def fix_encoding(text: str) -> str:
    """Mojibake, entities and odd line ends put right (ftfy); plain ASCII passes untouched."""
    if text.isascii() and "&" not in text and "\r" not in text and "\x1b" not in text:
        return text
    import ftfy

    return ftfy.fix_text(text, uncurl_quotes=True, normalization="NFC")


def unwrap(text: str) -> str:
    """Join hard-wrapped lines; elsewhere a line end is a paragraph's end."""
    lines = text.split("\n")
    if len(lines) < 4:
        return text
    inner = [a for a, b in zip(lines, lines[1:], strict=False) if a and b]
    if len(inner) < 3:
        return text
    broken = sum(line[-1] not in ".!?\"'”’)*:-—…" for line in inner)
    if broken * 3 < len(inner) or max(map(len, inner)) > 120:
        return text
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def clean_text(text: str, published: bool = False) -> Cleaned:
    """Clean one story.

    Args:
        text: as the source has it.
        published: it is in the published form of WritingPrompts.
    """
    if published or "<newline>" in text or ("``" in text and looks_tokenised(text)):
        text = detokenise(text)
    text = fix_encoding(text)
    if _REMOVED.fullmatch(text):
        return Cleaned("", "post was removed or deleted")
    if _MODERATOR.search(text[:600]):
        return Cleaned("", "moderators' post")
    text = _LINE_ENDS.sub("\n", _BLANKS.sub(" ", text)).strip()
    text = unwrap(text)
    text = "\n\n".join(p for p in text.split("\n") if p)
    return Cleaned(text, None if text else "text is empty")


def clean_prompt(prompt: str, published: bool = False) -> tuple[str | None, str | None]:
    """(prompt, its tag's letters); None for an empty one."""
    if published or ("``" in prompt and looks_tokenised(prompt)):
        prompt = detokenise(prompt)
    tag, prompt = split_prompt_tag(_BLANKS.sub(" ", fix_encoding(prompt)).strip())
    return prompt.strip() or None, tag
