"""Search-and-replace rules that cost little where they have nothing to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One pass over a text, left out where the text has none of the rule's signs.

    A search is fast where its pattern begins with a character of its own, and slow where it
    begins with a look-behind, which is then tried at every place. So what must stand before a
    match is a look-behind at the end of the pattern.

    Attributes:
        signs: short strings, one of which every match has in or around it.
        pattern: what to look for.
        put: what to put in its place.
    """

    signs: tuple[str, ...]
    pattern: re.Pattern[str]
    put: str | Callable[[re.Match[str]], str]


def make_rules(*rows: tuple[str, str, str | Callable[[re.Match[str]], str]]) -> tuple[Rule, ...]:
    """Rules from (signs parted by "|", pattern, replacement)."""
    return tuple(Rule(tuple(s.split("|")), re.compile(p), put) for s, p, put in rows)


def apply(rules: tuple[Rule, ...], text: str) -> str:
    """The text after all rules, in order."""
    for rule in rules:
        for sign in rule.signs:
            if sign in text:
                text = rule.pattern.sub(rule.put, text)
                break
    return text
