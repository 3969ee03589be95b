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
_QUOTES = {
    **dict.fromkeys("\u02bc\u2018\u2019\u201a\u201b", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
}
# What ftfy makes of a text of these is known without it: quotes become straight, and the rest
# stays. None of them is a sign of mojibake (see ftfy.badness), but for a letter beside a quote.
_LETTERS = "àâäçèéêëîïñôöùûü"
_DASHES = "\u2013\u2014\u2026"
_LAYOUT = "\u00ad\u200a\u200b\u200c\u200d\u2060"
_CURLED = str.maketrans({**_QUOTES, **dict.fromkeys(_LAYOUT)})
_CURLY = "".join(_QUOTES)
_STRANGE = re.compile(f"[^\x00-\x7f\u00a0{_DASHES}{_LAYOUT}{_LETTERS}{_CURLY}]")
_TOUCHING = re.compile(f"[{_LETTERS}][{_CURLY}]|[{_CURLY}][{_LETTERS}]")


def fix_encoding(text: str) -> str:
    """Mojibake, entities and odd line ends put right, quotes made straight.

    It is ftfy's work, and some for what ftfy leaves. Plain text, and text whose only other
    characters are quotes, dashes and common letters with accents, needs no ftfy.

    Raises:
        MissingExtra: ftfy is needed and not installed.
    """
    if _is_plain(text):
        return text if text.isascii() else text.translate(_CURLED)
    try:
        import ftfy
    except ImportError:
        raise MissingExtra("Cleaning texts", "corpus") from None
    if "\r" not in text and ("<" not in text or ("&" not in text and "＆" not in text)):
        # ftfy reads line by line, and a line tells it nothing of the next, but that after a "<"
        # it takes no entities for such.
        text = "\n".join(
            [
                line.translate(_CURLED)
                if _is_plain(line)
                else ftfy.fix_text(line, uncurl_quotes=True, normalization="NFC")
                for line in text.split("\n")
            ]
        )
    else:
        text = ftfy.fix_text(text, uncurl_quotes=True, normalization="NFC")
    if "&" in text:
        text = html.unescape(_SPACED_ENTITY.sub(r"&\1;", text))
    if "â€" in text:
        for broken, mended in _BROKEN_QUOTES:
            text = text.replace(broken, mended)
        text = _BROKEN_CLOSE.sub('"', text)
    return _INVISIBLE.sub("", _CONTROL.sub(" ", text))


def _is_plain(text: str) -> bool:
    """True where ftfy could do no more than make quotes straight."""
    if "&" in text or has_controls(text):
        return False
    return text.isascii() or not (_STRANGE.search(text) or _TOUCHING.search(text))


def has_controls(text: str) -> bool:
    """True for a text with control characters other than tabs and line ends."""
    if text.isascii():
        # Ten times as fast as a search.
        return not text.replace("\n", "").replace("\t", "").isprintable()
    return "\r" in text or _CONTROL.search(text) is not None


def squeeze(text: str) -> str:
    """One space between words, none at the ends of lines."""
    if text.isascii() and not (
        "  " in text or " \n" in text or "\n " in text or "\t" in text or has_controls(text)
    ):
        return text.strip()
    return "\n".join([" ".join(line.split()) for line in text.split("\n")]).strip()
