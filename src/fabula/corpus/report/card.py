"""CARD.md: a dataset card, as hubs of data sets read them, with the report's figures in short."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from fabula.corpus.report import facts
from fabula.corpus.report.census import LABELS, Census
from fabula.corpus.report.reasons import explain
from fabula.corpus.schema import SPLITS
from fabula.corpus.tally import TAGS

_LICENCES = {
    "apache-2.0": "apache-2.0", "apache 2.0": "apache-2.0", "mit": "mit", "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0", "cc-by-4.0": "cc-by-4.0", "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cdla-sharing-1.0": "cdla-sharing-1.0", "cc-by-nc-4.0": "cc-by-nc-4.0", "pddl": "pddl",
}  # fmt: skip
_SIZES = ((1e3, "n<1K"), (1e4, "1K<n<10K"), (1e5, "10K<n<100K"), (1e6, "100K<n<1M"),
          (1e7, "1M<n<10M"))  # fmt: skip


def cell(text: str) -> str:
    """A text as a cell of a Markdown table: no new cell, line, or HTML."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    shown = shown.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for mark in "|[]*_`":
        shown = shown.replace(mark, "\\" + mark)
    return " ".join(shown.split()) or "-"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; its cells are escaped."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def front_matter(manifest: dict[str, Any]) -> str:
    """The card's YAML: splits with something in them, licence, size, task, language."""
    known = {_LICENCES.get(str(s.get("licence", "")).strip().lower()) for s in manifest["sources"]}
    licences = sorted(name for name in known if name is not None)
    single = None not in known and not manifest.get("research_only")
    data: dict[str, Any] = {
        "pretty_name": "A corpus of short stories prepared by Fabula",
        "language": ["en"],
        "license": (licences[0] if len(licences) == 1 else licences) if single else "other",
    }
    if not single:
        research = manifest.get("research_only")
        data["license_name"] = "research-only" if research else "see-sources"
    data |= {
        "task_categories": ["text-generation"],
        "size_categories": [
            next((s for most, s in _SIZES if manifest["documents"] < most), "n>10M")
        ],
        "tags": ["short-stories", "controlled-generation", "outlines"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": {"valid": "validation"}.get(s, s), "path": f"{s}.parquet"}
                    for s in SPLITS
                    if manifest["splits"][s]
                ],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(data, sort_keys=False, allow_unicode=True)}---"


def make_card(manifest: dict[str, Any], census: Census) -> str:
    """The whole card as Markdown."""
    parts = [
        front_matter(manifest),
        "# A corpus prepared by Fabula",
        f"{manifest['stories']:,} stories in {manifest['documents']:,} documents, "
        f"{manifest['words']:,} words: {facts.split_counts(manifest)}. One row is one document: "
        "what a reader's brief would say of the story, an outline of five beats, and the text. "
        "REPORT.html shows all of this with plots and samples.",
    ]
    if manifest.get("research_only"):
        names = cell(", ".join(s["name"] for s in manifest["sources"] if s.get("research_only")))
        parts.append(
            f"**For research only**: {names} may not be passed on, and neither may a model "
            "trained on it."
        )
    parts += _sources(manifest, census)
    parts += _dropped(manifest)
    parts += _lengths(census)
    parts += _tags(manifest, census)
    leak = facts.leak_sentence(manifest)
    if leak is not None:
        told = [leak[1], *facts.against_sentences(manifest)]
        parts += ["## Leak check", *map(cell, told)]
    parts += [
        "## Leanings",
        "Counted, not judged"
        + (
            f"; pronouns in {census.leanings.documents:,} documents chosen by a hash."
            if census.leanings.documents < census.total
            else "."
        ),
        table(("what", "figure"), facts.leanings(census)),
        "## Known limits",
        "\n".join(f"- {line}" for line in facts.LIMITS),
        "## Loading",
        "```python\n" + "\n".join(LOADING) + "```",
    ]
    return "\n\n".join(parts) + "\n"


LOADING = (
    "import datasets\n"
    'data = datasets.load_dataset("parquet", data_files={"train": "train.parquet"})["train"]\n'
    'pairs = data.select_columns(["prompt", "completion"])  # as TRL\'s SFTTrainer takes them\n',
    'import polars\npolars.scan_parquet("*.parquet").group_by("source").len().collect()\n',
    "import duckdb\n"
    "duckdb.sql(\"SELECT brief->>'$.genre' AS genre, count(*) FROM '*.parquet' GROUP BY 1\")\n",
    "from fabula.corpus import example_rows, load_corpus\n"
    'for row in example_rows(load_corpus(".", "train")):\n'
    "    print(row.brief.genre, row.outline, row.text[:80])\n",
)
"""How others read the corpus, as Python: one block a library."""


def _sources(manifest: dict[str, Any], census: Census) -> list[str]:
    rows = [
        (
            s["name"], str(s.get("kind", "-")), str(s.get("licence", "-")),
            f"{s.get('read', 0):,}", f"{s.get('kept', 0):,}", f"{s.get('documents', 0):,}",
            f"{s.get('words', 0):,}", facts.label_origin(s, census),
        )
        for s in manifest["sources"]
    ]  # fmt: skip
    heads = ("source", "kind", "licence", "read", "stories", "documents", "words", "labels")
    return ["## Sources", table(heads, rows)]


def _dropped(manifest: dict[str, Any]) -> list[str]:
    rows = [
        (s["name"], reason, f"{d['stories']:,}", d["example"], explain(reason)[1])
        for s in manifest["sources"]
        for reason, d in facts.dropped(s).items()
    ]
    if not rows:
        return ["## Dropped, and why", "Nothing was dropped."]
    heads = ("source", "reason", "stories", "for example", "why")
    return ["## Dropped, and why", table(heads, rows)]


def _lengths(census: Census) -> list[str]:
    rows = [
        (name, *(f"{lengths.at(p):,}" for p in (10, 50, 90, 100)))
        for name, lengths in census.lengths.items()
    ]
    return [
        "## Words a story",
        table(("source", "10% have at most", "median", "90% have at most", "longest"), rows),
    ]


def _tags(manifest: dict[str, Any], census: Census) -> list[str]:
    parts = [
        "## Tags: share of documents that have each",
        table(
            ("source", *(t.replace("_", " ") for t in TAGS)),
            [
                (s["name"], *(
                    facts.percent(s["tags"].get(t, 0), s.get("documents", 0)) for t in TAGS
                ))
                for s in manifest["sources"]
                if isinstance(s.get("tags"), dict)
            ],
        ),
        table(
            ("tag", "values (documents)"),
            [
                (label.replace("_", " "), ", ".join(
                    f"{v} {sum(n.values()):,}" for v, n in list(census.labels[label].items())[:20]
                ))
                for label in LABELS
            ],
        ),
    ]  # fmt: skip
    if facts.read_documents(census):
        parts.append(
            "Tags are read from the text by a program and left empty where it is unsure, but for "
            "sources whose labels came with the stories (see above)."
        )
    quality = manifest.get("quality")
    if isinstance(quality, dict) and facts.read_documents(census):
        rows = [
            (
                row["field"], facts.RIGHT_IF.get(row["measure"], row["measure"]),
                f"{row['precision']:.2f}", f"{row['recall']:.2f}",
                f"{row['baseline']:.2f}",
                facts.second_annotator(row["field"]),
            )
            for row in quality["fields"]
        ]  # fmt: skip
        parts += [
            "## How far read tags can be trusted",
            f"Measured on {quality['stories']} labelled stories that nothing was fitted to, with "
            f"tags read with less confidence than {quality['min_confidence']:g} left empty, as "
            "here.",
            table(
                ("field", "counts as right", "right where given", "found of those labelled",
                 "baseline", "a second annotator"),
                rows,
            ),
        ]  # fmt: skip
    return parts
