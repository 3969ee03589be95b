"""How often the choice among candidates agrees with a reader.

    python benchmarks/choices.py [--model FOLDER] [--picks FILE] [--stories 20]

The picks (docs/training.md has their format) are by default those of `recipes/picks` that no model
learns from: the embedded model's fifth edition wrote for drawn briefs, from 1001 (sentences) and
from 3001 (lines of a plan), and a reader (a large language model with a rubric) said which of up to
eight candidates would be the best to go on with, and which the worst. The candidates are scored
anew, as the writer would.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fabula.engines import open_engine
from fabula.training.picks.branches import text_before
from fabula.training.picks.places import PickedStory, Place, read_picks
from fabula.writing import Writer, WriterSettings
from fabula.writing.choice import Scene, features, score
from fabula.writing.drafts import Draft
from fabula.writing.wishes import spread
from fabula.writing.writer import _Work

PICKS = Path(__file__).parent.parent / "recipes" / "picks" / "fifth-edition.jsonl.xz"


class Scorer:
    """A story with places, and the means to score what could stand there."""

    def __init__(self, writer: Writer, story: PickedStory) -> None:
        settings = writer.settings.model_copy(update={"decide": False})
        writer = Writer(writer.engine, settings)
        self.story, self.settings, self.engine = story, settings, writer.engine
        self.work = _Work(writer, story.brief, 0, lambda event: None, story.outline)

    def _before(self, place: Place) -> tuple[str, Scene, list[str]]:
        """What stands before a place, the scene there, and the texts of its candidates."""
        beats, work, before = self.story.outline.beats, self.work, text_before(self.story, place)
        wants = spread(work.wished, len(beats), None if place.plan else self.story.outline)
        if place.plan:
            told = beats[: place.part]
            scene = work._line_scene(place.part, told, wants, self.story.premise or "")
            return before, scene, place.candidates
        passages = [p.text for p in self.story.passages[: place.part]]
        scene = work._scene(place.part, self.story.outline, passages, wants, None)
        return before, scene, [f"{place.said} {c}".strip() for c in place.candidates]

    def scores(self, place: Place) -> tuple[np.ndarray, list[dict[str, float]]]:
        """The score of each candidate of a place, and its features."""
        before, scene, texts = self._before(place)
        space = " " if place.plan or place.said.strip() else ""
        encoded = self.engine.encode(before)
        ids = [self.engine.encode(before + space + c)[len(encoded) :] for c in place.candidates]
        prefix = [*self.work.desk.script.prompt(self.work.seen), *encoded]
        found = []
        for text, log_p in zip(texts, self.engine.log_probabilities(prefix, ids), strict=True):
            end = "line" if scene.line else "sentence"
            draft = Draft(None, 0, 0, [], [float(p) for p in log_p], text=text, end=end)  # type: ignore[arg-type]
            found.append(features(draft, scene))
        weights = self.settings.plan_weights if scene.line else self.settings.weights
        return np.array([score(f, weights) for f in found]), found


def agreement(rows: list[tuple[np.ndarray, Place]]) -> str:
    """How often the best is put before the wrong ones, which is put first, and is it wrong."""
    pairs = np.array([s[p.best] > s[n] for s, p in rows for n in p.wrong])
    first = [int(s.argmax()) for s, _ in rows]
    best = np.mean([n == p.best for n, (_, p) in zip(first, rows, strict=True)])
    wrong = np.mean([n in p.wrong for n, (_, p) in zip(first, rows, strict=True)])
    chance = np.mean([1 / len(s) for s, _ in rows])
    at_random = np.mean([len(p.wrong) / len(s) for s, p in rows])
    error = 1.96 * np.sqrt(pairs.mean() * (1 - pairs.mean()) / len(pairs))
    return (
        f"best before wrong {pairs.mean():6.1%} ± {error:.1%}   first of all is the best "
        f"{best:6.1%} (chance {chance:.1%}), wrong {wrong:6.1%} ({at_random:.1%})"
    )


def main() -> None:
    """Score all places and print how far they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder; by default the embedded model")
    parser.add_argument("--picks", type=Path, default=PICKS, help="file of picks")
    parser.add_argument("--stories", type=int, help="so many only")
    given = parser.parse_args()
    writer = Writer(open_engine(given.model), WriterSettings())
    rows: dict[bool, list[tuple[np.ndarray, Place]]] = {False: [], True: []}
    by_feature: dict[bool, list[list[dict[str, float]]]] = {False: [], True: []}
    stories = read_picks(given.picks)[: given.stories]
    for number, story in enumerate(stories, 1):
        scorer = Scorer(writer, story)
        for place in story.places:
            total, found = scorer.scores(place)
            rows[place.plan].append((total, place))
            by_feature[place.plan].append(found)
        if number % 10 == 0:
            sys.stderr.write(f"{number} of {len(stories)} stories\n")
    for plan, what in ((False, "sentences"), (True, "lines")):
        if not rows[plan]:
            continue
        print(f"\n{len(rows[plan])} {what}")
        print(f"  {'score':14} {agreement(rows[plan])}")
        for name in dict.fromkeys(name for found in by_feature[plan] for f in found for name in f):
            values = [np.array([f.get(name, 0.0) for f in found]) for found in by_feature[plan]]
            told = [
                v[p.best] > v[n]
                for v, (_, p) in zip(values, rows[plan], strict=True)
                for n in p.wrong
                if v[p.best] != v[n]
            ]
            if len(told) >= 20:
                print(
                    f"  {name:14} best before wrong {np.mean(told):6.1%} of {len(told)} that differ"
                )


if __name__ == "__main__":
    main()
