"""The report on a prepared corpus: REPORT.html to look at, CARD.md to pass on with it.

Both are a pure function of the folder (manifest.json and the three Parquet files), so the same
corpus gives the same bytes, and a report can be made anew at any time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fabula.corpus.report.card import make_card
from fabula.corpus.report.census import take_census
from fabula.corpus.report.page import make_page
from fabula.corpus.report.quality import tag_quality
from fabula.corpus.report.samples import choose, fetch
from fabula.corpus.schema import SPLITS
from fabula.errors import FabulaError
from fabula.story.files import parse_data, read_text, write_atomic

__all__ = ["CARD", "REPORT", "read_manifest", "tag_quality", "write_report"]

REPORT = "REPORT.html"
CARD = "CARD.md"
_NEEDED = {"sources": list, "splits": dict, "documents": int, "stories": int, "words": int}


def write_report(folder: Path) -> dict[str, Any]:
    """Write REPORT.html and CARD.md into a prepared corpus.

    Args:
        folder: as `fabula prepare` made it.

    Returns:
        The corpus's manifest.

    Raises:
        FabulaError: it is no corpus, its files are damaged or disagree, or it cannot be written.
            Then the papers are as they were.
    """
    manifest = read_manifest(folder)
    census = take_census(folder, [s["name"] for s in manifest["sources"]])
    counted = census.total
    if counted != manifest["documents"]:
        raise FabulaError(
            f"{folder}: manifest.json tells of {manifest['documents']:,} documents, the Parquet "
            f"files hold {counted:,}; prepare the corpus again."
        )
    samples = fetch(folder, choose(census))
    page, card = make_page(manifest, census, samples), make_card(manifest, census)
    write_atomic(folder / REPORT, page)
    write_atomic(folder / CARD, card)
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """manifest.json of a prepared corpus, of this version of Fabula or an earlier one.

    Raises:
        FabulaError: there is none, or it lacks what every corpus has.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise FabulaError(
            f"{folder} is not a prepared corpus (it has no manifest.json); make one with "
            "'fabula prepare'."
        )
    text = read_text(path)
    try:
        manifest = json.loads(text)
    except ValueError:
        manifest = parse_data(text, str(path))
    wrong = f"{path} is not what 'fabula prepare' writes; prepare the corpus again"
    if not isinstance(manifest, dict):
        raise FabulaError(f"{wrong}.")
    for key, kind in _NEEDED.items():
        if not isinstance(manifest.get(key), kind):
            raise FabulaError(f"{wrong} (its '{key}' is missing or wrong).")
    for source in manifest["sources"]:
        if not isinstance(source, dict) or not isinstance(source.get("name"), str):
            raise FabulaError(f"{wrong} (a source has no name).")
    if any(not isinstance(manifest["splits"].get(s), int) for s in SPLITS):
        raise FabulaError(f"{wrong} (its 'splits' lacks one of {', '.join(SPLITS)}).")
    return manifest
