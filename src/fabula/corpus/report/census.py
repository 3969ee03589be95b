"""Counting a prepared corpus: one pass over its Parquet files, column by column.

Briefs are parsed by Arrow's JSON reader and counted by Arrow's own kernels, so that 300,000
documents take seconds; what is held for the whole corpus are the tags, not the texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from fabula.corpus.report.leanings import Leanings
from fabula.corpus.schema import CORPUS, SPLITS
from fabula.errors import FabulaError

BATCH = 2048
LEANING_DOCUMENTS = 5_000
"""Pronouns are counted in about so many documents, chosen by the hash of their ids."""
LABELS = ("genre", "tone", "arc", "ending", "point_of_view")
LISTED = ("place", "time", "name", "trait", "thing")
_COLUMNS = ["id", "source", "brief", "words", "part", "parts", "gold", "passages", "text"]
_TEXT = pa.string()
_BRIEF = pa.schema(
    [
        ("characters", pa.list_(pa.struct([("name", _TEXT), ("role", _TEXT),
                                           ("traits", pa.list_(_TEXT))]))),
        ("setting", pa.struct([("place", _TEXT), ("time", _TEXT)])),
        *[(label, _TEXT) for label in LABELS],
        ("must_include", pa.list_(_TEXT)),
    ]
)  # fmt: skip
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document lies: split, row in its file; with what choosing samples needs."""

    split: str
    row: int
    id: str
    source: str
    genre: str | None


@dataclass(slots=True)
class Top:
    """The commonest values of a field that is free text.

    Attributes:
        values: (value, times), the commonest first.
        times: all values given, each as often as it was given.
        distinct: different values.
        effective: how many equally common values would vary as much, exp of the entropy
            (Hill 1973, Ecology 54:427, order 1).
    """

    values: list[tuple[str, int]]
    times: int
    distinct: int
    effective: float

    def share(self, first: int) -> float:
        """Share of all times that the first so many values have, 0 to 1."""
        return sum(n for _, n in self.values[:first]) / max(1, self.times)


@dataclass(slots=True)
class Lengths:
    """Words a story of one source; parts of a long story are taken together."""

    words: Ints

    def at(self, percent: float) -> int:
        """The length that so many per cent of the stories do not exceed."""
        return int(np.percentile(self.words, percent, method="lower"))


