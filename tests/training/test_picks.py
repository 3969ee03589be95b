"""Picks: which candidate a reader would have next, read as branches of a story and learnt."""

from __future__ import annotations

import json
import lzma
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_recipe import CONTEXT, recipe_data

from fabula.errors import FabulaError
from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample
from fabula.training.picks import branches
from fabula.training.picks.branches import Branch, Branched, Pick, collate, encode
from fabula.training.picks.places import PickedStory, Place, parted, read_picks
from fabula.training.picks.trainer import losses
from fabula.training.recipe import Picks, Recipe, dump_recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.tokenizer import open_tokenizer


def backwards(text: str) -> str:
    turned = " ".join(text.split()[::-1])
    return turned if turned != text else text[::-1]


def picked(number: int, premise: str | None = None) -> PickedStory:
    """A story of people: at two places of each beat its own words are the best ones."""
    story = load_sample("train")[number]
    places = []
    for part, passage in enumerate(story.passages):
        first, _, rest = passage.text.partition(". ")
        line = story.outline.beats[part].summary
        places.append(
            Place(
                part=part, plan=True, candidates=[backwards(line), line, "No."], best=1, wrong=[0]
            )
        )
        said, text = (f"{first}.", rest) if rest else ("", first)
        text = text.partition(". ")[0]
        candidates = [text, backwards(text), f"“{text}” and no more, he said."]
        places.append(Place(part=part, said=said, candidates=candidates, best=0, wrong=[1]))
    return PickedStory(
        id=f"told-{number}",
        brief=story.brief.model_copy(update={"premise": None, "theme": None}),
        premise=premise,
        outline=story.outline,
        passages=story.passages,
        places=places,
    )


