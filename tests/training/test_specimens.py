"""Specimens: what they measure, that training does not notice them, and that they are exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_run import STORM, Told, equal, start, stop_after, weights
from tiny_recipe import recipe_data

from fabula.story import Brief, render_brief
from fabula.training import checkpoint
from fabula.training.loss import base_of, choose
from fabula.training.models import add_adapter, load_base
from fabula.training.recipe import Recipe, Specimens
from fabula.training.seeing import rising_loops
from fabula.training.specimens import judged, loop_rate, means, own_briefs, write_specimens
from fabula.training.tokenizer import open_tokenizer

torch = pytest.importorskip("torch")
FEW: dict[str, Any] = {"tokens": 24, "briefs": [{"genre": "western"}, {"tone": "eerie"}]}


def lines_of(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]


def stories(folder: Path) -> dict[int, list[str]]:
    found = lines_of(folder, "specimens.jsonl")
    assert len({line["step"] for line in found}) == len(found)
    return {line["step"]: [s["completion"] for s in line["specimens"]] for line in found}


def test_the_share_of_a_text_in_loops() -> None:
    loop = "and then she went down to the sea "
    assert loop_rate("It was a quiet day. " * 2) == 0.0
    text = "Once there was a girl. " + loop * 4 + "She slept."
    looping = 4 * len(loop) - 1
    assert loop_rate(text) == pytest.approx(looping / len(text), abs=0.03)
    assert loop_rate("no " * 60) == pytest.approx(1.0, abs=0.02)
    assert loop_rate("") == 0.0


def test_a_completion_is_judged_by_its_passages_alone() -> None:
    brief = Brief.model_validate({"must_include": ["a red kite"], "characters": [{"name": "Mira"}]})
    outline = "# outline\nexposition: Mira finds a red kite.\n"
    good = judged(brief, outline + "# exposition\nMira saw a red kite.\n", True)
    assert (good.in_format, good.ended, good.words) == (True, True, 5)
    assert good.wishes_kept == 1.0
    assert good.outline == ["exposition: Mira finds a red kite."]
    bad = judged(brief, outline + "# exposition\nMira went home.\n", False)
    assert bad.wishes_kept == 0.5
    assert bad.missed == ["must include: a red kite"]
    loose = judged(brief, "A red kite. <script>", False)
    assert not loose.in_format
    assert loose.text == "A red kite. <script>"
    told = means([good, bad, loose])
    assert told["eval_wishes_kept"] == pytest.approx((1 + 0.5 + 0.5) / 3, abs=1e-4)
    assert told["eval_ended"] == pytest.approx(1 / 3, abs=1e-4)


def test_our_own_briefs_differ_in_genre_arc_and_view_and_can_be_written_for() -> None:
    briefs = own_briefs()
    assert len(briefs) == 3
    for key in ("genre", "arc", "tone"):
        assert len({getattr(b, key) for b in briefs}) == 3
    assert len({b.point_of_view for b in briefs}) == 2


@pytest.mark.parametrize("kind", ["llama", "mistral", "gpt2"])
@pytest.mark.parametrize("method", ["full", "qlora"])
def test_a_nearly_greedy_specimen_is_what_the_model_finds_likeliest(
    kind: str, method: str, models: dict[str, Path], corpus: Path
) -> None:
    """Against one forward pass a token without cache, padding or batch; all is as it was after."""
    recipe = Recipe.model_validate(
        recipe_data(corpus, base_model=str(models[kind]), method=method, lora={"dropout": 0.5})
    )
    torch.manual_seed(3)
    model = load_base(str(models[kind]), recipe)
    choose(model, 700)
    if method != "full":
        model = add_adapter(model, recipe)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    model.train()
    tokenizer = open_tokenizer(str(models[kind]))
    briefs = [Brief(genre="western", premise="A " + "very " * 60 + "long day."), Brief(tone="warm")]
    settings = Specimens(briefs=briefs, tokens=16, temperature=1e-4, min_p=0)
    inner, before = base_of(model), torch.get_rng_state()
    used = inner.config._attn_implementation
    found = write_specimens(model, tokenizer, settings, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    assert all(m.training for m in model.modules())
    assert inner.config._attn_implementation == used == "fabula_documents"
    assert not any("forward" in vars(m) for m in inner.modules() if "4bit" in type(m).__name__)

    model.eval()
    inner.set_attn_implementation("sdpa")
    for brief, specimen in zip(briefs, found, strict=True):
        ids = [0, *tokenizer.encode_batch([render_brief(brief)])[0]]
        size = len(ids)
        for _ in range(16):
            with torch.no_grad():
                scores = inner(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(scores.argmax()))
            if ids[-1] == tokenizer.eos:
                break
        assert specimen.completion == tokenizer.decode(ids[size:])


@pytest.mark.parametrize("method", ["full", "qlora"])
def test_training_does_not_notice_the_specimens_and_resumes_with_the_same_ones(
    method: str,
    corpus: Path,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = {} if method == "full" else {"base_model": str(models["llama"]), "method": method}
    data = recipe_data(corpus, **STORM, **base, steps=7, lora={"dropout": 0.2})
    without = start(tmp_path / "without", data)
    assert not (without.folder / "specimens.jsonl").exists()
    data["specimens"] = FEW
    straight = start(tmp_path / "straight", data)
    assert equal(weights(without), weights(straight))
    written = stories(straight.folder)
    assert list(written) == [0, 3, 6, 7]
    assert written[0] != written[7]
    with monkeypatch.context() as patched:
        stop_after(patched, 4)
        start(tmp_path / "stopped", data)
    # A sitting that was lost had gone further than its checkpoint.
    path = tmp_path / "stopped" / "tiny" / "specimens.jsonl"
    lost = path.read_text("utf-8").splitlines()[-1].replace('"step": 3', '"step": 6')
    path.write_text(path.read_text("utf-8") + lost + "\n" + lost[:40], "utf-8")
    resumed = start(tmp_path / "stopped", data, resume=True)
    assert equal(weights(straight), weights(resumed))
    assert stories(resumed.folder) == written
    told = [x for x in lines_of(resumed.folder, "metrics.jsonl") if "eval_loop_rate" in x]
    assert [x["step"] for x in told] == [0, 3, 6, 7]
    assert all(0 <= x["eval_wishes_kept"] <= 1 and x["eval_words"] > 0 for x in told)


def test_they_are_written_without_anything_held_out_and_the_last_are_the_final_models(
    corpus: Path, tmp_path: Path
) -> None:
    data = recipe_data(corpus, specimens=FEW, evaluation={"max_documents": 0, "every": 2})
    outcome = start(tmp_path, data)
    written = stories(outcome.folder)
    assert list(written) == [0, 2, 4]
    assert outcome.model is not None
    recipe = Recipe.model_validate(data)
    assert recipe.specimens is not None
    again = write_specimens(
        load_base(str(outcome.model), recipe),
        open_tokenizer(str(outcome.model)),
        recipe.specimens,
        recipe.seed,
    )
    assert [s.completion for s in again] == written[4]


def test_a_run_on_preferences_writes_them_too(models: dict[str, Path], tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Place: {n}\n\n", "chosen": "She went.", "rejected": "Went she."}
            for n in range(30)]  # fmt: skip
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = recipe_data(tmp_path, base_model=str(models["gpt2"]), data=[], augmentation={}, steps=2)
    data |= {"preferences": {"pairs": str(pairs), "held_out": 0.3}, "specimens": FEW}
    outcome = start(tmp_path / "runs", data)
    assert list(stories(outcome.folder)) == [0, 2]
    assert "Margin" in (page := (outcome.folder / "index.html").read_text()) or "margin" in page


def test_a_model_that_cannot_write_is_told_once_and_trained_all_the_same(
    corpus: Path, tmp_path: Path
) -> None:
    long = {"premise": "word " * 390, "genre": "western"}
    told = Told()
    data = recipe_data(corpus, specimens={"briefs": [long]}, evaluation={"every": 1})
    outcome = start(tmp_path, data, told=told)
    assert outcome.finished
    (said,) = [n for n in told.notes if "specimens" in n]
    assert "of the 512 tokens that the model reads at once" in said
    assert not (outcome.folder / "specimens.jsonl").exists()
    assert checkpoint.found(outcome.folder / "checkpoints")


def test_rising_loops_under_a_falling_loss_are_warned_of() -> None:
    def at(step: int, loss: float | None, rate: float) -> dict[str, Any]:
        return {"step": step, "loss": loss, "eval_loop_rate": rate}

    before = [at(0, 3.0, 0.3), at(100, 2.6, 0.02)]
    warning = rising_loops(before, at(200, 2.3, 0.34))
    assert warning is not None
    assert "step 200, 34%" in warning
    assert "step 100 it was 2%" in warning
    assert "from 2.600 to 2.300" in warning
    assert rising_loops(before, at(200, 2.7, 0.34)) is None
    assert rising_loops(before, at(200, 2.3, 0.1)) is None
    assert rising_loops(before, at(200, None, 0.9)) is None
    assert rising_loops([], at(0, 3.0, 1.0)) is None


def test_a_recipe_that_asks_for_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty brief"):
        Recipe.model_validate(recipe_data(tmp_path, specimens={"briefs": [{}]}))
    assert Recipe.model_validate(recipe_data(tmp_path)).specimens is None
    data = recipe_data(tmp_path)
    del data["specimens"]
    assert Recipe.model_validate(data).specimens == Specimens()
