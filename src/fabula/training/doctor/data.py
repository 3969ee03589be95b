"""Checks of prepared corpora: that they are what their manifest says, and that splits are apart."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fabula.engines.digest import digest_file
from fabula.story.sample import load_sample
from fabula.training.doctor.findings import Finding, ok, refused, some, warning
from fabula.training.recipe import Recipe
from fabula.training.sources import (
    SAMPLE,
    TREES,
    Examples,
    ParquetExamples,
    SampleExamples,
    TreeExamples,
)

SAMPLED = 40
"""Rows of a corpus whose rendering is compared with today's."""


def corpora(recipe: Recipe) -> list[str]:
    """The corpora of a recipe, each once."""
    return list(dict.fromkeys(source.corpus for source in recipe.data))


def split_files(recipe: Recipe, held_out: bool = True) -> Iterator[tuple[str, Path]]:
    """(corpus, Parquet file) of each split that a recipe reads.

    Args:
        held_out: those that are measured too, not only those that are learnt.
    """
    splits: dict[str, set[str]] = {}
    for source in recipe.data:
        splits.setdefault(source.corpus, set()).add(source.split)
        if held_out and recipe.evaluation.max_documents:
            splits[source.corpus].add(recipe.evaluation.split)
    for corpus, names in splits.items():
        folder = Path(corpus).expanduser()
        for name in sorted(names):
            path = folder / f"{name}.parquet"
            if corpus not in (SAMPLE, TREES) and path.is_file():
                yield corpus, path


def check_manifests(recipe: Recipe) -> list[Finding]:
    """Each prepared corpus is the one that its manifest tells of, in today's format."""
    found = []
    prepared: dict[str, list[Path]] = {}
    for corpus, path in split_files(recipe):
        prepared.setdefault(corpus, []).append(path)
    for corpus, paths in prepared.items():
        found.append(_check_manifest(corpus, paths))
    return found


def _check_manifest(corpus: str, paths: Sequence[Path]) -> Finding:
    import fabula
    from fabula.corpus.manifest import FORMAT

    place = Path(corpus).expanduser() / "manifest.json"
    again = "make it again with 'fabula prepare'"
    try:
        manifest = json.loads(place.read_text("utf-8"))
        versions, known = manifest.get("versions", {}), manifest.get("sha256", {})
        form, splits = manifest.get("format"), manifest.get("splits", {})
        made_by = versions.get("fabula")
    except OSError:
        return warning(
            "data",
            f"{corpus} has no manifest.json, so whether its files belong together cannot be told",
            again,
        )
    except (ValueError, AttributeError):
        return refused("data", f"{place} is damaged", again)
    if form is not None and form != FORMAT:
        return refused(
            "data",
            f"{corpus} was prepared in format {form} by Fabula {made_by}, and this is format "
            f"{FORMAT}",
            again,
            format=form,
        )
    for path in paths:
        if path.name in known and digest_file(path) != known[path.name]:
            return refused(
                "data",
                f"{path} is not the file that its manifest.json was written with: the corpus is "
                "stale, or was changed by hand",
                again,
                sha256=known[path.name],
            )
        rows = _rows(path)
        if path.name not in known and splits.get(path.stem, rows) != rows:
            return refused(
                "data",
                f"{path} has {rows:,} documents, but its manifest.json tells of "
                f"{splits[path.stem]:,}: the corpus is stale",
                again,
                rows=rows,
            )
    other = _rendered_otherwise(paths[0])
    if other is not None:
        return refused(
            "data",
            f"{corpus} was rendered by Fabula {made_by or 'of another version'} in another text "
            f"format than today's ({other})",
            again,
            version=made_by,
        )
    if form is None or not (known or splits):
        return warning(
            "data", f"{place} does not say what its files are, so they may be stale", again
        )
    digests = "their sums agree" if known else "their sizes agree (it has no sums)"
    by = f"prepared by Fabula {made_by}" + ("" if made_by == fabula.__version__ else ", an other")
    return ok("data", f"{corpus}: {by}, {digests}, texts are rendered as today", version=made_by)


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except Exception:  # opening it for training says what is wrong with it
        return -1


def _rendered_otherwise(path: Path) -> str | None:
    """The id of a row whose prompt or completion is not what is rendered today."""
    import pyarrow.parquet as pq

    from fabula.training.documents import example_from_row, render

    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=SAMPLED), None)
    except Exception:
        return None
    rows: list[dict[str, Any]] = batch.to_pylist() if batch is not None else []
    for row in rows:
        if row.get("prompt") is None or row.get("completion") is None:
            continue
        prompt, completion = render(example_from_row(row, str(path)))
        if (prompt, completion) != (row["prompt"], row["completion"]):
            return str(row["id"])
    return None


def check_splits(recipe: Recipe, stories: bool = True) -> list[Finding]:
    """No story that is measured is learnt as well, by its id or by its text.

    Args:
        stories: compare the texts too, for which all are read once.

    Raises:
        FabulaError: a corpus or its held-out split is missing or empty.
    """
    from fabula.training.heldout import held_out_rows
    from fabula.training.sources import open_split

    if not recipe.data or not recipe.evaluation.max_documents:
        return []
    measured = held_out_rows(recipe)
    learnt = [(open_split(s.corpus, s.split), re.compile(s.only or "")) for s in recipe.data]
    kept: dict[tuple[str, str], str] = {}
    texts: dict[bytes, str] = {}
    for examples, rows in measured:
        for example in examples.read(rows):
            kept[_corpus(examples), example.id] = example.id
            texts[_digest(example.text)] = example.id
    shared: set[str] = set()
    for examples, only in {(e.name, o.pattern): (e, o) for e, o in learnt}.values():
        if isinstance(examples, TreeExamples):
            continue  # trees are held out whole, by their names
        for name, text in _told(examples, stories):
            if not only.match(name):
                continue
            same = (_corpus(examples), name) in kept
            if same or (text is not None and _digest(text) in texts):
                shared.add(name)
    figures = {"measured": len(kept), "shared": len(shared)}
    if shared:
        return [
            refused(
                "splits",
                f"{len(shared)} stories are both learnt and held out ({some(sorted(shared))}), so "
                "the held-out loss would lie",
                "learn from another split, or prepare the corpora together so that they are "
                "deduplicated",
                **figures,
            )
        ]
    how = "by id and text" if stories else "by id"
    return [ok("splits", f"none of {len(kept)} held-out stories is learnt ({how})", **figures)]


def _corpus(examples: Examples) -> str:
    return examples.name.rpartition(" (")[0]


def _told(examples: Examples, stories: bool) -> Iterable[tuple[str, str | None]]:
    """(id, text) of all stories of a split; only ids unless `stories`."""
    if isinstance(examples, ParquetExamples):
        import pyarrow.parquet as pq

        file = pq.ParquetFile(examples.path)
        columns = ["id", "text"] if stories and "text" in file.schema_arrow.names else ["id"]
        for batch in file.iter_batches(columns=columns):
            ids = map(str, batch["id"].to_pylist())
            texts = batch["text"].to_pylist() if len(columns) > 1 else [None] * batch.num_rows
            yield from zip(ids, texts, strict=True)
        return
    if isinstance(examples, SampleExamples):
        for story in load_sample(examples.split):
            yield story.id, story.text if stories else None
        return
    for example in examples.read(range(len(examples))):
        yield example.id, example.text


def _digest(text: str) -> bytes:
    """Equal for texts of equal words."""
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "replace")).digest()
