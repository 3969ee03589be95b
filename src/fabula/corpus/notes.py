"""What people write around a story on the web: edits, thanks, links, "part 2 below".

Only the first and last paragraphs are looked at, and only words that hardly any story has count
there; a paragraph of speech is never taken for a note.
"""

from __future__ import annotations

import re

_HEAD = 3
_TAIL = 8
_MAX_NOTE_WORDS = 120
_MAX_ASIDE_WORDS = 30
_MAX_LINK_WORDS = 12

_EDIT = re.compile(
    r"(?i)[\W_]{0,6}(?:edit(?:ed|s)?|eta|update)\b[^:;\-–—.(\w]{0,3}(?:\w+ ?\d*)?[:;\-–—.(]"
)
# The same within a last paragraph, where a source has lost its line ends.
_EDIT_INSIDE = re.compile(r"\s[\W_]*(?:EDIT|Edit)\b ?\d?[\W_]{0,4}:")
# Words that neither a story's first paragraphs nor its last ones have. They are sought in lower
# case, because ignoring case takes three times as long.
_TALK = (
    r"feedback\b|criti(?:que|ci[sc]i?[sm])s?\b.{0,40}\b(?:welcome|appreciated|encouraged|please)"
    r"|(?:constructive|any|all) criti|cc welcome"
    r"|thank(?:s| you)(?: (?:so|very) much)? for (?:the (?:read|prompt|support|gold)|reading)"
    r"|thanks,? op\b|first[- ]times? (?:post|writ|respond|submit)"
    r"|first (?:ever )?(?:post|prompt|response|submission|wp|reddit post)\b"
    r"|(?:never|haven't) (?:posted|written (?:anything|a story|one of))"
    r"|hope (?:you|u|y'all|everyone|that you)(?: \w+)? (?:enjoy|like)"
    r"|(?:on|from) (?:my )?(?:phone|mobile|ipad|tablet)\b.{0,60}\b(?:format|error|typo|mistake)"
    r"|(?:sorry|apolog\w+|pardon|excuse|forgive)\b.{0,40}\b(?:formatting|grammar|grammatical"
    r"|typos?|spelling|english|mobile|my phone)\b"
    r"|this (?:sub|subreddit|prompt|thread)\b|(?:the|your) prompt\b"
    r"|author'?s?'? ?notes?\b|a/n\b|tl;?dr\b|word count\b|cross-?post"
    r"|original post\b|narrated(?: by|:)|proof[- ]?read"
)
_NOTE_BEFORE = re.compile(
    rf"\b(?:{_TALK}|note:|wrote this\b|i know this is (?:a )?long"
    r"|(?:wrote|posted|post|credit|thanks)\b.{0,80}(?<![\w/])/?[ru]/\w{3,}|want me to continue\b)"
    r"|(?<![\w/])/?[ru]/\w{3,}.{0,80}\b(?:wrote|post|prompt|credit|sub|here goes|ruined|thanks)"
)
_NOTE_AFTER = re.compile(
    rf"(?<![\w/])/?r/\w{{3,}}|\b(?:{_TALK}|(?:my|the|a) (?:own )?sub(?:reddit)?\b"
    r"|parts? ?(?:\d|two|three|ii|iii)\b.{0,40}\b(?:below|coming|soon|here|comments?|repl|later"
    r"|tomorrow|if|when|now|up|link|anyone|interest)|(?:writing|working on) part \w+"
    r"|more (?:of my )?(?:little )?stories\b|let me know (?:what|if|how)"
    r"|tell me what you think|would (?:you|anyone) like (?:more|me)"
    r"|(?:want|wants|like|liked) (?:me to|to (?:read|see)) (?:more|continue)"
    r"|will continue (?:if|later|this)|continue(?:d)? if\b|patreon\b|this story\b"
    r"|(?:i'll|i will|i might|may|should i) (?:write more|post more|finish this)"
    r"|off the top of my head|my (?:blog|website|webpage|twitter)\b"
    r"|english is(?: not|n't) my)"
)
_REDDIT = re.compile(
    r"(?i)\b(?:new (?:to|on)|learn) reddit|\breddit (?:format|gold|tells|wants)|\bupvotes?\b"
)
# A reader's answer to somebody else's story.
_COMMENT = re.compile(
    r"(?i)\b(?:read|liked?|loved?|enjoyed|feedback on|critique of) your (?:story|writing|piece)"
    r"|\bbefore i critique\b|\bwanted to give you some feedback\b"
)
_RULE = re.compile(r"(?:[^\w\"'“”‘’?!]|_)+|[\W_]*(?:x[\W_]*){3,}|[\W_]*⟨link⟩[\W_]*")
_UNFINISHED = re.compile(
    r"(?i)[\W_]*(?:to be continued|tbc|cont(?:inue|inued|'d)?)\b[\W_]*(?:\w+[\W_]*){0,4}$"
    r"|.{0,80}\bcontinued (?:in|below|here|as)\b.{0,80}$"
)
_CONTINUATION = re.compile(
    r"(?i)[\W_]*(?:part|chapter|pt) ?(?:two|three|four|five|ii|iii|iv|[2-9])\b"
    r"|[\W_]*(?:continued|cont'?d?|continuing)\b[\W_]*(?:from|$)"
)
_THE_END = re.compile(r"(?i)[\W_]*(?:the end|fin|end)[\W_]*")


