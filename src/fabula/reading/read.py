"""From a text to a brief, with evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from fabula.reading import labels, places, pov, things, times, traits
from fabula.reading.cast import Member, choose_cast
from fabula.reading.entities import find_entities
from fabula.reading.features import Features, extract
from fabula.reading.moments import Moment, telling_moments
from fabula.reading.ranker import chances
from fabula.reading.result import Evidence, Reading
from fabula.reading.store import known_words, lexicon
from fabula.reading.text import Document, clip, english_share, scan
from fabula.story import Brief

SHOWN = 50  # at most so many spans for a name
ENGLISH = 0.15  # below this share of common English words a text is not read as English
SECOND_PLACE = 0.4  # chance from which a second place is named too (cross-validated)
THINGS = 3
FEWEST_WORDS = 12  # a shorter text has no arc, tone or genre to speak of
_TITLE_END = re.compile(r"[.,;:…]$")


class _Findings:
    """Fields read so far, with their evidence; what is less sure than the threshold is left out."""

    def __init__(self, doc: Document, least: float, trusted: float) -> None:
        self.doc, self.least, self.trusted = doc, least, trusted
        self.data: dict[str, Any] = {}
        self.evidence: list[Evidence] = []
        self.confidence: dict[str, float] = {}
        self.sentences = doc.sentences()

    def sure(self, chance: float) -> float:
        return round(min(1.0, max(0.0, chance * self.trusted)), 4)

    def accepts(self, chance: float) -> bool:
        return self.sure(chance) >= self.least

    def add(self, field: str, value: str, chance: float, spans: Iterable[tuple[int, int]]) -> None:
        """Record a field that `accepts` lets through; spans count characters."""
        sure = self.confidence[field] = self.sure(chance)
        for start, end in spans:
            self.evidence.append(
                Evidence(
                    field=field, value=value, start=start, end=end,
                    text=self.doc.text[start:end], confidence=sure,
                )
            )  # fmt: skip

    def span(self, first: int, end: int) -> tuple[int, int]:
        """Characters of a word range."""
        return self.doc.starts[first], self.doc.ends[end - 1]


def read(text: str, *, min_confidence: float = 0.0) -> Reading:
    """Read a brief out of a text.

    Args:
        text: any text; nothing is refused. Of a very long one, the first 400,000
            characters are read.
        min_confidence: a field read with less confidence than this is left empty, 0 to 1.

    Returns:
        The brief, the spans that show it, and the confidence in each of its fields.
    """
    doc = scan(clip(text))
    # English is what the rules and the weights know; elsewhere confidence falls to nothing.
    trusted = min(1.0, english_share(doc) / ENGLISH) if len(doc) >= FEWEST_WORDS else 1.0
    found = _Findings(doc, min_confidence, trusted)
    if len(doc):
        view = _read_view(found)
        cast = _read_cast(found, view == "first")
        _read_traits(found, cast, view == "first")
        if len(doc) >= FEWEST_WORDS:
            features = extract(doc, labels.tables())
            _read_labels(found, features)
            _read_setting(found, features)
            _read_things(found)
        _read_title(found)
    words = len(doc) if len(text) == len(doc.text) else len(text.split())
    if 20 <= words <= 20_000 and min_confidence <= 1:
        found.data["length"] = words
        found.confidence["length"] = 1.0
    return Reading(
        brief=Brief.model_validate(found.data),
        evidence=found.evidence,
        confidence=found.confidence,
    )


def _read_view(found: _Findings) -> str | None:
    view, sure, positions = pov.decide(found.doc)
    if view is not None and found.accepts(sure):
        found.data["point_of_view"] = view
        found.add("point_of_view", view, sure, (found.span(i, i + 1) for i in positions[:5]))
    return view


def _read_cast(found: _Findings, first_person: bool) -> list[Member]:
    doc = found.doc
    cast = choose_cast(doc, find_entities(doc, known_words()), known_words(), first_person)
    kept: list[Member] = []
    seen: set[str] = set()
    for member in cast:
        name = _line(_written(doc, member))
        if name and name.casefold() not in seen and found.accepts(member.chance):
            seen.add(name.casefold())
            field = f"characters.{len(kept)}.name"
            spans = (found.span(a, b) for a, b in member.entity.mentions[:SHOWN])
            found.add(field, name, member.chance, spans)
            kept.append(member)
            found.data.setdefault("characters", []).append(
                {"name": name, "role": member.role, "traits": []}
            )
    return kept


def _written(doc: Document, member: Member) -> str:
    """The name as the text writes it, with its full stops ("Mr. Fell")."""
    name = member.entity.name
    for a, b in member.entity.mentions:
        if " ".join(doc.words[a:b]) == name:
            return doc.text[doc.starts[a] : doc.ends[b - 1]]
    return name


def _line(value: str) -> str:
    """A value as it may stand in a brief: one line, no control characters, not too long."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())[:300]


@cache
def _trait_table() -> dict[str, str]:
    return traits.index(lexicon()["traits"])


def _read_traits(found: _Findings, cast: list[Member], first_person: bool) -> None:
    if not cast:
        return
    doc, priors = found.doc, lexicon()["traits"]
    entities = [m.entity for m in cast]
    near = traits.candidates(doc, entities, _trait_table(), first_person)
    if not near:
        return
    chance = chances("trait", traits.features(doc, near, entities, priors))
    best: dict[tuple[int, str], tuple[float, list[int]]] = {}
    for trait, p in zip(near, chance, strict=True):
        before, at = best.get((trait.owner, trait.trait), (0.0, []))
        best[trait.owner, trait.trait] = (max(before, float(p)), [*at, trait.at])
    for (owner, trait_word), (p, at) in sorted(best.items(), key=lambda kv: -kv[1][0]):
        listed = found.data["characters"][owner]["traits"]
        if p >= traits.TRAIT_CHANCE and found.accepts(p) and len(listed) < 4:
            found.add(
                f"characters.{owner}.traits.{len(listed)}", trait_word, p,
                (found.span(i, i + 1) for i in at[:5]),
            )  # fmt: skip
            listed.append(trait_word)


