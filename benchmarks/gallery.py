"""Write docs/gallery.md: the stories of seeds 1 to 20 for drawn briefs 1 to 20, none chosen.

    python benchmarks/gallery.py

Each stands with its brief, its outline and its receipt, as `fabula write` gives them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fabula.engines import open_engine
from fabula.evaluation.drawn import draw_brief
from fabula.story import Story, render_brief, write_atomic
from fabula.writing import Writer

PLACE = Path(__file__).parent.parent / "docs" / "gallery.md"


def section(number: int, story: Story) -> str:
    """One story of the gallery, as Markdown."""
    assert story.outline is not None
    assert story.receipt is not None
    kept = [w for w in story.receipt.wishes if w.kept]
    missed = [w for w in story.receipt.wishes if not w.kept]
    outline = "\n".join(f"{n}. {b.summary}" for n, b in enumerate(story.outline.beats, 1))
    lacks = ", ".join(f"{w.wish} *{w.value}* ({w.note or 'missing'})" for w in missed)
    return (
        f"## {number}\n\n```text\n{render_brief(story.brief).strip()}\n```\n\n{outline}\n\n"
        + "\n\n".join(f"> {line}" for line in story.text.split("\n\n"))
        + f"\n\nKept: {len(kept)} of {len(story.receipt.wishes)} wishes"
        + (f"; missed: {lacks}.\n" if lacks else ".\n")
    )


def main() -> None:
    """Write the gallery."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder; by default the embedded model")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--out", type=Path, default=PLACE)
    given = parser.parse_args()
    writer = Writer(open_engine(given.model))
    parts = [
        f"# {given.count} stories, none chosen\n\nThe embedded model's stories of seeds 1 to "
        f"{given.count} for drawn briefs 1 to {given.count} (`fabula evaluate --drawn` draws the "
        "same). `python benchmarks/gallery.py` writes this page.\n"
    ]
    for number in range(1, given.count + 1):
        parts.append(section(number, writer.write(draw_brief(number), number)))
        sys.stderr.write(f"{number} of {given.count}\n")
    write_atomic(given.out, "\n".join(parts))


if __name__ == "__main__":
    main()
