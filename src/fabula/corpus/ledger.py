"""What is known of every row that was read, without its text: counts, and fingerprints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fabula.corpus.groups import UNFIXED, Candidates, Decisions
from fabula.corpus.tally import SourceTally

DUPLICATE_ID = "duplicate id"
FINGERPRINT = ("prompt_id", "digest", "signature", "split", "passages")


def candidates_of(batch: pa.RecordBatch) -> Candidates:
    """What deciding needs to know of rows of `CLEAN` that are left."""
    prompts, digests, signatures, splits, passages = (batch[n].to_pylist() for n in FINGERPRINT)
    return Candidates.joined(prompts, b"".join(digests), b"".join(signatures), splits, passages)


@dataclass(slots=True)
class Ledger:
    """All rows, in order.

    Attributes:
        candidates: the stories that cleaning left.
        row: which row each of them is, shape [candidates].
        origin: their places in their files, batch by batch.
        begins: where the candidates of each batch begin, shape [batches + 1].
        sources: the name of the source of each batch.
        read: rows.
        tallies: counts by source.
    """

    candidates: Candidates
    row: npt.NDArray[np.int64]
    origin: list[pa.Array]
    begins: npt.NDArray[np.int64]
    sources: list[str]
    read: int
    tallies: dict[str, SourceTally] = field(default_factory=dict)

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch]) -> Ledger:
        """The ledger of cleaned batches, each of one source."""
        parts: list[Candidates] = []
        rows: list[npt.NDArray[np.int64]] = []
        origins: list[pa.Array] = []
        sources: list[str] = []
        tallies: dict[str, SourceTally] = {}
        seen: set[str] = set()
        read = 0
        for batch in batches:
            source = batch["source"][0].as_py()
            tally = tallies.setdefault(source, SourceTally())
            kept = _count(batch, tally, seen)
            part = batch.select([*FINGERPRINT, "origin"]).take(pa.array(kept))
            parts.append(candidates_of(part))
            rows.append(kept + read)
            origins.append(part["origin"])
            sources.append(source)
            read += batch.num_rows
        begins = np.cumsum([0, *map(len, parts)])
        row = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        return cls(Candidates.together(parts), row, origins, begins, sources, read, tallies)

    def tally(self, source: str) -> SourceTally:
        """Counts of a source."""
        return self.tallies.setdefault(source, SourceTally())

    def drop(self, decisions: Decisions, reasons: Sequence[str | None]) -> None:
        """Count the stories that fall by what was decided."""
        for story in np.flatnonzero(decisions.reason).tolist():
            batch = int(np.searchsorted(self.begins, story, side="right")) - 1
            origin = self.origin[batch][story - int(self.begins[batch])].as_py()
            reason = reasons[int(decisions.reason[story])]
            assert reason is not None
            self.tallies[self.sources[batch]].drop(reason, origin)

    def rows_of(self, decisions: Decisions) -> npt.NDArray[np.int8]:
        """The rank of every row's split, `UNFIXED` where it falls, shape [read]."""
        rank = np.full(self.read, UNFIXED, dtype=np.int8)
        rank[self.row] = decisions.rank
        return rank


def _count(batch: pa.RecordBatch, tally: SourceTally, seen: set[str]) -> npt.NDArray[np.int64]:
    """Count a cleaned batch and return the rows that go on."""
    tally.read += batch.num_rows
    tally.faulty += pc.sum(batch["faulty"]).as_py() or 0
    trims = pc.value_counts(pc.list_flatten(batch["trims"]))
    for item in trims.to_pylist():
        tally.trims[item["values"]] += item["counts"]
    fallen = batch["reason"].is_valid().to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(fallen).tolist():
        tally.drop(batch["reason"][row].as_py(), batch["origin"][row].as_py())
    kept = []
    ids = batch["id"].to_pylist()
    for row in np.flatnonzero(~fallen).tolist():
        if ids[row] in seen:
            tally.drop(DUPLICATE_ID, batch["origin"][row].as_py())
            continue
        seen.add(ids[row])
        kept.append(row)
    return np.array(kept, dtype=np.int64)
