"""How well a brief is read: each field against the gold labels, beside a baseline.

Names match by `match.same_name`; places and times by the F1 of shared meaning words, averaged;
traits by the exact word, given to the right character; things by `match.same_thing`. The rest
is accuracy. Every baseline is fixed on the train split. Intervals are 95% percentile bootstraps
over stories; figure and baseline are resampled together, so the difference is paired.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading import things
from fabula.reading.match import overlap, same_name, same_thing
from fabula.reading.read import read_all
from fabula.reading.text import scan
from fabula.reading.words import NEVER_NAMES
from fabula.story import Brief
from fabula.story.brief import Model
from fabula.story.sample import LabelledStory, Split, load_annotated, load_sample

DRAWS = 2_000
Counts = npt.NDArray[np.float64]
Judge = Callable[[Brief, LabelledStory], tuple[float, float, float, float]]


class Row(Model):
    """The score of one field.

    Attributes:
        field: the field of the brief.
        measure: what `figure` is.
        precision: share of what was read that is right, 0 to 1; None for single labels.
        recall: share of the gold that was read; None for single labels.
        figure: F1, or accuracy, 0 to 1.
        interval: its 95% interval.
        baseline: the same figure of the baseline.
        baseline_is: what the baseline says.
        difference: 95% interval of figure minus baseline.
        goal: the least figure asked for; 0 asks only to beat the baseline; None asks nothing.
        met: whether the goal is met.
    """

    field: str
    measure: str
    precision: float | None
    recall: float | None
    figure: float
    interval: tuple[float, float]
    baseline: float
    baseline_is: str
    difference: tuple[float, float]
    goal: float | None
    met: bool | None


@dataclass(frozen=True, slots=True)
class Field:
    """How one field is judged: hits, read, hits of the gold, gold; summed over stories."""

    name: str
    measure: str
    judge: Judge
    baseline_is: str
    goal: float | None


def _chief(brief: Brief) -> str | None:
    lead = brief.protagonist
    return lead.name if lead else None


def _gold_chief(story: LabelledStory) -> str:
    return next(c.name for c in story.characters if c.role == "protagonist")


def _judge_chief(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
    name = _chief(brief)
    hit = float(name is not None and same_name(name, _gold_chief(story)))
    return hit, float(name is not None), hit, 1.0


def _judge_names(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
    names, gold = [c.name for c in brief.characters if c.name], [c.name for c in story.characters]
    hits = sum(any(same_name(n, g) for g in gold) for n in names)
    found = sum(any(same_name(n, g) for n in names) for g in gold)
    return hits, len(names), found, len(gold)


def _judge_traits(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
    read_pairs = [(c.name or "", t.lower()) for c in brief.characters for t in c.traits]
    gold = [(c.name, t.trait.lower()) for c in story.characters for t in c.traits]
    hits = sum(any(t == u and same_name(n, m) for m, u in gold) for n, t in read_pairs)
    found = sum(any(t == u and same_name(n, m) for n, t in read_pairs) for m, u in gold)
    return hits, len(read_pairs), found, len(gold)


def _judge_things(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
    mine, gold = brief.must_include, story.must_include
    hits = sum(any(same_thing(m, g) for g in gold) for m in mine)
    found = sum(any(same_thing(m, g) for m in mine) for g in gold)
    return hits, len(mine), found, len(gold)


def _judge_phrase(part: str) -> Judge:
    def judge(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
        value = getattr(brief.setting, part) if brief.setting else None
        hit = overlap(value, getattr(story.setting, part))
        return hit, float(value is not None), hit, 1.0

    return judge


def _judge_label(name: str) -> Judge:
    def judge(brief: Brief, story: LabelledStory) -> tuple[float, float, float, float]:
        value = getattr(brief, name)
        hit = float(value == getattr(story, name))
        return hit, float(value is not None), hit, 1.0

    return judge


FIELDS = (
    Field("protagonist", "F1", _judge_chief, "commonest capital inside a sentence", 0.90),
    Field("names", "F1", _judge_names, "every capital inside a sentence", None),
    Field("point of view", "accuracy", _judge_label("point_of_view"), "majority", 0.97),
    Field("place", "overlap F1", _judge_phrase("place"), "best constant", 0.60),
    Field("time", "overlap F1", _judge_phrase("time"), "best constant", None),
    Field("genre", "accuracy", _judge_label("genre"), "majority", 0.0),
    Field("tone", "accuracy", _judge_label("tone"), "majority", 0.0),
    Field("arc", "accuracy", _judge_label("arc"), "majority", 0.0),
    Field("ending", "accuracy", _judge_label("ending"), "majority", 0.0),
    Field("traits", "F1", _judge_traits, "commonest trait, to the protagonist", None),
    Field("must include", "F1", _judge_things, "three noun phrases at random", None),
)


@cache
def _constants() -> dict[str, str]:
    """The value of each field that would do best on the train split if always given."""
    train = load_annotated()
    best: dict[str, str] = {}
    for field in ("point_of_view", "genre", "tone", "arc", "ending"):
        best[field] = Counter(str(getattr(s, field)) for s in train).most_common(1)[0][0]
    for part in ("place", "time"):
        gold = [getattr(s.setting, part) or "" for s in train]
        common = [v for v, _ in Counter(gold).most_common(40)]
        best[part] = max(common, key=lambda v: sum(overlap(v, g) for g in gold))
    traits = Counter(t.trait for s in train for c in s.characters for t in c.traits)
    best["trait"] = traits.most_common(1)[0][0]
    return best


def baseline_brief(text: str, seed: int) -> Brief:
    """What one would say who knows the train split's labels but can hardly read."""
    words, best = scan([text]), _constants()
    capitals: Counter[str] = Counter()
    for i, opens in enumerate(words.opens.tolist()):
        word = words.shown(i)
        if word[0].isupper() and not opens and words.lower(i) not in NEVER_NAMES and len(word) > 1:
            capitals[word] += 1
    names = list({n.casefold(): n for n, _ in capitals.most_common(12)}.values())
    characters = [
        {"name": n, "role": "other" if i else "protagonist", "traits": [] if i else [best["trait"]]}
        for i, n in enumerate(names)
    ]
    near = things.candidates(words)
    phrases = list(zip(near.first.tolist(), near.end.tolist(), strict=True))
    drawn = random.Random(seed).sample(phrases, min(3, len(phrases)))
    labels: dict[str, Any] = {
        k: best[k] for k in ("point_of_view", "genre", "tone", "arc", "ending")
    }
    return Brief.model_construct(
        characters=Brief.model_validate({"characters": characters}).characters,
        setting=Brief.model_validate({"setting": {k: best[k] for k in ("place", "time")}}).setting,
        must_include=[" ".join(words.lower(i) for i in range(a, b)) for a, b in drawn],
        **labels,
    )


