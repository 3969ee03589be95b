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

# In this order: words join words, marks join the word before them, brackets and quotes close
# around what is in them.
_RULES = make_rules(
    # did n't -> didn't
    (" n'| n’| N'| N’", r" (?=[nN]['’][tT]\b)(?<=[a-zA-Z] )", ""),
    # you 're -> you're; not the letter 's' in quotes
    (" '| ’", r"(?i) (?=['’](?:s|m|d|re|ve|ll)\b(?!['’]))(?<=[\w.] )", ""),
    # the kids ' toys -> the kids' toys, where no quotation closes later in the line
    ("s ' ", r" ' (?=[A-Za-z])(?<=s ' )(?!(?:[^'\n]|(?<=\w)'(?=\w)|'')* '(?!'))", "' "),
    # I ’ d -> I’d (curly apostrophes were spaced on both sides)
    ("’ ", r"(?i)(?: ’|’) (?=(?:s|m|d|t|re|ve|ll)\b)(?:(?<=\w ’ )|(?<=\w’ ))", "’"),
    # the tokeniser's own list of contractions
    ("n na|N na|N NA", r"(?i) (?=na\b)(?<=\b(?:gon|wan) )", ""),
    ("ot ta|OT TA", r"(?i) (?=ta\b)(?<=\bgot )", ""),
    ("im me|em me|IM ME|EM ME", r"(?i) (?=me\b)(?<=\b(?:gim|lem) )", ""),
    ("an not|AN NOT", r"(?i) (?=not\b)(?<=\bcan )", ""),
    ("'t is|'t was|'T is|'T was|’t is|’t was|’T is|’T was", r"(?i) (?=(?:is|was)\b)(?<=['’]t )", ""),
    ("d 'ye|d ’ye|D 'ye|D ’ye", r"(?i) (?=['’]ye\b)(?<=\bd )", ""),
    ("ore 'n|ore ’n|ORE 'N", r"(?i) (?=['’]n\b)(?<=\bmore )", ""),
    # word , -> word,   but not " .5", nor dots that open a sentence
    (
        " ,| ;| !| ?| .| :",
        r" (?= *(?:[,;!?](?![\w,])|[.:](?![\w./])))(?<=[^\s(\[{`“‘] ) *",
        "",
    ),
    (" ..", r" (?= *\.{2,}(?=\s|$|''|\"))(?<=[^\s(\[{`“‘] ) *", ""),
    (" %", r" (?=%)(?<=\d )", ""),
    # ( so ) -> (so)
    ("( |[ |{ ", r"([(\[{]) +(?=\S)", r"\1"),
    (" )| ]| }", r" (?= *[)\]}])(?<=\S ) *", ""),
    # http: //x -> http://x ; $ 5 -> $5 ; # 1 -> #1
    ("http|HTTP|Http", r"(?i)\b(https?) ?: ?(?=//)", r"\1:"),
    ("$ |£ |€ |# ", r"([$£€#]) (?=\d)(?<![\w$]. )", r"\1"),
    # quotes, straight and curly
    ("``", r"`` *", '"'),
    (" ''", r" +''", '"'),
    ("''", r"''", '"'),
    ("“ |‘ ", r"([“‘]) +", r"\1"),
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
    if "<newline>" in text:
        return True
    head = text[:4000]
    return sum(len(mark.findall(head)) for mark in _MARKS) >= 3


def detokenise(text: str) -> str:
    """Written English from the published form; text without its marks comes back unchanged."""
    if "<newline>" in text:
        text = "\n".join([line.strip(" \t") for line in text.split("<newline>")])
    return apply(_RULES, text)


_LOOSE_QUOTE = re.compile(r'"(?!\S)(?<!\S")')
_LOOSE_SINGLES = make_rules(
    # 'Daddy! ' -> 'Daddy!'
    (" '", r" '(?=\s|$)(?<=[.,!?] ')", "'"),
    # 'so ' and ' so ' -> 'so'
    (" '", r"'(?<!\S') ?(\w[^'\n]{0,80}?) '(?=[\s,.;!?]|$)", r"'\1'"),
    # ' so'he said -> 'so' he said
    ("' ", r"' (?<!\S' )(\w[^'\n]{0,80}?) ?'(?=\w)", r"'\1' "),
    # the peoples ' voice -> the peoples' voice
    ("s ' ", r" '(?= [a-z])(?<=s ')", "'"),
    # three'arrow' spells -> three 'arrow' spells
    (
        "'",
        r"'(?<=[a-z]')(?!(?:[stdm]|re|ve|ll|em|am|all|n|clock|er)\b)(?=[A-Za-z][^'\n]{0,60}'(?!\w))",
        " '",
    ),
    # he said,'They -> he said, 'They
    (",'|.'|:'", r"'(?=[A-Z])(?<=[a-z][,.:]')", " '"),
)


def tidy_quotes(text: str) -> str:
    """Close quotation marks around their words where somebody's clean-up left them loose."""
    if _LOOSE_QUOTE.search(text):
        text = "\n".join([_tidy_line(line) for line in text.split("\n")])
    return apply(_LOOSE_SINGLES, text) if "'" in text else text


def _tidy_line(line: str) -> str:
    """Loose double quotes open and close in turn."""
    pieces = line.split('"')
    for number in range(1, len(pieces)):
        before, after = pieces[number - 1], pieces[number]
        if before[-1:].strip() or after[:1].strip():
            continue
        if number % 2:
            pieces[number] = after.lstrip(" ")
        else:
            pieces[number - 1] = before.rstrip(" ")
    return '"'.join(pieces)
