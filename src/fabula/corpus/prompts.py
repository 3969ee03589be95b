"""Prompts: their tags ([WP], [EU], ...) parsed and kept as data, the rest cleaned."""

from __future__ import annotations

import re

from fabula.corpus.clean import strip_markup
from fabula.corpus.detokenise import detokenise
from fabula.corpus.encoding import fix_encoding, squeeze
from fabula.corpus.quotes import tidy_quotes

OFF_TOPIC = frozenset({"OT", "MODPOST", "META", "MOD", "ANNOUNCEMENT"})
"""Tags of posts that ask for no story."""

_KNOWN = "WP|EU|CW|PI|TT|RF|IP|MP|SP|OT|FF|CC|PM|CS|NSFW|MODPOST"
# In brackets, any short word in capitals or title case may be a tag, but not the words of "[Insert
# name] walks in": what is no known tag must be all in capitals, or stand with one that is known.
_OPENING_TAG = re.compile(
    rf"\W{{0,2}}[\[{{] ?((?i:{_KNOWN})(?: ?[/&,] ?[A-Za-z]{{2,8}})*"
    r"|[A-Z]{2,8}(?:[ /][A-Z]{2,8})?)"
    r" ?[\]}][\s:.,-]*"
    rf"|(?i:\( ?({_KNOWN}) ?\)[\s:.,-]*)|((?i:{_KNOWN}))(?:\]| ?: )[\s:-]*"
    r"|()(?i:[\[(] ?(?:x-?post|cross-?post)[^\])]*[\])])\s*"
    r"|(WP) (?=[A-Z])"
)
_CLOSING_TAG = re.compile(rf"\s*[\[({{] ?((?i:{_KNOWN})) ?[\])}}]\s*$")


def split_prompt_tag(prompt: str) -> tuple[str | None, str]:
    """The letters of a prompt's tags, upper case ("WP"; "WP CW" for two), and the rest."""
    tags: list[str] = []
    while match := _OPENING_TAG.match(prompt):
        tag = next((group for group in match.groups() if group), "")
        tags += [tag.upper()] if tag else []
        prompt = prompt[match.end() :]
    if match := _CLOSING_TAG.search(prompt):
        tags.append(match[1].upper())
        prompt = prompt[: match.start()]
    return " ".join(dict.fromkeys(tags)) or None, prompt


def clean_prompt(prompt: str) -> tuple[str | None, str | None]:
    """(prompt, its tags' letters); None for an empty one."""
    # A prompt is too short to tell its form, and detokenising leaves written English alone.
    prompt = tidy_quotes(squeeze(fix_encoding(detokenise(prompt))))
    tag, prompt = split_prompt_tag(prompt)
    prompt = squeeze(strip_markup(prompt, web=True).replace("⟨link⟩", "").replace("*", ""))
    return prompt or None, tag


_SMALL_WORDS = frozenset("a an and as at but by for from in of on or the to with".split())


def clean_title(title: str | None) -> str | None:
    """A title on one line, in title case if the source wrote all of it small."""
    if title is None or not title.strip():
        return None
    words = fix_encoding(title).split()
    if not any(word.lower() != word for word in words):
        words = [
            word if number > 0 and word in _SMALL_WORDS else word[:1].upper() + word[1:]
            for number, word in enumerate(words)
        ]
    return " ".join(words)
