"""The corpus's papers: manifest.json for programs, CARD.md for people."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from typing import Any

from fabula.corpus.schema import SPLITS
from fabula.corpus.source import Source, file_digest
from fabula.corpus.stages import Settings
from fabula.corpus.tally import TAGS, SourceTally

FORMAT = 1
_LIBRARIES = ("pyarrow", "ftfy")


def make_manifest(
    sources: list[Source],
    settings: Settings,
    tallies: dict[str, SourceTally],
    leaked: dict[str, int],
) -> dict[str, Any]:
    """All that is to say of a corpus; the same for the same input, so without a date."""
    from fabula import __version__

    counts = {name: tally.as_data() for name, tally in tallies.items()}
    return {
        "format": FORMAT,
        "versions": {
            "fabula": __version__,
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
        "settings": asdict(settings),
        "splits": {s: sum(c["splits"][s] for c in counts.values()) for s in SPLITS},
        "documents": sum(c["documents"] for c in counts.values()),
        "stories": sum(c["kept"] for c in counts.values()),
        "words": sum(c["words"] for c in counts.values()),
        "research_only": any(s.research_only for s in sources),
        "leaks": leaked,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "licence": source.licence,
                "research_only": source.research_only,
                "files": [
                    {"name": f.name, "bytes": f.stat().st_size, "sha256": file_digest(f)}
                    for f in source.files
                ],
                **counts[source.name],
            }
            for source in sources
        ],
    }


def manifest_text(manifest: dict[str, Any]) -> str:
    """manifest.json."""
    return json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"


def corpus_card(manifest: dict[str, Any]) -> str:
    """CARD.md: what is in the corpus, where it comes from, and what it may be used for."""
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *[f"  - {{split: {s}, path: {s}.parquet}}" for s in SPLITS],
        "---",
        "# A corpus prepared by Fabula",
        "",
        f"{manifest['stories']:,} stories in {manifest['documents']:,} documents, "
        f"{manifest['words']:,} words: "
        + ", ".join(f"{manifest['splits'][s]:,} {s}" for s in SPLITS)
        + ".",
        "",
    ]
    if manifest["research_only"]:
        names = ", ".join(s["name"] for s in manifest["sources"] if s["research_only"])
        lines += [
            f"**For research only**: {names} may not be passed on, and neither may a model "
            "trained on it.",
            "",
        ]
    lines += [
        "## Sources",
        "| source | kind | licence | read | stories | documents | words |",
        "|---|---|---|---|---|---|---|",
        *[
            f"| {s['name']} | {s['kind']} | {s['licence']} | {s['read']:,} | {s['kept']:,} "
            f"| {s['documents']:,} | {s['words']:,} |"
            for s in manifest["sources"]
        ],
        "",
        "## Dropped, and why",
        "| source | reason | stories | for example |",
        "|---|---|---|---|",
        *[
            f"| {s['name']} | {reason} | {d['stories']:,} | {d['example']} |"
            for s in manifest["sources"]
            for reason, d in s["dropped"].items()
        ],
        "",
        "## Tags: share of documents that have each",
        "| source | " + " | ".join(t.replace("_", " ") for t in TAGS) + " |",
        "|---" * (len(TAGS) + 1) + "|",
        *[
            f"| {s['name']} | "
            + " | ".join(f"{s['tags'][t] / max(1, s['documents']):.0%}" for t in TAGS)
            + " |"
            for s in manifest["sources"]
        ],
        "",
        "Tags are read from the text by a program and left empty where it is unsure; those of "
        "gold-labelled sources were given by people.",
        "",
        "## Leak check",
        "Between the splits: "
        + ", ".join(f"{count} shared {what}" for what, count in manifest["leaks"].items())
        + ".",
        "",
    ]
    return "\n".join(lines)