def _read_labels(found: _Findings, features: Features) -> None:
    predicted = labels.predict(features)
    best = {label: max(p, key=lambda k: p[k]) for label, p in predicted.items()}
    if labels.contradicts(best["arc"], best["ending"]):
        # The likeliest of each can still exclude each other: keep the surer of the two.
        weaker = min(("arc", "ending"), key=lambda k: predicted[k][best[k]])
        allowed = {
            k: p for k, p in predicted[weaker].items()
            if not labels.contradicts(
                k if weaker == "arc" else best["arc"], k if weaker == "ending" else best["ending"]
            )
        }  # fmt: skip
        best[weaker] = max(allowed, key=lambda k: allowed[k])
    for label, value in best.items():
        chance = predicted[label][value]
        if not found.accepts(chance):
            continue
        found.data[label] = value
        found.add(
            label,
            value,
            chance,
            _moments(found, telling_moments(found.doc, features, label, value, found.sentences)),
        )


def _moments(found: _Findings, moments: list[Moment]) -> list[tuple[int, int]]:
    return [found.span(m.first, m.end) for m in moments]


def _read_setting(found: _Findings, features: Features) -> None:
    doc, priors = found.doc, lexicon()["places"]
    setting: dict[str, str] = {}
    near = places.candidates(doc, priors, modifiers())
    if near:
        chance = chances("place", places.features(doc, near, priors))
        order = np.argsort(-chance)
        first = int(order[0])
        if found.accepts(float(chance[first])):
            value = places.phrase(doc, near[first])
            spans = [found.span(a, b) for a, b in near[first].mentions[:5]]
            if len(order) > 1 and chance[order[1]] >= SECOND_PLACE:
                second = near[int(order[1])]
                value += " and " + places.phrase(doc, second)
                spans += [found.span(a, b) for a, b in second.mentions[:3]]
            named = places.land(doc)
            if named is not None and doc.words[named] not in value:
                value += " in " + _line(doc.words[named])
                spans.append(found.span(named, named + 1))
            setting["place"] = value
            found.add("setting.place", value, float(chance[first]), spans)
    when = _time(found, features)
    if when is not None and found.accepts(when[1]):
        setting["time"] = when[0]
        found.add("setting.time", when[0], when[1], when[2])
    if setting:
        found.data["setting"] = setting


def _time(found: _Findings, features: Features) -> tuple[str, float, list[tuple[int, int]]] | None:
    stated = times.written(found.doc)
    if stated is not None:
        return stated[0], 0.9, [(stated[1], stated[2])]
    era, chance = times.best_era(times.probabilities(labels.scores(features, "era")))
    season = times.season(found.doc)
    if season is not None:
        return f"{era}, {season[0]}", chance, [found.span(season[1], season[1] + 1)]
    return (
        era,
        chance,
        _moments(found, telling_moments(found.doc, features, "era", era, found.sentences)),
    )


def _read_things(found: _Findings) -> None:
    doc, nouns = found.doc, lexicon()["nouns"]
    near = things.candidates(doc, nouns, modifiers())
    if not near:
        return
    chance = chances("thing", things.features(doc, near, nouns, rarity()))
    listed: list[str] = []
    heads: set[str] = set()
    budget = len(doc) // 2 - 1
    for i in np.argsort(-chance):
        thing, p = near[int(i)], float(chance[int(i)])
        head = doc.lower[thing.end - 1]
        start, end = found.span(thing.first, thing.end)
        value = _line(doc.text[start:end])
        budget_left = budget - sum(len(v.split()) for v in listed) - len(value.split())
        if head in heads or not value or budget_left < 0 or not found.accepts(p):
            continue
        heads.add(head)
        found.add(f"must_include.{len(listed)}", value, p, [(start, end)])
        listed.append(value)
        if len(listed) == THINGS:
            break
    if listed:
        found.data["must_include"] = listed


@cache
def modifiers() -> frozenset[str]:
    """Words that may stand before the noun of a phrase."""
    return frozenset(lexicon()["modifiers"].split()) | frozenset(lexicon()["nouns"])


@cache
def rarity() -> Mapping[str, float]:
    """How rare each word of the vectors' vocabulary is: log of its rank."""
    return {w: float(np.log1p(i)) for i, w in enumerate(lexicon()["words"].split("\n"))}


def _read_title(found: _Findings) -> None:
    """A first line that stands alone, is short, and does not end like a sentence."""
    head, gap, rest = found.doc.text.lstrip().partition("\n")
    title = _line(head).lstrip("# ").strip("*_ ")
    short = 0 < len(title.split()) <= 9 and len(title) <= 80
    if not (gap and rest.startswith(("\n", "\r\n")) and short):
        return
    if _TITLE_END.search(title) or not title[0].isalnum() or title[0] != title[0].upper():
        return
    if title.endswith(("?", "!")) and not title.istitle():
        return
    if found.accepts(0.8) and rest.strip():
        start = found.doc.text.index(head)
        found.data["title"] = title
        found.add("title", title, 0.8, [(start, start + len(head))])
