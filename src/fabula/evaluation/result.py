"""The outcome of an evaluation: all figures of all systems, what they were taken from, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fabula.evaluation.arccurves import ArcCurve
from fabula.evaluation.measures import Difference, Figures


@dataclass(frozen=True)
class Truncation:
    """How much of the held-out stories a likelihood is about.

    Attributes:
        stories: scored.
        cut: of these, cut to fit the context.
        left_out: stories of which not one word fits.
        bytes_scored: of story text.
        bytes_all: bytes of the whole stories.
        tokens: tokens counted by this model.
    """

    stories: int
    cut: int
    left_out: int
    bytes_scored: int
    bytes_all: int
    tokens: int

    def sentence(self) -> str:
        """For the notes."""
        if not self.cut and not self.left_out:
            return (
                f"All {self.stories} stories were scored whole ({self.bytes_all:,} bytes of text)."
            )
        return (
            f"{self.cut} of {self.stories} stories were cut to fit the context, "
            f"{self.left_out} did not fit at all; {self.bytes_scored:,} of {self.bytes_all:,} "
            "bytes of text were scored."
        )


@dataclass(frozen=True)
class SystemResult:
    """One column of the table.

    Attributes:
        name: what the user called it.
        weights: digest of the weights, where a model was opened.
        settings: the writer's, where stories were written.
        stories: number of its stories that were scored.
        truncation: of the likelihood, where there is one.
        figures: its rows.
        arcs: mean fortune curves by the arc asked for, for the picture.
    """

    name: str
    weights: str | None
    settings: dict[str, Any] | None
    stories: int
    truncation: Truncation | None
    figures: list[Figures]
    arcs: list[ArcCurve] = field(default_factory=list)

    def figure(self, key: str) -> Figures | None:
        """One row by its key."""
        return next((f for f in self.figures if f.key == key), None)


@dataclass(frozen=True)
class Evaluation:
    """Everything an evaluation found.

    Attributes:
        corpus: name of the corpus.
        split: of it; None for drawn briefs.
        available: stories with a brief in the whole split; of drawn briefs, their number.
        stories: held-out stories, or drawn briefs, used.
        prompts: prompts among them.
        seed: of writing, pairing and resampling.
        cut_words: both sides of every likeness were cut to this many words.
        pairings: number of derangements behind each floor.
        resamples: drawings behind each interval.
        signatures: what exactly BLEU, chrF and ROUGE were.
        systems: models and files of stories.
        differences: later systems against the first.
        notes: what a reader has to know.
        human_arcs: as `SystemResult.arcs`, of the human stories.
    """

    corpus: str
    split: str | None
    available: int
    stories: int
    prompts: int
    seed: int
    cut_words: int
    pairings: int
    resamples: int
    signatures: dict[str, str]
    systems: list[SystemResult]
    differences: list[Difference]
    notes: list[str]
    human_arcs: list[ArcCurve] = field(default_factory=list)

    @property
    def drawn(self) -> bool:
        """Whether the briefs were drawn, so that there are no human figures."""
        return self.split is None

    def as_json(self) -> dict[str, Any]:
        """For `--json` and metrics.json; the same for the same seed, the seconds aside."""
        return {
            "corpus": self.corpus,
            "split": self.split,
            "available": self.available,
            "stories": self.stories,
            "prompts": self.prompts,
            "seed": self.seed,
            "cut_words": self.cut_words,
            "pairings": self.pairings,
            "resamples": self.resamples,
            "signatures": self.signatures,
            "systems": [
                {
                    "name": s.name,
                    "weights": s.weights,
                    "settings": s.settings,
                    "stories": s.stories,
                    "truncation": None if s.truncation is None else vars(s.truncation),
                    "measures": {f.key: f.as_json() for f in s.figures},
                    "arcs": [vars(a) for a in s.arcs],
                }
                for s in self.systems
            ],
            "human_arcs": [vars(a) for a in self.human_arcs],
            "differences": [d.as_json() for d in self.differences],
            "notes": self.notes,
        }
