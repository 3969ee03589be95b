"""The corpus folder, written beside its place and moved there when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pyarrow as pa
import pyarrow.parquet as pq

from fabula.corpus.schema import CORPUS, SPLITS
from fabula.errors import FabulaError

ROW_GROUP = 2048


def check_place(out: Path, force: bool) -> None:
    """Refuse a place that is taken, or that cannot be written.

    Raises:
        FabulaError: `out` exists (with `force`: and is no corpus), or its parent is not writable.
    """
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FabulaError(f"{out} is not a folder; choose another name for the corpus.")
    if out.exists() and any(out.iterdir()):
        if not force:
            raise FabulaError(f"{out} exists already; add --force to replace it.")
        if not (out / "manifest.json").is_file():
            raise FabulaError(f"{out} is not a prepared corpus, so --force does not replace it.")
    parent = out.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FabulaError(f"cannot make {parent}: {error.strerror or error}.") from None


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A fresh folder beside `out` that takes its place if all goes well, else vanishes.

    Raises:
        FabulaError: it cannot be written (read-only, disk full).
    """
    place = out.resolve()
    draft: Path | None = None
    try:
        draft = Path(mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        yield draft
        for file in draft.iterdir():
            _sync(file)
        _sync(draft)
        umask = os.umask(0)
        os.umask(umask)
        draft.chmod(0o777 & ~umask)
        if place.exists():
            old = Path(mkdtemp(prefix=f".{place.name}-old-", dir=place.parent))
            place.rename(old / place.name)
            draft.rename(place)
            shutil.rmtree(old)
        else:
            draft.rename(place)
        _sync(place.parent)
    except OSError as error:
        raise FabulaError(f"cannot write {out}: {error.strerror or error}.") from None
    finally:
        if draft is not None and draft.exists() and draft != place:
            shutil.rmtree(draft, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class SplitWriter:
    """Writes rows of `CORPUS` to one Parquet file a split, in row groups of fixed size."""

    def __init__(self, folder: Path) -> None:
        self._writers = {
            split: pq.ParquetWriter(
                folder / f"{split}.parquet", CORPUS, compression="zstd", write_page_checksum=True
            )
            for split in SPLITS
        }
        self._pending: dict[str, list[pa.RecordBatch]] = {split: [] for split in SPLITS}

    def write(self, split: str, batch: pa.RecordBatch) -> None:
        """Add rows to a split."""
        pending = self._pending[split]
        pending.append(batch)
        while sum(b.num_rows for b in pending) >= ROW_GROUP:
            table = pa.Table.from_batches(pending, CORPUS)
            self._writers[split].write_table(table.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
            pending[:] = table.slice(ROW_GROUP).to_batches()

    def close(self) -> None:
        """Write what is left and the footers."""
        for split, writer in self._writers.items():
            if self._pending[split]:
                writer.write_table(pa.Table.from_batches(self._pending[split], CORPUS))
            writer.close()
