"""Quotation marks closed around their words, where somebody's clean-up left them loose."""

from __future__ import annotations

import re

from fabula.corpus.rules import apply, make_rules

_CONTRACTED = r"(?:[stdm]|re|ve|ll|em|am|all|n|clock|er|til|cause|ta|im|is|round|nother)\b"
_LOOSE_QUOTE = re.compile(r'"(?!\S)(?<!\S")')
_ENDS = tuple(".,!?")
_GLUED_QUOTE = re.compile(r'"(?=[A-Za-z])(?<=[a-z.,!?]")')
_QUOTES = make_rules(
    ("``", "``", '"'),
    ("''", "''", '"'),
    # "Daddy! ", she said -> "Daddy!", she said
    (' "', r' "(?=,|[.;)](?!\.))(?<=[.,!?] ")', '"'),
)


# T'chaek is a name of another world; after these words a quotation begins.
_BEFORE_QUOTE = frozenset(
    "A An And As But By Called He I In It Just My Of On Or She So The They This To".split()
)


def _part(match: re.Match[str]) -> str:
    word = match.string[: match.start()].rsplit(None, 1)[-1]
    name = word[:1].isupper() and word.isalpha() and word not in _BEFORE_QUOTE
    return "'" if name else " '"


_SINGLES = make_rules(
    # 'Daddy! ' -> 'Daddy!'
    (" '", r" '(?=\s|$)(?<=[.,!?] ')", "'"),
    # get ' em -> get 'em
    ("' em|' cause", r"' (?=(?:em|cause)\b)(?<= ' )", "'"),
    # 'so ' and ' so ' -> 'so'
    (" '", r"'(?<!\S') ?(\w[^'\n]{0,80}?) '(?=[\s,.;!?]|$)", r"'\1'"),
    # ' so'he said -> 'so' he said
    ("' ", r"' (?<!\S' )(\w[^'\n]{0,80}?) ?'(?=\w)", r"'\1' "),
    # a ' spellbook' -> a 'spellbook'
    ("' ", r"' (?<!\S' )(?<!s ' )(\w[^'\n]{0,80}?)'(?!\w)", r"'\1'"),
    # the peoples ' voice -> the peoples' voice
    ("s ' ", r" '(?= [a-z])(?<=s ')", "'"),
    # three'arrow' spells -> three 'arrow' spells
    (
        "'",
        rf"'(?<=[a-z,.:]')(?<![a-z][a-z]in')(?!{_CONTRACTED})(?=[A-Za-z](?:[^'\n]|(?<=\w)'(?=\w)){{0,60}}'(?!\w))",
        _part,
    ),
    # runnin'these shores -> runnin' these shores
    ("in'", rf"in'(?=[a-z]{{2}})(?!in'{_CONTRACTED})(?<=[a-z]{{2}}in')", "in' "),
    # he said,'They -> he said, 'They
    (",'|.'|:'", r"'(?=[A-Z])(?<=[a-z][,.:]')", " '"),
)


def tidy_quotes(text: str) -> str:
    """Close quotation marks around their words where somebody's clean-up left them loose."""
    text = apply(_QUOTES, text)
    if _LOOSE_QUOTE.search(text) or _GLUED_QUOTE.search(text):
        text = "\n".join([_tidy_line(line) for line in text.split("\n")])
    return apply(_SINGLES, text) if "'" in text else text


def _tidy_line(line: str) -> str:
    """Loose and glued double quotes open and close in turn."""
    pieces = line.split('"')
    last = len(pieces) - 1
    for number in range(1, len(pieces)):
        before, after = pieces[number - 1], pieces[number]
        if before[-1:].strip() or after[:1].strip():
            # Glued to words on both sides; only in a line of pairs is it plain which it is.
            if (
                last % 2 == 0
                and after[:1].isalpha()
                and (before[-1:].islower() or before[-1:] in _ENDS)
            ):
                if number % 2:
                    pieces[number - 1] = before + " "
                else:
                    pieces[number] = " " + after
        elif number == last and not after.strip():
            pieces[number - 1] = before.rstrip(" ")
        elif number % 2:
            pieces[number] = after.lstrip(" ")
        else:
            pieces[number - 1] = before.rstrip(" ")
    return '"'.join(pieces)
