"""Data sets of the Hugging Face hub, or saved by its library on disk, through `datasets`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fabula.corpus.schema import SPLITS
from fabula.corpus.shards import keep_split
from fabula.corpus.source import Row
from fabula.corpus.tables import SPLIT_NAMES, batch_records, choose_columns, fill_row
from fabula.errors import FabulaError, MissingExtra

_ID = re.compile(r"(\w[\w.-]{0,95}/\w[\w.-]{0,95})(?:@([\w. -]{1,96}))?")
_BATCH_ROWS = 256


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` of `datasets` wrote a folder."""
    return (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    )


def _library() -> Any:
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError:
        raise MissingExtra("Reading data sets of the hub", "corpus") from None
    return datasets


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the libraries' own warnings and bars: what goes wrong is told in one sentence."""
    from huggingface_hub.utils import logging as hub_logging

    loud, shown = datasets.logging.get_verbosity(), hub_logging.get_verbosity()
    bars = datasets.is_progress_bar_enabled()
    datasets.logging.set_verbosity_error()
    hub_logging.set_verbosity(logging.CRITICAL)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(loud)
        hub_logging.set_verbosity(shown)
        if bars:
            datasets.enable_progress_bars()


def load_splits(name: str) -> dict[str, Any]:
    """The splits of a data set, as `datasets` has them, in a fixed order.

    Args:
        name: ``OWNER/NAME`` or ``OWNER/NAME@CONFIG`` on the hub (downloaded once, then kept by
            `datasets`), or a folder that `save_to_disk` wrote.

    Raises:
        FabulaError: no such data set, no network, or a damaged folder.
        MissingExtra: `datasets` is not installed.
    """
    path = Path(name)
    if name and path.exists():
        if not is_saved(path):
            raise FabulaError(
                f"{path} is not a folder that save_to_disk of 'datasets' wrote; name it with the "
                "kind of its files, such as parquet."
            )
        found = _load_saved(_library(), path)
    else:
        match = _ID.fullmatch(name)
        if match is None:
            raise FabulaError(
                f"hub:{name} is neither a folder nor an id of the hub; write hub:OWNER/NAME or "
                "hub:OWNER/NAME@CONFIG."
            )
        found = _download(_library(), match[1], match[2])
    splits = dict(found) if isinstance(found, dict) else {"": found}
    order = {split: number for number, split in enumerate(SPLITS)}
    names = sorted(splits, key=lambda s: (order.get(_ours(s) or "", len(order)), s))
    return {split: splits[split] for split in names}


def _load_saved(datasets: Any, path: Path) -> Any:
    try:
        with _quiet(datasets):
            return datasets.load_from_disk(str(path))
    except Exception as error:  # whatever is in the folder: json, arrow, missing files
        raise FabulaError(f"{path} is damaged ({_reason(error)}); save it again.") from None


def _download(datasets: Any, name: str, config: str | None) -> Any:
    from datasets.exceptions import DatasetNotFoundError  # type: ignore[import-untyped]

    try:
        with _quiet(datasets):
            return datasets.load_dataset(name, config)
    except DatasetNotFoundError:
        raise FabulaError(
            f"hub:{name}: the hub has no such data set, or asks you to log in for it; look at its "
            "name."
        ) from None
    except (ConnectionError, TimeoutError):
        raise FabulaError(
            f"hub:{name}: the hub cannot be reached and no copy of the data set is kept here; "
            "check the network, or save it with save_to_disk and name the folder."
        ) from None
    except ValueError as error:
        configs = re.search(r"(?s)available(?: configs)?: *\[?(.{1,300}?)\]", str(error))
        if configs is not None:
            raise FabulaError(
                f"hub:{name}: which configuration? Write hub:{name}@CONFIG with one of: "
                f"{' '.join(configs[1].split())}."
            ) from None
        raise FabulaError(f"hub:{name} cannot be read ({_reason(error)}).") from None
    except Exception as error:  # the library raises many kinds, for files of any form
        raise FabulaError(f"hub:{name} cannot be read ({_reason(error)}).") from None


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


def _ours(split: str) -> str | None:
    name = SPLIT_NAMES.get(split.lower(), split.lower())
    return name if name in SPLITS else None


def hub_files(name: str) -> list[Path]:
    """The files in which `datasets` keeps a data set on this machine."""
    path = Path(name)
    if path.exists() and is_saved(path):
        return sorted(p for p in path.rglob("*") if p.is_file())
    files = [Path(f["filename"]) for d in load_splits(name).values() for f in d.cache_files]
    return list(dict.fromkeys(files))


def hub_licence(name: str) -> str | None:
    """The licence that the data set states of itself, if it does."""
    stated = {d.info.license for d in load_splits(name).values() if d.info.license}
    return ", ".join(sorted(stated)) or None


def hub_rows(name: str, mapping: dict[str, str]) -> Iterator[Row]:
    """The rows of a data set; its splits are kept ("validation" is "valid").

    Raises:
        FabulaError: see `load_splits`; or no column for the story.
    """
    splits = load_splits(name)
    total = max(1, sum(d.num_rows for d in splits.values()))
    before = 0
    label = Path(name).name if Path(name).exists() else name
    for split, data in splits.items():
        where = " ".join(filter(None, (f"hub:{name}", split)))
        columns = choose_columns(list(data.column_names), mapping, where)
        table = data.select_columns(list(columns.values())).with_format("arrow")
        number = 0
        for batch in table.iter(batch_size=_BATCH_ROWS):
            for part in batch.to_batches():
                for record in batch_records(part):
                    number += 1
                    row = Row(
                        origin="/".join(filter(None, (label, split))) + f":{number}",
                        share=(before + number) / total,
                    )
                    if isinstance(record, str):
                        row.reason = record
                    else:
                        fill_row(row, record, columns)
                    row.id = row.id or (f"{number:06d}" if split else "")
                    if (kept := row.split or _ours(split)) is not None:
                        keep_split(row, kept)
                    elif split:
                        row.id = f"{split}-{row.id}"
                    yield row
        before += data.num_rows
