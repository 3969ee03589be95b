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

# Any mark of the published form that no well-formed text has.
_MARKS = re.compile(r"``|<newline>|(?i:[a-z] n['’]t\b)|\w ,(?=\s)|\w \.(?=\s|$)|\( \w")


class _Rule:
    """A substitution, and words of which a text must hold one for the pattern to match at all.

    The guard costs a tenth of the search. Patterns begin with the literal that they look for, and
    look back over it after that: so the search jumps from one such character to the next.
    """

    def __init__(self, guard: str, pattern: str, put: str) -> None:
        self.guard = guard.split("|")
        self.substitute = re.compile(pattern).sub
        self.put = put

    def apply(self, text: str, low: str) -> str:
        for sign in self.guard:
            if sign in low:
                return self.substitute(self.put, text)
        return text


# One pass each, in this order: words join words, marks join the word before them, brackets and
# quotes close around what is in them.
_RULES = tuple(
    _Rule(*rule)
    for rule in (
        # did n't -> didn't
        (" n't| n’t", r" (?<=[A-Za-z] )(?=[nN]['’][tT]\b)", ""),
        # you 're -> you're; not the letter 's' in quotes
        (
            " '| ’",
            r" (?<=[\w.] )(?=['’](?:[sSmMdD]|[rR][eE]|[vV][eE]|[lL][lL])\b(?!['’]))",
            "",
        ),
        # the kids ' toys -> the kids' toys, where no quotation closes later in the line
        (
            "s ' ",
            r" ' (?<=s ' )(?=[A-Za-z])(?!(?:[^'\n]|(?<=\w)'(?=\w)|'')* '(?!'))",
            "' ",
        ),
        # I ’ d -> I’d (curly apostrophes were spaced on both sides)
        ("’ ", r"(?i)(?<=\w) ?’ (?=(?:s|m|d|t|re|ve|ll)\b)", "’"),
        # the tokeniser's own list of contractions
        ("gon na|wan na", r"(?i)\b(gon|wan) (?=na\b)", r"\1"),
        ("got ta", r"(?i)\b(got) (?=ta\b)", r"\1"),
        ("gim me|lem me", r"(?i)\b(gim|lem) (?=me\b)", r"\1"),
        ("can not", r"(?i)\b(can) (?=not\b)", r"\1"),
        ("t is|t was", r" (?<=['’][tT] )(?=(?:[iI][sS]|[wW][aA][sS])\b)", ""),
        ("d 'ye|d ’ye", r"(?i)\b(d) (?=['’]ye\b)", r"\1"),
        ("more 'n|more ’n", r"(?i)\b(more) (?=['’]n\b)", r"\1"),
        # word , -> word,   but not " .5", nor dots that open a sentence
        (
            " ,| ;| !| ?| .| :",
            r" (?<=[^\s(\[{`“‘] ) *(?=[,;!?](?![\w,])|[.:](?![\w./]))",
            "",
        ),
        (" ..", r" (?<=[^\s(\[{`“‘] ) *(?=\.{2,}(?=\s|$|''|\"))", ""),
        (" %", r" (?<=\d )(?=%)", ""),
        # ( so ) -> (so)
        ("( |[ |{ ", r"(?<=[(\[{]) +(?=\S)", ""),
        (" )| ]| }", r" (?<=\S ) *(?=[)\]}])", ""),
        # http: //x -> http://x ; $ 5 -> $5 ; # 1 -> #1
        ("http", r"(?i)\b(https?) ?: ?(?=//)", r"\1:"),
        ("$ |£ |€ |# ", r"(?<![\w$])([$£€#]) (?=\d)", r"\1"),
        # quotes, straight and curly
        ("``", r"`` *", '"'),
        ("''", r" *''", '"'),
        ("“ |‘ ", r"(?<=[“‘]) +", ""),
        (" ”| ’", r" +(?=”)| +(?=’(?:[\s.,;:!?)\"]|$))", ""),
    )
)


def looks_tokenised(text: str) -> bool:
    """True where the published form has left its marks."""
    return len(_MARKS.findall(text, 0, 4000)) >= 3 or "<newline>" in text


def detokenise(text: str) -> str:
    """Written English from the published form; text without its marks comes back unchanged."""
    if "<newline>" in text:
        first, *rest = text.split("<newline>")
        lines = [first.rstrip(" \t"), *(line.strip(" \t") for line in rest[:-1])]
        text = "\n".join([*lines, rest[-1].lstrip(" \t")])
    low = text.lower()
    for rule in _RULES:
        text = rule.apply(text, low)
    return text


_LOOSE_QUOTE = re.compile(r'"(?<!\S")(?!\S)')
_LOOSE_SINGLES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # 'Daddy! ' -> 'Daddy!'
        (r" '(?<=[.,!?] ')(?=\s|$)", "'"),
        # 'so ' and ' so ' -> 'so'
        (r"'(?<!\S') ?(\w[^'\n]{0,80}?) '(?=[\s,.;!?]|$)", r"'\1'"),
        # ' so'he said -> 'so' he said
        (r"' (?<!\S' )(\w[^'\n]{0,80}?) ?'(?=\w)", r"'\1' "),
        # the peoples ' voice -> the peoples' voice
        (r" '(?<=s ')(?= [a-z])", "'"),
        # three'arrow' spells -> three 'arrow' spells
        (
            r"'(?<=[a-z]')(?=(?!(?:[stdm]|re|ve|ll|em|am|all|n|clock|er)\b)[A-Za-z][^'\n]{0,60}'(?!\w))",
            " '",
        ),
        # he said,'They -> he said, 'They
        (r"'(?<=[a-z][,.:]')(?=[A-Z])", " '"),
    )
)


def tidy_quotes(text: str) -> str:
    """Close quotation marks around their words where somebody's clean-up left them loose."""
    if _LOOSE_QUOTE.search(text):
        text = "\n".join(
            _tidy_line(line) if _LOOSE_QUOTE.search(line) else line for line in text.split("\n")
        )
    if "'" in text:
        for pattern, put in _LOOSE_SINGLES:
            text = pattern.sub(put, text)
    return text


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
