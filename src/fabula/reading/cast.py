"""The characters of a text: entities ranked, the protagonist first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.entities import Entities, features
from fabula.reading.groups import rank_in
from fabula.reading.ranker import chances
from fabula.story.brief import Role

Arrays = Mapping[str, npt.NDArray[np.generic]]
Ints = npt.NDArray[np.int64]

LIKELY = 0.5  # least chance of a second character (best F1 in cross-validation)
MOST = 6


@dataclass(frozen=True, slots=True)
class Cast:
    """The characters of a batch of texts, text by text, protagonist first.

    Attributes:
        entities: all that they were chosen from.
        entity: which of them each is, shape [members].
        doc: text of each, shape [members].
        place: which of its text's characters it is, from 0, shape [members].
        chief: whether it is the protagonist, shape [members].
        chance: that it is one (the first: that it is the protagonist), shape [members].
    """

    entities: Entities
    entity: Ints
    doc: Ints
    place: Ints
    chief: npt.NDArray[np.bool_]
    chance: npt.NDArray[np.float64]

    def role(self, member: int) -> Role:
        """A default: protagonist, ally for a name, other for a description."""
        if self.chief[member]:
            return "protagonist"
        return "other" if self.entities.described[self.entity[member]] else "ally"

    def only(self, keep: npt.NDArray[np.bool_]) -> Cast:
        """Some of the members, who close ranks."""
        _, place = rank_in((np.arange(int(keep.sum())),), self.doc[keep])
        return Cast(
            self.entities, self.entity[keep], self.doc[keep], place, self.chief[keep],
            self.chance[keep],
        )  # fmt: skip


def choose_cast(
    entities: Entities, first_person: npt.NDArray[np.bool_], arrays: Arrays | None = None
) -> Cast:
    """The likely characters among the entities of a batch of texts.

    Args:
        entities: of `find_entities`.
        first_person: whether the narrator is a character, shape [texts].
        arrays: of `fit_ranker`; the shipped ones if None.
    """
    rows = features(entities, first_person)
    lead, doc = chances("lead", rows, arrays), entities.doc
    # Who has no name is told by other signs than who has one.
    described = chances("described", rows, arrays)
    member = np.where(entities.described, described, chances("named", rows, arrays))
    # One of them is the protagonist: the share of the odds is its chance.
    odds = lead / (1 - lead + 1e-9)
    _, rank = rank_in((-lead,), doc)
    chief = rank == 0
    together = np.bincount(doc, odds, len(entities.words.texts))
    chance = np.where(chief, odds / (together[doc] + 0.05), member)
    order, place = rank_in((~chief, -member), doc)
    keep = order[(chief | (member >= LIKELY))[order] & (place[order] < MOST)]
    return Cast(entities, keep, doc[keep], place[keep], chief[keep], chance[keep])
