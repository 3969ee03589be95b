"""Evaluate models and written stories on held-out or drawn briefs, every figure by its floor."""

from __future__ import annotations

from collections.abc import Sequence

from fabula.errors import FabulaError
from fabula.evaluation import similarity
from fabula.evaluation.arccurves import ArcCurve, mean_arcs
from fabula.evaluation.bootstrap import RESAMPLES, Resamples
from fabula.evaluation.drawn import draw
from fabula.evaluation.heldout import HeldOut, HeldOutSet, load_heldout
from fabula.evaluation.measures import Difference, Figures, Measure, differences, figures
from fabula.evaluation.options import Options, Progress, Silence
from fabula.evaluation.predictions import likelihood_rows
from fabula.evaluation.result import Evaluation, SystemResult, Truncation
from fabula.evaluation.rows import Side, story_rows
from fabula.evaluation.sides import Bench, pairings_of, shared_runs
from fabula.evaluation.systems import System, name_apart, read_stories, run_models
from fabula.evaluation.texts import written_words
from fabula.story.format import escape_passage


def evaluate(options: Options, progress: Progress | None = None) -> Evaluation:
    """Run an evaluation.

    Raises:
        FabulaError: nothing to evaluate, bad input, contradictory options, or too few stories for
            floors.
        MissingExtra: BLEU and ROUGE, a prepared corpus, or drawn briefs need an extra.
    """
    progress = progress or Silence()
    if not options.models and not options.stories:
        raise FabulaError("nothing to evaluate: name a --model or a file of --stories.")
    likening = options.drawn is None and (bool(options.stories) or options.write)
    if likening:
        similarity.require()
    heldout = _load(options)
    pairings = pairings_of(heldout.groups, options.seed)
    written = [s for path in options.stories for s in read_stories(path, heldout.items)]
    others = None if heldout.drawn else [heldout.items[j].brief for j in pairings[0]]
    systems = [*run_models(options, heldout.items, others, progress), *written]
    name_apart(systems)
    notes = [*_notes(heldout), *(note for s in systems for note in s.notes)]
    rows: dict[str, list[Figures]] = {s.name: [] for s in systems}
    changes: list[Difference] = []

    def add(chosen: Sequence[System], measures: Sequence[Sequence[Measure]], by: Resamples) -> None:
        for system, row in zip(chosen, measures, strict=True):
            rows[system.name] += [figures(measure, by) for measure in row]
        changes.extend(differences([s.name for s in chosen], measures, by))

    likely = [s for s in systems if s.scored is not None]
    truncations = {s.name: _truncation(s, heldout.items) for s in likely}
    notes += [f"Likelihood of {name}: {t.sentence()}" for name, t in truncations.items()]
    add(
        likely,
        [likelihood_rows(s.scored or []) for s in likely],
        Resamples(heldout.groups, options.seed),
    )
    arcs: dict[str, list[ArcCurve]] = {}
    human_arcs: list[ArcCurve] = []
    tellers = [s for s in systems if s.stories is not None]
    if tellers:
        told = _Told(options, heldout, tellers, progress)
        notes += told.notes
        add(tellers, told.measures(), told.resamples)
        arcs, human_arcs = told.arcs()
    return Evaluation(
        corpus=heldout.name,
        split=heldout.split,
        available=heldout.available,
        stories=len(heldout.items),
        prompts=len(set(heldout.groups)),
        seed=options.seed,
        cut_words=options.cut_words,
        pairings=len(pairings),
        resamples=RESAMPLES,
        signatures=similarity.signatures() if likening else {},
        systems=[
            SystemResult(
                name=s.name,
                weights=s.weights,
                settings=s.settings.model_dump(mode="json") if s.settings is not None else None,
                stories=sum(story is not None for story in s.stories or []),
                truncation=truncations.get(s.name),
                figures=rows[s.name],
                arcs=arcs.get(s.name, []),
            )
            for s in systems
        ],
        differences=changes,
        notes=notes,
        human_arcs=human_arcs,
    )


def _load(options: Options) -> HeldOutSet:
    """The held-out stories or drawn briefs that the options ask for.

    Raises:
        FabulaError: options that drawn briefs leave without meaning, or as `load_heldout`.
    """
    if options.drawn is None:
        return load_heldout(options.corpus, options.split or "test", options.limit)
    for option, value in (("--corpus", options.corpus), ("--split", options.split)):
        if value is not None:
            raise FabulaError(
                f"--drawn takes drawn briefs instead of held-out stories, so {option} has nothing "
                "to choose from; take one of the two out."
            )
    if options.limit is not None:
        raise FabulaError("--drawn says itself how many briefs are drawn; take --limit out.")
    if not options.write:
        raise FabulaError("--no-stories leaves nothing to do with --drawn; take one out.")
    return draw(options.drawn)


