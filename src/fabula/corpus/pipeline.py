"""From sources to a corpus: clean, look at all of it once, finish, write.

Everything streams in batches and is kept in shards (see draft.py), so that an interrupted run can
go on; what is held for the whole corpus is one fingerprint a story. The same sources and settings
give the same bytes, whatever runs them, however often they were interrupted.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fabula.corpus.against import check_against
from fabula.corpus.draft import GO_ON, Draft, describe_sources
from fabula.corpus.folder import SplitWriter, check_place, install
from fabula.corpus.groups import RANKED, REASONS, UNFIXED, decide, leaks
from fabula.corpus.ledger import Ledger
from fabula.corpus.manifest import FORMAT, make_manifest, manifest_text
from fabula.corpus.report import write_report
from fabula.corpus.runners import LocalRunner, Runner
from fabula.corpus.schema import CLEAN, CORPUS, FINISHED, SPLITS
from fabula.corpus.source import Source, file_digest
from fabula.corpus.stages import Settings, clean_batch, finish_batch
from fabula.corpus.tally import SourceTally
from fabula.errors import Broken, FabulaError

MAX_FAULTY = 0.1
SHARD_BATCHES = 8
"""A shard is so many batches of `source.BATCH_ROWS` stories."""
CLEANED, DONE = "cleaned", "finished"
Progress = Callable[[str, int, int | None], None]
"""Told after each batch: the step, stories done, and stories in all if known."""


def prepare(
    sources: list[Source],
    out: Path,
    settings: Settings,
    *,
    against: Sequence[Source] = (),
    force: bool = False,
    resume: bool = False,
    runner: Runner | None = None,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Prepare a corpus and return its manifest.

    Args:
        sources: what to read, in order.
        out: the folder to make.
        settings: what to make of it.
        against: what no story of the corpus may be, be nearly, quote, or share the prompt with.
        force: replace a corpus, or an interrupted run, that is there.
        resume: go on with an interrupted run, if one is there.
        runner: what runs the stages; this process if None.
        progress: told how far things are.

    Raises:
        FabulaError: a source cannot be read or is mostly faulty, or nothing is left of it: then
            nothing is left behind. Or another run is there.
        Broken: a worker died, or `out` cannot be written: the run can be gone on with.
        KeyboardInterrupt: and so it can after this.
    """
    if not (settings.valid >= 0 <= settings.test and settings.valid + settings.test < 1):
        raise FabulaError("--valid and --test are shares of the stories; together less than 1.")
    check_place(out, force)
    draft = Draft(out)
    try:
        with runner or LocalRunner(1) as running:
            draft.open(_state([*sources, *against], settings), resume=resume, force=force)
            with draft.locked(), _removed_if_at_fault(draft):
                return _prepare(sources, against, draft, settings, running, progress)
    except OSError as error:
        kept = f"; what is done is kept: {GO_ON}" if draft.folder.exists() else ""
        raise Broken(f"cannot write {out}: {error.strerror or error}{kept}.") from None
    except Broken as error:
        raise Broken(f"{str(error).rstrip('.')}. What is done is kept: {GO_ON}.") from None
    except KeyboardInterrupt:
        kept = f"what is done is kept: {GO_ON}" if draft.folder.exists() else ""
        raise KeyboardInterrupt(kept) from None


def _state(sources: list[Source], settings: Settings) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("fabula", "pyarrow", "ftfy")}
    return {
        "format": FORMAT,
        "versions": versions,
        "settings": asdict(settings),
        "sources": describe_sources(sources),
    }


@contextmanager
def _removed_if_at_fault(draft: Draft) -> Iterator[None]:
    """Keep what is done where the run can go on; leave nothing where the input is at fault."""
    try:
        yield
    except FabulaError as error:
        if not isinstance(error, Broken):
            draft.remove()
        raise