def is_rule(paragraph: str) -> bool:
    """A scene break: nothing but marks."""
    return _RULE.fullmatch(paragraph) is not None


def is_comment(paragraphs: list[str]) -> bool:
    """True where the post is about another's story."""
    return any(p[0] not in '"“' and _COMMENT.search(p) for p in paragraphs[:2])


def is_continuation(paragraphs: list[str]) -> bool:
    """True where the post says it is the second part of another."""
    return any(_CONTINUATION.match(p) for p in paragraphs[:1])


def trim_notes(paragraphs: list[str]) -> tuple[list[str], list[str], bool]:
    """Take off what is not story at both ends.

    Returns:
        The paragraphs left, the names of what was trimmed, and whether the author says that
        the story is unfinished.
    """
    trims: list[str] = []
    unfinished = False
    last = len(paragraphs)
    # An edit note opens a tail of notes: all after it goes, wherever it is in the last third.
    for index in range(max(1, last * 2 // 3), last):
        if _EDIT.match(paragraphs[index]) and _words(paragraphs[index:]) <= 2 * _MAX_NOTE_WORDS:
            last = index
            trims.append("edit note")
            break
    # Notes after a scene break go with everything that follows the break.
    for index in range(max(1, last - _TAIL), last - 1):
        after = paragraphs[index + 1 : last]
        if (
            is_rule(paragraphs[index])
            and _words(after) <= _MAX_NOTE_WORDS
            and _is_note(after[0], _NOTE_AFTER)
        ):
            last = index
            trims.append("note after the story")
            break
    while last > 1:
        end = paragraphs[last - 1]
        if _UNFINISHED.match(end):
            unfinished = True
        elif _THE_END.fullmatch(end):
            trims.append("'The End'")
        elif _is_note(end, _NOTE_AFTER) or _is_aside(end):
            trims.append("note after the story")
        elif not is_rule(end):
            break
        last -= 1
    if last and (match := _EDIT_INSIDE.search(paragraphs[last - 1], 200)):
        paragraphs = [*paragraphs[: last - 1], paragraphs[last - 1][: match.start()].rstrip()]
        trims.append("edit note")
    first = 0
    for index in range(min(_HEAD, last - 1)):
        if _is_note(paragraphs[index], _NOTE_BEFORE) or _EDIT.match(paragraphs[index]):
            first = index + 1
            trims.append("note before the story")
        elif not is_rule(paragraphs[index]):
            break
    return paragraphs[first:last], list(dict.fromkeys(trims)), unfinished


def _is_note(paragraph: str, talk: re.Pattern[str]) -> bool:
    if paragraph[0] in '"“' or paragraph.count(" ") > _MAX_NOTE_WORDS:
        return False
    if "⟨link⟩" in paragraph and paragraph.count(" ") < _MAX_LINK_WORDS:
        return True
    return talk.search(paragraph.lower()) is not None


def _is_aside(paragraph: str) -> bool:
    """A short last word about the site the story was posted on."""
    return (
        paragraph[0] not in '"“'
        and paragraph.count(" ") < _MAX_ASIDE_WORDS
        and _REDDIT.search(paragraph) is not None
    )


def _words(paragraphs: list[str]) -> int:
    return sum(p.count(" ") + 1 for p in paragraphs)
