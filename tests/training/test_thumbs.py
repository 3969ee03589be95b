"""Thumbs up and down: files of them, the model's own, and KTO's loss through trl."""

from __future__ import annotations

import json
import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_recipe import recipe_data

from fabula.engines import open_engine
from fabula.errors import FabulaError
from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample
from fabula.training.packing import Cursor
from fabula.training.preferences.pairs import parted
from fabula.training.preferences.thumb_trainer import (
    EncodedThumb,
    ThumbStream,
    Verdict,
    collate,
    mismatched,
)
from fabula.training.preferences.thumbs import (
    Thumb,
    balance,
    drawn_thumbs,
    read_thumbs,
    write_thumbs,
)
from fabula.training.recipe import Preferences, Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.sources import SampleExamples


def thumbs_file(folder: Path, count: int = 32) -> Path:
    """Stories of people, first beats only, liked as they are and disliked in capitals."""
    path = folder / "thumbs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, story in enumerate(load_sample("train")[:count]):
            brief = story.brief.model_copy(update={"premise": None, "theme": None})
            told = story.passages[:1]
            loud = [p.model_copy(update={"text": p.text.upper()}) for p in told]
            for up in (True, False) if number % 3 else (False,):
                line = {
                    "prompt": render_brief(brief),
                    "completion": render_completion(None, told if up else loud),
                    **({"label": up} if number % 2 else {"thumb": "up" if up else "down"}),
                }
                file.write(json.dumps(line) + "\n")
    return path


def recipe(base: Path | str, thumbs: Path, **changes: Any) -> Recipe:
    data = recipe_data(
        Path("none"),
        name="judging",
        base_model=str(base),
        data=[],
        preferences={"thumbs": str(thumbs), "held_out": 0.25, "beta": 0.5, "loss": "kto"},
        augmentation={},
        micro_batch_size=2,
        batch_size=8,
        steps=12,
        schedule={"name": "constant", "warmup": 0},
        optimiser={"learning_rate": 3e-3},
        evaluation={},
    )
    return Recipe.model_validate({**data, **changes})


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize(
    ("kind", "method"),
    [("llama", "full"), ("mistral", "lora"), ("gpt2", "lora"), ("llama", "qlora")],
)
def test_it_learns_what_is_liked(
    models: dict[str, Path], tmp_path: Path, kind: str, method: str
) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    settings = recipe(
        models[kind], thumbs_file(tmp_path), method=method, lora={"r": 8, "alpha": 32}
    )
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    before, after = outcome.before, outcome.after
    # Nothing has been gained yet: half of each thumb's weight is lost.
    found = parted(read_thumbs(tmp_path / "thumbs.jsonl"), 0.25)
    ups, downs = (sum(t.label == side for t in found[0]) for side in (True, False))
    weights = balance(ups, downs, settings.preferences or Preferences())
    held = [weights[0] if t.label else weights[1] for t in found[1]]
    assert before.loss == pytest.approx(sum(held) / len(held) / 2, abs=1e-5)
    assert (before.told, before.auc, before.ups, before.downs) == (0.0, 0.5, 0.0, 0.0)
    assert after.auc > 0.8
    assert after.ups > after.downs
    assert after.loss < 0.9 * before.loss
    assert after.documents == len(found[1])
    card = (outcome.folder / "CARD.md").read_text()
    assert f"{ups} thumbs up weigh" in card
    assert outcome.model is not None
    assert not (outcome.model / "ref").exists()


