"""manifest.json: all that is to say of a corpus, for programs; report/ tells it to people."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from typing import Any

from fabula.corpus.report.quality import tag_quality
from fabula.corpus.schema import SPLITS
from fabula.corpus.source import Source
from fabula.corpus.stages import Settings
from fabula.corpus.tally import SourceTally

FORMAT = 1
_LIBRARIES = ("pyarrow", "ftfy")
_LABELLED = ("sample", "gold", "trees")
"""Kinds of source whose stories all come with their labels."""


def make_manifest(
    sources: list[Source],
    settings: Settings,
    tallies: dict[str, SourceTally],
    leaked: dict[str, int],
    against: list[dict[str, Any]],
) -> dict[str, Any]:
    """All that is to say of a corpus; the same for the same input, so without a date."""
    from fabula import __version__

    counts = {name: tally.as_data() for name, tally in tallies.items()}
    read = any(s.kind not in _LABELLED and counts[s.name]["documents"] for s in sources)
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
        "against": against,
        # Of the reader that gave the tags, so that a report made later tells of the same one.
        "quality": tag_quality(settings.min_confidence) if read else None,
        "sources": [
            {
                "name": source.name,
                "kind": source.kind,
                "licence": source.licence,
                "research_only": source.research_only,
                "files": source.file_records(),
                **counts[source.name],
            }
            for source in sources
        ],
    }


def manifest_text(manifest: dict[str, Any]) -> str:
    """manifest.json."""
    return json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
