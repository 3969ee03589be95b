"""What people write around a story on the web: edits, thanks, links, "part 2 below".

Only the first and last paragraphs are looked at, and only words that hardly any story has count
there; a paragraph of speech is never taken for a note.
"""

from __future__ import annotations

import re

from fabula.corpus.talk import AFTER, BEFORE, Talk, talk

_HEAD = 3
_TAIL = 8
_MAX_NOTE_WORDS = 120
_MAX_ASIDE_WORDS = 30
_MAX_LINK_WORDS = 12
_MIN_STORY_WORDS = 12
_MAX_TAIL = 250
"""Characters of a last paragraph in which the author may turn to the readers."""

_EDIT = re.compile(
    r"(?i)[\W_]{0,6}(?:edit(?:ed|s)?|eta|update"
    r"|e ?\d?(?=:))\b[^:;\-–—.(\w]{0,3}(?:\w+ ?\d*)?[:;\-–—.(]"
)
# The same within a last paragraph, where a source has lost its line ends.
_EDIT_INSIDE = re.compile(r"\s[\W_]*(?:EDIT|Edit)\b ?\d?[\W_]{0,4}:")
# A paragraph wholly in brackets speaks of the text, if it has one of these and is the author's.
_BRACKETED = re.compile(r"[\[({].*[\])}][\W_]{0,3}", re.S)
_OF_WRITING = re.compile(
    r"\b(?:stor(?:y|ies)|writ(?:e|er|ing|ten)|wrote|critiques?|grammar|prompts?|edit(?:ed|s)?|nsfw"
    r"|coarse language|(?:sub)?reddits?|post(?:ed)?|paragraphs?|comments?|inspired|continued?|title"
    r"|singular|happened|novice|finish)\b"
)
_AUTHOR = re.compile(
    r"\b(?:i|i'm|i'll|i've|my|me|this|you|your|please|sorry|incoming|read)\b|nsfw|lots of"
)
# A story's number in its author's count, or a smile.
_SENTENCE = re.compile(r"[.!?…][\"')\]]* +(?=\S)")
_POSTSCRIPT = re.compile(r"\bP\. ?S\.[ :,-]*$")
_SIGNED = re.compile(r"[-–—~] ?\d{2,4}|[:;]-? ?[)(pd3]")
_REDDIT = re.compile(
    r"(?i)\b(?:new (?:to|on)|learn) reddit|\breddit (?:format|gold|tells|wants)|\b(?:the|for|your"
    r"|my|get|got)"
    r" (?:\w+ )?upvotes\b|\bupvotes? (?:this|if)\b"
)
# A reader's answer to somebody else's story.
_COMMENT = talk(
    (
        "your ",
        r"\b(?:read|liked?|loved?|enjoyed|feedback on|critique of) your (?:story|writing|piece)",
    ),
    (
        "before i critique|give you some",
        r"\b(?:before i critique|wanted to give you some feedback)\b",
    ),
)
_RULE = re.compile(r"(?:[^\w\"'“”‘’?!]|_)+|[\W_]*(?:x[\W_]*){3,}|[\W_]*⟨link⟩[\W_]*")
_UNFINISHED = re.compile(
    r"(?i)[\W_]*(?:to be continued|tbc|cont(?:inue|inued|'d)?)\b[\W_]*(?:\w+[\W_]*){0,8}$"
    r"|[\[({].{0,40}\bfinish\b.{0,60}[\])}]\W*$|.{0,30}\bto finish (?:this |the |my )?story\W*$"
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
    return any(p[0] not in '"“' and _COMMENT.search(p.lower()) for p in paragraphs[:2])


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
            and _is_note(after[0], AFTER)
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
        elif (_is_note(end, AFTER) and _note_inside(end) is None) or _is_aside(end):
            trims.append("note after the story")
        elif not is_rule(end):
            break
        last -= 1
    if last:
        end = paragraphs[last - 1]
        if match := _EDIT_INSIDE.search(end, 200):
            paragraphs = [*paragraphs[: last - 1], end[: match.start()].rstrip()]
            trims.append("edit note")
        elif (start := _note_inside(end)) is not None:
            paragraphs = [*paragraphs[: last - 1], end[:start].rstrip()]
            trims.append("note after the story")
    first = 0
    for index in range(min(_HEAD, last - 1)):
        if _is_note(paragraphs[index], BEFORE) or _EDIT.match(paragraphs[index]):
            first = index + 1
            trims.append("note before the story")
        elif not is_rule(paragraphs[index]):
            break
    return paragraphs[first:last], list(dict.fromkeys(trims)), unfinished


def _is_note(paragraph: str, words: Talk) -> bool:
    if paragraph[0] in '"“' or paragraph.count(" ") > _MAX_NOTE_WORDS:
        return False
    if "⟨link⟩" in paragraph and paragraph.count(" ") < _MAX_LINK_WORDS:
        return True
    small = paragraph.lower()
    if small[0] in "[({" and _BRACKETED.fullmatch(small):
        if _OF_WRITING.search(small) and _AUTHOR.search(small):
            return True
    elif len(small) < 8 and words is AFTER and _SIGNED.fullmatch(small):
        return True
    return words.search(small) is not None


def _note_inside(paragraph: str) -> int | None:
    """Where the author's sentences begin at the end of a last paragraph, outside of speech."""
    tail = max(0, len(paragraph) - _MAX_TAIL)
    match = AFTER.search(paragraph[tail:].lower())
    if match is None or paragraph[0] in "[({":
        return None
    starts = [m.end() for m in _SENTENCE.finditer(paragraph, 0, tail + match.start() + 1)]
    if not starts or paragraph.count('"', 0, starts[-1]) % 2:
        return None
    story = paragraph[: starts[-1]]
    if (
        paragraph[0] not in '"“'
        and paragraph.count(" ") <= _MAX_NOTE_WORDS
        and (story.count(" ") < _MIN_STORY_WORDS or _OF_WRITING.search(story.lower()))
    ):
        # All of the paragraph is the author's.
        return None
    postscript = _POSTSCRIPT.search(paragraph, 0, starts[-1])
    return postscript.start() if postscript else starts[-1]


def _is_aside(paragraph: str) -> bool:
    """A short last word about the site the story was posted on."""
    return (
        paragraph[0] not in '"“'
        and paragraph.count(" ") < _MAX_ASIDE_WORDS
        and _REDDIT.search(paragraph) is not None
    )


def _words(paragraphs: list[str]) -> int:
    return sum(p.count(" ") + 1 for p in paragraphs)
