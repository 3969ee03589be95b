"""Words that an author says about a story to its readers, and hardly any story has at its ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Talk:
    """Patterns over text in lower case, each with signs without which it cannot match.

    Asking for the signs first is ten times as fast as searching for all the patterns.
    """

    rows: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...]

    def search(self, small: str) -> re.Match[str] | None:
        """The match that begins first in a text in lower case."""
        first: re.Match[str] | None = None
        for signs, pattern in self.rows:
            for sign in signs:
                if sign in small:
                    match = pattern.search(small)
                    if match and (first is None or match.start() < first.start()):
                        first = match
                    break
        return first


def talk(*rows: tuple[str, str]) -> Talk:
    """Make a `Talk` of (signs parted by "|", pattern)."""
    return Talk(tuple((tuple(signs.split("|")), re.compile(p)) for signs, p in rows))


_ANYWHERE: Sequence[tuple[str, str]] = (
    ("feedback", r"\bfeedback\b"),
    (
        "criti",
        r"\bcriti(?:que|ci[sc]i?[sm])s?\b.{0,40}\b(?:welcome|appreciated|encouraged|please|greatly)"
        r"|\bplease critique\b|\b(?:constructive|any|all) criti",
    ),
    ("cc welcome", r"\bcc welcome"),
    (
        "thank",
        r"\bthank(?:s| you)(?: (?:so|very) much)? for (?:the (?:read|prompt|support|gold)|reading)"
        r"|\bthanks,? op\b",
    ),
    (
        "first|attempt|timer",
        r"\bfirst[- ]time(?:r\b|s? (?:post|writ|respond|submit))"
        r"|\bfirst (?:ever )?(?:post|prompt|response|submission|wp|reddit post|writing prompt)\b"
        r"|\bmy first (?:ever )?(?:story|stories|piece|try|attempt|one of these|time (?:doing"
        r"|trying))"
        r"|\bfirst (?:story|time) (?:on here|in english|here)\b",
    ),
    (
        "posted|written|writing",
        r"\b(?:never|haven't) (?:posted|(?:written|tried writing) (?:anything|a story|one of))",
    ),
    (
        "hope",
        r"\bhope (?:you|u|y'all|everyone|that you)(?: \w+)? (?:enjoy|like)"
        r"|\bhope (?:it|this|that) (?:wasn't|isn't|was|is)(?: \w+)? (?:too |so )?(?:terrible|bad"
        r"|ok|okay|awful|good enough)\b",
    ),
    (
        "phone|mobile|ipad|tablet",
        r"\b(?:on|from) (?:my )?(?:phone|mobile|ipad|tablet)\b.{0,60}\b(?:format|error|typo"
        r"|mistake)"
        r"|\bmobile formatting\b",
    ),
    (
        "sorry|apolog|pardon|excuse|forgive",
        r"\b(?:sorry|apolog\w+|pardon|excuse|forgive)\b.{0,40}\b(?:formatting|grammar|grammatical"
        r"|typos?|spelling|english|mobile|my phone|amateur|rhyme)\b"
        r"|\bsorry if (?:this|it|the|my|there)\b.{0,40}\b(?:wr(?:ote|itten|iting)|story|read"
        r"|sound|forced|confusing|seem)",
    ),
    (
        "this sub|this prompt|this thread|this wp|the prompt|your prompt|great prompt|cool prompt"
        "|good prompt|awesome prompt",
        r"\bthis (?:sub|subreddit|prompt|thread|wp)\b|\b(?:the|your) prompt\b(?! (?:box|book|and"
        r"|,))|\b(?:great|cool|good|awesome) prompt\b",
    ),
    ("author|a/n", r"\bauthor'?s?'? ?notes?\b|\ba/n\b"),
    ("tl", r"\btl;? ?dr\b"),
    ("word count", r"\bword count\b"),
    ("post", r"\bcross-?post|\boriginal post\b|\bpost (?:it|this) anyways?\b"),
    ("narrated", r"\bnarrated(?: by|:)"),
    ("proof", r"\bproof[- ]?read"),
    ("gentle|bear with", r"\bso (?:please )?be gentle\b|\bplease be gentle\b|\bplease bear with m"),
    (
        "writing|writer|to write",
        r"\b(?:my|first|this)(?: \w+)? writing ?prompts?\b|\bnew to writing\b"
        r"|\bnot (?:that good at writing|(?:really )?a (?:good )?writer)\b"
        r"|\b(?:fun|enjoyed|enjoy|loved) (?:to write|writing) (?:this|it|that)\b|\bfun to write\b",
    ),
    (
        "crack at|stab at|shot at",
        r"\b(?:took|take|taking|my) (?:a )?(?:crack|stab|shot) at (?:it|this|one|the prompt)\b",
    ),
    ("nsfw", r"\bnsfw\b"),
    ("best i", r"\bbest i (?:could (?:do|come up)|can do|got\b)"),
    ("disclaimer", r"\bdisclaimers?\b"),
)

BEFORE = talk(
    *_ANYWHERE,
    ("note:", r"^[\W_]*note:"),
    ("wrote this", r"\b(?:just |quickly )?wrote this\b"),
    ("i know this is", r"\bi know this is (?:a )?long"),
    (
        "r/|u/",
        r"(?<![\w/])/?[ru]/\w{3,}.{0,160}\b(?:wrote|post|prompt|credits?|sub|here goes|ruined"
        r"|thanks)"
        r"|\b(?:wrote|posted|post|credit|thanks)\b.{0,80}(?<![\w/])/?[ru]/\w{3,}",
    ),
    ("want me to", r"\bwant me to continue\b"),
    ("but here", r"\bbut here (?:it is|goes)\b"),
    (
        "this m|this w|this is",
        r"^[\W_]*this (?:may|might|will|is going to|is probably) (?:be )?(?:horrible|terrible|bad"
        r"|awful|suck)",
    ),
    ("deleted|removed", r"\b(?:deleted|removed) the (?:comment|post|prompt)\b"),
    ("[", r"^\[ ?(?:wp|ot|eu|cw|tt|pi|ip|rf) ?\]$"),
    ("sorry if", r"\bsorry if it'?s (?:bad|not|so)\b"),
    ("blew up", r"\bblew up\b.{0,30}\bthan i (?:had )?expected\b"),
    ("looking for", r"\bif this is what you(?:'re| are| were) looking for"),
    ("my own", r"\bcopied from my own\b"),
    ("warning", r"^[\W_]*(?:trigger |content )?warnings?:"),
)

AFTER = talk(
    *_ANYWHERE,
    ("r/", r"(?<![\w/])/?r/\w{3,}"),
    ("u/", r"^[\W_]*(?:/?u/[\w-]{3,}[\W_]*(?:and )?)+$"),
    ("edit", r"^[\W_]*edit(?:ed|s) (?:for|to|were|made|because)\b"),
    ("thanks", r"^[\W_]*note: (?:special )?thanks\b"),
    ("check out|read more", r"\bcheck out (?:more|my)\b|\bread more (?:at|of|here)\b"),
    ("spelling|grammar|typo|formatting", r"^\W*(?:spelling|grammar|typos?|formatting)\W*$"),
    ("sorry if", r"\bsorry if it'?s (?:bad|not|so)\b"),
    (" sub", r"\b(?:my|the|a) (?:own )?sub(?:reddit)?\b"),
    (
        "part",
        r"\bparts? ?(?:\d|two|three|ii|iii)\b.{0,40}\b(?:below|coming|soon|here|comments?|repl"
        r"|later"
        r"|tomorrow|if|when|now|up|link|anyone|interest)|\b(?:writing|working on) part \w+",
    ),
    ("stories", r"\bmore (?:of my )?(?:little )?stories\b"),
    ("let me know|tell me what", r"\blet me know (?:what|if|how)|\btell me what you think"),
    ("see what", r"\bsee what (?:people|you(?: guys| all)?|everyone) thinks?\b"),
    (
        "like",
        r"\bwould (?:you|anyone) like (?:more|me)|\b(?:like|liked) (?:me to|to (?:read"
        r"|see)) (?:more|continue)",
    ),
    ("want", r"\b(?:want|wants) (?:me to|to (?:read|see)) (?:more|continue)"),
    (
        "continue|continuation",
        r"\bwill continue (?:if|later|this)|\bcontinue(?:d)? if\b|\blook forward to (?:a"
        r"|the) continuation",
    ),
    ("patreon", r"\bpatreon\b"),
    ("this story", r"(?<!of )(?<!during )\bthis story\b(?! (?:is done|teach|show|tell))"),
    (
        "i'll|i will|i might|may|should i|will post|keep going",
        r"\b(?:i'll|i will|i might|may|should i) (?:write more|post more|finish this)"
        r"|\bwill post more (?:after|later|tomorrow|tonight|soon|when|if)\b|\bi can keep going\b",
    ),
    ("top of my head", r"\boff the top of my head\b"),
    ("blog|website|webpage|twitter", r"\bmy (?:blog|website|webpage|twitter)\b"),
    ("english", r"\benglish is(?: not|n't) my"),
    ("more by me|expect more", r"^[\W_]*(?:more by me|expect more)\b"),
    ("written in", r"^[\W_]*written in (?:\w+ ){1,3}(?:minutes|hours?)\b"),
    ("doing prompts|answering prompts", r"\b(?:doing|answering) prompts\b"),
    ("time right now", r"\bdon't have (?:the |much )?time right now\b"),
)
