"""The stream of micro-batches: a pure function of the recipe's seed, made a window at a time.

Each epoch shuffles all documents of all sources; a window of `WINDOW` of them is varied, encoded
and packed, best fit first. Packed, a micro-batch is one long row that holds as many tokens as its
`micro_batch_size` rows would, and so hardly any padding; its documents have positions from 0, and
`attention.py` and `loss.py` keep them apart. Micro-batches are shuffled within the window.
Documents longer than `sequence_length` are dropped and counted, never cut.

Every batch carries the cursor from which the stream goes on after it, so that a resumed run starts
in the right window without replaying an epoch.
"""

from __future__ import annotations

import bisect
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from fabula.corpus.augment import AugmentSettings, Example, augment
from fabula.errors import FabulaError
from fabula.training.documents import IGNORED, Encoder, encode_documents, vary
from fabula.training.recipe import Recipe
from fabula.training.sources import Chosen, Examples, open_split

WINDOW = 512
"""Documents packed together."""
ALIGNMENT = 64
"""Widths of batches are multiples of this many tokens."""
Batch = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """One encoded document: ids and labels as `encode_document` returns them."""

    id: str
    source: int
    ids: list[int]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Cursor:
    """Where the stream stands: the next micro-batch to come."""

    epoch: int = 0
    window: int = 0
    batch: int = 0


@dataclass(frozen=True)
class Load:
    """What lies in a batch, and where the stream stands after it.

    Attributes:
        ids: names of the documents.
        cursor: the next micro-batch.
        epochs: share of the data seen so far, in epochs.
        dropped: documents too long to be learnt, met since the batch before.
        tokens: tokens without padding.
    """

    ids: list[str]
    cursor: Cursor
    epochs: float
    dropped: int
    tokens: int


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of document numbers, no row longer than `capacity`: best-fit decreasing.

    Deterministic; every length has to be at most `capacity`.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (room left, row), sorted
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        length = lengths[number]
        place = bisect.bisect_left(free, (length, -1))
        if place == len(free):
            rows.append([number])
            bisect.insort(free, (capacity - length, len(rows) - 1))
        else:
            room, row = free.pop(place)
            rows[row].append(number)
            bisect.insort(free, (room - length, row))
    return rows


