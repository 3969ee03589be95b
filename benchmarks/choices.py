"""How often the choice among candidates agrees with a reader.

    python benchmarks/choices.py [--model FOLDER] [--stories 20]

`choices.jsonl` (beside this file) holds places of stories that the embedded model's fifth edition
wrote for drawn briefs from 1001 (sentences) and 3001 (lines of a plan): up to eight candidates that
it had there, the one that it took if that is among them, and which an independent reader would call
the best and the worst next sentence. The candidates are scored anew, as the writer would now.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fabula.engines import open_engine
from fabula.story import Beat, Brief, Outline, Passage, render_outline, render_passage
from fabula.story.format import OUTLINE_HEADING, heading
from fabula.writing import Writer, WriterSettings
from fabula.writing.choice import Scene, features, score
from fabula.writing.drafts import Draft
from fabula.writing.wishes import spread
from fabula.writing.writer import _Work

PLACES = Path(__file__).with_name("choices.jsonl")


class Story:
    """A story with places, and the means to score what could stand there."""

    def __init__(self, writer: Writer, row: dict[str, Any]) -> None:
        settings = writer.settings.model_copy(update={"decide": False})
        writer = Writer(writer.engine, settings)
        brief = Brief.model_validate(row["brief"])
        beats = zip(settings.beats, row["outline"], strict=True)
        self.row, self.settings = row, settings
        self.outline = Outline(beats=[Beat(beat=b, summary=s) for b, s in beats])
        self.work = _Work(writer, brief, 0, lambda event: None, None)
        self.engine = writer.engine

    def _before(self, place: dict[str, Any]) -> tuple[str, Scene, list[str]]:
        """What stands before a place, the scene there, and the texts of its candidates."""
        number, work = place["beat"], self.work
        if self.row["kind"] == "lines":
            told = self.outline.beats[:number]
            scene = work._line_scene(number, told, spread(work.wished, len(self.settings.beats)))
            done = render_outline(Outline(beats=told)) if told else OUTLINE_HEADING
            return f"{done}{self.settings.beats[number]}:", scene, place["candidates"]
        told = self.row["passages"][:number]
        wants = spread(work.wished, len(self.settings.beats), self.outline)
        scene = work._scene(number, self.outline, told, wants, None)
        named = zip(self.settings.beats, told, strict=False)
        passages = "".join(render_passage(Passage(beat=b, text=t)) for b, t in named)
        opening = heading(self.settings.beats[number])
        texts = [f"{place['said']} {c}".strip() for c in place["candidates"]]
        return render_outline(self.outline) + passages + opening + place["said"], scene, texts

    def scores(self, place: dict[str, Any]) -> tuple[np.ndarray, list[dict[str, float]]]:
        """The score of each candidate of a place, and its features."""
        before, scene, texts = self._before(place)
        script = self.work.desk.script
        space = " " if self.row["kind"] == "lines" or place["said"] else ""
        encoded = self.engine.encode(before)
        ids = [self.engine.encode(before + space + c)[len(encoded) :] for c in place["candidates"]]
        prefix = [*script.prompt(self.work.seen), *encoded]
        found = []
        for text, log_p in zip(texts, self.engine.log_probabilities(prefix, ids), strict=True):
            end = "line" if scene.line else "sentence"
            draft = Draft(None, 0, 0, [], [float(p) for p in log_p], text=text, end=end)  # type: ignore[arg-type]
            found.append(features(draft, scene))
        weights = self.settings.plan_weights if scene.line else self.settings.weights
        return np.array([score(f, weights) for f in found]), found


def agreement(rows: list[tuple[np.ndarray, int, int]]) -> str:
    """How often the best is put before the worst, and is put first."""
    pairs = np.array([s[b] > s[w] for s, b, w in rows])
    first = np.array([s.argmax() == b for s, b, _ in rows])
    chance = np.mean([1 / len(s) for s, _, _ in rows])
    error = 1.96 * np.sqrt(pairs.mean() * (1 - pairs.mean()) / len(pairs))
    return (
        f"best before worst {pairs.mean():6.1%} ± {error:.1%}   "
        f"best first of all {first.mean():6.1%} (chance {chance:.1%})"
    )


def main() -> None:
    """Score all places and print how far they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="folder; by default the embedded model")
    parser.add_argument("--stories", type=int, help="of each kind, so many only")
    given = parser.parse_args()
    writer = Writer(open_engine(given.model), WriterSettings())
    every = [json.loads(line) for line in PLACES.read_text(encoding="utf-8").splitlines()]
    for kind in ("sentences", "lines"):
        stories = [row for row in every if row["kind"] == kind][: given.stories]
        rows, by_feature = [], []
        for number, (story, place) in enumerate(_places(writer, stories), 1):
            total, found = story.scores(place)
            rows.append((total, place["best"], place["worst"]))
            by_feature.append(found)
            if number % 50 == 0:
                sys.stderr.write(f"{kind}: {number} places\n")
        if not rows:
            continue
        taken = [p for s in stories for p in s["places"] if "taken" in p]
        print(f"\n{len(rows)} {kind} of {len(stories)} stories")
        print(f"  {'score':14} {agreement(rows)}")
        share = np.mean([p["taken"] == p["best"] for p in taken])
        print(f"  {'taken then':14} {'':34}best taken        {share:6.1%} of {len(taken)}")
        for name in dict.fromkeys(name for found in by_feature for f in found for name in f):
            values = [np.array([f.get(name, 0.0) for f in found]) for found in by_feature]
            told = [(v, b, w) for v, (_, b, w) in zip(values, rows, strict=True) if v[b] != v[w]]
            if len(told) >= 20:
                better = np.mean([v[b] > v[w] for v, b, w in told])
                print(f"  {name:14} best before worst {better:6.1%} of {len(told)} that differ")


def _places(writer: Writer, rows: list[dict[str, Any]]) -> Iterator[tuple[Story, dict[str, Any]]]:
    for row in rows:
        story = Story(writer, row)
        for place in row["places"]:
            yield story, place


if __name__ == "__main__":
    main()
