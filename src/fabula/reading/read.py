"""From a text to a brief, with evidence."""

from __future__ import annotations

import numpy as np

from fabula.reading import pov
from fabula.reading.entities import Entity, features, find_entities
from fabula.reading.linear import softmax
from fabula.reading.result import Evidence, Reading
from fabula.reading.setting import place_of, time_of
from fabula.reading.store import known_words, weights
from fabula.reading.text import clip, scan
from fabula.story import Brief, Character, Setting


def read(text: str, *, min_confidence: float = 0.0) -> Reading:
    """Read a brief out of a text.

    Args:
        text: any text; nothing is refused.
        min_confidence: fields read with less than this are left empty.

    Returns:
        The brief, with the spans that show it.
    """
    doc = scan(clip(text))
    evidence: list[Evidence] = []
    confidence: dict[str, float] = {}
    data: dict[str, object] = {}

    def show(field: str, value: str, start: int, end: int, sure: float) -> None:
        evidence.append(
            Evidence(field=field, value=value, start=start, end=end,
                     text=doc.text[start:end], confidence=sure)
        )  # fmt: skip

    view, sure, positions = pov.decide(doc)
    if view is not None and sure >= min_confidence:
        data["point_of_view"] = view
        confidence["point_of_view"] = sure
        for span in pov.spans(doc, positions[:5]):
            show("point_of_view", view, span.start, span.end, sure)
    entities = find_entities(doc, known_words())
    characters: list[Character] = []
    for entity, chance, role in _cast(doc, entities, view == "first"):
        if chance < max(min_confidence, 0.4):
            continue
        field = f"characters.{len(characters)}.name"
        characters.append(Character(name=entity.name, role=role))  # type: ignore[arg-type]
        confidence[field] = chance
        for a, b in entity.mentions[:50]:
            show(field, entity.name, doc.starts[a], doc.ends[b - 1], chance)
        if len(characters) == 6:
            break
    data["characters"] = characters
    place, when = place_of(doc), time_of(doc)
    setting: dict[str, str] = {}
    if place is not None and place[3] >= min_confidence:
        setting["place"], confidence["setting.place"] = place[0], place[3]
        show("setting.place", place[0], doc.starts[place[1]], doc.ends[place[2] - 1], place[3])
    if when is not None and when[3] >= min_confidence:
        setting["time"], confidence["setting.time"] = when[0], when[3]
        show("setting.time", when[0], when[1], when[2], when[3])
    data["setting"] = Setting(**setting)
    if 20 <= len(doc) <= 20_000:
        data["length"], confidence["length"] = len(doc), 1.0
    return Reading(brief=Brief.model_validate(data), evidence=evidence, confidence=confidence)


def _cast(doc: object, entities: list[Entity], first: bool) -> list[tuple[Entity, float, str]]:
    """Entities with their chance of being a character, protagonist first."""
    if not entities:
        return []
    w = weights()
    rows = (features(doc, entities, known_words(), first) - w["name_mean"]) / w["name_scale"]  # type: ignore[arg-type]
    member = softmax(rows @ w["member_w"] + w["member_b"])[:, 1]
    lead = softmax(rows @ w["lead_w"] + w["lead_b"])[:, 1]
    chief = int(np.argmax(lead))
    order = sorted(range(len(entities)), key=lambda i: (i != chief, -member[i]))
    return [
        (
            entities[i],
            float(max(lead[i], member[i]) if i == chief else member[i]),
            "protagonist" if i == chief else "other",
        )
        for i in order
    ]
