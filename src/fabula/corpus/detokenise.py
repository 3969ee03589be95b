"""Undo the published form of WritingPrompts: Treebank tokens back into written English.

The authors' release went through a Penn Treebank tokeniser: double quotes became `` and '',
contractions were split (did n't, you 're, gon na), punctuation got spaces, and line ends became
``<newline>``. Two degrees of it are about: prompts with every mark spaced, and stories whose
commas and stops were put back while quotes, brackets and contractions were not. The rules below
undo both, and leave well-formed text as it is. What the release lost stays lost: whether a dash
had spaces, and whether somebody wrote "can not".
"""

from __future__ import annotations

import re

from fabula.corpus.rules import apply, make_rules

_OPENS = re.compile(r"(?<![\w.,!?;…—])'(?=\w)")
_CLOSES = re.compile(r"'(?!\w)(?<=[\w.,!?;…—]')")


def _close_single(match: re.Match[str]) -> str:
    """A single quote between spaces closes what is open in its line, or else opens."""
    line = match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()]
    if match[0][-1] == "'" or len(_OPENS.findall(line)) > len(_CLOSES.findall(line)):
        return match[0].strip() + match[0][2:]
    return " '"


# In this order: words join words, marks join the word before them, brackets and quotes close
# around what is in them.
_RULES = make_rules(
    # did n't -> didn't
    (" n'| n’| N'| N’", r" (?=[nN]['’][tT]\b)(?<=[a-zA-Z] )", ""),
    # you 're -> you're; not the letter 's' in quotes
    (" '| ’", r"(?i) (?=['’](?:s|m|d|re|ve|ll)\b(?!['’]))(?<=[\w.] )", ""),
    # eatin ' houses -> eatin' houses
    ("in ' ", r" ' (?=\w)(?<=[a-z][a-z]in ' )", "' "),
    # the kids ' toys -> the kids' toys, where no quotation closes later in the line
    (
        "s ' ",
        r" ' (?=[A-Za-z])(?<=s ' )"
        r"(?!(?:[^'\n]|(?<=\w)'(?=\w)|''|(?<=s )'(?= [A-Za-z]))* '(?!')(?!(?<=s ') [A-Za-z]))",
        "' ",
    ),
    # I ’ d -> I’d (curly apostrophes were spaced on both sides)
    ("’ ", r"(?i)(?: ’|’) (?=(?:s|m|d|t|re|ve|ll)\b)(?:(?<=\w ’ )|(?<=\w’ ))", "’"),
    # the tokeniser's own list of contractions
    ("n na|N na|N NA", r"(?i) (?=na\b)(?<=\b(?:gon|wan) )", ""),
    ("ot ta|OT TA", r"(?i) (?=ta\b)(?<=\bgot )", ""),
    ("im me|em me|IM ME|EM ME", r"(?i) (?=me\b)(?<=\b(?:gim|lem) )", ""),
    ("an not|AN NOT", r"(?i) (?=not\b)(?<=\bcan )", ""),
    (
        "'t is|'t was|'T is|'T was|’t is|’t was|’T is|’T was",
        r"(?i) (?=(?:is|was)\b)(?<=['’]t )",
        "",
    ),
    ("d 'ye|d ’ye|D 'ye|D ’ye", r"(?i) (?=['’]ye\b)(?<=\bd )", ""),
    ("ore 'n|ore ’n|ORE 'N", r"(?i) (?=['’]n\b)(?<=\bmore )", ""),
    ("o' clock|o ' clock|o ’ clock|o’ clock|O' C", r"(?i)\b(o) ?(['’]) (?=clock)", r"\1\2"),
    # word , -> word,   but not " .5", nor dots that open a sentence
    (
        " ,| ;| !| ?| .| :",
        r" (?= *(?:[,;!?](?![\w,])|[.:](?![\w./])))(?<=[^\s(\[{`“‘] ) *",
        "",
    ),
    (" ..", r" (?= *\.{2,}(?=[\s?!,;:)]|$|''|\"))(?<=[^\s(\[{`“‘] ) *", ""),
    (" %", r" (?=%)(?<=\d )", ""),
    # ( so ) -> (so)
    ("( |[ |{ ", r"([(\[{]) +(?=\S)", r"\1"),
    (" )| ]| }", r" (?= *[)\]}])(?<=\S ) *", ""),
    # ' em -> 'em, the ' 90s -> the '90s, rock 'n ' roll -> rock 'n' roll
    ("' ", r"(?i)' (?=(?:em|cause|til|twas|tis|\d\ds)\b)(?<!\S' )", "'"),
    (" 'n ' ", r" 'n ' ", " 'n' "),
    # < so > -> <so>
    ("< ", r"< ([^<>\n]{0,80}[^<>\s]) >", r"<\1>"),
    # http: //x -> http://x ; $ 5 -> $5 ; # 1 -> #1
    ("http|HTTP|Http", r"(?i)\b(https?) ?: ?(?=//)", r"\1:"),
    ("$ |£ |€ |# ", r"([$£€#]) (?=\d)(?<![\w$]. )", r"\1"),
    # quotes, straight and curly
    ("``", r"`` *", '"'),
    (" ''", r" +''", '"'),
    ("''", r"''", '"'),
    ("“ |‘ ", r"([“‘]) +", r"\1"),
    # "Stop! '' —and -> "Stop!"—and
    (" —", r" (?=—\w)(?<=[!?…'\"] )", ""),
    (" …", r" (?=…['\"])(?<=[!?] )", ""),
    # 'Come , ' says he -> 'Come,' says he ; tryin ' . -> tryin'.
    (" '", r" '(?=[.,;!?])(?<=\w ')", "'"),
    (" '\"", r" '(?=\"(?:[\s.,!?]|$))(?<=[\w.,!?;…—] ')", "'"),
    (" '", r" '(?: |(?=\n)|$)(?:(?<=[.,!?;…—] ')|(?<=[.,!?;…—] ' ))", _close_single),
    (" ’", r" +’(?=[\s.,;:!?)\"]|$)", "’"),
    (" ”", r" +”", "”"),
)

# What no well-formed text has. A search for one of them is cheap, so each is counted by itself.
_MARKS = tuple(
    re.compile(pattern)
    for pattern in (r"``", r" [nN]['’][tT]\b(?<=[A-Za-z] ...)", r" [,.](?=\s|$)(?<=\w .)", r"\( \w")
)


def looks_tokenised(text: str) -> bool:
    """True where the published form has left its marks."""
    if "<newline>" in text or "<\\newline>" in text:
        return True
    head = text[:4000]
    return sum(len(mark.findall(head)) for mark in _MARKS) >= 3


def detokenise(text: str) -> str:
    """Written English from the published form; text without its marks comes back unchanged."""
    # Some copies of the release have the marker as <\newline>.
    if "<\\newline>" in text:
        text = text.replace("<\\newline>", "<newline>")
    if "<newline>" in text:
        text = "\n".join([line.strip(" \t") for line in text.split("<newline>")])
    if text.count("``") > text.count("''") + 1:
        text = "\n".join([_close(line) for line in text.split("\n")])
    return apply(_RULES, text)


_OPENED_TWICE = re.compile(r"``((?:[^`']|'(?!'))*[.,!?…–—-]) ``(?=[ ,.]|$)")


def _close(line: str) -> str:
    """A line whose every quotation opens, and some twice: the tokeniser took a mark that closes
    after a space for one that opens."""
    if line.count("``") > line.count("''") + 1:
        return _OPENED_TWICE.sub(r"``\1''", line)
    return line


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