def collate(rows: list[list[Document]], pad: int, prompt_weight: float) -> Batch:
    """Tensors of one micro-batch, all of shape [rows, longest row].

    `input_ids`; `position_ids`, from 0 in each document (padding counts as one);
    `targets`, the next token of the same document; `weights`, its weight in the loss (float32):
    1 where it is learnt, `prompt_weight` in the prompt, 0 elsewhere.
    """
    # Few different widths: kernels are made, and kept in memory, for each shape they meet.
    width = -(-max(sum(map(len, row)) for row in rows) // ALIGNMENT) * ALIGNMENT
    shape = (len(rows), width)
    ids = torch.full(shape, pad, dtype=torch.long)
    targets = torch.zeros(shape, dtype=torch.long)
    weights = torch.zeros(shape, dtype=torch.float32)
    positions = torch.zeros(shape, dtype=torch.long)
    for r, row in enumerate(rows):
        start = 0
        for document in row:
            end = start + len(document)
            ids[r, start:end] = torch.tensor(document.ids)
            positions[r, start:end] = torch.arange(len(document))
            labels = torch.tensor(document.labels[1:])
            targets[r, start : end - 1] = ids[r, start + 1 : end]
            weights[r, start : end - 1] = torch.where(labels != IGNORED, 1.0, prompt_weight)
            start = end
        positions[r, start:] = torch.arange(width - start)
    return {"input_ids": ids, "position_ids": positions, "targets": targets, "weights": weights}


def divided(batch: Batch, parts: int) -> list[Batch]:
    """A micro-batch of `collate` as up to `parts` smaller ones of whole documents, in order.

    What they lose together is what it loses: documents do not see each other, and those without a
    learnt token (padding among them) are left out.
    """
    positions, weights = batch["position_ids"], batch["weights"]
    pieces: list[tuple[int, int, int]] = []  # (row, start, end)
    for row in range(positions.shape[0]):
        starts = torch.nonzero(positions[row] == 0).flatten().tolist()
        for start, end in pairwise([*starts, positions.shape[1]]):
            if bool((weights[row, start:end] != 0).any()):
                pieces.append((row, start, end))
    total = sum(end - start for _, start, end in pieces)
    groups: list[list[tuple[int, int, int]]] = [[] for _ in range(parts)]
    before = 0
    for row, start, end in pieces:
        middle = before + (end - start) / 2
        groups[min(int(middle * parts / total), parts - 1)].append((row, start, end))
        before += end - start
    packed = positions.shape[0] == 1
    found = []
    for group in filter(None, groups):
        rows = [group] if packed else [[piece] for piece in group]
        widest = max(sum(end - start for _, start, end in row) for row in rows)
        width = -(-widest // ALIGNMENT) * ALIGNMENT
        part = {k: torch.zeros(len(rows), width, dtype=batch[k].dtype) for k in _TENSORS}
        for place, row_of in enumerate(rows):
            at = 0
            for row, start, end in row_of:
                for key in _TENSORS:
                    part[key][place, at : at + end - start] = batch[key][row, start:end]
                at += end - start
            part["position_ids"][place, at:] = torch.arange(width - at)
        found.append(part)
    return found


_TENSORS = ("input_ids", "position_ids", "targets", "weights")


class Deck:
    """All sources of a recipe, in the order of each epoch."""

    def __init__(self, sources: list[tuple[Examples, float]], recipe: Recipe) -> None:
        self.sources = sources
        self.seed = recipe.seed
        self.augmentation = recipe.augmentation
        rates = {name: getattr(recipe.augmentation, name) for name in AugmentSettings.model_fields}
        self.changes = AugmentSettings(**rates) if any(rates.values()) else None
        self._order: tuple[int, list[tuple[int, int]]] = (-1, [])
        if not self.order(0):
            raise FabulaError("The recipe's data hold no story; give a corpus or a higher repeat.")

    def order(self, epoch: int) -> list[tuple[int, int]]:
        """(source, row) of every document of an epoch, shuffled."""
        if self._order[0] != epoch:
            rng = random.Random(f"{self.seed}/order/{epoch}")
            entries = []
            for number, (examples, repeat) in enumerate(self.sources):
                size, whole = len(examples), int(repeat)
                extra = sorted(rng.sample(range(size), round((repeat - whole) * size)))
                entries += [(number, row) for row in [*list(range(size)) * whole, *extra]]
            rng.shuffle(entries)
            self._order = (epoch, entries)
        return self._order[1]

    def texts(self, epoch: int, window: int) -> list[tuple[str, int, str, str]]:
        """(id, source, prompt, completion) of a window's documents, varied."""
        first = window * WINDOW
        entries = self.order(epoch)[first : first + WINDOW]
        found: dict[int, Example] = {}
        for number, (examples, _) in enumerate(self.sources):
            at = [i for i, (source, _) in enumerate(entries) if source == number]
            found.update(zip(at, examples.read([entries[i][1] for i in at]), strict=True))
        rows = []
        for i, (source, _) in enumerate(entries):
            rng = random.Random(f"{self.seed}/{epoch}/{first + i}")
            example = found[i]
            if self.changes is not None:
                example = augment(example, rng, self.changes)
            rows.append((example.id, source, *vary(example, self.augmentation, rng)))
        return rows

    def windows(self, epoch: int) -> int:
        """Number of windows of an epoch."""
        return -(-len(self.order(epoch)) // WINDOW)

    def documents(self, encoder: Encoder, epoch: int, window: int) -> list[Document]:
        """A window's documents, encoded."""
        texts = self.texts(epoch, window)
        encoded = encode_documents(encoder, [(prompt, text) for _, _, prompt, text in texts])
        return [
            Document(name, source, ids, labels)
            for (name, source, _, _), (ids, labels) in zip(texts, encoded, strict=True)
        ]


def open_deck(recipe: Recipe) -> Deck:
    """Open the data of a recipe.

    Raises:
        FabulaError: a corpus is missing or empty, or none of its stories is chosen.
    """
    sources = []
    for source in recipe.data:
        examples = open_split(source.corpus, source.split)
        if source.only is not None:
            examples = Chosen(examples, source.only)
            if not len(examples):
                raise FabulaError(
                    f"No story of {source.corpus} has an id that begins as 'only: {source.only}' "
                    "says; change the pattern."
                )
        if not len(examples):
            raise FabulaError(
                f"The {source.split} split of {source.corpus} is empty; prepare the corpus with "
                "more stories."
            )
        sources.append((examples, source.repeat))
    return Deck(sources, recipe)


class Stream(IterableDataset[Batch]):
    """Micro-batches without end, epoch after epoch, from a cursor on."""

    def __init__(
        self, deck: Deck, encoder: Encoder, pad: int, recipe: Recipe, start: Cursor
    ) -> None:
        self.deck = deck
        self.encoder = encoder
        self.pad = pad
        self.recipe = recipe
        self.start = start

    def rows(self, epoch: int, window: int) -> tuple[list[list[list[Document]]], int]:
        """A window's micro-batches (rows of documents), and how many documents were too long."""
        documents = self.deck.documents(self.encoder, epoch, window)
        recipe = self.recipe
        fitting = [d for d in documents if len(d) <= recipe.sequence_length]
        dropped = len(documents) - len(fitting)
        size = recipe.micro_batch_size
        if not recipe.packing:
            rows = [[d] for d in fitting]
            return [rows[i : i + size] for i in range(0, len(rows), size)], dropped
        packed = pack([len(d) for d in fitting], recipe.sequence_length * size)
        random.Random(f"{recipe.seed}/batches/{epoch}/{window}").shuffle(packed)
        return [[[fitting[n] for n in row]] for row in packed], dropped

    def batches(self, epoch: int, window: int) -> tuple[list[Batch], int]:
        """A window's micro-batches as tensors, each with its load, and how many were too long."""
        made, dropped = self.rows(epoch, window)
        total = len(self.deck.order(epoch))
        size = min(WINDOW, total - window * WINDOW)
        found = []
        for number, rows in enumerate(made):
            batch = collate(rows, self.pad, self.recipe.loss_on_prompt)
            documents = [d for row in rows for d in row]
            batch["load"] = Load(
                ids=[d.id for d in documents],
                cursor=Cursor(epoch, window, number + 1),
                epochs=epoch + (window * WINDOW + size * (number + 1) / len(made)) / total,
                dropped=0,
                tokens=sum(map(len, documents)),
            )
            found.append(batch)
        return found, dropped

    def _windows(self) -> Iterator[tuple[list[Batch], int]]:
        """What `batches` gives for each window from the start's on, without end."""
        places = _Places(self.deck, self.start.epoch, self.start.window)
        if not self.recipe.workers:
            for epoch, window in places:
                yield self.batches(epoch, window)
        # The parent's threads do not live on in forked workers, which the tokenizer must know.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        # Its own generator: opening a loader draws from one, which would shift dropout on resume.
        yield from DataLoader(
            _Made(self),
            sampler=places,
            batch_size=None,
            num_workers=self.recipe.workers,
            generator=torch.Generator(),
        )

    def __iter__(self) -> Iterator[Batch]:
        skip, dropped, barren = self.start.batch, 0, 0
        for made, too_long in self._windows():
            # A resumed run met this window's long documents before.
            dropped += too_long if skip == 0 else 0
            barren = 0 if made else barren + 1
            if barren > 2 * self.deck.windows(0):
                raise FabulaError("No document fits sequence_length; raise it.")
            for batch in made[skip:]:
                batch["load"] = replace(batch["load"], dropped=dropped)
                dropped = 0
                yield batch
            skip = 0


class _Places(Sampler[tuple[int, int]]):
    """(epoch, window) from a start on, without end."""

    def __init__(self, deck: Deck, epoch: int, window: int) -> None:
        self.deck, self.epoch, self.window = deck, epoch, window

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, window = self.epoch, self.window
        while True:
            for number in range(window, self.deck.windows(epoch)):
                yield epoch, number
            epoch, window = epoch + 1, 0


class _Made(Dataset[tuple[list[Batch], int]]):
    """A stream's windows by their place, for worker processes."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def __getitem__(self, place: tuple[int, int]) -> tuple[list[Batch], int]:
        return self.stream.batches(*place)


def check_ids(texts: Iterable[Sequence[int]], vocabulary: int) -> None:
    """Refuse a tokenizer that gives ids which the model does not know.

    Raises:
        FabulaError: it does.
    """
    highest = max(map(max, texts))
    if highest >= vocabulary:
        raise FabulaError(
            f"The tokenizer gives the id {highest}, but the model knows only {vocabulary}; use the "
            "tokenizer that belongs to the weights."
        )


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The numbers below `count` in the order of an epoch of `shuffled`."""
    order = list(range(count))
    random.Random(f"{seed}/order/{epoch}").shuffle(order)
    return order


def shuffled(
    count: int, size: int, seed: int, start: Cursor
) -> Iterator[tuple[list[int], Cursor, float]]:
    """Micro-batches of numbers below `count` without end, each epoch in another order.

    Yields:
        The numbers (the last of an epoch may be fewer), the cursor after them, epochs by then.
    """
    epoch, first, batches = start.epoch, start.batch, -(-count // size)
    while True:
        order = epoch_order(count, seed, epoch)
        for number in range(first, batches):
            chosen = order[number * size : (number + 1) * size]
            yield chosen, Cursor(epoch, 0, number + 1), epoch + (number + 1) / batches
        epoch, first = epoch + 1, 0


@dataclass(frozen=True)
class Look:
    """What a first look at the data found.

    Attributes:
        stories: documents of an epoch.
        looked: documents looked at (the first window).
        too_long: of these, longer than sequence_length.
        tokens: mean tokens of a document that fits.
        learnt: share of the tokens whose loss counts.
        longest: tokens of the longest document.
    """

    stories: int
    looked: int
    too_long: int
    tokens: float
    learnt: float
    longest: int


def look(stream: Stream, vocabulary: int) -> Look:
    """Look at the first window before time is spent.

    Raises:
        FabulaError: nothing fits sequence_length, or the tokenizer does not belong to the model.
    """
    documents = stream.deck.documents(stream.encoder, 0, 0)
    limit = stream.recipe.sequence_length
    check_ids((d.ids for d in documents), vocabulary)
    fitting = [d for d in documents if len(d) <= limit]
    longest = max(map(len, documents))
    if not fitting:
        shortest = min(map(len, documents))
        raise FabulaError(
            f"No document fits a sequence_length of {limit} tokens (the shortest has {shortest}); "
            "raise it, or prepare shorter stories."
        )
    tokens = sum(map(len, fitting))
    learnt = sum(label != IGNORED for d in fitting for label in d.labels)
    if stream.recipe.loss_on_prompt:
        learnt = tokens - len(fitting)
    return Look(
        stories=len(stream.deck.order(0)),
        looked=len(documents),
        too_long=len(documents) - len(fitting),
        tokens=tokens / len(fitting),
        learnt=learnt / tokens,
        longest=longest,
    )
