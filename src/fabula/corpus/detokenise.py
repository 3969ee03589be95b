"""Undo the published form of WritingPrompts: Treebank tokens back into written English.

The authors' release went through a Penn Treebank tokeniser: double quotes became `` and '',
contractions were split (did n't, you 're, gon na), punctuation got spaces, and line ends became
``<newline>``. Two degrees of it are about: prompts with every mark spaced, and stories whose
commas and stops were put back while quotes, brackets and contractions were not. The rules below
undo both, and leave well-formed text as it is.
"""

from __future__ import annotations

import re

_NEWLINE = re.compile(r"[ \t]*<newline>[ \t]*")
_MARKS = re.compile(r"``|''|\bn't\b| n't|<newline>| [,.;:?!)%]|\( | '(?:s|m|d|re|ve|ll)\b")

# Order matters: marks join the word before them first, then brackets, then quotes.
_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # did n't -> didn't; you 're -> you're (also with a curly apostrophe)
        (r"(?i)(?<=[a-z]) (?=n['’]t\b)", ""),
        (r"(?i)(?<=[\w.]) (?=['’](?:s|m|d|re|ve|ll|em)\b)", ""),
        # gon na, wan na, got ta, gim me, lem me, can not, d'ye
        (r"(?i)\b(gon|wan) (?=na\b)", r"\1"),
        (r"(?i)\b(got) (?=ta\b)", r"\1"),
        (r"(?i)\b(gim|lem) (?=me\b)", r"\1"),
        (r"(?i)\b(can) (?=not\b)", r"\1"),
        (r"(?i)(?<=['’]t) (?=(?:is|was)\b)", ""),
        # word , -> word,   (not before a number such as " .5", nor dots that open a sentence)
        (r"(?<=[^\s(\[{`]) +(?=[,;!?%](?!\w)|[.:](?![\w./]))", ""),
        (r"(?<=[^\s]) +(?=\.{2,}(?:\s|$))", ""),
        # brackets
        (r"(?<=[(\[{]) +(?=\S)", ""),
        (r"(?<=\S) +(?=[)\]}])", ""),
        # http: //x -> http://x ; $ 5 -> $5 ; # 1 -> #1 ; 5 % -> 5%
        (r"(?i)\b(https?:) +(?=//)", r"\1"),
        (r"(?<![\w$])([$£€#]) (?=\d)", r"\1"),
        # quotes
        (r"`` *", '"'),
        (r" *''", '"'),
    )
)
# A straight quote that the release left spaced on both sides is opened and closed in turn.
_LOOSE_QUOTE = re.compile(r'(?<!\S)" ([^"\n]*?) "(?=\s|$|[,.;:?!)])')
_TAG = re.compile(
    r"^\W{0,2}[\[({] ?([A-Za-z][A-Za-z /&-]{1,11}?) ?[\])}][\s:.-]*|^(WP|EU|CW|PI|TT|RF|IP|MP|SP|OT)(?:\]|[:-])[\s:-]*"
)  # noqa: E501


def looks_tokenised(text: str) -> bool:
    """True where the published form has left its marks."""
    return _MARKS.search(text) is not None


def detokenise(text: str) -> str:
    """Written English from the published form; text without its marks comes back unchanged."""
    text = _NEWLINE.sub("\n", text)
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return _LOOSE_QUOTE.sub(r'"\1"', text)


def split_prompt_tag(prompt: str) -> tuple[str | None, str]:
    """The letters of a prompt's tag ([WP] -> "WP"), upper case, and the prompt without it."""
    match = _TAG.match(prompt)
    if match is None:
        return None, prompt
    return (match[1] or match[2]).upper(), prompt[match.end() :]
