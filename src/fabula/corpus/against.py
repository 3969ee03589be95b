"""Checking stories against others that they must not be, such as a benchmark's test file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fabula.corpus.fingerprint import fingerprints, normalise
from fabula.corpus.groups import KNOWN, REASONS, Candidates, Decisions, found_in
from fabula.corpus.ledger import FINGERPRINT, candidates_of
from fabula.corpus.runners import Runner
from fabula.corpus.schema import SPLITS
from fabula.corpus.source import Source
from fabula.corpus.stages import Settings, clean_batch
from fabula.errors import FabulaError


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        decisions: on each story; their twins are numbers of the stories checked against.
        found: for each source checked against its name, its files with their sha256, its
            stories, how many were found by reason, and for each reason an example: the place of
            the story that was found in it.
    """

    decisions: Decisions
    found: list[dict[str, Any]]


def check_against(
    sources: Sequence[Source], stories: Candidates, settings: Settings, runner: Runner
) -> Checked:
    """Find stories that are, are nearly, quote or answer the prompt of others.

    Args:
        sources: the others; cleaned as any source is, and what is no story then (under five
            sentences, a removed post) is not looked for.
        stories: what is checked.
        settings: thresholds.
        runner: what cleans the others.

    Raises:
        FabulaError: a source cannot be read.
    """
    loose = Settings(min_words=1)
    parts, places, ends = [], [], []
    for source in sources:
        for batch in runner.map(clean_batch, source.batches(), loose):
            left = batch.filter(pc.is_valid(batch["digest"]))
            parts.append(candidates_of(left.select(FINGERPRINT)))
            places += [f"{source.name}: {place}" for place in left["origin"].to_pylist()]
        ends.append(len(places))
    decisions = found_in(Candidates.together(parts), stories, settings)
    return Checked(decisions, _told(sources, decisions, places, ends))


def _told(
    sources: Sequence[Source], decisions: Decisions, places: Sequence[str], ends: Sequence[int]
) -> list[dict[str, Any]]:
    fallen = np.flatnonzero(decisions.reason)
    owner = np.searchsorted(ends, decisions.twin[fallen], side="right")
    told = []
    for number, source in enumerate(sources):
        mine = fallen[owner == number]
        reasons = {}
        for reason in KNOWN:
            which = mine[decisions.reason[mine] == reason]
            if len(which):
                reasons[REASONS[reason]] = {
                    "stories": len(which),
                    "example": places[int(decisions.twin[which[0]])],
                }
        told.append(
            {
                "name": source.name,
                "files": source.file_records(),
                "stories": ends[number] - (ends[number - 1] if number else 0),
                "found": reasons,
            }
        )
    return told


def check_corpus(folder: Path, sources: Sequence[Source], runner: Runner) -> Checked:
    """Check the documents of a prepared corpus against others; a document may be part of a story.

    Raises:
        FabulaError: the folder is no prepared corpus, or a source cannot be read.
    """
    stories = Candidates.together([candidates_of(batch) for batch in _documents(folder)])
    return check_against(sources, stories, Settings(), runner)


def _documents(folder: Path) -> Iterable[pa.RecordBatch]:
    """The documents of a corpus, with their fingerprints."""
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        if not path.is_file():
            raise FabulaError(f"{folder} is not a prepared corpus: it has no {path.name}.")
        try:
            file = pq.ParquetFile(path)
            for batch in file.iter_batches(256, columns=["prompt_id", "text"]):
                prints = fingerprints([normalise(text) for text in batch["text"].to_pylist()])
                yield pa.RecordBatch.from_pydict(
                    {
                        "prompt_id": batch["prompt_id"],
                        "digest": [one.digest for one in prints],
                        "signature": [one.signature for one in prints],
                        "split": pa.array([split] * len(prints), pa.string()),
                        "passages": [one.passages for one in prints],
                    }
                )
        except (OSError, KeyError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise FabulaError(
                f"{path} is damaged or not of a corpus ({reason}); prepare the corpus again."
            ) from None
