"""ROCStories and its Story Cloze Test (Mostafazadeh et al. 2016): a sentence a beat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from fabula.corpus.source import Row
from fabula.corpus.tables import fill_beats, read_csv
from fabula.errors import FabulaError

ROC_COLUMNS = ("storyid", "storytitle", *(f"sentence{n}" for n in range(1, 6)))
CLOZE_COLUMNS = (
    "InputStoryid", *(f"InputSentence{n}" for n in range(1, 5)),
    "RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding",
)  # fmt: skip


def lacks(header: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The wanted columns that are not there, in any case of letters."""
    there = {name.strip().lower() for name in header}
    return [name for name in wanted if name.lower() not in there]


def require(path: Path, header: Sequence[str], wanted: Sequence[str], what: str) -> dict[str, str]:
    """Which column of a table is which of those wanted.

    Raises:
        FabulaError: one is missing.
    """
    if missing := lacks(header, wanted):
        raise FabulaError(
            f"{path}, line 1: no column '{missing[0]}', which {what} has; the columns are: "
            f"{', '.join(repr(name) for name in header)}."
        )
    lower = {name.lower(): name for name in header}
    return {name: lower[name.lower()] for name in wanted}


def roc_rows(path: Path) -> Iterator[Row]:
    """Stories of ROCStories: five sentences, one a beat.

    Raises:
        FabulaError: not its columns, or a table at fault; see `tables.read_csv`.
    """
    header, records = read_csv(path)
    column = require(path, header, ROC_COLUMNS, "ROCStories")
    for line, record in records:
        row = Row(origin=f"{path.name}:{line}")
        if isinstance(record, str):
            row.reason = record
        else:
            row.id, row.title = record[column["storyid"]], record[column["storytitle"]] or None
            fill_beats(row, {c: record[c] for c in (column[n] for n in ROC_COLUMNS[2:])})
        yield row


def cloze_rows(path: Path) -> Iterator[Row]:
    """Stories of the Story Cloze Test: four sentences and the ending that is right.

    Raises:
        FabulaError: not its columns (the blind test set has no answers), or a table at fault.
    """
    header, records = read_csv(path)
    if lacks(header, CLOZE_COLUMNS) == ["AnswerRightEnding"]:
        raise FabulaError(
            f"{path}, line 1: no column 'AnswerRightEnding', so nothing says which ending is "
            "right; take the set that has its answers."
        )
    column = require(path, header, CLOZE_COLUMNS, "the Story Cloze Test")
    for line, record in records:
        row = Row(origin=f"{path.name}:{line}")
        if isinstance(record, str):
            row.reason = record
        else:
            row.id = record[column["InputStoryid"]]
            answer = record[column["AnswerRightEnding"]].strip()
            if answer in ("1", "2"):
                wanted = [*CLOZE_COLUMNS[1:5], f"RandomFifthSentenceQuiz{answer}"]
                fill_beats(row, {column[n]: record[column[n]] for n in wanted})
            else:
                row.reason = "AnswerRightEnding is neither 1 nor 2"
        yield row
