"""From sources to a corpus: clean, look at all of it once, finish, write.

Everything streams in batches; what is held for the whole corpus is one fingerprint a story.
The same sources and settings give the same bytes, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fabula.corpus.folder import SplitWriter, check_place, new_folder
from fabula.corpus.groups import Candidate, Decision, decide, leaks
from fabula.corpus.manifest import make_manifest, manifest_text
from fabula.corpus.parallel import Workers
from fabula.corpus.report import write_report
from fabula.corpus.schema import CLEAN, SPLITS
from fabula.corpus.source import Source
from fabula.corpus.stages import Settings, clean_batch, finish_batch
from fabula.corpus.tally import SourceTally
from fabula.errors import FabulaError

MAX_FAULTY = 0.1
Progress = Callable[[str, int, int | None], None]
"""Told after each batch: the step, stories done, and stories in all if known."""


@dataclass(slots=True)
class _Stories:
    """What is remembered of each story between the two passes, in order."""

    candidates: list[Candidate]
    origins: list[str]
    sources: list[str]


def prepare(
    sources: list[Source],
    out: Path,
    settings: Settings,
    *,
    force: bool = False,
    workers: int = 1,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Prepare a corpus and return its manifest.

    Args:
        sources: what to read, in order.
        out: the folder to make.
        settings: what to make of it.
        force: replace a corpus that is there.
        workers: processes.
        progress: told how far things are.

    Raises:
        FabulaError: a source cannot be read or is mostly faulty, nothing is left, or `out`
            cannot be written. Then nothing is left behind.
    """
    if not (settings.valid >= 0 <= settings.test and settings.valid + settings.test < 1):
        raise FabulaError("--valid and --test are shares of the stories; together less than 1.")
    check_place(out, force)
    tallies = {source.name: SourceTally() for source in sources}
    with new_folder(out) as folder, Workers(workers) as pool:
        spool = folder / "cleaned.arrow"
        stories = _clean(sources, spool, settings, pool, tallies, progress)
        progress("compare", 0, len(stories.candidates))
        decisions = decide(stories.candidates, settings)
        for i, decision in enumerate(decisions):
            if decision.reason is not None:
                tallies[stories.sources[i]].drop(decision.reason, stories.origins[i])
        kept = _finish(spool, folder, decisions, settings, pool, tallies, progress)
        spool.unlink()
        if not any(kept.values()):
            raise FabulaError(f"No story is left of {_read(tallies)} read: {_why(tallies)}.")
        leaked = leaks({s: [stories.candidates[i] for i in kept[s]] for s in SPLITS}, settings)
        manifest = make_manifest(sources, settings, tallies, leaked)
        (folder / "manifest.json").write_text(manifest_text(manifest), encoding="utf-8")
        write_report(folder)
    return manifest


def _read(tallies: dict[str, SourceTally]) -> int:
    return sum(t.read for t in tallies.values())


def _why(tallies: dict[str, SourceTally]) -> str:
    reasons = [
        f"{dropped.stories} {reason} (such as {dropped.example})"
        for tally in tallies.values()
        for reason, dropped in tally.dropped.items()
    ]
    return "; ".join(reasons[:3])


def _clean(
    sources: list[Source],
    spool: Path,
    settings: Settings,
    pool: Workers,
    tallies: dict[str, SourceTally],
    progress: Progress,
) -> _Stories:
    """First pass: every source cleaned into the spool, fingerprints kept."""
    stories = _Stories([], [], [])
    seen: set[str] = set()
    total = sum(source.size for source in sources)
    done, before = 0, 0
    with pa.OSFile(str(spool), "wb") as sink, pa.ipc.new_file(sink, CLEAN) as writer:
        for source in sources:
            tally = tallies[source.name]
            for batch in pool.map(clean_batch, source.batches(), settings):
                good = _remember(batch, tally, stories, seen)
                if good.num_rows:
                    writer.write_batch(good)
                done += batch.num_rows
                share = (before + source.share * source.size) / total
                progress("clean", done, round(done / share) if share > 0.01 else None)
            if tally.faulty > 3 and tally.faulty > MAX_FAULTY * tally.read:
                raise FabulaError(
                    f"{tally.faulty:,} of the {tally.read:,} rows of {source.files[0]} cannot be "
                    f"used ({tally.first_drop()}); mend the file, or name its kind and columns."
                )
            before += source.size
        progress("clean", done, done)
    return stories


def _remember(
    batch: pa.RecordBatch, tally: SourceTally, stories: _Stories, seen: set[str]
) -> pa.RecordBatch:
    """Count a cleaned batch and return the rows that go on."""
    rows = batch.drop_columns(["text", "gold"]).to_pylist()
    keep = []
    for row in rows:
        tally.read += 1
        tally.faulty += row["faulty"]
        tally.trims.update(row["trims"])
        reason = row["reason"]
        if reason is None and row["id"] in seen:
            reason = "duplicate id"
        keep.append(reason is None)
        if reason is not None:
            tally.drop(reason, row["origin"])
            continue
        seen.add(row["id"])
        stories.origins.append(row["origin"])
        stories.sources.append(row["source"])
        stories.candidates.append(
            Candidate(row["prompt_id"], row["digest"], row["signature"], row["split"])
        )
    return batch.filter(pa.array(keep))


def _finish(
    spool: Path,
    folder: Path,
    decisions: list[Decision],
    settings: Settings,
    pool: Workers,
    tallies: dict[str, SourceTally],
    progress: Progress,
) -> dict[str, list[int]]:
    """Second pass: the rows that stay become documents; returns each split's stories."""
    kept: dict[str, list[int]] = {split: [] for split in SPLITS}
    total = sum(d.reason is None for d in decisions)
    done = 0
    writer = SplitWriter(folder)
    with pa.memory_map(str(spool)) as file:
        reader = pa.ipc.open_file(file)
        plan: list[tuple[str, list[int]]] = []

        def batches() -> Iterator[pa.RecordBatch]:
            start = 0
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                here = decisions[start : start + batch.num_rows]
                for split in SPLITS:
                    rows = [i for i, d in enumerate(here) if d.split == split]
                    if rows:
                        plan.append((split, [start + i for i in rows]))
                        yield batch.take(pa.array(rows))
                start += batch.num_rows

        for number, batch in enumerate(pool.map(finish_batch, batches(), settings)):
            split, rows = plan[number]
            _count_documents(batch, split, tallies)
            kept[split] += rows
            writer.write(split, batch)
            done += len(rows)
            progress("tag", done, total)
    writer.close()
    return kept


def _count_documents(batch: pa.RecordBatch, split: str, tallies: dict[str, SourceTally]) -> None:
    columns = batch.select(["source", "brief", "words", "part"]).to_pylist()
    for row in columns:
        tallies[row["source"]].add_document(row["brief"], row["words"], row["part"], split)