def _figures(counts: Counts, measure: str) -> Counts:
    """Figure of summed counts, shape [..., 4] to [...]."""
    hits, mine, found, gold = np.moveaxis(counts, -1, 0)
    if measure in {"accuracy", "overlap F1"}:
        result: Counts = found / np.maximum(gold, 1)
        return result
    precision, recall = hits / np.maximum(mine, 1e-9), found / np.maximum(gold, 1e-9)
    f1: Counts = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return f1


def score(
    split: Split,
    *,
    least: float = 0.0,
    proven_arcs: bool = False,
    stories: Sequence[LabelledStory] | None = None,
) -> list[Row]:
    """Score every field on a split of the sample corpus.

    Args:
        split: which split; `test` is for final figures.
        least: fields read with less confidence than this are left empty.
        proven_arcs: leave an arc out unless it beats its null, as a prepared corpus does.
        stories: score these instead of the split.
    """
    gold = load_sample(split) if stories is None else list(stories)
    readings = read_all([s.text for s in gold], min_confidence=least, proven_arcs=proven_arcs)
    briefs = [reading.brief for reading in readings]
    floors = [baseline_brief(s.text, i) for i, s in enumerate(gold)]
    draws = np.random.default_rng(0).integers(0, len(gold), (DRAWS, len(gold)))
    rows = []
    for field in FIELDS:
        mine = np.array([field.judge(b, s) for b, s in zip(briefs, gold, strict=True)])
        theirs = np.array([field.judge(b, s) for b, s in zip(floors, gold, strict=True)])
        figure = float(_figures(mine.sum(axis=0), field.measure))
        floor = float(_figures(theirs.sum(axis=0), field.measure))
        ours = _figures(mine[draws].sum(axis=1), field.measure)
        gain = ours - _figures(theirs[draws].sum(axis=1), field.measure)
        difference = _interval(gain)
        plain = field.measure in {"accuracy", "overlap F1"}
        hits, read_of, found, total = mine.sum(axis=0)
        met = None
        if field.goal is not None:
            met = figure >= field.goal if field.goal else difference[0] > 0
        rows.append(
            Row(
                field=field.name, measure=field.measure,
                precision=None if plain and not least else _share(hits, read_of),
                recall=None if plain and not least else _share(found, total),
                figure=round(figure, 4), interval=_interval(ours), baseline=round(floor, 4),
                baseline_is=field.baseline_is, difference=difference, goal=field.goal, met=met,
            )
        )  # fmt: skip
    return rows


def _share(part: float, whole: float) -> float:
    return round(float(part / whole), 4) if whole else 0.0


def _interval(values: Counts) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)