@dataclass(slots=True)
class Census:
    """All that the report counts in the Parquet files.

    Attributes:
        sources: names, in the manifest's order.
        documents: documents by (source, gold).
        labels: field -> value -> documents by (source, gold).
        arc_ending: documents by (arc, ending).
        tops: field -> the commonest values.
        lengths: by source; only sources with stories.
        beats: source -> beat -> characters.
        parts: stories by their number of parts.
        leanings: pronouns, counted in a part of the documents.
        places: candidates for samples, by source, in the order of their hashes.
    """

    sources: list[str]
    documents: dict[tuple[str, bool], int] = field(default_factory=dict)
    labels: dict[str, dict[str, dict[tuple[str, bool], int]]] = field(default_factory=dict)
    arc_ending: dict[tuple[str, str], int] = field(default_factory=dict)
    tops: dict[str, Top] = field(default_factory=dict)
    lengths: dict[str, Lengths] = field(default_factory=dict)
    beats: dict[str, dict[str, int]] = field(default_factory=dict)
    parts: dict[int, int] = field(default_factory=dict)
    leanings: Leanings = field(default_factory=Leanings)
    places: dict[str, list[Place]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Documents."""
        return sum(self.documents.values())

    def gold(self, source: str | None = None) -> int:
        """Documents whose labels came with them."""
        return sum(n for (s, g), n in self.documents.items() if g and source in (None, s))


def damaged(file: Path, error: Exception) -> FabulaError:
    """The sentence for a file that Arrow cannot read."""
    lines = str(error).splitlines() or [type(error).__name__]
    return FabulaError(
        f"{file} is damaged or not Parquet ({lines[0].rstrip('.')}); prepare the corpus again."
    )


def take_census(folder: Path, sources: list[str]) -> Census:
    """Count everything in a corpus.

    Args:
        folder: with train, valid and test.parquet.
        sources: names that the manifest has.

    Raises:
        FabulaError: a file is missing or damaged, lacks a column, or holds what the manifest
            does not know.
    """
    files = {split: _open(folder / f"{split}.parquet") for split in SPLITS}
    total = sum(file.metadata.num_rows for file in files.values())
    census = Census(sources)
    tables: list[pa.Table] = []
    for split, file in files.items():
        row = 0
        path = folder / f"{split}.parquet"
        try:
            for batch in file.iter_batches(batch_size=BATCH, columns=_COLUMNS):
                tags = _tags(batch)
                _look(census, batch, tags, total)
                tables.append(_slim(batch, tags, split, row))
                row += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            raise damaged(path, error) from None
    if tables:
        _count(census, pa.concat_tables(tables))
    return census


def _open(path: Path) -> pq.ParquetFile:
    if not path.is_file():
        raise FabulaError(f"{path.parent} has no {path.name}; prepare the corpus again.")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from None
    for name in _COLUMNS:
        at = file.schema_arrow.get_field_index(name)
        if at < 0 or not file.schema_arrow.field(at).type.equals(CORPUS.field(name).type):
            raise FabulaError(
                f"{path} has no column '{name}' of the kind that a corpus has; it was not made "
                "by this 'fabula prepare'."
            )
    return file


def _tags(batch: pa.RecordBatch) -> pa.Table:
    """The briefs of a batch as columns."""
    lines = b"\n".join(text.encode() for text in batch["brief"].to_pylist()) + b"\n"
    tags = pyarrow.json.read_json(
        BytesIO(lines),
        pyarrow.json.ReadOptions(block_size=max(1 << 20, len(lines))),
        pyarrow.json.ParseOptions(explicit_schema=_BRIEF, unexpected_field_behavior="ignore"),
    )
    if tags.num_rows != batch.num_rows:
        raise pa.ArrowInvalid(f"{batch.num_rows} briefs hold {tags.num_rows} JSON objects")
    return tags


def _slim(batch: pa.RecordBatch, tags: pa.Table, split: str, first: int) -> pa.Table:
    """What is kept of a batch: everything but the texts."""
    rows = batch.num_rows
    people = tags["characters"].combine_chunks()
    return pa.table(
        {
            **{n: batch[n] for n in ("id", "source", "words", "part", "parts", "gold")},
            "split": pa.array([split] * rows).dictionary_encode(),
            "row": pa.array(np.arange(first, first + rows)),
            **{label: tags[label].combine_chunks() for label in LABELS},
            "place": pc.struct_field(tags["setting"].combine_chunks(), "place"),
            "time": pc.struct_field(tags["setting"].combine_chunks(), "time"),
            "characters": people,
            "thing": tags["must_include"].combine_chunks(),
        }
    ).unify_dictionaries()


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"fabula report {name}".encode()).digest()[:8], "big")


def _look(census: Census, batch: pa.RecordBatch, tags: pa.Table, total: int) -> None:
    """Count what needs the texts: beats of all, pronouns of some."""
    lists = batch["passages"]
    inner = lists.flatten()
    table = pa.table(
        {
            "source": batch["source"].take(pc.list_parent_indices(lists)),
            # A beat in several pieces ("climax 2") counts as one.
            "beat": pc.replace_substring_regex(inner.field("beat"), r" \d+$", ""),
            "size": pc.utf8_length(inner.field("text")),
        }
    )
    for row in table.group_by(["source", "beat"]).aggregate([("size", "sum")]).to_pylist():
        beats = census.beats.setdefault(row["source"], {})
        beats[row["beat"]] = beats.get(row["beat"], 0) + row["size_sum"]
    limit = 2**64 if total <= LEANING_DOCUMENTS else LEANING_DOCUMENTS * 2**64 // total
    chosen = [i for i, name in enumerate(batch["id"].to_pylist()) if _hash(name) < limit]
    at = pa.array(chosen, pa.int64())
    columns = (batch["source"], batch["text"], tags["characters"], tags["point_of_view"])
    rows = zip(*(column.take(at).to_pylist() for column in columns), strict=True)
    for source, text, people, view in rows:
        census.leanings.add(source, text, people or [], view)


def _count(census: Census, table: pa.Table) -> None:
    """Everything that the slim columns of the whole corpus tell."""
    for name in table["source"].unique().to_pylist():
        if name not in census.sources:
            raise FabulaError(
                f"The Parquet files hold stories of '{name}', which manifest.json does not list; "
                "prepare the corpus again."
            )
    for row in _groups(table, ["source", "gold"]):
        census.documents[row["source"], row["gold"]] = row["count_all"]
    for label in LABELS:
        found: dict[str, dict[tuple[str, bool], int]] = {}
        given = table.filter(pc.is_valid(table[label]))
        for row in _groups(given, [label, "source", "gold"]):
            found.setdefault(row[label], {})[row["source"], row["gold"]] = row["count_all"]
        census.labels[label] = dict(
            sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        )
    both = table.filter(pc.and_(pc.is_valid(table["arc"]), pc.is_valid(table["ending"])))
    for row in _groups(both, ["arc", "ending"]):
        census.arc_ending[row["arc"], row["ending"]] = row["count_all"]
    people = pc.list_flatten(table["characters"].combine_chunks())
    free: dict[str, Any] = {
        "place": _plain(table["place"]),
        "time": _plain(table["time"]),
        "name": pc.struct_field(people, "name"),
        "trait": _plain(pc.list_flatten(pc.struct_field(people, "traits"))),
        "thing": _plain(pc.list_flatten(table["thing"].combine_chunks())),
    }
    census.tops = {name: _top(values) for name, values in free.items()}
    _count_lengths(census, table)
    _find_places(census, table)


def _groups(table: pa.Table, keys: list[str]) -> Iterator[dict[str, Any]]:
    counted = table.group_by(keys).aggregate([([], "count_all")])
    yield from sorted(counted.to_pylist(), key=lambda row: tuple(str(row[k]) for k in keys))


def _plain(values: Any) -> Any:
    """Phrases in lower case without their article, so that "The mill" is "a mill"."""
    return pc.replace_substring_regex(pc.utf8_lower(values), "^(a|an|the) ", "")


def _top(values: Any) -> Top:
    counted = pc.value_counts(values.drop_null())
    names, times = counted.field("values"), counted.field("counts")
    if not len(names):
        return Top([], 0, 0, 0.0)
    order = pc.sort_indices(
        pa.table({"n": times, "v": names}), sort_keys=[("n", "descending"), ("v", "ascending")]
    )[:20]
    best = zip(names.take(order).to_pylist(), times.take(order).to_pylist(), strict=True)
    # Sorted, because the order of a hash table would change the last bits of the sum.
    counts = np.sort(times.to_numpy(zero_copy_only=False)).astype(float)
    shares = counts / counts.sum()
    effective = float(np.exp(-(shares * np.log(shares)).sum()))
    return Top(list(best), int(counts.sum()), len(names), effective)


def _count_lengths(census: Census, table: pa.Table) -> None:
    words = table["words"].to_numpy().astype(np.int64)
    opens = table["part"].to_numpy() == 1
    opens[0] = True
    starts = np.flatnonzero(opens)
    stories = np.add.reduceat(words, starts)
    names = table["source"].take(pa.array(starts)).to_numpy(zero_copy_only=False)
    for source in census.sources:
        mine = stories[names == source]
        if len(mine):
            census.lengths[source] = Lengths(mine)
    parts, stories_of = np.unique(table["parts"].to_numpy()[starts], return_counts=True)
    census.parts = dict(zip(parts.tolist(), stories_of.tolist(), strict=True))


def _find_places(census: Census, table: pa.Table) -> None:
    """The documents of each source with the smallest hashes."""
    ids = table["id"].to_pylist()
    order = np.argsort(np.array([_hash(name) for name in ids], dtype=np.uint64), kind="stable")
    names = table["source"].to_numpy(zero_copy_only=False)[order]
    for source in census.sources:
        rows = table.take(pa.array(order[names == source][:100]))
        census.places[source] = [
            Place(r["split"], r["row"], r["id"], source, r["genre"])
            for r in rows.select(["split", "row", "id", "genre"]).to_pylist()
        ]
