"""What an evaluation is asked to do, and where it says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fabula.writing import WriterSettings

CUT_WORDS = 250
PAIRINGS = 5


@dataclass(frozen=True)
class Options:
    """What to evaluate, and on what.

    Attributes:
        models: folders or hub ids, as `fabula.engines.open_engine` takes them.
        stories: files of stories already written.
        corpus: a prepared corpus; None for the sample.
        split: of it; None for "test".
        limit: most stories.
        drawn: write for so many drawn briefs instead of held-out stories; None for these.
        seed: of writing, pairing and resampling.
        settings: of the writer.
        write: False to score likelihood only.
        cut_words: both sides of every likeness are cut to so many words.
        trained_on: corpora whose train split is searched for shared runs of words; empty for
            the train split of `corpus` itself.
        log: the stories.jsonl that stories are added to, and taken from; None for none.
    """

    models: Sequence[str] = ()
    stories: Sequence[Path] = ()
    corpus: Path | None = None
    split: str | None = None
    limit: int | None = None
    drawn: int | None = None
    seed: int = 0
    settings: WriterSettings = field(default_factory=WriterSettings)
    write: bool = True
    cut_words: int = CUT_WORDS
    trained_on: Sequence[Path] = ()
    log: Path | None = None


class Progress(Protocol):
    """Where an evaluation says how far it is."""

    def stage(self, name: str, total: int | None) -> Callable[[], None]:
        """Begin a stage of `total` steps; the result is called once a step."""


class Silence:
    """A progress that says nothing."""

    def stage(self, name: str, total: int | None) -> Callable[[], None]:
        """Ignore a stage."""
        return lambda: None
