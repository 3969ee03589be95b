"""Every dial of the writer, with its default; recorded whole in the story file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from fabula.story import FREYTAG, Outline
from fabula.story.brief import Model
from fabula.story.story import Beat


def _beat_names(value: tuple[str, ...]) -> tuple[str, ...]:
    """The vocabulary's own rules for beat names; twice the same name would be one heading."""
    Outline(beats=[Beat(beat=name, summary="-") for name in value])
    if len(set(value)) != len(value):
        raise ValueError("names a beat twice; every beat needs its own name")
    return value


class Weights(Model):
    """What the choice among candidates weighs; the score is the sum of weight x feature.

    Each feature is described, with its range, in `fabula.writing.choice`.
    """

    likelihood: float = 0.36
    tokens: float = 0.1
    weakest: float = 0.7
    gain: float = 0.5
    due: float = 8.0
    early: float = 0.8
    follows: float = 3.0
    point_of_view: float = 2.5
    tense: float = 1.0
    arc: float = 0.5
    reads_genre: float = 4.0
    reads_tone: float = 0.5
    reads_arc: float = 0.6
    reads_ending: float = 2.0
    length: float = 0.8
    unfinished: float = 1.5
    repetition: float = 5.0
    dwelling: float = 0.7
    twice: float = 1.0
    echo: float = 2.0
    stranger: float = 0.5
    harping: float = 1.5
    selfsame: float = 4.0
    spelling: float = 40.0


PLAN_WEIGHTS = Weights(
    likelihood=0.72,
    tokens=0.0,
    weakest=2.0,
    due=2.0,
    early=1.0,
    repetition=8.0,
    stranger=5.0,
    reads_genre=6.5,
    reads_tone=1.0,
    reads_arc=1.5,
    reads_ending=2.0,
)


class WriterSettings(Model):
    """Settings of planner, sampler and choice.

    Attributes:
        beats: the beats of an outline the writer makes itself, in order.
        decide: for a small model, decide first what the brief leaves open
            (`fabula.writing.openings`).
        candidates: drawn for each sentence of a passage, in one batch.
        by_sentence: all candidates go on from the best sentence; else each is a whole passage.
        quorum: share of the candidates whose end is waited for; the slowest are not worth it.
        plans: sentences drawn for the premise and for each line of the outline.
        guidance: classifier-free guidance on the brief (Ho and Salimans 2022; for language
            models Sanchez et al. 2023): scores = bare + guidance * (briefed - bare). 1 is off
            and saves the second decoding.
        temperature: of the tokens that survive the three cuts below; 0 takes the best.
        plan_temperature: the same for premise and outline, where a slip misleads all that follows.
        top_k: keep the k best tokens; 0 is off.
        top_p: keep the smallest set that holds this much probability; 1 is off.
        min_p: keep tokens with at least this fraction of the best one's probability; 0 is off.
        dry_multiplier: strength of the DRY penalty on verbatim repetition; 0 is off.
        dry_base: how fast it grows with the length of the repeat.
        dry_allowed: tokens that may be repeated freely.
        worn_penalty: taken off the score of a content word for each use in the story after the
            free ones; 0 is off.
        worn_free: uses of a content word that cost nothing.
        stranger_penalty: taken off the scores of given names that are neither in the brief nor in
            the story so far, where the model's `names.json` lists them as names; 0 is off.
        beat_tokens: most tokens of one passage, where the brief wishes no length.
        line_tokens: most tokens of a premise or an outline sentence.
        insertions: places tried for a wish that no candidate kept (`fabula.writing.insertion`);
            0 is off.
        insertion_fall: how far (nats a token) a candidate with an inserted phrase may fall
            below the best one without it.
        copied_words: longest run of words a passage may share with the sample corpus or a
            story tree.
        recited_words: words that a passage may share with a story tree before going on costs
            something (`fabula.writing.verbatim`).
        reciting_penalty: taken off the scores of words that would go on; 0 is off.
        read_enough: log-chance, nats, above which a label that is read gains nothing: a sentence
            that only makes a western more of a western makes no sense, mostly; 0 is off.
        weights: what the choice among passages and sentences weighs.
        plan_weights: the same for premise and outline, which settle what kind of story it is.
    """

    beats: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=64), AfterValidator(_beat_names)
    ] = FREYTAG
    decide: bool = True
    candidates: Annotated[int, Field(ge=1, le=64)] = 16
    by_sentence: bool = True
    quorum: Annotated[float, Field(gt=0, le=1)] = 0.75
    plans: Annotated[int, Field(ge=1, le=64)] = 24
    guidance: Annotated[float, Field(ge=0, le=10)] = 1.0
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.65
    plan_temperature: Annotated[float, Field(ge=0, le=5)] = 0.5
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.05
    dry_multiplier: Annotated[float, Field(ge=0, le=100)] = 0.8
    dry_base: Annotated[float, Field(ge=1, le=10)] = 1.75
    dry_allowed: Annotated[int, Field(ge=1, le=100)] = 4
    worn_penalty: Annotated[float, Field(ge=0, le=100)] = 1.0
    worn_free: Annotated[int, Field(ge=1, le=1_000)] = 4
    stranger_penalty: Annotated[float, Field(ge=0, le=100)] = 2.0
    beat_tokens: Annotated[int, Field(ge=8, le=4_000)] = 160
    line_tokens: Annotated[int, Field(ge=8, le=400)] = 48
    insertions: Annotated[int, Field(ge=0, le=32)] = 4
    insertion_fall: Annotated[float, Field(ge=0, le=20)] = 1.0
    copied_words: Annotated[int, Field(ge=8, le=10_000)] = 10
    recited_words: Annotated[int, Field(ge=2, le=10_000)] = 8
    reciting_penalty: Annotated[float, Field(ge=0, le=100)] = 0.0
    read_enough: Annotated[float, Field(ge=-4, le=0)] = -0.4
    weights: Weights = Weights()
    plan_weights: Weights = PLAN_WEIGHTS
