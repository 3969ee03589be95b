"""Forms of English words, near enough to compare two of them."""

from __future__ import annotations

from collections.abc import Iterable


def singular(word: str) -> str:
    """The singular of a noun."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def with_adverb(trait: str) -> list[str]:
    """A trait word and the adverb made of it."""
    if trait.endswith("y") and len(trait) > 3:
        adverb = trait[:-1] + "ily"
    elif trait.endswith("le"):
        adverb = trait[:-1] + "y"
    elif trait.endswith("ic"):
        adverb = trait + "ally"
    else:
        adverb = trait + "ly"
    return [trait, adverb]


def trait_forms(traits: Iterable[str]) -> dict[str, str]:
    """The trait of each form of the trait words."""
    table: dict[str, str] = {}
    for trait in sorted(traits):
        for form in with_adverb(trait):
            table.setdefault(form, trait)
    table.update({trait: trait for trait in traits})
    return table
