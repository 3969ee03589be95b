"""The rows of the table about how well a model predicts: one `Measure` each."""

from __future__ import annotations

from collections.abc import Sequence

from fabula.evaluation.likelihood import (
    Scored,
    bits_per_byte,
    gain,
    mean_story_perplexity,
    own_brief_wins,
    word_perplexity,
)
from fabula.evaluation.measures import Measure


def likelihood_rows(rows: Sequence[Scored | None]) -> list[Measure]:
    """Rows of a model that can be asked for probabilities."""
    outline = any(r is not None and "outline" in r.bits for r in rows)
    other = any(r is not None and "other" in r.bits for r in rows)
    group = "likelihood"
    behind = {
        "brief": "given its brief",
        "nothing": "given nothing",
        "outline": "brief and outline",
    }
    conditions = [c for c in behind if c != "outline" or outline]
    measures = [
        Measure(
            key=f"bits_per_byte_{c}",
            group=group,
            label=f"Bits per byte, {behind[c]}",
            own=bits_per_byte(rows, c),
            better="lower",
            floor=bits_per_byte(rows, "other") if c == "brief" and other else None,
            digits=3,
        )
        for c in conditions
    ]
    measures += [
        Measure(
            key=f"word_perplexity_{c}",
            group=group,
            label=f"Word perplexity of the corpus, {behind[c]}",
            own=word_perplexity(rows, c),
            better="lower",
            floor=word_perplexity(rows, "other") if c == "brief" and other else None,
        )
        for c in conditions
    ]
    measures.append(
        Measure(
            key="mean_story_perplexity",
            group=group,
            label="Mean of the stories' perplexities, given the brief",
            own=mean_story_perplexity(rows, "brief"),
            better="lower",
        )
    )
    measures.append(
        Measure(
            key="prompt_gain",
            group=group,
            label="Prompt gain",
            unit="bits",
            own=gain(rows, "nothing"),
            floor=gain(rows, "nothing", "other") if other else None,
        )
    )
    if outline:
        measures.append(
            Measure(
                key="outline_gain",
                group=group,
                label="Further gain from the outline",
                unit="bits",
                own=gain(rows, "brief", "outline"),
            )
        )
    if other:
        measures.append(
            Measure(
                key="own_brief_wins",
                group=group,
                label="Likelier behind its own brief than another",
                unit="%",
                own=own_brief_wins(rows),
                chance=50.0,
            )
        )
    return measures
