"""The characters of a text: entities ranked, the protagonist first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.entities import Entity, features
from fabula.reading.ranker import chances
from fabula.reading.text import Document
from fabula.story.brief import Role

Arrays = Mapping[str, npt.NDArray[np.generic]]

LIKELY = 0.4  # least chance of a second character (best F1 in cross-validation)
MOST = 6


@dataclass(frozen=True, slots=True)
class Member:
    """A character: the entity, the chance that it is one, its role."""

    entity: Entity
    chance: float
    role: Role


def choose_cast(
    doc: Document,
    entities: list[Entity],
    known: frozenset[str],
    first_person: bool,
    arrays: Arrays | None = None,
) -> list[Member]:
    """The likely characters among the entities of a text, protagonist first.

    Args:
        doc: the text.
        entities: of `find_entities`.
        known: common words.
        first_person: whether the narrator is a character.
        arrays: of `fit_ranker`; the shipped ones if None.
    """
    if not entities:
        return []
    rows = features(doc, entities, known, first_person)
    member, lead = chances("member", rows, arrays), chances("lead", rows, arrays)
    chief = int(np.argmax(lead))
    # One of them is the protagonist: the share of the odds is its chance.
    odds = lead / (1 - lead + 1e-9)
    cast = [Member(entities[chief], float(odds[chief] / (odds.sum() + 0.05)), "protagonist")]
    for i in sorted(range(len(entities)), key=lambda i: -member[i]):
        if i != chief and member[i] >= LIKELY and len(cast) < MOST:
            role: Role = "other" if entities[i].described else "ally"
            cast.append(Member(entities[i], float(member[i]), role))
    return cast
