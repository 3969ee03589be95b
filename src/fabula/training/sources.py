"""Where examples come from: a prepared corpus's Parquet files, the sample, or story trees."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from fabula.corpus.augment import Example
from fabula.errors import FabulaError, MissingExtra
from fabula.story.sample import LabelledStory, Split, load_sample
from fabula.story.trees import ARC_TURNS, held_out, load_trees, own_trees, tree_paths, walk
from fabula.training.documents import example_from_row

SAMPLE = "sample"
TREES = "trees"
WALKS = 600
"""Walks through one story tree that an epoch may see; each row number is another walk."""
COLUMNS = ["id", "brief", "premise", "outline", "passages", "source", "licence"]


class Examples(Protocol):
    """One split of one corpus."""

    name: str
    licences: list[str]
    """Licences of its stories, sorted."""

    def __len__(self) -> int: ...

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at the given row numbers."""


class SampleExamples:
    """A split of the sample corpus in the package."""

    def __init__(self, split: str) -> None:
        self.split: Split = split  # type: ignore[assignment]
        self.name = f"{SAMPLE} ({split})"
        self.licences = ["Apache-2.0"]
        self._stories: list[LabelledStory] = load_sample(self.split)

    def __len__(self) -> int:
        return len(self._stories)

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at the given row numbers."""
        return [_labelled(self._stories[row]) for row in rows]


def _labelled(story: LabelledStory) -> Example:
    return Example(
        id=story.id,
        brief=story.brief.model_copy(update={"premise": None}),
        premise=story.premise,
        outline=story.outline,
        passages=story.passages,
    )


class ParquetExamples:
    """A split of a corpus made by `fabula prepare`.

    Raises:
        FabulaError: the folder or file is missing, truncated, or not such a corpus.
    """

    def __init__(self, folder: Path, split: str) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtra("Reading a prepared corpus", "corpus") from None
        self.path = folder / f"{split}.parquet"
        self.name = f"{folder} ({split})"
        if not folder.is_dir():
            raise FabulaError(
                f"There is no corpus folder {folder}; make it with 'fabula prepare', or name "
                f"'{SAMPLE}'."
            )
        if not self.path.is_file():
            raise FabulaError(f"{folder} has no {split}.parquet; make it with 'fabula prepare'.")
        try:
            self._table = pq.read_table(self.path, columns=COLUMNS, memory_map=True)
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = str(error).splitlines()[0][:160]
            raise FabulaError(
                f"{self.path}: not a whole Parquet file of a prepared corpus ({reason}); make it "
                "again with 'fabula prepare'."
            ) from None
        missing = [c for c in COLUMNS if c not in self._table.column_names]
        if missing:
            raise FabulaError(
                f"{self.path} lacks the column '{missing[0]}'; make it with 'fabula prepare'."
            )
        self.licences = sorted({str(v) for v in self._table["licence"].unique().to_pylist() if v})

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at the given row numbers."""
        if not rows:  # pyarrow cannot take nothing
            return []
        found: list[dict[str, Any]] = self._table.take(list(rows)).to_pylist()
        return [example_from_row(row, str(self.path)) for row in found]


class TreeExamples:
    """Walks through story trees: `WALKS` a tree for training, one an arc for measuring.

    Some trees are held out whole (`fabula.story.trees.held_out`), for valid and test alike.

    Raises:
        FabulaError: a tree is not well formed.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.name = f"{folder.name} ({split})"
        self.licences = ["Apache-2.0"]
        self._trees = [t for t in load_trees(folder) if held_out(t) == (split != "train")]
        self._arcs = list(ARC_TURNS)
        self._walks = WALKS if split == "train" else len(self._arcs)

    def __len__(self) -> int:
        return len(self._trees) * self._walks

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The walks of the given row numbers; the same number is the same walk."""
        found = []
        for row in rows:
            tree = self._trees[row % len(self._trees)]
            arc = self._arcs[row // len(self._trees) % len(self._arcs)]
            story = walk(tree, arc, random.Random(f"{tree.name}/{row}"))
            found.append(_labelled(story))
        return found


class Chosen:
    """The examples of a split whose id begins as a pattern says.

    Args:
        only: the pattern.
    """

    def __init__(self, examples: Examples, only: str) -> None:
        self.name = examples.name
        self.licences = examples.licences
        self._examples = examples
        pattern = re.compile(only)
        every = examples.read(range(len(examples)))
        self._rows = [n for n, example in enumerate(every) if pattern.match(example.id)]

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: Sequence[int]) -> list[Example]:
        """The examples at the given row numbers of those chosen."""
        return self._examples.read([self._rows[row] for row in rows])


def open_split(corpus: str, split: str) -> Examples:
    """Open one split of a corpus.

    Raises:
        FabulaError: there is no such corpus, or it is damaged.
    """
    if corpus == SAMPLE:
        return SampleExamples(split)
    if corpus == TREES:
        return TreeExamples(own_trees(), split)
    folder = Path(corpus).expanduser()
    if folder.is_dir() and tree_paths(folder):
        return TreeExamples(folder, split)
    return ParquetExamples(folder, split)


def manifest_digest(corpus: str) -> str | None:
    """A short fingerprint of a prepared corpus's manifest, for the model card."""
    import hashlib

    path = Path(corpus).expanduser() / "manifest.json"
    if corpus == SAMPLE or not path.is_file():
        return None
    try:
        canonical = json.dumps(json.loads(path.read_text("utf-8")), sort_keys=True)
    except ValueError:
        return None
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