def test_the_loss_is_that_of_the_paper(models: dict[str, Path], tmp_path: Path) -> None:
    """lambda (1 - sigmoid(+-beta (r - z))), z the mean gain of others' stories, at least 0."""
    from transformers import AutoModelForCausalLM

    from fabula.training.tokenizer import open_tokenizer

    path = thumbs_file(tmp_path)
    asked = {"thumbs": str(path), "held_out": 0.25, "beta": 0.5, "loss": "kto"}
    settings = recipe(
        models["llama"], path, steps=5, preferences={**asked, "desirable": 1.5, "undesirable": 0.5}
    )
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.model is not None
    tokenizer = open_tokenizer(str(models["llama"]))
    before, after = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for path in (models["llama"], outcome.model)
    )

    def gain(prompt: str, completion: str) -> float:
        first, rest = tokenizer.encode_batch([prompt, completion])
        head = [*([] if tokenizer.bos is None else [tokenizer.bos]), *first]
        ids = torch.tensor([[*head, *rest, tokenizer.eos]])
        with torch.no_grad():
            told = [
                model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])
                for model in (after, before)
            ]
        return float((told[0] - told[1])[len(head) - 1 :].sum())

    _, held_out = parted(read_thumbs(path), 0.25)
    gains = [gain(t.prompt, t.completion) for t in held_out]
    others = []
    for number, thumb in enumerate(held_out):
        back = next(
            held_out[number - n]
            for n in range(1, 99)
            if held_out[number - n].prompt != thumb.prompt
        )
        others.append(gain(thumb.prompt, back.completion))
    z = max(0.0, sum(others) / len(others))
    expected = []
    for thumb, reward in zip(held_out, gains, strict=True):
        weight, sign = (1.5, 1) if thumb.label else (0.5, -1)
        expected.append(weight * (1 - 1 / (1 + math.exp(-sign * 0.5 * (reward - z)))))
    assert outcome.after.loss == pytest.approx(sum(expected) / len(expected), rel=2e-3)
    ups = [0.5 * g for t, g in zip(held_out, gains, strict=True) if t.label]
    assert outcome.after.ups == pytest.approx(sum(ups) / len(ups), rel=2e-3)


