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
