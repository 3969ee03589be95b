"""How far read tags can be trusted: the reading's own score on the sample's gold test split."""

from __future__ import annotations

from functools import cache
from typing import Any

from fabula.reading.score import score
from fabula.story.sample import load_sample

# Agreement of a second annotator of 66 stories with the gold labels (the sample's card).
SECOND_ANNOTATOR = {
    "protagonist": 0.98, "point of view": 1.00, "arc": 0.94, "ending": 0.82, "genre": 0.73,
    "tone": 0.41,
}  # fmt: skip
# Field of the score -> tag of the tally.
TAG_OF = {
    "protagonist": "characters", "names": "characters", "point of view": "point_of_view",
    "must include": "must_include",
}  # fmt: skip


@cache
def tag_quality(min_confidence: float) -> dict[str, Any]:
    """The score of every field as this corpus leaves it: unsure tags and unproven arcs empty.

    Args:
        min_confidence: tags read with less are left empty.

    Returns:
        For the manifest: ``stories`` scored, ``min_confidence``, and for each of ``fields`` the
        share of tags given that are right (``precision``), the share of gold tags found
        (``recall``), the ``baseline`` of one who cannot read, and the ``measure``.
    """
    fields = [
        {
            "field": row.field,
            "measure": row.measure,
            # Where nothing may be left empty, both are the accuracy.
            "precision": row.figure if row.precision is None else row.precision,
            "recall": row.figure if row.recall is None else row.recall,
            "baseline": row.baseline,
        }
        for row in score("test", least=min_confidence, proven_arcs=True)
    ]
    return {
        "stories": len(load_sample("test")),
        "min_confidence": min_confidence,
        "fields": fields,
    }
