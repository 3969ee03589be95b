"""The corpus folder, written beside its place and moved there when it is whole."""

from __future__ import annotations

import os
import shutil
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


def install(draft: Path, out: Path) -> None:
    """Move a whole folder to its place; a corpus that is there goes when the new one stands."""
    place = out.resolve()
    for file in draft.iterdir():
        sync(file)
    sync(draft)
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
    sync(place.parent)


def sync(path: Path) -> None:
    """Have a file or folder written to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# Columns of which many rows have the same value; to look for such in texts takes time for nothing.
_REPEATED = ["source", "licence", "prompt_tag", "author", "outline.list.element.beat",
             "passages.list.element.beat"]  # fmt: skip


class SplitWriter:
    """Writes rows of `CORPUS` to one Parquet file a split, in row groups of fixed size."""

    def __init__(self, folder: Path) -> None:
        self._writers = {
            split: pq.ParquetWriter(
                folder / f"{split}.parquet",
                CORPUS,
                compression="zstd",
                write_page_checksum=True,
                use_dictionary=_REPEATED,
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
