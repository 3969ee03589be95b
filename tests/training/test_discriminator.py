"""A discriminator: rivals, the row they stand in, training, and its use by the writer."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from tiny_recipe import recipe_data

from fabula.engines import open_engine
from fabula.engines.graph import write_graph
from fabula.errors import FabulaError
from fabula.story.sample import load_sample
from fabula.training.discriminator.contest import ContestLoss, ContestStream, collate
from fabula.training.discriminator.rivals import (
    Contest,
    Spot,
    read_rivals,
    sample_contest,
    sentences,
    write_rivals,
)
from fabula.training.documents import render
from fabula.training.packing import Cursor
from fabula.training.recipe import Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.sources import SampleExamples, open_split
from fabula.writing.discriminator import FOLDER, Discriminator, discriminator_for

EXAMPLES = SampleExamples("train").read(range(3))


def recipe(corpus: Path, base: Path, **changes: object) -> Recipe:
    data = recipe_data(
        corpus,
        name="judge",
        base_model=str(base),
        method="lora",
        lora={"r": 4, "alpha": 4},
        discriminator={"sentences": 3, "lines": 1, "rivals": 2, "stories": 4},
        batch_size=2,
        evaluation={"max_documents": 2},
        steps=3,
        schedule={"name": "constant", "warmup": 0},
    )
    return Recipe.model_validate({**data, **changes})


@pytest.fixture(scope="module")
def llama(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("writer") / "llama"
    shutil.copytree(models["llama"], folder)
    write_graph(folder)
    return folder


def test_sentences_are_where_a_text_has_them() -> None:
    _, completion = render(EXAMPLES[0])
    found = sentences(completion)
    lines = [completion[s.start : s.end].strip() for s in found if s.line]
    assert EXAMPLES[0].outline is not None
    assert lines == [b.summary for b in EXAMPLES[0].outline.beats]
    told = " ".join(completion[s.start : s.end] for s in found if not s.line)
    assert told.split() == EXAMPLES[0].text.split()
    closing = [completion[s.start : s.end] for s in found if s.closing]
    assert " ".join(closing).split() == EXAMPLES[0].passages[-1].text.split()


def test_rivals_stand_where_the_sentence_does(corpus: Path, llama: Path) -> None:
    engine = open_engine(llama)
    short = min(open_split(str(corpus), "train").read(range(40)), key=lambda e: e.words)
    contest = sample_contest(engine, short, recipe(corpus, llama), random.Random(1))
    assert contest is not None
    assert 1 <= len(contest.spots) <= 4
    text = engine.decode(contest.completion)
    for spot in contest.spots:
        said = engine.decode(contest.completion[spot.at : spot.end]).strip()
        assert said
        assert said in text
        assert contest.completion[spot.at : spot.end] not in spot.rivals
        assert all(spot.rivals)
    again = sample_contest(engine, short, recipe(corpus, llama), random.Random(1))
    assert again == contest


def test_a_stopped_drawing_goes_on(corpus: Path, llama: Path, tmp_path: Path) -> None:
    engine, told = open_engine(llama), []
    settings = recipe(corpus, llama)

    def tick(done: int, total: int) -> None:
        told.append((done, total))

    whole, stopped = tmp_path / "whole.jsonl", tmp_path / "stopped.jsonl"
    stories = open_split(str(corpus), "train").read(range(5))
    assert write_rivals(engine, stories, settings, whole, tick)
    assert told == [(n, 5) for n in range(1, 6)]
    assert not write_rivals(engine, stories, settings, stopped, tick, stop=lambda: True)
    with stopped.open("a") as file:
        file.write('{"id": "half')
    assert write_rivals(engine, stories, settings, stopped, tick)
    assert stopped.read_text() == whole.read_text()
    assert 0 < len(read_rivals(whole)) == sum("spots" in line for line in whole.open())


def test_a_rival_scores_as_if_it_stood_in_the_story(models: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(models["llama"]).eval()
    contest = Contest(
        "x", [0, 5, 6], [7, 8, 9, 10, 11], [Spot(1, 3, [[20, 21, 22], [30]]), Spot(3, 5, [[40]])]
    )
    batch = collate(contest, pad=2)
    with torch.no_grad():
        scores = ContestLoss(model, token=0).scores(batch)
        for row, place, text in (
            (0, 0, [0, 5, 6, 7, 8, 9]),
            (0, 1, [0, 5, 6, 7, 20, 21, 22]),
            (0, 2, [0, 5, 6, 7, 30]),
            (1, 0, [0, 5, 6, 7, 8, 9, 10, 11]),
            (1, 1, [0, 5, 6, 7, 8, 9, 40]),
        ):
            alone = model(input_ids=torch.tensor([text])).logits[0, -1, 0]
            assert torch.isclose(scores[row, place], alone, atol=1e-4)
        assert scores[1, 2] == -torch.inf
        loss = ContestLoss(model, token=0)(batch)
    assert torch.isclose(loss, -scores.log_softmax(1)[:, 0].sum())


def test_the_stream_goes_on_from_a_cursor() -> None:
    contests = [Contest(str(n), [0], [5, 6], [Spot(0, 1, [[7]])]) for n in range(5)]

    def ids(start: Cursor, count: int) -> list[str]:
        stream = iter(ContestStream(contests, 2, 0, start))
        return [next(stream)["load"].ids[0] for _ in range(count)]

    whole = ids(Cursor(), 12)
    assert sorted(whole[:5]) == sorted(whole[5:10]) == list("01234")
    assert ids(Cursor(1, 0, 2), 5) == whole[7:12]


def test_it_learns_and_the_writer_asks_it(corpus: Path, llama: Path, tmp_path: Path) -> None:
    settings = recipe(
        corpus, llama, steps=30, optimiser={"learning_rate": 2e-2}, evaluation={"max_documents": 2}
    )
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    assert outcome.model is not None
    assert 0 < outcome.before.chance < 1
    lines = [json.loads(x) for x in (outcome.folder / "metrics.jsonl").open()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    for name in ("CARD.md", "loss.png", "recipe.yaml", "rivals.jsonl"):
        assert (outcome.folder / name).is_file()
    assert discriminator_for(str(llama)) is None
    writer = tmp_path / "with"
    shutil.copytree(llama, writer)
    shutil.copytree(outcome.model, writer / FOLDER)
    judge = discriminator_for(str(writer))
    assert judge is not None
    ids = open_engine(writer).encode("Place: a ship\n\nThe sea was still.")
    fresh = Discriminator(judge.engine)
    assert judge.score([0, *ids]) == pytest.approx(fresh.score([0, *ids]))
    # Kept keys and values give what a fresh reading gives.
    more = [0, *ids, 9, 8]
    assert judge.score(more) == pytest.approx(Discriminator(judge.engine).score(more), abs=1e-3)
    assert judge.score(more[:-1]) == pytest.approx(
        Discriminator(judge.engine).score(more[:-1]), abs=1e-3
    )
    assert judge.score([0] * (judge.engine.context + 1)) == 0


def test_a_stopped_run_goes_on(corpus: Path, llama: Path, tmp_path: Path) -> None:
    whole = train(recipe(corpus, llama), tmp_path / "a", resume=False, announce=Announce())
    train(recipe(corpus, llama, steps=2), tmp_path / "b", resume=False, announce=Announce())
    rest = train(recipe(corpus, llama), tmp_path / "b", resume=True, announce=Announce())
    assert rest.counts.step == 3
    assert rest.after.loss == pytest.approx(whole.after.loss, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"method": "full"}, "say 'lora'"),
        ({"micro_batch_size": 2}, "micro_batch_size of 1"),
    ],
)
def test_impossible_recipes(
    corpus: Path, llama: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        recipe(corpus, llama, **changes)


def test_unmeasured_is_refused(corpus: Path, llama: Path, tmp_path: Path) -> None:
    settings = recipe(corpus, llama, evaluation={"max_documents": 0})
    with pytest.raises(FabulaError, match="not measured"):
        train(settings, tmp_path, resume=False, announce=Announce())
    assert not (tmp_path / "judge").exists()


def test_only_chooses_stories_by_id(corpus: Path, llama: Path, tmp_path: Path) -> None:
    first = load_sample("train")[0].id
    chosen = recipe(corpus, llama, data=[{"corpus": str(corpus), "only": f"{first}$"}])
    outcome = train(chosen, tmp_path, resume=False, announce=Announce())
    told = [json.loads(x)["id"] for x in (outcome.folder / "rivals.jsonl").open()]
    assert told == [first]
    nobody = recipe(corpus, llama, data=[{"corpus": str(corpus), "only": "nobody"}])
    with pytest.raises(FabulaError, match="only: nobody"):
        train(nobody, tmp_path / "none", resume=False, announce=Announce())
    with pytest.raises(ValueError, match="regular expression"):
        recipe(corpus, llama, data=[{"corpus": str(corpus), "only": "("}])
