"""From texts to briefs, with evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading import labels, places, pov, things, times, traits
from fabula.reading.arcnull import beats_null
from fabula.reading.cast import Cast, choose_cast
from fabula.reading.entities import find_entities
from fabula.reading.features import Features, extract
from fabula.reading.moments import telling_moments
from fabula.reading.ranker import chances
from fabula.reading.result import Evidence, Reading
from fabula.reading.text import Words, clip, english_share, scan
from fabula.story import Brief

SHOWN = 50  # at most so many spans for a name
FEW = 5  # and for most else
ENGLISH = 0.15  # below this share of common English words a text is not read as English
SECOND_PLACE = 0.4  # chance from which a second place is named too (cross-validated)
THINGS = 3
MOST_TRAITS = 4
FEWEST_WORDS = 12  # a shorter text has no arc, tone or genre to speak of
_TITLE_END = re.compile(r"[.,;:…]$")

Range = tuple[int, int]


@dataclass(slots=True)
class _Found:
    """What was read of one text: fields of its brief, how sure, and the words that show it."""

    trusted: float
    data: dict[str, Any] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    shown: list[tuple[str, str, list[Range]]] = field(default_factory=list)

    def sure(self, chance: float) -> float:
        return round(min(1.0, max(0.0, chance * self.trusted)), 4)


class _Batch:
    """Texts being read together. What is less sure than `least` is left out."""

    def __init__(
        self, texts: Sequence[str], least: float, evidence: bool = False, proven: bool = False
    ) -> None:
        self.least, self.evidence, self.proven = least, evidence, proven
        self.words = words = scan([clip(text) for text in texts])
        sizes = words.sizes
        self.sizes: list[int] = sizes.tolist()
        # English is what the rules and the weights know; elsewhere confidence falls to nothing.
        trusted = np.where(
            sizes >= FEWEST_WORDS, np.minimum(1.0, english_share(words) / ENGLISH), 1.0
        )
        self.found = [_Found(t) for t in trusted.tolist()]
        self.enough = sizes >= FEWEST_WORDS

    def accepts(self, doc: int, chance: float) -> bool:
        return self.found[doc].sure(chance) >= self.least

    def add(
        self, doc: int, path: str, value: str, chance: float, ranges: Iterable[Range] = ()
    ) -> None:
        """Record a field that `accepts` lets through; ranges count words."""
        found = self.found[doc]
        found.confidence[path] = found.sure(chance)
        if self.evidence:
            found.shown.append((path, value, list(ranges)))

    def fields(self, doc: int, text: str) -> dict[str, Any]:
        """The fields found in one text."""
        found = self.found[doc]
        size = self.sizes[doc]
        words = size if len(text) == len(self.words.texts[doc]) else len(text.split())
        if 20 <= words <= 20_000 and self.least <= 1:
            found.data["length"] = words
            found.confidence["length"] = 1.0
        return found.data

    def reading(self, doc: int, text: str) -> Reading:
        """All that was found in one text."""
        fields, found = self.fields(doc, text), self.found[doc]
        shown: list[Evidence] = []
        if found.shown:
            spans, begin = self.words.spans(doc), int(self.words.first[doc])
            for path, value, ranges in found.shown:
                for a, b in ranges:
                    start, end = (
                        (a, b)
                        if path == "title"
                        else (spans[a - begin][0], spans[b - 1 - begin][1])
                    )
                    shown.append(
                        Evidence(
                            field=path, value=value, start=start, end=end, text=text[start:end],
                            confidence=found.confidence[path],
                        )
                    )  # fmt: skip
        return Reading(
            brief=Brief.model_validate(fields), evidence=shown, confidence=found.confidence
        )


def read(text: str, *, min_confidence: float = 0.0) -> Reading:
    """Read a brief out of a text.

    Args:
        text: any text; nothing is refused. Of a very long one, the first 400,000
            characters are read.
        min_confidence: a field read with less confidence than this is left empty, 0 to 1.

    Returns:
        The brief, the spans that show it, and the confidence in each of its fields.
    """
    return read_all([text], min_confidence=min_confidence, evidence=True)[0]


def read_all(
    texts: Sequence[str],
    *,
    min_confidence: float = 0.0,
    evidence: bool = False,
    proven_arcs: bool = False,
) -> list[Reading]:
    """Read many texts together, which is much faster than one by one.

    Args:
        texts: as for `read`; a few hundred at a time.
        min_confidence: as for `read`.
        evidence: also give the spans, which takes most of the time.
        proven_arcs: leave an arc out unless it beats its null (see arcnull.py).
    """
    batch = _read(_Batch(texts, min_confidence, evidence, proven_arcs))
    return [batch.reading(doc, text) for doc, text in enumerate(texts)]


def read_fields(
    texts: Sequence[str], *, min_confidence: float = 0.0, proven_arcs: bool = False
) -> list[dict[str, Any]]:
    """What `read_all` reads, as plain fields that a `Brief` can be made of.

    Args:
        texts, min_confidence, proven_arcs: as for `read_all`.
    """
    batch = _read(_Batch(texts, min_confidence, proven=proven_arcs))
    return [batch.fields(doc, text) for doc, text in enumerate(texts)]


def _read(batch: _Batch) -> _Batch:
    if len(batch.words):
        views = pov.decide(batch.words)
        _read_views(batch, views)
        first_person = views.view == pov.FIRST
        cast = _read_cast(batch, first_person)
        _read_traits(batch, cast, first_person)
        features = extract(batch.words)
        scores = labels.all_scores(features)
        _read_labels(batch, features, scores)
        _read_setting(batch, features, scores["era"])
        _read_things(batch)
    for doc, text in enumerate(batch.words.texts):
        if batch.sizes[doc]:
            _read_title(batch, doc, text)
    return batch


def _read_views(batch: _Batch, views: pov.Views) -> None:
    for doc, (view, sure) in enumerate(zip(views.view.tolist(), views.sure.tolist(), strict=True)):
        name = pov.VIEWS[view]
        if name is None or not batch.accepts(doc, sure):
            continue
        batch.found[doc].data["point_of_view"] = name
        shows = pov.showing(batch.words, views, doc)[:FEW] if batch.evidence else []
        batch.add(doc, "point_of_view", name, sure, ((i, i + 1) for i in shows))


def _read_cast(batch: _Batch, first_person: npt.NDArray[np.bool_]) -> Cast:
    entities = find_entities(batch.words)
    cast = choose_cast(entities, first_person)
    kept = np.zeros(len(cast.doc), dtype=bool)
    seen: set[tuple[int, str]] = set()
    for member, (doc, entity, chance) in enumerate(
        zip(cast.doc.tolist(), cast.entity.tolist(), cast.chance.tolist(), strict=True)
    ):
        if not batch.accepts(doc, chance):
            continue
        name = _line(entities.name(entity))
        if not name or (doc, name.casefold()) in seen:
            continue
        seen.add((doc, name.casefold()))
        kept[member] = True
        people = batch.found[doc].data.setdefault("characters", [])
        mentions = entities.mentions(entity)[:SHOWN] if batch.evidence else []
        batch.add(doc, f"characters.{len(people)}.name", name, chance, mentions)
        people.append({"name": name, "role": cast.role(member), "traits": []})
    return cast.only(kept)


def _line(value: str) -> str:
    """A value as it may stand in a brief: one line, no control characters, not too long."""
    if not value.isprintable():
        value = "".join(c if c.isprintable() else " " for c in value)
    return " ".join(value.split())[:300]


def _read_traits(batch: _Batch, cast: Cast, first_person: npt.NDArray[np.bool_]) -> None:
    words = batch.words
    near = traits.candidates(words, cast, first_person)
    if not len(near.at):
        return
    chance = chances("trait", traits.features(words, near, cast, words.vocabulary.trait_priors))
    best: dict[tuple[int, int, int], tuple[float, list[int]]] = {}
    for place in np.flatnonzero(chance >= traits.TRAIT_CHANCE).tolist():
        at = int(near.at[place])
        key = (int(words.doc[at]), int(near.owner[place]), int(near.trait[place]))
        before, where = best.get(key, (0.0, []))
        best[key] = (max(before, float(chance[place])), [*where, at])
    for (doc, owner, trait), (p, where) in sorted(best.items(), key=lambda kv: -kv[1][0]):
        listed = batch.found[doc].data["characters"][owner]["traits"]
        if batch.accepts(doc, p) and len(listed) < MOST_TRAITS:
            value = words.vocabulary.traits[trait]
            path = f"characters.{owner}.traits.{len(listed)}"
            batch.add(doc, path, value, p, ((i, i + 1) for i in where[:FEW]))
            listed.append(value)


def _read_labels(
    batch: _Batch, features: Features, scores: Mapping[str, npt.NDArray[np.float64]]
) -> None:
    probability = labels.probabilities(scores)
    # The likeliest of each can still exclude each other: then the surer of the two is kept.
    best = {label: p.argmax(axis=1) for label, p in probability.items()}
    clash = labels.forbidden()[best["arc"], best["ending"]]
    for doc in np.flatnonzero(clash).tolist():
        weaker, surer = sorted(("arc", "ending"), key=lambda k: probability[k][doc, best[k][doc]])
        table = labels.forbidden() if weaker == "ending" else labels.forbidden().T
        allowed = np.where(table[best[surer][doc]], -1.0, probability[weaker][doc])
        best[weaker][doc] = allowed.argmax()
    for label, values in best.items():
        chance = probability[label][np.arange(len(values)), values].tolist()
        for doc, (number, p) in enumerate(zip(values.tolist(), chance, strict=True)):
            if not batch.enough[doc] or not batch.accepts(doc, p):
                continue
            if (
                label == "arc"
                and batch.proven
                and not beats_null(batch.words, features, doc, number)
            ):
                continue
            value = labels.CLASSES[label][number]
            batch.found[doc].data[label] = value
            batch.add(doc, label, value, p, _moments(batch, features, label, value, doc))


def _moments(batch: _Batch, features: Features, label: str, value: str, doc: int) -> list[Range]:
    if not batch.evidence:
        return []
    return [(m.first, m.end) for m in telling_moments(batch.words, features, label, value, doc)]


def _read_setting(batch: _Batch, features: Features, eras: npt.NDArray[np.float64]) -> None:
    words = batch.words
    near = places.candidates(words)
    chance = chances("place", places.features(near, words.vocabulary.place_priors))
    order = np.lexsort((-chance, near.doc))
    named = places.lands(words)
    ends = np.searchsorted(near.doc[order], np.arange(len(words.texts) + 1)).tolist()
    dated = times.maybe_written(words)
    seasons = times.seasons(words)
    for doc in np.flatnonzero(batch.enough).tolist():
        setting: dict[str, str] = {}
        ranked = order[ends[doc] : ends[doc + 1]][:2].tolist()
        if ranked and batch.accepts(doc, float(chance[ranked[0]])):
            value, shown = near.phrase(ranked[0]), near.mentions(ranked[0])[:FEW]
            if len(ranked) > 1 and chance[ranked[1]] >= SECOND_PLACE:
                value += " and " + near.phrase(ranked[1])
                shown += near.mentions(ranked[1])[:3]
            land = named.get(doc)
            if land is not None and words.shown(land) not in value:
                value += " in " + _line(words.shown(land))
                shown.append((land, land + 1))
            setting["place"] = value
            batch.add(doc, "setting.place", value, float(chance[ranked[0]]), shown)
        _read_time(batch, features, eras[doc], seasons.get(doc), setting, doc, dated[doc])
        if setting:
            batch.found[doc].data["setting"] = setting


def _read_time(
    batch: _Batch,
    features: Features,
    scores: npt.NDArray[np.float64],
    season: tuple[str, int] | None,
    setting: dict[str, str],
    doc: int,
    dated: bool,
) -> None:
    text = batch.words.texts[doc]
    stated = times.written(text) if dated else None
    if stated is not None:
        value, chance, shown = stated[0], 0.9, []
        if batch.evidence:
            spans, begin = batch.words.spans(doc), int(batch.words.first[doc])
            inside = [
                begin + i for i, (a, b) in enumerate(spans) if a < stated[2] and b > stated[1]
            ]
            shown = [(inside[0], inside[-1] + 1)] if inside else []
    else:
        value, chance = times.best_era(times.probabilities(scores))
        if season is not None:
            value, shown = f"{value}, {season[0]}", [(season[1], season[1] + 1)]
        else:
            shown = _moments(batch, features, "era", value, doc)
    if batch.accepts(doc, chance):
        setting["time"] = value
        batch.add(doc, "setting.time", value, chance, shown)


def _read_things(batch: _Batch) -> None:
    words = batch.words
    near = things.candidates(words)
    chance = chances("thing", things.features(words, near))
    order, ends = things.best_first(words, near, chance)
    firsts, lasts = near.first.tolist(), near.end.tolist()
    for doc, text in enumerate(words.texts):
        if not batch.enough[doc]:
            continue
        listed: list[str] = []
        heads: set[int] = set()
        budget = batch.sizes[doc] // 2 - 1
        for i in order[ends[doc] : ends[doc + 1]].tolist():
            p = float(chance[i])
            if len(listed) == THINGS or not batch.accepts(doc, p):
                break
            first, end = firsts[i], lasts[i]
            head = int(words.low[end - 1])
            value = _thing(words, first, end)
            left = budget - len(value.split())
            # What has other marks between its words does not stand in the text as it is said.
            if head in heads or left < 0 or value not in text:
                continue
            heads.add(head)
            budget = left
            batch.add(doc, f"must_include.{len(listed)}", value, p, [(first, end)])
            listed.append(value)
        if listed:
            batch.found[doc].data["must_include"] = listed


def _thing(words: Words, first: int, end: int) -> str:
    parts = [words.vocabulary.written[words.form[i]] for i in range(first, end - 1)]
    return _line(" ".join([*parts, words.shown(end - 1)]))


def _read_title(batch: _Batch, doc: int, text: str) -> None:
    """A first line that stands alone, is short, and does not end like a sentence."""
    start = len(text) - len(text.lstrip())
    stop = text.find("\n", start, start + 200)
    if stop < 0 or not text.startswith(("\n", "\r\n"), stop + 1):
        return
    head = text[start:stop]
    title = _line(head).lstrip("# ").strip("*_ ")
    if not (0 < len(title.split()) <= 9 and len(title) <= 80):
        return
    if _TITLE_END.search(title) or not title[0].isalnum() or title[0] != title[0].upper():
        return
    if title.endswith(("?", "!")) and not title.istitle():
        return
    if batch.accepts(doc, 0.8) and text[stop:].strip():
        batch.found[doc].data["title"] = title
        batch.add(doc, "title", title, 0.8, [(start, stop)])
