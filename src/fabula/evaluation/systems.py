"""The systems that are compared: models that are asked and write, and files of stories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from fabula.engines import open_engine
from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.evaluation.endings import end_probability
from fabula.evaluation.generation import write_stories
from fabula.evaluation.heldout import HeldOut
from fabula.evaluation.likelihood import Scored, fitting_words, score_all
from fabula.evaluation.options import Options, Progress
from fabula.evaluation.storylines import StoryLine, StoryLog, load_lines
from fabula.story import Brief, Passage, Story
from fabula.writing import WriterSettings

Ends = list[float | None]
T = TypeVar("T")


@dataclass
class System:
    """One system; all lists are aligned with the held-out items.

    Attributes:
        name: short, and no other system's.
        weights: digest of the model's weights; None for a file of stories.
        settings: of its writer; None if it did not write here.
        scored: likelihood of the human stories.
        stories: what it wrote; None in the list where it wrote nothing.
        seconds: that each story took, where it was written here.
        ends: probability that the document ends where its story ends.
        early_ends: the same one passage earlier.
        human_ends: the same where the human story ends; None for drawn briefs.
        label: a name that tells it from others of the same model.
        notes: what a reader of the figures should know.
    """

    name: str
    weights: str | None = None
    settings: WriterSettings | None = None
    scored: list[Scored | None] | None = None
    stories: list[Story | None] | None = None
    seconds: list[float | None] | None = None
    ends: Ends | None = None
    early_ends: Ends | None = None
    human_ends: Ends | None = None
    label: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def told(self) -> list[Story]:
        """The stories there are."""
        return [story for story in self.stories or [] if story is not None]

    def at(self, places: Sequence[int]) -> System:
        """The same system on some of the items."""

        def chosen(values: list[T] | None) -> list[T] | None:
            return None if values is None else [values[i] for i in places]

        return replace(
            self,
            scored=chosen(self.scored),
            stories=chosen(self.stories),
            seconds=chosen(self.seconds),
            ends=chosen(self.ends),
            early_ends=chosen(self.early_ends),
            human_ends=chosen(self.human_ends),
        )


def read_stories(path: Path, items: Sequence[HeldOut]) -> list[System]:
    """The systems whose stories are in a file, in the order of their first stories.

    Raises:
        FabulaError: a damaged line, or no story for any of the briefs.
    """
    place = {item.id: i for i, item in enumerate(items)}
    lines, strangers = load_lines(path, items)
    if not lines:
        whose = "of the held-out split" if items and items[0].passages else "that is drawn"
        raise FabulaError(
            f"{path}: none of its {strangers} stories is for a brief {whose}; "
            "give the --corpus, --split and --limit, or the --drawn, they were written for."
        )
    groups: dict[str, list[StoryLine]] = {}
    for line in lines:
        groups.setdefault(line.system, []).append(line)
    systems = []
    for group in groups.values():
        stories: list[Story | None] = [None] * len(items)
        for line in group:
            stories[place[line.id]] = line.story
        makers = {line.story.making.model for line in group if line.story.making is not None}
        systems.append(System(makers.pop() if len(makers) == 1 else path.stem, stories=stories))
    _tell_apart(systems)
    if strangers:
        systems[0].notes.append(
            f"{path.name}: {strangers} stories are for other briefs and were left out."
        )
    return systems


def _tell_apart(systems: Sequence[System]) -> None:
    """Name systems of one model by the first two settings that are not the same for all."""
    makings = [s.told[0].making for s in systems]
    settings = [m.settings if m is not None else {} for m in makings]
    for i, system in enumerate(systems):
        rivals = [j for j, s in enumerate(systems) if j != i and s.name == system.name]
        keys = [
            key
            for key, value in settings[i].items()
            if isinstance(value, str | int | float)
            and any(settings[j].get(key) != value for j in rivals)
        ]
        if keys:
            told = ", ".join(f"{key} {settings[i][key]}" for key in keys[:2])
            system.label = f"{Path(system.name).name}: {told}"
    for system in systems:
        system.name = system.label or system.name


def run_models(
    options: Options,
    items: Sequence[HeldOut],
    others: Sequence[Brief] | None,
    progress: Progress,
) -> list[System]:
    """Likelihood (of held-out stories) and stories of every model, one model in memory at a time.

    Args:
        options: names the models.
        items: the held-out stories, or drawn briefs.
        others: for each the brief of another prompt, the floor of conditioning; None for drawn
            briefs, which have no stories to be likely.
        progress: is told of every story.

    Raises:
        FabulaError: a model cannot be opened, or nothing fits it.
    """
    log = StoryLog(options.log, items)
    room: list[list[int]] = []
    if others is not None and len(options.models) > 1:
        # Every model is scored on the same text, so the smallest context cuts for all.
        room = [_fitting(open_engine(name), items, others) for name in options.models]
    systems = []
    for name in options.models:
        engine = open_engine(name)
        system = System(name, engine.weights)
        if others is not None:
            words = (
                [min(row) for row in zip(*room, strict=True)]
                if room
                else _fitting(engine, items, others)
            )
            tick = progress.stage(f"{name}: likelihood", len(items))
            system.scored = score_all(engine, items, others, words, tick)
        if options.write:
            _write(engine, system, options, items, log, progress)
        systems.append(system)
    return systems


def _fitting(engine: Engine, items: Sequence[HeldOut], others: Sequence[Brief]) -> list[int]:
    return [fitting_words(engine, i, o) for i, o in zip(items, others, strict=True)]


def _write(
    engine: Engine,
    system: System,
    options: Options,
    items: Sequence[HeldOut],
    log: StoryLog,
    progress: Progress,
) -> None:
    tick = progress.stage(f"{system.name}: writing", len(items))
    lines = write_stories(engine, options.settings, items, options.seed, log, tick)
    stories = [None if line is None else line.story for line in lines]
    if missing := stories.count(None):
        system.notes.append(
            f"{system.name} could not write for {missing} briefs: they do not fit it."
        )
    tick = progress.stage(f"{system.name}: endings", len(items))
    ends: tuple[Ends, Ends, Ends] = ([], [], [])
    for item, story in zip(items, stories, strict=True):
        own: Sequence[Passage] = story.passages if story is not None else ()
        outline = story.outline if story is not None else None
        ends[0].append(end_probability(engine, item.brief, outline, own))
        ends[1].append(end_probability(engine, item.brief, outline, own[:-1]))
        if item.passages:
            ends[2].append(end_probability(engine, item.brief, item.outline, item.passages))
        tick()
    system.settings, system.stories = options.settings, stories
    system.seconds = [None if line is None else line.seconds for line in lines]
    system.ends, system.early_ends, system.human_ends = ends[0], ends[1], ends[2] or None


def name_apart(systems: Sequence[System]) -> None:
    """Give systems short names, and no two the same."""
    short = [s.label or Path(s.name).name or s.name for s in systems]
    for system, name in zip(systems, short, strict=True):
        if short.count(name) == 1:
            system.name = name
    seen: dict[str, int] = {}
    for system in systems:
        seen[system.name] = count = seen.get(system.name, 0) + 1
        if count > 1:
            system.name = f"{system.name} ({count})"