def test_the_size_of_a_micro_batch_changes_nothing(models: dict[str, Path], tmp_path: Path) -> None:
    """One estimate of z a step: also thumbs one by one, which trl refuses, give the same."""
    path, found = thumbs_file(tmp_path), []
    for size in (8, 1):
        settings = recipe(models["llama"], path, steps=4, micro_batch_size=size)
        found.append(train(settings, tmp_path / str(size), False, Announce()))
    assert losses(found[0].folder) == pytest.approx(losses(found[1].folder), rel=1e-4)
    assert found[0].after.loss == pytest.approx(found[1].after.loss, rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_stopped_run_goes_on_as_if_it_had_not(
    models: dict[str, Path], tmp_path: Path, method: str
) -> None:
    thumbs = thumbs_file(tmp_path)

    class Stop(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 3 and "loss" in line:
                signal.raise_signal(signal.SIGTERM)

    settings = recipe(models["llama"], thumbs, method=method, steps=7)
    whole = train(settings, tmp_path / "a", False, Announce())
    part = train(settings, tmp_path / "b", False, Stop())
    assert not part.finished
    rest = train(settings, tmp_path / "b", True, Announce())
    assert whole.model is not None
    assert rest.model is not None
    name = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (whole.model / name).read_bytes() == (rest.model / name).read_bytes()
    assert whole.after == rest.after


def encoded(*what: tuple[int, int, int]) -> list[EncodedThumb]:
    """Thumbs of (brief, tokens of the brief, tokens of the story)."""
    return [
        EncodedThumb(str(n), [brief] * first, [100 + n] * rest, n % 2 == 0)
        for n, (brief, first, rest) in enumerate(what)
    ]


def test_another_briefs_story_is_the_nearest_before_that_fits() -> None:
    thumbs = encoded((1, 2, 3), (1, 2, 4), (2, 2, 9), (3, 8, 1))
    order = [0, 1, 2, 3]
    others = mismatched(thumbs, order, 11)
    assert others[0] == [103]
    assert others[1] == [103]  # the one before has the same brief
    assert others[2] == [101] * 4
    assert others[3] == [100] * 3  # of 9 and of 4 tokens do not fit beside 8
    assert mismatched(thumbs, order, 10)[3] == [102] * 2  # none fits: the nearest is cut


def test_the_stream_is_a_function_of_seed_and_cursor() -> None:
    thumbs = encoded(*((n % 5, 2 + n % 3, 3 + n % 4) for n in range(11)))
    whole = []
    for batch in ThumbStream(thumbs, 4, 32, 2, 9, Cursor()):
        whole.append(batch)
        if len(whole) == 7:
            break
    for number, batch in enumerate(whole[:-1]):
        onward = next(iter(ThumbStream(thumbs, 4, 32, 2, 9, batch["load"].cursor)))
        after = whole[number + 1]
        assert onward["load"] == after["load"]
        assert all(torch.equal(onward[k], after[k]) for k in after if k != "load")
    epochs = [[i for b in whole[at : at + 3] for i in b["load"].ids] for at in (0, 3)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(t.id for t in thumbs)
    assert epochs[0] != epochs[1]
    assert whole[0]["load"].tokens == int(whole[0]["attention_mask"].sum())


def test_the_tensors_of_thumbs() -> None:
    thumbs = [EncodedThumb("a", [0, 5], [6, 7, 1], True), EncodedThumb("b", [0], [8, 1], False)]
    batch = collate(thumbs, [[8, 1], [6, 7, 1]], pad=2)
    assert batch["input_ids"][:, :6].tolist() == [[0, 5, 6, 7, 1, 2], [0, 8, 1, 2, 2, 2]]
    assert batch["completion_mask"][:, :6].tolist() == [[0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 0, 0]]
    assert batch["KL_input_ids"][:, :6].tolist() == [[0, 5, 8, 1, 2, 2], [0, 6, 7, 1, 2, 2]]
    assert batch["label"].tolist() == [True, False]


def test_the_figures_of_thumbs() -> None:
    rewards = torch.tensor([0.5, 0.1, -0.2, 0.1, -0.3])
    labels = torch.tensor([True, True, True, False, False])
    verdict = Verdict.from_rewards(0.4, rewards, labels)
    assert verdict.told == pytest.approx(3 / 5)
    assert verdict.auc == pytest.approx((2 + 1.5 + 1) / 6)  # a tie counts half
    assert verdict.ups == pytest.approx(0.4 / 3)
    assert verdict.downs == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("ups", "downs", "given", "weights"),
    [
        (60, 50, {}, (1, 1)),
        (50, 100, {}, (2, 1)),
        (200, 50, {}, (1, 3)),
        (200, 50, {"undesirable": 2.0}, (1, 2.0)),
        (200, 50, {"desirable": 0.25}, (0.25, 1)),
        (50, 100, {"desirable": 1.0}, (1.0, 0.5)),
        (50, 100, {"desirable": 3.0, "undesirable": 5.0}, (3.0, 5.0)),
    ],
)
def test_thumbs_are_balanced(
    ups: int, downs: int, given: dict[str, float], weights: tuple[float, float]
) -> None:
    found = balance(ups, downs, Preferences(loss="kto", **given))
    if given != {"undesirable": 2.0}:
        assert found == pytest.approx(weights)
    if len(given) < 2:
        assert 1 - 1e-9 <= found[0] * ups / (found[1] * downs) <= 4 / 3 + 1e-9


def test_files_of_thumbs_and_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"prompt": "p", "completion": "a", "label": true}\n\n'
        '{"prompt": "p", "completion": "b", "thumb": "down", "id": "mine"}\n'
        '{"prompt": "q", "chosen": "c", "rejected": "d"}\n'
    )
    assert read_thumbs(path) == [
        Thumb(id="line 1", prompt="p", completion="a", label=True),
        Thumb(id="mine", prompt="p", completion="b", label=False),
        Thumb(id="line 4 up", prompt="q", completion="c", label=True),
        Thumb(id="line 4 down", prompt="q", completion="d", label=False),
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "has no thumbs"),
        ('{"prompt": "x"', "line 1: not JSON"),
        ('{"prompt": "x", "completion": "y"}', "line 1: the thumb needs 'label' or 'thumb'"),
        ('{"prompt": "x", "completion": "y", "label": 1}', "true or false"),
        ('{"prompt": "x", "completion": "y", "thumb": "sideways"}', '"up" or "down"'),
        ('{"prompt": "x", "completion": "y", "thumb": "up", "label": true}', "one of them"),
        ('{"prompt": "x", "completion": "", "thumb": "up"}', "line 1: completion"),
        ('{"prompt": "x", "chosen": "y"}', "line 1: rejected"),
        ("[]", "line 1: expected keys and values"),
    ],
)
def test_bad_thumbs(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "thumbs.jsonl"
    path.write_text(lines)
    with pytest.raises(FabulaError) as error:
        read_thumbs(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "dpo"}, "loss 'kto' only"),
        ({"pairs": "x.jsonl"}, "both pairs and thumbs"),
        ({"sft": 0.1}, "sft"),
        ({"threshold": 0.5}, "that the model writes"),
        ({"desirable": 0}, "desirable"),
    ],
)
def test_impossible_preferences(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    asked = {"thumbs": "t.jsonl", "loss": "kto", **changes}
    with pytest.raises(ValueError, match=words):
        recipe("embedded", tmp_path, preferences=asked)


def test_one_thumb_at_a_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 thumbs"):
        recipe("embedded", tmp_path, micro_batch_size=1, batch_size=1)


def test_thumbs_of_one_side_or_one_brief_are_refused(
    models: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "thumbs.jsonl"
    briefs = [Thumb(prompt=f"Genre: {n}\n\n", completion="x", label=True) for n in range(20)]
    sides = [side[0].prompt for side in parted(briefs, 0.3)]
    for made, words in (
        ([(t.prompt, True) for t in briefs], "thumbs are up"),
        ([(sides[n // 10], n % 2 == 0) for n in range(20)], "of one brief"),
    ):
        lines = [{"prompt": p, "completion": f"s{n}", "label": y} for n, (p, y) in enumerate(made)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        asked = {"thumbs": str(path), "held_out": 0.3, "loss": "kto"}
        settings = recipe(models["llama"], path, preferences=asked)
        with pytest.raises(FabulaError, match=words):
            train(settings, tmp_path / "r", False, Announce())
        assert not (tmp_path / "r" / "judging").exists()


def test_thumbs_of_the_models_own(tmp_path: Path) -> None:
    engine = open_engine("embedded")
    examples = SampleExamples("train").read([700, 701])
    path = tmp_path / "thumbs.jsonl"
    tick = lambda done, of: None  # noqa: E731
    best = Preferences(loss="kto", samples=3, margin=0.01, stories=2)
    assert write_thumbs(engine, examples, best, path, tick)
    found = drawn_thumbs(path)
    assert [t.label for t in found] == [True, False] * (len(found) // 2)
    assert found
    path.unlink()
    each = best.model_copy(update={"threshold": 0.75})
    assert write_thumbs(engine, examples, each, path, tick)
    assert len(path.read_text().splitlines()) == 2
    every = drawn_thumbs(path)
    assert len(every) == 6
    liked = [t for t in found if t.label]
    assert {t.completion for t in liked} <= {t.completion for t in every}


def test_a_recipe_draws_thumbs_and_learns_them(tmp_path: Path) -> None:
    settings = recipe(
        "embedded",
        tmp_path,
        data=[{"corpus": "sample"}],
        preferences={"stories": 2, "samples": 2, "threshold": 0.7, "loss": "kto"},
        sequence_length=1024,
        batch_size=2,
        evaluation={"max_documents": 2},
        steps=1,
    )
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    assert outcome.after.documents == 4
    assert len((outcome.folder / "thumbs.jsonl").read_text().splitlines()) == 2
