"""Kinds of runs, by what their held-out scores say: for progress, curve and table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Figures:
    """Held-out figures of a run on preferences or picks, one field each."""

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Self:
        """Back from a line of metrics.jsonl."""
        return cls(**{name: line[f"eval_{name}"] for name in cls.__dataclass_fields__})

    def metrics(self) -> dict[str, Any]:
        """As a line of metrics.jsonl has them."""
        return {f"eval_{name}": value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Kind:
    """How a kind of run is told.

    Attributes:
        key: a figure of metrics.jsonl that only its scores have.
        short: a score in a few words, to be formatted with a line of metrics.jsonl.
        told: the same, with all that matters.
        unit: of its loss.
        things: what is held out.
        rows: of the table before and after: label, attribute of the score.
    """

    key: str
    short: str
    told: str
    unit: str
    things: str
    rows: tuple[tuple[str, str], ...]


STORIES = Kind(
    key="eval_bits_per_byte",
    short="{eval_bits_per_byte:.3f} bits per byte",
    told="{eval_bits_per_byte:.4f} bits per byte, word perplexity {eval_word_perplexity:.2f}",
    unit="nats per token",
    things="stories",
    rows=(
        ("loss (nats per token)", "loss"),
        ("bits per byte", "bits_per_byte"),
        ("word perplexity", "word_perplexity"),
    ),
)
PREFERENCES = Kind(
    key="eval_accuracy",
    short="the better story preferred in {eval_accuracy:.1%}",
    told="the better story preferred in {eval_accuracy:.1%}, by {eval_margin:.3f}",
    unit="loss of a pair",
    things="pairs",
    rows=(
        ("loss (of a pair)", "loss"),
        ("share of pairs whose better story is preferred", "accuracy"),
        ("margin (nats times beta)", "margin"),
    ),
)

THUMBS = Kind(
    key="eval_auc",
    short="thumbs told apart by {eval_auc:.3f}",
    told="thumbs told apart by {eval_auc:.3f} (0.5: not at all), {eval_told:.1%} told right",
    unit="loss of a thumb",
    things="thumbs",
    rows=(
        ("loss (of a thumb)", "loss"),
        ("chance that a thumb up has gained more than a thumb down", "auc"),
        ("share of thumbs told right", "told"),
        ("reward of a thumb up (nats times beta)", "ups"),
        ("reward of a thumb down", "downs"),
    ),
)

PICKS = Kind(
    key="eval_better",
    short="wrong one likeliest in {eval_wrong:.1%}",
    told="best likelier than wrong in {eval_better:.1%}, likeliest of all is the best in "
    "{eval_best:.1%}, a wrong one in {eval_wrong:.1%}",
    unit="loss of a place",
    things="places",
    rows=(
        ("loss (of a place)", "loss"),
        ("share of pairs whose best is likelier than the wrong one", "better"),
        ("share of places whose likeliest candidate is the best", "best"),
        ("share of places whose likeliest candidate is wrong", "wrong"),
    ),
)


def kind_of(lines: Iterable[Mapping[str, Any]]) -> Kind:
    """The kind of a run with these lines of metrics.jsonl."""
    keys = {key for line in lines for key in line}
    return next((kind for kind in (PREFERENCES, THUMBS, PICKS) if kind.key in keys), STORIES)