def _prepare(
    sources: list[Source],
    against: Sequence[Source],
    draft: Draft,
    settings: Settings,
    runner: Runner,
    progress: Progress,
) -> dict[str, Any]:
    _clean(sources, draft, settings, runner, progress)
    shards = draft.whole(CLEANED)
    ledger = Ledger.of(batch for n in range(shards) for batch in draft.read(CLEANED, n))
    _refuse_the_faulty(sources, ledger.tallies)
    progress("compare", 0, len(ledger.candidates))
    known = check_against(against, ledger.candidates, settings, runner) if against else None
    decisions = decide(ledger.candidates, settings, known.decisions if known else None)
    ledger.drop(decisions, REASONS)
    rank = ledger.rows_of(decisions)
    total = int((rank < UNFIXED).sum())
    if not total:
        raise FabulaError(f"No story is left of {ledger.read} read: {_why(ledger.tallies)}.")
    _finish(draft, shards, rank, settings, runner, progress)
    folder = draft.folder / "corpus"
    folder.mkdir(exist_ok=True)
    # Writing keeps one processor busy; the leak check has another.
    with ThreadPoolExecutor(1) as aside:
        shared = aside.submit(leaks, ledger.candidates, decisions.rank, settings)
        _merge(draft, shards, folder, ledger.tallies, total, progress)
        leaked = shared.result()
    manifest = make_manifest(
        sources, settings, {s.name: ledger.tally(s.name) for s in sources}, leaked,
        known.found if known else [],
    )  # fmt: skip
    # By which training sees that these are the files that are told of.
    manifest["sha256"] = {f"{s}.parquet": file_digest(folder / f"{s}.parquet") for s in SPLITS}
    (folder / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
    write_report(folder)
    install(folder, draft.out)
    draft.remove()
    return manifest


def _why(tallies: dict[str, SourceTally]) -> str:
    reasons = [
        f"{dropped.stories} {reason} (such as {dropped.example})"
        for tally in tallies.values()
        for reason, dropped in tally.dropped.items()
    ]
    return "; ".join(reasons[:3])


def _clean(
    sources: list[Source], draft: Draft, settings: Settings, runner: Runner, progress: Progress
) -> None:
    """First pass: every source cleaned into shards; those that are there are passed over."""
    number = draft.whole(CLEANED)
    there = [batch.num_rows for n in range(number) for batch in draft.read(CLEANED, n)]
    watch = _Watch(sources, progress)
    pending: list[pa.RecordBatch] = []
    batches = (batch for source in sources for batch in watch.batches(source))
    for rows, batch in zip(there, islice(batches, len(there)), strict=True):
        if rows != batch.num_rows:
            raise FabulaError(f"{draft.folder} cannot be gone on with: a source reads otherwise.")
        watch.cleaned(batch.num_rows)
    for batch in runner.map(clean_batch, batches, settings):
        watch.cleaned(batch.num_rows)
        pending.append(batch)
        if len(pending) == SHARD_BATCHES:
            draft.write(CLEANED, number, pending, CLEAN)
            number, pending = number + 1, []
    if pending:
        draft.write(CLEANED, number, pending, CLEAN)
    watch.finish()


class _Watch:
    """Sees how far the sources are."""

    def __init__(self, sources: list[Source], progress: Progress) -> None:
        self._progress = progress
        self._total = sum(source.size for source in sources)
        self._before, self._done, self._read = 0.0, 0, 0
        self._share = 0.0

    def batches(self, source: Source) -> Iterator[pa.RecordBatch]:
        """The batches of a source as they are read."""
        for batch in source.batches():
            self._read += batch.num_rows
            self._share = (self._before + source.share * source.size) / max(1, self._total)
            yield batch
        self._before += source.size

    def cleaned(self, rows: int) -> None:
        """A batch is done."""
        self._done += rows
        total = round(self._read / self._share) if self._share > 0.01 else None
        self._progress("clean", self._done, total)

    def finish(self) -> None:
        """All is read."""
        self._progress("clean", self._done, self._done)


def _refuse_the_faulty(sources: list[Source], tallies: dict[str, SourceTally]) -> None:
    """Raise FabulaError where more than `MAX_FAULTY` of a source cannot be used."""
    for source in sources:
        tally = tallies.get(source.name, SourceTally())
        if tally.faulty > 3 and tally.faulty > MAX_FAULTY * tally.read:
            raise FabulaError(
                f"{tally.faulty:,} of the {tally.read:,} rows of {source.place} cannot be "
                f"used ({tally.first_drop()}); mend the file, or name its kind and columns."
            )


def _finish(
    draft: Draft,
    shards: int,
    rank: npt.NDArray[np.int8],
    settings: Settings,
    runner: Runner,
    progress: Progress,
) -> None:
    """Second pass: the rows that stay become documents, shard by shard.

    Args:
        draft: where the shards lie.
        shards: how many were cleaned.
        rank: of the split of every row read, `UNFIXED` where it falls.
        settings: for `finish_batch`.
        runner: what runs it.
        progress: told how far it is.
    """
    begin, total = draft.whole(DONE), int((rank < UNFIXED).sum())
    row = sum(batch.num_rows for shard in range(begin) for batch in draft.read(CLEANED, shard))
    done = int((rank[:row] < UNFIXED).sum())
    # How many batches each shard sends, so that what comes back can be told apart.
    sent: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal row
        for shard in range(begin, shards):
            sent.append(0)
            for batch in draft.read(CLEANED, shard):
                here = rank[row : row + batch.num_rows]
                row += batch.num_rows
                rows = np.flatnonzero(here < UNFIXED)
                if len(rows):
                    sent[-1] += 1
                    yield _with_split(batch.take(pa.array(rows)), here[rows])

    progress("tag", done, total)
    ready: list[pa.RecordBatch] = []
    number = begin
    for batch in runner.map(finish_batch, batches(), settings):
        # A shard is whole when the next one has begun to be sent, or all are.
        while number - begin + 1 < len(sent) and len(ready) == sent[number - begin]:
            draft.write(DONE, number, ready, FINISHED)
            number, ready = number + 1, []
        ready.append(batch)
        done += pc.sum(pc.equal(batch["part"], 1)).as_py() or 0
        progress("tag", done, total)
    for shard in range(number, shards):
        draft.write(DONE, shard, ready if shard == number else [], FINISHED)
    progress("tag", total, total)


def _with_split(batch: pa.RecordBatch, rank: npt.NDArray[np.int8]) -> pa.RecordBatch:
    """The batch with the split that was decided on for each row."""
    names = pa.array([RANKED[r] for r in rank.tolist()], pa.string())
    place = batch.schema.get_field_index("split")
    columns = batch.columns
    columns[place] = names
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _merge(
    draft: Draft,
    shards: int,
    folder: Path,
    tallies: dict[str, SourceTally],
    total: int,
    progress: Progress,
) -> None:
    """The finished shards, split by split, into the corpus's three files."""
    writer = SplitWriter(folder)
    for shard in range(shards):
        for batch in draft.read(DONE, shard):
            for split in SPLITS:
                rows = batch.filter(pc.equal(batch["split"], split))
                if rows.num_rows:
                    _count_documents(rows, split, tallies)
                    writer.write(split, rows.select(CORPUS.names))
        progress("write", sum(tally.kept for tally in tallies.values()), total)
    writer.close()


def _count_documents(batch: pa.RecordBatch, split: str, tallies: dict[str, SourceTally]) -> None:
    columns = batch.select(["source", "brief", "words", "part"]).to_pylist()
    for row in columns:
        tallies[row["source"]].add_document(row["brief"], row["words"], row["part"], split)
