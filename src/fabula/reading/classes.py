"""Closed classes of words, one bit each, so that a whole batch of words is tested at once.

``vocabulary.bits[low] & SPEECH`` tells of every word of a batch whether it is a verb of speech.
"""

from __future__ import annotations

from functools import cache

from fabula.reading.phrases import HONORIFICS as _HONORIFICS
from fabula.reading.words import KIN as _KIN
from fabula.reading.words import LANDS as _LANDS
from fabula.reading.words import NAMING as _NAMING
from fabula.reading.words import NEVER_NAMES as _NEVER_NAMES
from fabula.reading.words import PERSONS as _PERSONS
from fabula.reading.words import SPEECH as _SPEECH

_MEMBERS: list[frozenset[str]] = []


def _class(words: str | frozenset[str]) -> int:
    """A new class; its bit."""
    _MEMBERS.append(frozenset(words.split() if isinstance(words, str) else words))
    return 1 << (len(_MEMBERS) - 1)


# Who is who.
NEVER_NAMES = _class(_NEVER_NAMES)
HONORIFICS = _class(_HONORIFICS)
PERSONS = _class(_PERSONS)
SPEECH = _class(_SPEECH)
NAMING = _class(_NAMING)
KIN = _class(_KIN)
LANDS = _class(_LANDS)
TITLES_WITH_STOP = _class("mr mrs ms dr st prof capt col sgt lt")
SUBJECTS = _class("he she his her")
DIES = _class("died drowned")
SAINT = _class("saint")
WHO = _class("who")
I = _class("i")  # noqa: E741 (the word itself)
ME = _class("i my me")
# "the old miller": what may open a description, and what breaks one off.
DESCRIBING = _class("the a an his her my our their this that your another")
ARTICLES = _class("the a an")
THE = _class("the")
A = _class("a an")
BREAKS = _class(
    "and but or of in on at to by for with from was is were had has who that as than so then "
    "when not be been she he it they i you we said up down out into over"
)
PLACE_CUES = _class("in to at from near toward towards through across into on")
PLACE_TAILS = _class(
    "river street road lane hotel station island islands mountain mountains lake sea valley bay "
    "harbor harbour town city village square bridge house hall school company hill hills county "
    "creek pass fort park avenue ocean forest castle inn ship line"
)
# Where: prepositions and determiners around a place.
WITHIN = _class("in at on inside through across above behind near by below")
TOWARDS = _class("to into from toward of")
WHERE = _class("in on of to from near at")
PLACE_DETERMINERS = _class("the a an my our his her their its your this that")
# Things that occur.
THING_DETERMINERS = _class("a an the his her my their our your its this that")
POINTING = _class("this that your our their its")
POSSESSORS = _class("his her my")
NUMBERS = _class(
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty "
    "hundred thousand"
)
LEADS = _class("a an the his her my one two three four five six seven eight nine ten")
TIMES = _class(
    "second seconds minute minutes hour hours day days night nights morning evening noon "
    "midnight week weeks month months year years time times moment way"
)
HAVING = _class(
    "had found held carried wore took gave bought built kept made hung pulled picked stole"
)
# What somebody is like.
BEING = _class(
    "was were is are am be been being felt feel feels grew became become seemed looked so too "
    "very as more most quite rather always never still only such"
)
NOT = _class("not never no wasn't isn't weren't don't nor without hardly")
PRONOUNS = _class("he she i they you him her me")
PERSONAL = _class(
    "man woman boy girl child fellow creature king queen mother father heart face voice smile "
    "eyes hands soul"
)
# Who tells it. Not "mine": narrators seldom say it, and stories are told of mines.
FIRST = _class("i i'm i've i'd i'll me my myself")
FIRST_PLURAL = _class("we us our ours ourselves we're")
SECOND = _class("you your yours yourself you're you've you'd you'll")
THIRD = _class("he she him her his hers they them their his himself herself themselves")
ENGLISH = _class(
    "the and to of a in was he she it that his her had they with for on at as i my you not but "
    "is said from were him them me up out so then when what be there no into all by one would "
    "could did down an back like been this their have over if who old before or your we"
)
DATED = _class("ago upon ages")  # and every year
# Of the form of a word, not of a list.
ENDS_ED = _class("")
ENDS_S = _class("")
NEVER_BASE = _class("")
# Learnt classes: see `vocabulary.Vocabulary`.
KNOWN = _class("")
MODIFIERS = _class("")
NOUNS = _class("")


@cache
def _closed() -> dict[str, int]:
    table: dict[str, int] = {}
    for number, members in enumerate(_MEMBERS):
        for word in members:
            table[word] = table.get(word, 0) | 1 << number
    return table


def closed_bits(low: str) -> int:
    """The bits of a lower-case word that its spelling gives."""
    table = _closed()
    bits = table.get(low, 0)
    if low.endswith("ed"):
        bits |= ENDS_ED
    if low.endswith("s"):
        bits |= ENDS_S
    if low[0] in "12" and low[:4].isdigit() and len(low) in (4, 5):
        bits |= DATED
    if table.get(low.split("'")[0], 0) & NEVER_NAMES:
        bits |= NEVER_BASE
    return bits


SEASONS = ("spring", "summer", "autumn", "winter")
_SEASON_OF = {
    **{s: s for s in SEASONS}, "snow": "winter", "midwinter": "winter",
    "december": "winter", "january": "winter", "february": "winter", "april": "spring",
    "july": "summer", "august": "summer", "june": "summer", "october": "autumn",
    "november": "autumn", "september": "autumn", "harvest": "autumn",
}  # fmt: skip
_SEASON_CODES = {
    word: (SEASONS.index(season) + 1) * (1 if word in SEASONS else -1)
    for word, season in _SEASON_OF.items()
}


def season(low: str) -> int:
    """1 to 4 for a season's name, negative for a word that hints at it, 0 for no such word."""
    return _SEASON_CODES.get(low, 0)
