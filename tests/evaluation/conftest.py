"""Small prepared corpora, written with the corpus room's own columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from corpus_rows import MakeCorpus, row

from fabula.story.sample import load_sample


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Write rows as the splits of a corpus folder."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fabula.corpus import CORPUS

    def make(**splits: Sequence[dict[str, Any]]) -> Path:
        folder = tmp_path / "corpus"
        folder.mkdir(exist_ok=True)
        for split, rows in splits.items():
            pq.write_table(pa.Table.from_pylist(list(rows), CORPUS), folder / f"{split}.parquet")
        (folder / "manifest.json").write_text(json.dumps({}))
        return folder

    return make


@pytest.fixture
def paired_corpus(make_corpus: MakeCorpus) -> Path:
    """Twelve held-out stories of six prompts, two each, and training stories."""
    stories = load_sample("valid")[:12]
    return make_corpus(
        test=[row(s, f"p{i // 2}") for i, s in enumerate(stories)],
        train=[row(s, s.id) for s in load_sample("train")[:5]],
    )
