"""What a run draws from its base model before it learns: a file that grows, story by story."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fabula.corpus.augment import Example
from fabula.errors import FabulaError
from fabula.training.heldout import held_out_rows
from fabula.training.packing import Deck
from fabula.training.recipe import Recipe

READ_AT_ONCE = 256


def first_examples(deck: Deck, most: int | None) -> list[Example]:
    """The stories of the first epoch, in its order; at most so many."""
    order = deck.order(0)[:most]
    found: dict[tuple[int, int], Example] = {}
    for number, (examples, _) in enumerate(deck.sources):
        rows = sorted({row for source, row in order if source == number})
        for start in range(0, len(rows), READ_AT_ONCE):
            part = rows[start : start + READ_AT_ONCE]
            read = examples.read(part)
            found.update({(number, r): e for r, e in zip(part, read, strict=True)})
    return [found[place] for place in order]


def held_out_examples(recipe: Recipe) -> list[Example]:
    """The stories that are held out and measured.

    Raises:
        FabulaError: the recipe holds none out.
    """
    if not recipe.evaluation.max_documents:
        raise FabulaError(
            "A preference that is not measured is worth nothing: give evaluation.max_documents."
        )
    return [e for examples, rows in held_out_rows(recipe) for e in examples.read(rows)]


def draw_lines(
    path: Path,
    examples: Sequence[Example],
    line_of: Callable[[int, Example], dict[str, Any]],
    tick: Callable[[int, int], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Draw a line for each story into a file of JSON lines; what it has is not drawn anew.

    Args:
        line_of: draws, given the story's number and the story.
        tick: is told after each story how many are done, and of how many.
        stop: asked after each story; True leaves the rest for another time.

    Returns:
        Whether all are done.

    Raises:
        FabulaError: the file cannot be written.
    """
    seen = _seen(path)
    try:
        with path.open("a", encoding="utf-8") as file:
            for number, example in enumerate(examples):
                if number >= seen:
                    file.write(json.dumps(line_of(number, example), ensure_ascii=False) + "\n")
                    file.flush()
                    tick(number + 1, len(examples))
                if stop():
                    return False
    except OSError as error:
        raise FabulaError(f"cannot write {path}: {error.strerror}.") from None
    return True


def _seen(path: Path) -> int:
    """Lines of the file that are whole; half a line, of a killed sitting, is cut off."""
    if not path.is_file():
        return 0
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        path.write_bytes(whole)
    return whole.count(b"\n")


def drawn_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of such a file."""
    found: list[dict[str, Any]] = []
    for line in path.read_text("utf-8").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
