"""The corpus on disk: its columns, and how others read them back.

Three shapes of Arrow batch flow through this room: `RAW` (a source's rows as they came),
`CLEAN` (the same rows cleaned, or with the reason why they fall) and `FINISHED` (rows of
`CORPUS`, which is what lies in train, valid and test.parquet, with their split).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fabula.errors import FabulaError
from fabula.story import Beat, Brief, Outline, Passage

SPLITS = ("train", "valid", "test")

RAW = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("prompt", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("text", pa.string()),
        # The split the source itself gives this row, if any.
        ("split", pa.string()),
        # A gold-labelled story as its own JSON, if it is one.
        ("gold", pa.string()),
        # What the source knows of the story's beats and tags, as JSON; see given.py.
        ("given", pa.string()),
        # file:line (or file:row), for people who go and look.
        ("origin", pa.string()),
        # The text is in the published, tokenised form of WritingPrompts.
        ("published", pa.bool_()),
        # Why the row cannot be used, where the source already knows.
        ("reason", pa.string()),
    ]
)
CLEAN = pa.schema(
    [
        *RAW,
        ("prompt_tag", pa.string()),
        ("prompt_id", pa.string()),
        ("words", pa.int32()),
        # The source itself could not read the row.
        ("faulty", pa.bool_()),
        # What cleaning changed, one short name each ("author's note after the story").
        ("trims", pa.list_(pa.string())),
        ("digest", pa.binary()),
        ("signature", pa.binary()),
        # Sampled shingles; its size goes with the text's.
        ("passages", pa.binary()),
    ]
)
CORPUS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("prompt_id", pa.string()),
        ("prompt_tag", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("brief", pa.string()),
        ("premise", pa.string()),
        ("outline", pa.list_(pa.struct([("beat", pa.string()), ("summary", pa.string())]))),
        ("passages", pa.list_(pa.struct([("beat", pa.string()), ("text", pa.string())]))),
        ("text", pa.string()),
        ("words", pa.int32()),
        ("part", pa.int32()),
        ("parts", pa.int32()),
        ("gold", pa.bool_()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
    ]
)

FINISHED = pa.schema([*CORPUS, ("split", pa.string())])
"""`CORPUS` rows on their way to the file of their split."""


def load_corpus(path: Path | str, split: str) -> pa.Table:
    """One split of a prepared corpus, with the columns of `CORPUS`.

    Args:
        path: the folder that `fabula prepare` made.
        split: "train", "valid" or "test".

    Raises:
        FabulaError: no such folder or split, a damaged file, wrong columns, or no rows.
    """
    folder = Path(path)
    if split not in SPLITS:
        raise FabulaError(f"'{split}' is not a split; it is one of: {', '.join(SPLITS)}.")
    if not folder.is_dir():
        raise FabulaError(f"{folder} is not a prepared corpus; make one with 'fabula prepare'.")
    file = folder / f"{split}.parquet"
    if not file.is_file():
        raise FabulaError(f"{folder} has no {split}.parquet; prepare the corpus again.")
    try:
        table = pq.read_table(file, page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise FabulaError(
            f"{file} is damaged or not Parquet ({reason}); prepare the corpus again."
        ) from None
    for field in CORPUS:
        position = table.schema.get_field_index(field.name)
        if position < 0:
            raise FabulaError(
                f"{file} has no column '{field.name}'; it was not made by this 'fabula prepare'."
            )
        if not table.schema.field(position).type.equals(field.type):
            raise FabulaError(
                f"{file}: the column '{field.name}' is {table.schema.field(position).type}, "
                f"not {field.type}; it was not made by this 'fabula prepare'."
            )
    if table.num_rows == 0:
        raise FabulaError(f"{file} holds no stories; prepare the corpus with a larger share of it.")
    return table


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the corpus, as Python objects."""

    id: str
    source: str
    prompt_id: str
    brief: Brief
    premise: str | None
    outline: Outline | None
    passages: list[Passage]
    text: str
    words: int
    gold: bool
    prompt: str
    completion: str


def example_rows(table: pa.Table) -> Iterator[Example]:
    """The rows of a corpus table one by one, brief, outline and passages parsed."""
    for batch in table.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            beats = row["outline"] or []
            yield Example(
                id=row["id"],
                source=row["source"],
                prompt_id=row["prompt_id"],
                brief=Brief.model_validate(json.loads(row["brief"])),
                premise=row["premise"],
                outline=Outline(beats=[Beat(**b) for b in beats]) if beats else None,
                passages=[Passage(**p) for p in row["passages"]],
                text=row["text"],
                words=row["words"],
                gold=row["gold"],
                prompt=row["prompt"],
                completion=row["completion"],
            )
