"""The stream: packing, order, cursors, and documents that do not fit."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_recipe import recipe_data

from fabula.errors import FabulaError
from fabula.training import packing
from fabula.training.packing import Cursor, Deck, Document, Stream, collate, look, pack
from fabula.training.recipe import Recipe
from fabula.training.sources import open_split
from fabula.training.tokenizer import open_tokenizer

torch = pytest.importorskip("torch")


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(50, 90))
def test_packing_keeps_every_document_once_and_no_row_too_long(
    lengths: list[int], capacity: int
) -> None:
    rows = pack(lengths, capacity)
    assert sorted(n for row in rows for n in row) == list(range(len(lengths)))
    assert all(sum(lengths[n] for n in row) <= capacity for row in rows)
    # Best fit leaves at most one row half empty.
    assert sum(sum(lengths[n] for n in row) * 2 < capacity for row in rows) <= 1


def test_a_batch_predicts_the_next_token_of_the_same_document_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "ALIGNMENT", 1)
    documents = [Document("a", 0, [0, 5, 6, 1], [-100, -100, 6, 1])]
    documents.append(Document("b", 0, [0, 7, 1], [-100, 7, 1]))
    batch = collate([documents, documents[:1]], pad=2, prompt_weight=0.0)
    assert batch["input_ids"].tolist() == [[0, 5, 6, 1, 0, 7, 1], [0, 5, 6, 1, 2, 2, 2]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 3, 0, 1, 2]]
    assert batch["weights"].tolist() == [[0, 1, 1, 0, 1, 1, 0], [0, 1, 1, 0, 0, 0, 0]]
    learnt = batch["targets"][batch["weights"] > 0].tolist()
    assert learnt == [6, 1, 7, 1, 6, 1]
    weighted = collate([documents], pad=2, prompt_weight=0.25)["weights"].tolist()
    assert weighted == [[0.25, 1, 1, 0, 1, 1, 0]]


def stream(corpus: Path, tokenizer: Path, start: Cursor | None = None, **changes: Any) -> Stream:
    recipe = Recipe.model_validate(recipe_data(corpus, **changes))
    deck = Deck([(open_split(s.corpus, s.split), s.repeat) for s in recipe.data], recipe)
    opened = open_tokenizer(str(tokenizer))
    return Stream(deck, opened, opened.pad, recipe, start or Cursor())


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one["load"] == two["load"] and all(
        torch.equal(one[k], two[k]) for k in one if k != "load"
    )


def test_the_stream_goes_on_from_every_cursor_as_if_it_had_never_stopped(
    corpus: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "WINDOW", 16)
    whole = list(islice(stream(corpus, tokenizer_folder), 60))
    assert whole[-1]["load"].epochs > 1.5
    for at in (0, 3, 17, 40):
        resumed = stream(corpus, tokenizer_folder, whole[at]["load"].cursor)
        for one, two in zip(whole[at + 1 : at + 6], resumed, strict=False):
            assert same(one, two)


def test_an_epoch_shows_every_story_once_and_varies_it_anew(
    corpus: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "WINDOW", 16)
    made = stream(corpus, tokenizer_folder, sequence_length=512)
    seen: dict[int, list[str]] = {0: [], 1: []}
    dropped = 0
    for batch in made:
        load = batch["load"]
        if load.cursor.epoch > 1:
            break
        seen[load.cursor.epoch] += load.ids
        dropped += load.dropped
    expected = {e.id for e in open_split(str(corpus), "train").read(range(40))}
    for ids in seen.values():
        assert len(ids) == len(set(ids))
        assert set(ids) <= expected
    assert dropped >= 2 * 40 - len(seen[0]) - len(seen[1])
    assert seen[0] != seen[1]
    texts = [sorted(made.deck.texts(epoch, 0)) for epoch in (0, 1)]
    assert texts[0] != texts[1]


@pytest.mark.parametrize(("repeat", "stories"), [(0.5, 20), (2.25, 90), (1, 40)])
def test_repeat_says_how_often_an_epoch_shows_a_story(
    repeat: float, stories: int, corpus: Path, tokenizer_folder: Path
) -> None:
    data = [{"corpus": str(corpus), "repeat": repeat}]
    deck = stream(corpus, tokenizer_folder, data=data).deck
    assert len(deck.order(0)) == stories
    if repeat == 0.5:
        assert {r for _, r in deck.order(0)} != {r for _, r in deck.order(1)}


def test_packed_batches_are_full(corpus: Path, tokenizer_folder: Path) -> None:
    made = stream(corpus, tokenizer_folder, micro_batch_size=4, batch_size=4)
    batches = list(islice(made, 4))
    assert all(b["input_ids"].shape[0] == 1 for b in batches)
    assert all(b["input_ids"].shape[1] % 64 == 0 for b in batches)
    filled = sum(b["load"].tokens for b in batches)
    assert filled > 0.96 * sum(b["input_ids"].numel() for b in batches)
    assert filled > 0.8 * 4 * 4 * 512


def test_endings_are_never_cut(corpus: Path, tokenizer_folder: Path) -> None:
    made = stream(corpus, tokenizer_folder, sequence_length=460, micro_batch_size=2)
    for batch in islice(made, 10):
        starts = [i for i, p in enumerate(batch["position_ids"][0].tolist()) if p == 0]
        ends = [*starts[1:], batch["input_ids"].shape[1]]
        spans = list(zip(starts, ends, strict=True))
        padded = batch["input_ids"][0, starts[-1]] == 2
        for start, end in spans[:-1] if padded else spans:
            assert end - start <= 460
            assert batch["input_ids"][0, start] == 0
            assert batch["input_ids"][0, end - 1] == 1
            assert batch["targets"][0, end - 2] == 1
            assert batch["weights"][0, end - 2] == 1


def test_a_look_counts_what_is_too_long_and_refuses_where_nothing_fits(
    corpus: Path, tokenizer_folder: Path
) -> None:
    seen = look(stream(corpus, tokenizer_folder, sequence_length=460), 700)
    assert seen.stories == seen.looked == 40
    assert 0 < seen.too_long < 40
    assert 0 < seen.learnt < 1
    with pytest.raises(FabulaError, match=r"No document fits .* shortest has \d+"):
        look(stream(corpus, tokenizer_folder, sequence_length=20), 700)
    with pytest.raises(FabulaError, match="tokenizer that belongs to the weights"):
        look(stream(corpus, tokenizer_folder), 300)


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_make_the_same_batches_in_the_same_order(
    workers: int, corpus: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "WINDOW", 16)
    alone = list(islice(stream(corpus, tokenizer_folder), 50))
    helped = islice(stream(corpus, tokenizer_folder, workers=workers), 50)
    assert all(same(one, two) for one, two in zip(alone, helped, strict=True))
    resumed = stream(corpus, tokenizer_folder, alone[30]["load"].cursor, workers=workers)
    assert all(same(one, two) for one, two in zip(alone[31:40], resumed, strict=False))
