"""Characters put right: mojibake, entities, curly quotes, what cannot be seen."""

from __future__ import annotations

import html
import re

from fabula.errors import MissingExtra

_SPACED_ENTITY = re.compile(r"(?i)& ?(nbsp|amp|lt|gt|quot|#x?\d\w*) ?;")
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
_CURLED = {
    **dict.fromkeys(map(ord, "\u02bc\u2018\u2019\u201a\u201b"), "'"),
    **dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"'),
}
# ftfy changes nothing but quotes in a text of these. None of them makes a sign of mojibake (see
# ftfy.badness) with another, but for a letter that touches a quote.
_LETTERS = "àâäçèéêëîïñôöùûü"
_QUOTES = "".join(map(chr, _CURLED))
_STRANGE = re.compile(f"[^\x00-\x7f\u2013\u2014\u2026{_LETTERS}{_QUOTES}]")
_TOUCHING = re.compile(f"[{_LETTERS}][{_QUOTES}]|[{_QUOTES}][{_LETTERS}]")


def fix_encoding(text: str) -> str:
    """Mojibake, entities and odd line ends put right, quotes made straight.

    It is ftfy's work, and some for what ftfy leaves. Plain text, and text whose only other
    characters are quotes, dashes and common letters with accents, needs no ftfy.

    Raises:
        MissingExtra: ftfy is needed and not installed.
    """
    plain = "&" not in text and not has_controls(text)
    if plain and text.isascii():
        return text
    if plain and not _STRANGE.search(text) and not _TOUCHING.search(text):
        return text.translate(_CURLED)
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
    return _INVISIBLE.sub("", _CONTROL.sub(" ", text))


def has_controls(text: str) -> bool:
    """True for a text with control characters other than tabs and line ends."""
    if text.isascii():
        # Ten times as fast as a search.
        return not text.replace("\n", "").replace("\t", "").isprintable()
    return "\r" in text or _CONTROL.search(text) is not None


def squeeze(text: str) -> str:
    """One space between words, none at the ends of lines."""
    return "\n".join([" ".join(line.split()) for line in text.split("\n")]).strip()
