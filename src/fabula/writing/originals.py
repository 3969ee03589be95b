"""Makes the file by which copies are known (`copying.py`): `python -m fabula.writing.originals`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from fabula.story.sample import load_sample
from fabula.story.stock import stock_words
from fabula.story.trees import own_trees, tree_paths
from fabula.writing.copying import FILE, WINDOW, marked, windows_of, words_of
from fabula.writing.verbatim import own_wordings


def _windows() -> Iterator[Sequence[str]]:
    """All runs of the sample's stories, and of every wording of the trees."""
    for story in load_sample():
        yield from windows_of(words_of(story.text))
    yield from own_wordings().windows(WINDOW)


def make(path: Path) -> None:
    """Write the file of the package."""
    trees = (p.read_text(encoding="utf-8") for p in tree_paths(own_trees()))
    stories = (s.text for s in load_sample())
    lexicon = sorted(set(words_of(" ".join([*stories, *trees, stock_words()]))))
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            bits=marked(_windows()),
            lexicon=np.frombuffer("\n".join(lexicon).encode(), dtype=np.uint8),
        )


if __name__ == "__main__":
    make(Path(str(files("fabula.data").joinpath(FILE))))
