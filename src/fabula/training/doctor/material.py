"""What a run would learn from, of whatever kind: the first micro-batches, and how much there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabula.errors import FabulaError
from fabula.training.doctor import texts
from fabula.training.doctor.texts import Seen
from fabula.training.packing import Cursor, Stream, open_deck
from fabula.training.recipe import Recipe
from fabula.training.sitting import Announce
from fabula.training.tokenizer import TextTokenizer

TEXTS = 128
"""Texts whose spelling is looked at."""


@dataclass
class Material:
    """What a run would learn from.

    Attributes:
        batches: the texts of each micro-batch of the first window.
        plain: some of the texts as they are, before they are encoded.
        dropped: texts that are too long, of `looked`.
        what: these texts are, in the plural.
        longest: tokens of the longest.
        per_epoch: optimiser steps of an epoch, about.
        rows: of picks, as they are learnt.
        note: why there is nothing to see.
    """

    batches: list[list[Seen]] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    dropped: int = 0
    looked: int = 0
    what: str = "stories"
    longest: int | None = None
    per_epoch: float | None = None
    rows: list[Any] = field(default_factory=list)
    note: str = ""

    @property
    def texts(self) -> list[Seen]:
        """All of them."""
        return [text for batch in self.batches for text in batch]


def gather(
    recipe: Recipe, tokenizer: TextTokenizer, source: str | None, folder: Path, announce: Announce
) -> Material:
    """What a recipe's run would learn from first.

    Args:
        source: folder or hub id of the base model, which may have to draw pairs.
        folder: of the run, which may have drawn some.

    Raises:
        FabulaError: the data cannot be read.
    """
    if recipe.picks is not None:
        return _picks(recipe, tokenizer)
    if recipe.preferences is not None:
        return _preferred(recipe, tokenizer, source, folder, announce)
    return _stories(recipe, tokenizer)


def _stories(recipe: Recipe, tokenizer: TextTokenizer) -> Material:
    stream = Stream(open_deck(recipe), tokenizer, tokenizer.pad, recipe, Cursor())
    batches, plain, dropped = texts.stories(stream, tokenizer)
    looked = len(plain) // 2
    ahead = len(stream.deck.order(0)) / looked * len(batches)
    every = tokenizer.encode_batch(plain)
    longest = max(len(p) + len(c) for p, c in zip(every[::2], every[1::2], strict=True))
    longest += 1 + (tokenizer.bos is not None)
    return Material(
        batches, plain, dropped, looked, "stories", longest, ahead / recipe.accumulation
    )


def _preferred(
    recipe: Recipe, tokenizer: TextTokenizer, source: str | None, folder: Path, announce: Announce
) -> Material:
    """Pairs or thumbs: a file of them, those that the run has drawn, or a few drawn now."""
    from fabula.training.preferences import pairs, run, thumbs

    preferences = recipe.preferences
    assert preferences is not None
    kto = preferences.loss == "kto"
    what = "thumbs" if kto else "pairs"
    read: Any = thumbs.read_thumbs if kto else pairs.read_pairs
    drawn: Any = thumbs.drawn_thumbs if kto else pairs.drawn_pairs
    encode: Any = run._encode_thumbs if kto else run._encode_pairs
    kept = folder / f"{what}.jsonl"
    per_epoch = True
    if preferences.file is not None:
        given, _ = pairs.parted(read(Path(preferences.file).expanduser()), preferences.held_out)
    elif kept.is_file() and kept.stat().st_size:
        given = drawn(kept)
    else:
        per_epoch = False
        try:
            given = _drawn_now(recipe, source, announce)
        except FabulaError as error:
            return Material(note=f"the {what} are drawn by the base model: {error}")
        if not given:
            return Material(note="of the first 3 briefs no two stories differ by the margin")
    encoded = encode(given, tokenizer, recipe.sequence_length)
    size = recipe.micro_batch_size
    fields = ("prompt", "completion") if kto else ("prompt", "chosen", "rejected")
    return Material(
        batches=[
            texts.judged(encoded[i : i + size], tokenizer.pad) for i in range(0, len(encoded), size)
        ],
        plain=[getattr(one, field) for one in given[:TEXTS] for field in fields],
        dropped=len(given) - len(encoded),
        looked=len(given),
        what=what,
        per_epoch=len(encoded) / recipe.batch_size if per_epoch else None,
    )


def _drawn_now(recipe: Recipe, source: str | None, announce: Announce) -> list[Any]:
    """What the base model's own stories for a few briefs give."""
    from fabula.engines import open_engine
    from fabula.training.preferences import pairs, thumbs
    from fabula.training.preferences.drawing import first_examples

    preferences = recipe.preferences
    assert preferences is not None
    engine = open_engine(source or "")
    found: list[Any] = []
    for number, example in enumerate(first_examples(open_deck(recipe), 3)):
        announce.note(f"Drawing stories to look at, for brief {number + 1} of 3.")
        if preferences.loss == "kto":
            found += thumbs.draw_thumbs(engine, example, preferences, number)
        elif (pair := pairs.draw_pair(engine, example, preferences, number)) is not None:
            found.append(pair)
        if len(found) >= min(recipe.micro_batch_size, 2):
            break
    return found


def _picks(recipe: Recipe, tokenizer: TextTokenizer) -> Material:
    from fabula.training.picks import branches
    from fabula.training.picks.places import parted, read_picks
    from fabula.training.picks.run import _fewer

    picks = recipe.picks
    assert picks is not None
    paths = [Path(file).expanduser() for file in picks.files]
    read, _ = parted([s for path in paths for s in read_picks(path)], picks.held_out)
    learnt = [_fewer(story, picks) for story in read]
    rows = [
        row
        for story in learnt
        for row in branches.encode(story, tokenizer, recipe.sequence_length, picks.row)
    ]
    places = sum(len(story.places) for story in learnt)
    plain = [c for s in learnt[:TEXTS] for p in s.places[:2] for c in p.candidates]
    return Material(
        batches=[texts.picks([row]) for row in rows],
        plain=plain,
        dropped=places - sum(len(row.picks) for row in rows),
        looked=places,
        what="places",
        per_epoch=len(rows) / recipe.batch_size,
        rows=rows,
    )
