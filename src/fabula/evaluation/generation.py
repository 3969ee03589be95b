"""A story for every brief, written once: what the log has is not written again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.evaluation.heldout import HeldOut
from fabula.evaluation.storylines import StoryLine, StoryLog, story_seed, system_digest
from fabula.writing import Writer, WriterSettings


def write_stories(
    engine: Engine,
    settings: WriterSettings,
    items: Sequence[HeldOut],
    seed: int,
    log: StoryLog,
    tick: Callable[[], None] = lambda: None,
) -> list[StoryLine | None]:
    """Write, or take from the log, a story for each brief.

    Args:
        engine: of the model.
        settings: of the writer.
        items: the briefs.
        seed: of the evaluation; each story's own seed is made of it and the brief's id.
        log: gets every story as soon as it is written.
        tick: called once a story.

    Returns:
        The stories, with the seconds each took; None where a brief does not fit the model.

    Raises:
        FabulaError: no brief could be written for; what the writer said of the first.
    """
    writer = Writer(engine, settings)
    system = system_digest(engine.weights, seed, settings.model_dump(mode="json"))
    lines: list[StoryLine | None] = []
    refusal: FabulaError | None = None
    for item in items:
        line = log.get(item.id, system)
        if line is None:
            started = time.perf_counter()
            try:
                story = writer.write(item.brief, story_seed(seed, item.id))
            except FabulaError as error:
                refusal = refusal or error
            else:
                seconds = round(time.perf_counter() - started, 3)
                line = StoryLine(item.id, system, story, seconds)
                log.add(line)
        lines.append(line)
        tick()
    if refusal is not None and not any(lines):
        raise refusal
    return lines