def picks_file(folder: Path, count: int = 16) -> Path:
    path = folder / "picks.jsonl"
    lines = [picked(n).model_dump(exclude_none=True, mode="json") for n in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def recipe(base: Path | str, file: Path, **changes: Any) -> Recipe:
    data = recipe_data(
        Path("none"),
        name="picking",
        base_model=str(base),
        data=[],
        picks={"files": [str(file)], "held_out": 0.3, "beta": 0.5},
        augmentation={},
        micro_batch_size=1,
        batch_size=2,
        steps=12,
        schedule={"name": "constant", "warmup": 0},
        optimiser={"learning_rate": 3e-3},
    )
    return Recipe.model_validate({**data, **changes})


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
def test_a_branch_is_read_as_its_text_by_itself(models: dict[str, Path], kind: str) -> None:
    """For every candidate the whole text is encoded and read anew, without any branches."""
    from transformers import AutoModelForCausalLM

    tokenizer = open_tokenizer(str(models[kind]))
    story = picked(3, premise="A child is late, and nobody\nwaits.")
    # Short enough for a tiny model, whose tokens are short.
    story = story.model_copy(
        update={"passages": story.passages[:1], "places": story.places[:2] + story.places[2:4:2]}
    )
    rows = encode(story, tokenizer, CONTEXT, 4 * CONTEXT)
    assert sum(len(row.picks) for row in rows) == len(story.places) == 3
    plain, branched = (
        AutoModelForCausalLM.from_pretrained(models[kind], dtype=torch.float32).eval()
        for _ in range(2)
    )
    branches.prepare(branched, tokenizer.vocabulary)
    places = iter(story.places)
    for row in rows:
        with torch.no_grad():
            found = branches.log_probabilities(branched, collate(row, tokenizer.pad))
        for pick in row.picks:
            place = next(places)
            before = branches.text_before(story, place)
            for number, candidate in zip(pick.branches, place.candidates, strict=True):
                text = branches.text_with(story, place, candidate)
                assert text.startswith(before)
                assert text[len(before) :].strip() == candidate
                head, start, whole = tokenizer.encode_batch(
                    [render_brief(story.brief), before, text]
                )
                first = [] if tokenizer.bos is None else [tokenizer.bos]
                ids = torch.tensor([[*first, *head, *whole]])
                with torch.no_grad():
                    scores = plain(ids).logits[0, :-1].log_softmax(-1)
                told = scores.gather(1, ids[0, 1:, None])[:, 0]
                own = whole[len(start) :]
                assert whole[: len(start)] == start
                assert float(found[number]) == pytest.approx(
                    float(told[-len(own) :].sum()), abs=2e-3
                )


def test_a_place_is_where_the_story_has_it() -> None:
    """What stands at a place with the story's own words is the beginning of the story."""
    story = picked(5, premise="Once.")
    whole = render_completion(story.outline, story.passages, story.premise)
    for place in story.places:
        assert whole.startswith(branches.text_with(story, place, place.candidates[place.best]))


def test_what_does_not_fit(models: dict[str, Path]) -> None:
    tokenizer = open_tokenizer(str(models["llama"]))
    story = picked(3)
    (whole,) = encode(story, tokenizer, 10_000, 100_000)
    assert len(whole.picks) == len(story.places)
    short = encode(story, tokenizer, 200, 100_000)
    assert 0 < sum(len(row.picks) for row in short) < len(story.places)
    for row in short:
        assert max(b.leaves + len(b.ids) for b in row.branches) <= 200
    most = len(whole.trunk) + 400
    rows = encode(story, tokenizer, 10_000, most)
    assert len(rows) > 1
    assert all(len(row) <= most for row in rows)
    assert [b for row in rows for b in row.branches] == whole.branches
    assert encode(story, tokenizer, 10_000, 32) == []


def test_the_tensors_of_a_row() -> None:
    row = Branched("a", [5, 6, 7], [Branch(2, [8, 9], 1), Branch(3, [4], 1)], [])
    batch = collate(row, 0)
    assert batch["input_ids"].shape == batch["position_ids"].shape == (1, 64)
    assert batch["input_ids"][0, :7].tolist() == [5, 6, 7, 8, 9, 4, 0]
    assert batch["position_ids"][0, :8].tolist() == [0, 1, 2, 2, 3, 3, 1, 2]
    assert batch["lengths"].tolist() == [2, 1, *[2] * 29]
    assert batch["rows"].shape == (64,)
    assert batch["rows"][:2].tolist() == [3, 2]
    assert batch["targets"][:2].tolist() == [9, 4]
    assert batch["branch"].tolist() == [0, 1, *[31] * 62]
    plan = branches.layout_of(batch).plan
    assert plan.hidden[:3].tolist() == [[False, False, True]] * 2 + [[False] * 3]
    assert plan.position[:3].tolist() == [2, 3, 3]
    assert plan.longest == 2


def test_the_loss_of_a_place() -> None:
    settings = Picks(files=["-"], beta=0.5, better=0.75, worse=0.25, keep=2.0)
    told, before = torch.tensor([-5.0, -9.0, -7.0, -4.0]), torch.tensor([-4.0, -8.0, -9.0, -4.0])
    r = [0.5 * float(x) for x in told - before]

    def lost(x: float) -> float:
        return math.log1p(math.exp(-x))

    expected = (
        2.0 * -r[0]
        + (lost(r[0] - r[1]) + lost(r[0] - r[2])) / 2
        + 0.75 * lost(r[0] - r[3])
        + 0.25 * (lost(r[3] - r[1]) + lost(r[3] - r[2])) / 2
    )
    against_rest = 0.75 * (lost(r[3] - r[0]) + lost(r[3] - r[1])) / 2
    picks = [Pick((0, 1, 2, 3), 0, (1, 2), (3,)), Pick((0, 1, 3), 3, (), (0, 1))]
    found = losses(told, before, picks, settings)
    assert found.tolist() == pytest.approx([expected, against_rest])


def test_a_place_with_fewer_candidates() -> None:
    place = Place(part=0, candidates=list("abcdef"), best=2, wrong=[5, 0, 1])
    fewer = place.fewer(2, 1)
    assert fewer.candidates == ["c", "f", "a", "d"]
    assert (fewer.best, fewer.wrong, fewer.rest) == (0, [1, 2], [3])
    assert place.fewer(9, 9).candidates == ["c", "f", "a", "b", "d", "e"]


@pytest.mark.parametrize(
    ("kind", "method"), [("llama", "full"), ("llama", "lora"), ("gpt2", "lora"), ("llama", "qlora")]
)
def test_it_learns_what_is_picked(
    models: dict[str, Path], tmp_path: Path, kind: str, method: str
) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    base = shutil.copytree(models[kind], tmp_path / "base")
    (base / "names.json").write_text('{"female": ["Ann"]}')
    settings = recipe(base, picks_file(tmp_path), method=method, lora={"r": 8, "alpha": 32})
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    # Where nothing was learnt, all rewards are 0, and each kind of pair loses log 2.
    assert outcome.before.loss == pytest.approx(1.75 * math.log(2), abs=1e-3)
    assert outcome.after.loss < 0.8 * outcome.before.loss
    assert outcome.after.better > outcome.before.better
    assert outcome.after.wrong < outcome.before.wrong
    assert outcome.after.documents >= 10
    for name in ("CARD.md", "loss.png", "recipe.yaml", "metrics.jsonl"):
        assert (outcome.folder / name).is_file()
    assert outcome.model is not None
    weights = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (outcome.model / weights).is_file()
    # A whole model keeps the names that its base has learnt to copy; an adapter has its base's.
    assert (outcome.model / "names.json").is_file() == (method == "full")


def test_weights_are_blended_in_the_end(models: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    file, base = picks_file(tmp_path), models["llama"]
    plain = train(recipe(base, file, steps=3), tmp_path / "a", False, Announce())
    blend = {"model": str(base), "share": 0.25}
    given = {"files": [str(file)], "held_out": 0.3, "beta": 0.5, "blend": blend}
    mixed = train(recipe(base, file, steps=3, picks=given), tmp_path / "b", False, Announce())
    before, learnt, found = (
        load_file(folder / "model.safetensors") for folder in (base, plain.model, mixed.model)
    )
    for name, weight in found.items():
        expected = 0.25 * before[name].float() + 0.75 * learnt[name].float()
        assert torch.allclose(weight.float(), expected, atol=1e-6), name
    # What is told of the run is told of what was written.
    assert plain.after != mixed.after
    assert mixed.after.loss < mixed.before.loss
    given["blend"] = {"model": str(models["gpt2"]), "share": 0.25}
    with pytest.raises(FabulaError, match="another shape"):
        train(recipe(base, file, picks=given), tmp_path / "c", False, Announce())


def test_a_stopped_run_goes_on_as_if_it_had_not(models: dict[str, Path], tmp_path: Path) -> None:
    file = picks_file(tmp_path)

    class Stop(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 3 and "loss" in line:
                import signal

                signal.raise_signal(signal.SIGTERM)

    whole = train(recipe(models["llama"], file), tmp_path / "a", False, Announce())
    part = train(recipe(models["llama"], file), tmp_path / "b", False, Stop())
    assert not part.finished
    rest = train(recipe(models["llama"], file), tmp_path / "b", True, Announce())
    assert rest.finished
    assert whole.model is not None
    assert rest.model is not None
    name = "model.safetensors"
    assert (whole.model / name).read_bytes() == (rest.model / name).read_bytes()


GOOD = picked(3).model_dump(exclude_none=True, mode="json")


def with_place(**changes: Any) -> str:
    return json.dumps({**GOOD, "places": [{**GOOD["places"][0], **changes}]})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("\n", "has no stories with places"),
        ('{"brief": {}', "line 1: not JSON"),
        ("\n[]", "line 2: expected keys and values"),
        (json.dumps({**GOOD, "places": []}), "line 1: places"),
        (with_place(best=3), "there are 3, from 0"),
        (with_place(wrong=[1, 7]), "there are 3, from 0"),
        (with_place(wrong=[1]), "both the best and wrong"),
        (with_place(wrong=[0, 0]), "twice"),
        (with_place(candidates=["One."]), "candidates"),
        (with_place(candidates=["One.", " \n", "Two."]), "is blank"),
        (with_place(candidates=["One.", "One. ", "Two."]), "the same candidate twice"),
        (with_place(candidates=["One." * 300, "Two."]), "at most 1000"),
        (with_place(said="\ud800"), "half a character"),
        (with_place(part=5), "5 parts, from 0"),
        (with_place(bset=1), "did you mean 'best'"),
        (json.dumps({**GOOD, "passages": [], "places": [GOOD["places"][3]]}), "no passages before"),
    ],
)
def test_bad_picks(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "picks.jsonl"
    path.write_text(lines)
    with pytest.raises(FabulaError) as error:
        read_picks(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_packed_files_and_names(tmp_path: Path) -> None:
    path = tmp_path / "picks.jsonl.xz"
    nameless = {key: value for key, value in GOOD.items() if key != "id"}
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps(GOOD) + "\n\n" + json.dumps(nameless) + "\n")
    assert [story.id for story in read_picks(path)] == ["told-3", "line 3"]
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FabulaError, match="damaged or truncated"):
        read_picks(path)


def test_a_story_falls_on_one_side() -> None:
    stories = [picked(3).model_copy(update={"id": f"{n % 60}"}) for n in range(120)]
    learnt, held_out = parted(stories, 0.3)
    assert len(learnt) + len(held_out) == 120
    assert not {s.id for s in learnt} & {s.id for s in held_out}
    assert 18 <= len(held_out) <= 60


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [{"corpus": "sample"}]}, "leave data out"),
        ({"preferences": {"pairs": "x"}}, "one of them"),
        ({"micro_batch_size": 2}, "micro_batch_size is 1"),
        ({"teacher": {"model": "x"}}, "teacher"),
        ({"picks": {}}, "files"),
        ({"augmentation": {"drop_tag": 0.1}}, "no augmentation"),
        ({"lora": {"dropout": 0.1}}, "no lora.dropout"),
        (
            {"method": "lora", "picks": {"files": ["x"], "blend": {"model": "x", "share": 0.5}}},
            "say 'full'",
        ),
        ({"picks": {"files": ["x"], "blend": {"model": "x", "share": 1.5}}}, "less than 1"),
    ],
)
def test_impossible_recipes(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe("embedded", tmp_path / "picks.jsonl", **changes)


def test_a_tokenizer_of_another_model(models: dict[str, Path], tmp_path: Path) -> None:
    import transformers

    base = shutil.copytree(models["llama"], tmp_path / "base")
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(90)
    model.save_pretrained(base)
    settings = recipe(base, picks_file(tmp_path, 6))
    with pytest.raises(FabulaError, match="knows only 90"):
        train(settings, tmp_path, False, Announce())


def test_a_file_that_has_changed(models: dict[str, Path], tmp_path: Path) -> None:
    file = picks_file(tmp_path)
    train(recipe(models["llama"], file, steps=1), tmp_path, False, Announce())
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(FabulaError, match="has changed since this run began"):
        train(recipe(models["llama"], file, steps=2), tmp_path, True, Announce())


def test_several_files_are_learnt_together(models: dict[str, Path], tmp_path: Path) -> None:
    lines = picks_file(tmp_path, 16).read_text().splitlines(keepends=True)
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for file, part in zip(files, (lines[:5], lines[5:]), strict=True):
        file.write_text("".join(part))
    whole = recipe(models["llama"], tmp_path / "picks.jsonl", steps=2)
    assert whole.picks is not None
    picks = whole.picks.model_copy(update={"files": [str(file) for file in files]})
    parts = whole.model_copy(update={"picks": picks, "name": "parts"})
    one, other = (train(each, tmp_path, False, Announce()) for each in (whole, parts))
    assert one.model is not None
    assert other.model is not None
    assert one.after == other.after
    name = "model.safetensors"
    assert (one.model / name).read_bytes() == (other.model / name).read_bytes()
    assert all(str(file) in (other.model / "CARD.md").read_text() for file in files)
    # A run goes on with the files that it began with, each in its place.
    more = parts.model_copy(update={"steps": 3})
    swapped = picks.model_copy(update={"files": picks.files[::-1]})
    more = more.model_copy(update={"picks": swapped})
    (tmp_path / "parts" / "recipe.yaml").write_text(dump_recipe(more))
    with pytest.raises(FabulaError, match=r"two\.jsonl has changed"):
        train(more, tmp_path, True, Announce())


def test_a_run_of_an_earlier_version_names_one_file(
    models: dict[str, Path], tmp_path: Path
) -> None:
    file = picks_file(tmp_path)
    train(recipe(models["llama"], file, steps=1), tmp_path, False, Announce())
    written = tmp_path / "picking" / "recipe.yaml"
    text = written.read_text()
    assert f"files:\n  - {file}" in text
    written.write_text(text.replace(f"files:\n  - {file}", f"file: {file}"))
    done = train(recipe(models["llama"], file, steps=2), tmp_path, True, Announce())
    assert done.counts.step == 2


def test_nothing_to_learn_or_hold_out(models: dict[str, Path], tmp_path: Path) -> None:
    file = picks_file(tmp_path, 4)
    for changes, words in (
        ({"picks": {"files": [str(file)], "held_out": 0.0001}}, "no place to hold out"),
        ({"sequence_length": 16}, "no place to learn from"),
        ({"sequence_length": CONTEXT + 1}, "reads at most"),
        ({"picks": {"files": [str(tmp_path / "none.jsonl")]}}, "none.jsonl"),
    ):
        with pytest.raises(FabulaError, match=words):
            train(recipe(models["llama"], file, **changes), tmp_path / "r", False, Announce())
        assert not (tmp_path / "r" / "picking").exists()
