"""Corpora: stories from many sources into one tagged, split, deduplicated Parquet corpus."""

from __future__ import annotations

from fabula.errors import MissingExtra

try:
    import pyarrow as _  # noqa: F401
except ImportError:
    raise MissingExtra("The corpus", "corpus") from None

from fabula.corpus.kinds import KINDS, open_source
from fabula.corpus.pipeline import prepare
from fabula.corpus.report import write_report
from fabula.corpus.schema import CORPUS, SPLITS, Example, example_rows, load_corpus
from fabula.corpus.source import Row, Source
from fabula.corpus.stages import Settings, clean_batch, finish_batch

__all__ = [
    "CORPUS",
    "KINDS",
    "SPLITS",
    "Example",
    "Row",
    "Settings",
    "Source",
    "clean_batch",
    "example_rows",
    "finish_batch",
    "load_corpus",
    "open_source",
    "prepare",
    "write_report",
]
