"""Preferences: pairs of stories from a file or of the model's own, learnt through trl."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_recipe import CONTEXT, recipe_data

from fabula.engines import open_engine
from fabula.errors import FabulaError
from fabula.story import Making, Receipt, Story, Wish, parse_brief, render_brief, render_completion
from fabula.story.sample import load_sample
from fabula.training.preferences.pairs import (
    Pair,
    draw_pair,
    drawn_pairs,
    parted,
    read_pairs,
    worth,
    write_pairs,
)
from fabula.training.preferences.trainer import EncodedPair, collate
from fabula.training.recipe import Preferences, Recipe
from fabula.training.run import train
from fabula.training.sitting import Announce
from fabula.training.sources import SampleExamples


def pairs_file(folder: Path, count: int = 24) -> Path:
    """Stories of people, first beats only, preferred to the same words backwards."""
    path = folder / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for story in load_sample("train")[:count]:
            brief = story.brief.model_copy(update={"premise": None, "theme": None})
            told = story.passages[:1]
            back = [p.model_copy(update={"text": " ".join(p.text.split()[::-1])}) for p in told]
            line = {
                "prompt": render_brief(brief),
                "chosen": render_completion(None, told),
                "rejected": render_completion(None, back),
            }
            file.write(json.dumps(line) + "\n")
    return path


def recipe(base: Path | str, pairs: Path, **changes: Any) -> Recipe:
    data = recipe_data(
        Path("none"),
        name="preferring",
        base_model=str(base),
        data=[],
        preferences={"pairs": str(pairs), "held_out": 0.25, "beta": 0.5},
        augmentation={},
        micro_batch_size=2,
        batch_size=4,
        steps=12,
        schedule={"name": "constant", "warmup": 0},
        optimiser={"learning_rate": 3e-3},
    )
    return Recipe.model_validate({**data, **changes})


@pytest.mark.parametrize(
    ("kind", "method"), [("llama", "full"), ("llama", "lora"), ("gpt2", "lora"), ("llama", "qlora")]
)
def test_it_learns_what_is_preferred(
    models: dict[str, Path], tmp_path: Path, kind: str, method: str
) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    settings = recipe(models[kind], pairs_file(tmp_path), method=method, lora={"r": 8, "alpha": 32})
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    assert outcome.before.loss == pytest.approx(math.log(2), abs=1e-4)
    assert outcome.before.accuracy == 0
    lines = [json.loads(line) for line in (outcome.folder / "metrics.jsonl").open()]
    first = next(line["loss"] for line in lines if "loss" in line)
    assert first == pytest.approx(math.log(2), abs=1e-3)  # two micro-batches a step
    assert outcome.after.accuracy > 0.7
    assert outcome.after.loss < 0.9 * outcome.before.loss
    assert outcome.after.documents >= 3
    for name in ("CARD.md", "loss.png", "recipe.yaml", "metrics.jsonl"):
        assert (outcome.folder / name).is_file()
    assert outcome.model is not None
    weights = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (outcome.model / weights).is_file()


def test_the_loss_is_that_of_the_paper(models: dict[str, Path], tmp_path: Path) -> None:
    """-log sigmoid(beta * ((log p - log p0)(chosen) - (log p - log p0)(rejected)))."""
    from transformers import AutoModelForCausalLM

    from fabula.training.tokenizer import open_tokenizer

    settings = recipe(models["llama"], pairs_file(tmp_path), steps=5, evaluation={"every": 5})
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.model is not None
    tokenizer = open_tokenizer(str(models["llama"]))
    before, after = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        for path in (models["llama"], outcome.model)
    )

    def log_p(model: Any, prompt: str, completion: str) -> float:
        first, rest = tokenizer.encode_batch([prompt, completion])
        head = [*([] if tokenizer.bos is None else [tokenizer.bos]), *first]
        ids = torch.tensor([[*head, *rest, tokenizer.eos]])
        with torch.no_grad():
            scores = model(ids).logits[0, :-1].log_softmax(-1)
        return float(scores.gather(1, ids[0, 1:, None])[len(head) - 1 :].sum())

    _, held_out = parted(read_pairs(tmp_path / "pairs.jsonl"), 0.25)
    losses = []
    for pair in held_out:
        gains = [
            log_p(after, pair.prompt, text) - log_p(before, pair.prompt, text)
            for text in (pair.chosen, pair.rejected)
        ]
        losses.append(math.log1p(math.exp(-0.5 * (gains[0] - gains[1]))))
    assert outcome.after.documents == len(held_out)
    assert outcome.after.loss == pytest.approx(sum(losses) / len(losses), rel=2e-3)


def test_a_stopped_run_goes_on_as_if_it_had_not(models: dict[str, Path], tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path)

    class Stop(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 3 and "loss" in line:
                import signal

                signal.raise_signal(signal.SIGTERM)

    whole = train(recipe(models["llama"], pairs), tmp_path / "a", False, Announce())
    part = train(recipe(models["llama"], pairs), tmp_path / "b", False, Stop())
    assert not part.finished
    rest = train(recipe(models["llama"], pairs), tmp_path / "b", True, Announce())
    assert rest.finished
    assert whole.model is not None
    assert rest.model is not None
    name = "model.safetensors"
    assert (whole.model / name).read_bytes() == (rest.model / name).read_bytes()


def test_the_tensors_of_pairs() -> None:
    batch = collate([EncodedPair("a", [0, 5], [6, 7, 1], [8, 1])], pad=2)
    assert batch["input_ids"].shape == (2, 64)
    assert batch["input_ids"][:, :6].tolist() == [[0, 5, 6, 7, 1, 2], [0, 5, 8, 1, 2, 2]]
    assert batch["completion_mask"][:, :6].tolist() == [[0, 0, 1, 1, 1, 0], [0, 0, 1, 1, 0, 0]]
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 4]


def story(kept: int, of: int, text: str = "Once.", ended: bool = True) -> Story:
    wishes = [Wish(wish="place", value="x", kept=n < kept) for n in range(of)]
    return Story(
        brief=parse_brief("Place: x\n\n"),
        passages=[{"beat": "exposition", "text": text}],
        making=Making(fabula="0", model="m", weights="w", seed=0, settings={}, ended=ended),
        receipt=Receipt(wishes=wishes),
    )


def test_what_a_story_is_worth() -> None:
    loop = "The old man went down to the sea. " * 4
    assert worth(story(3, 4)) == 0.75
    assert worth(story(3, 4, ended=False)) == worth(story(3, 4, text=loop)) == -0.25


def test_pairs_of_the_models_own(tmp_path: Path) -> None:
    """The embedded model writes twice for a brief; what keeps more of it is preferred."""
    engine = open_engine("embedded")
    examples = SampleExamples("train").read([700, 701])
    asked = Preferences(samples=3, margin=0.01, stories=2)
    path, stopped = tmp_path / "pairs.jsonl", tmp_path / "stopped.jsonl"
    told: list[int] = []
    assert write_pairs(engine, examples, asked, path, lambda done, of: told.append(done))
    assert told == [1, 2]
    found = drawn_pairs(path)
    assert found
    for pair in found:
        assert pair.chosen != pair.rejected
        assert pair.chosen.count("\n# ") == pair.rejected.count("\n# ") == 5
        assert parse_brief(pair.prompt).characters
    tick = lambda done, of: None  # noqa: E731
    assert not write_pairs(engine, examples, asked, stopped, tick, stop=lambda: True)
    assert write_pairs(engine, examples, asked, stopped, tick)
    assert stopped.read_text() == path.read_text()
    nothing = asked.model_copy(update={"margin": 1.0})
    assert draw_pair(engine, examples[0], nothing, 0) is None


def test_a_recipe_draws_pairs_and_learns_them(tmp_path: Path) -> None:
    settings = recipe(
        "embedded",
        tmp_path,
        data=[{"corpus": "sample"}],
        preferences={"stories": 2, "samples": 3, "margin": 0.01},
        sequence_length=1024,
        evaluation={"max_documents": 2},
        steps=1,
    )
    outcome = train(settings, tmp_path, resume=False, announce=Announce())
    assert outcome.finished
    assert outcome.after.documents >= 1
    assert "ranked by their receipts" in (outcome.folder / "CARD.md").read_text()
    assert len((outcome.folder / "pairs.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "has no pairs"),
        ('{"prompt": "x"', "line 1: not JSON"),
        ('\n{"prompt": "x", "chosen": "y"}', "line 2"),
        ('{"prompt": "x", "chosen": "y", "rejected": "y"}', "the same"),
        ('{"prompt": 3, "chosen": "y", "rejected": "z"}', "line 1: prompt"),
        ("[]", "line 1: expected keys and values"),
    ],
)
def test_bad_pairs(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(lines)
    with pytest.raises(FabulaError) as error:
        read_pairs(path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [{"corpus": "sample"}]}, "leave data out"),
        ({"compile": True}, "no compile"),
        ({"preferences": {"loss": "simpo"}}, "dpo"),
        ({"preferences": {"samples": 1}}, "samples"),
    ],
)
def test_impossible_recipes(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        recipe("embedded", tmp_path / "pairs.jsonl", **changes)


def test_too_few_or_too_long(models: dict[str, Path], tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path)
    for changes, words in (
        ({"preferences": {"pairs": str(pairs), "held_out": 0.0001}}, "no held-out pairs"),
        ({"sequence_length": 16}, "None of"),
        ({"sequence_length": CONTEXT + 1}, "reads at most"),
        ({"preferences": {"pairs": str(tmp_path / "none.jsonl")}}, "none.jsonl"),
    ):
        with pytest.raises(FabulaError, match=words):
            train(recipe(models["llama"], pairs, **changes), tmp_path / "r", False, Announce())
        assert not (tmp_path / "r" / "preferring").exists()


def test_pairs_of_a_prompt_stay_together() -> None:
    pairs = [Pair(prompt=f"{n % 40}", chosen="a", rejected="b") for n in range(120)]
    learnt, held_out = parted(pairs, 0.3)
    assert len(learnt) + len(held_out) == 120
    assert not {p.prompt for p in learnt} & {p.prompt for p in held_out}
    assert 12 <= len(held_out) <= 60