def _notes(heldout: HeldOutSet) -> list[str]:
    notes = []
    if heldout.drawn:
        notes.append(
            "No story of the sample's train split has a drawn brief's place together with a "
            "thing that must occur in it."
        )
    if heldout.without_brief:
        notes.append(
            f"{heldout.without_brief} stories of the split have no brief and were left out."
        )
    if heldout.later_parts:
        notes.append(
            f"{heldout.later_parts} rows of the corpus continue a longer story and were left out: "
            "its first part stands for it."
        )
    return notes


def _truncation(system: System, items: Sequence[HeldOut]) -> Truncation:
    scored = system.scored or []
    kept = [row for row in scored if row is not None]
    return Truncation(
        stories=len(kept),
        cut=sum(
            row is not None and row.words < written_words(item.text)
            for row, item in zip(scored, items, strict=True)
        ),
        left_out=len(items) - len(kept),
        bytes_scored=sum(row.size for row in kept),
        bytes_all=sum(len(escape_passage(p.text).encode()) for i in items for p in i.passages),
        tokens=sum(row.tokens for row in kept),
    )


class _Told:
    """The stories of all systems, on the briefs for which every one of them has a story."""

    def __init__(
        self, options: Options, heldout: HeldOutSet, systems: Sequence[System], progress: Progress
    ) -> None:
        places = [
            i
            for i in range(len(heldout.items))
            if all(s.stories is not None and s.stories[i] is not None for s in systems)
        ]
        self.items = [heldout.items[i] for i in places]
        self.systems = [s.at(places) for s in systems]
        self.seed = options.seed
        self.notes: list[str] = []
        if len(places) < len(heldout.items):
            self.notes.append(
                f"Stories are compared on the {len(places)} of {len(heldout.items)} briefs for "
                "which every system has one."
            )
        if not heldout.drawn:
            self.notes += self._short(options.cut_words)
        if known := sum(heldout.other_story[i] is not None for i in places):
            self.notes.append(
                f"Human likeness is to another human's story for the same prompt ({known} stories "
                "have one)."
            )
        bench = Bench(self.items, [heldout.other_story[i] for i in places], options)
        self.resamples = Resamples([item.group for item in self.items], options.seed)
        texts = [[s.text for s in system.told] for system in self.systems]
        human = [] if heldout.drawn else [[item.text for item in self.items]]
        runs = shared_runs(options, [*texts, *human], progress)
        if runs is None:
            self.notes.append(
                "The corpus has no train split, so shared runs of words were not looked up."
            )
        else:
            self.notes.append(
                f"Shared runs of words were looked up in the train split of {runs[0]}."
            )
        tick = progress.stage("looking at the stories", bench.steps * len([*texts, *human]))
        self.human = bench.human(runs[1][-1] if runs else None, tick)
        self.sides: list[Side] = [
            bench.system(s, runs[1][n] if runs else None, tick) for n, s in enumerate(self.systems)
        ]

    def _short(self, words: int) -> list[str]:
        """How many stories are shorter than the cut of the likeness."""

        def short(texts: Sequence[str]) -> str:
            return f"{sum(written_words(t) < words for t in texts)} of {len(texts)}"

        own = [f"{short([s.text for s in t.told])} stories of {t.name}" for t in self.systems]
        human = short([item.text for item in self.items])
        return [
            f"Shorter than {words} words and so compared whole: {', '.join(own)}, "
            f"{human} human stories."
        ]

    def measures(self) -> list[list[Measure]]:
        """The rows of each system."""
        asked = [item.brief.arc for item in self.items]
        wanted = [item.brief.length for item in self.items]
        return [
            story_rows(side, self.human, asked, wanted, system)
            for side, system in zip(self.sides, self.systems, strict=True)
        ]

    def arcs(self) -> tuple[dict[str, list[ArcCurve]], list[ArcCurve]]:
        """Mean curves of each system and of the human stories."""
        asked = [item.brief.arc for item in self.items]
        return (
            {
                system.name: mean_arcs(side.portraits, asked, self.seed)
                for system, side in zip(self.systems, self.sides, strict=True)
            },
            mean_arcs(self.human.portraits, asked, self.seed) if self.human is not None else [],
        )
