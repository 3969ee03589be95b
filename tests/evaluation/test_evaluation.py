"""The whole evaluation, on tiny real models, through the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fabula.cli.evaluate import command
from fabula.engines import open_engine
from fabula.errors import FabulaError
from fabula.evaluation import Options, Silence, evaluate
from fabula.evaluation.generation import write_stories
from fabula.evaluation.heldout import load_heldout
from fabula.evaluation.storylines import StoryLog, load_lines
from fabula.evaluation.systems import read_stories
from fabula.evaluation.tables import rich_table
from fabula.writing import WriterSettings

QUICK = WriterSettings(candidates=1, plans=1, insertions=0, beat_tokens=24, line_tokens=12)


def options(model: Path, **changes: Any) -> Options:
    return Options(
        **{"models": [str(model)], "split": "valid", "limit": 4, "settings": QUICK} | changes
    )


def timeless(data: dict[str, Any]) -> dict[str, Any]:
    """All figures but those of the clock."""
    for system in data["systems"]:
        for key in ("seconds", "seconds_p90"):
            del system["measures"][key]
    return data


class Stop(Silence):
    """Interrupts after so many stories, as Ctrl-C would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def stage(self, name: str, total: int | None) -> Any:
        if not name.endswith("writing"):
            return lambda: None

        def tick() -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

        return tick


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """An evaluation of the tiny model, and the log of its stories."""
    log = tmp_path_factory.mktemp("evaluation") / "stories.jsonl"
    return log, evaluate(options(tiny_model, log=log))


def test_all_that_was_asked_for_is_there(whole: tuple[Path, Any]) -> None:
    data = whole[1].as_json()
    (system,) = data["systems"]
    measures = system["measures"]
    assert set(measures) >= {
        "bits_per_byte_brief", "bits_per_byte_nothing", "bits_per_byte_outline",
        "word_perplexity_brief", "mean_story_perplexity", "prompt_gain", "own_brief_wins",
        "bleu", "chrf", "rouge1", "rouge2", "rougeL",
        "wishes_all", "wishes_core", "wishes_character", "wishes_trait", "wishes_place",
        "wishes_time",
        "wishes_must_include", "wishes_point_of_view", "wishes_ending", "wishes_genre",
        "wishes_tone", "wishes_arc", "arc_first", "arc_rank", "arc_clear",
        "arc_read_first",
        "words", "whole", "loops", "repeated_4", "distinct_1", "distinct_2", "distinct_3",
        "end_positivity", "ended", "end_probability", "shared_p50", "shared_p99", "shared_max",
        "shared_12", "seconds", "seconds_p90",
    }  # fmt: skip
    for key in ("bleu", "rouge1", "wishes_all", "bits_per_byte_brief"):
        row = measures[key]
        assert row["floor"] is not None
        assert row["lift"] == pytest.approx(row["value"] - row["floor"])
        assert row["interval"][0] <= row["value"] <= row["interval"][1]
        assert row["lift_interval"][0] <= row["lift_interval"][1]
    assert measures["bleu"]["human"] is None
    assert measures["bleu"]["human_floor"] is not None
    assert measures["wishes_character"]["human"] > measures["wishes_character"]["human_floor"]
    assert measures["arc_first"]["chance"] == pytest.approx(100 / 6)
    assert measures["arc_read_first"]["chance"] == pytest.approx(100 / 6)
    assert measures["wishes_core"]["human"] > measures["wishes_core"]["human_floor"]
    assert measures["shared_12"]["human"] is not None
    assert 0 < measures["seconds"]["value"] <= measures["seconds_p90"]["value"]
    assert system["truncation"]["cut"] == 4  # the tiny model's context is short
    assert "version" in data["signatures"]["bleu"]
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_same_seed_same_figures_and_another_seed_others(
    whole: tuple[Path, Any], tiny_model: Path
) -> None:
    assert timeless(evaluate(options(tiny_model)).as_json()) == timeless(whole[1].as_json())
    other = evaluate(options(tiny_model, seed=1)).as_json()
    mine = whole[1].as_json()
    key = "bits_per_byte_nothing"
    assert other["systems"][0]["measures"][key]["value"] == pytest.approx(
        mine["systems"][0]["measures"][key]["value"]
    )
    assert (
        other["systems"][0]["measures"]["bleu"]["value"]
        != mine["systems"][0]["measures"]["bleu"]["value"]
    )


def test_an_interrupted_evaluation_goes_on(
    whole: tuple[Path, Any], tiny_model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "stories.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate(options(tiny_model, log=log), Stop(2))
    first = log.read_bytes()
    assert first.count(b"\n") == 2
    result = evaluate(options(tiny_model, log=log))
    items = load_heldout(None, "valid", 4).items
    assert load_lines(log, items) == load_lines(whole[0], items)
    assert log.read_bytes().startswith(first)
    # What the log has is not written again, and not timed again either.
    assert evaluate(options(tiny_model, log=log)).as_json() == result.as_json()
    assert timeless(result.as_json()) == timeless(whole[1].as_json())


def test_other_settings_are_another_system_in_the_same_log(
    tiny_model: Path, tmp_path: Path
) -> None:
    items = load_heldout(None, "valid", 2).items
    engine, log = open_engine(tiny_model), StoryLog(tmp_path / "s.jsonl", items)
    write_stories(engine, QUICK, items, 0, log)
    write_stories(engine, QUICK, items, 0, log)
    write_stories(engine, QUICK.model_copy(update={"temperature": 0.5}), items, 0, log)
    lines, _ = load_lines(tmp_path / "s.jsonl", items)
    assert len(lines) == 4
    assert len({line.system for line in lines}) == 2
    first, second = read_stories(tmp_path / "s.jsonl", items)
    assert first.name == f"{tiny_model.name}: temperature {QUICK.temperature:g}"
    assert second.name == f"{tiny_model.name}: temperature 0.5"


def test_written_stories_score_as_they_did_when_they_were_written(
    whole: tuple[Path, Any],
) -> None:
    again = evaluate(Options(stories=[whole[0]], split="valid", limit=4)).as_json()
    before = timeless(whole[1].as_json())["systems"][0]["measures"]
    (system,) = again["systems"]
    assert system["weights"] is None
    assert system["measures"] == {
        key: row for key, row in before.items() if key in system["measures"]
    }
    assert "bleu" in system["measures"]
    assert "bits_per_byte_brief" not in system["measures"]


def test_human_stories_as_a_system_reach_the_human_figures(tmp_path: Path) -> None:
    items = load_heldout(None, "valid", 8).items
    path = tmp_path / "human.jsonl"
    path.write_text(
        "".join(json.dumps({"id": i.id, "text": i.text}) + "\n" for i in items), encoding="utf-8"
    )
    result = evaluate(Options(stories=[path], split="valid", limit=8))
    for row in result.systems[0].figures:
        if row.group == "likeness":
            assert row.value == pytest.approx(100)
            assert row.floor == pytest.approx(row.human_floor)
            assert row.lift_interval is not None
            assert row.lift_interval.low > 40
        elif row.group != "copying":
            assert row.value == pytest.approx(row.human)


def test_models_side_by_side_are_scored_on_the_same_text(tiny_model: Path, tiny_gpt2: Path) -> None:
    result = evaluate(
        options(tiny_model, models=[str(tiny_model), str(tiny_gpt2)], limit=3, write=False)
    )
    a, b = (s.truncation for s in result.systems)
    assert a is not None
    assert b is not None
    assert a.bytes_scored == b.bytes_scored
    found = {d.key: d for d in result.differences}
    change = found["bits_per_byte_brief"]
    first, second = (s.figure("bits_per_byte_brief") for s in result.systems)
    assert first is not None
    assert second is not None
    assert first.value is not None
    assert second.value is not None
    assert change.value == pytest.approx(second.value - first.value)
    assert change.interval is not None
    assert result.signatures == {}
    assert rich_table(result, 80)[1] < rich_table(result, 300)[1]


def test_ceilings_come_from_stories_of_the_same_prompt(
    tiny_model: Path, paired_corpus: Path
) -> None:
    result = evaluate(options(tiny_model, corpus=paired_corpus, split="test", limit=4))
    row = result.systems[0].figure("rouge1")
    assert row is not None
    assert row.human is not None
    assert row.human_floor is not None
    assert any("another human's story" in note for note in result.notes)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fabula", "evaluate", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_line_writes_a_folder_and_one_json_object(
    whole: tuple[Path, Any], tmp_path: Path
) -> None:
    out = tmp_path / "new" / "out"
    found = run(
        "--stories", str(whole[0]), "--split", "valid", "--limit", "4", "--json", "-o", str(out)
    )
    assert found.returncode == 0, found.stderr
    data = json.loads(found.stdout)
    assert data == json.loads((out / "metrics.json").read_text())
    report = (out / "report.md").read_text()
    for file in ("measures.png", "wishes.png", "arcs.png"):
        assert (out / file).read_bytes().startswith(b"\x89PNG")
        assert file in report
    assert data["signatures"]["bleu"] in report
    assert sorted(p.name for p in out.iterdir()) == [
        "arcs.png", "measures.png", "metrics.json", "report.md", "wishes.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": []}, "nothing to evaluate"),
        ({"limit": 1}, "at least two prompts"),
        ({"corpus": Path("nowhere")}, "not a prepared corpus"),
        ({"split": "dev"}, "is not a split"),
        ({"models": ["/nowhere/model"]}, "no model folder"),
        ({"stories": [Path("nowhere.jsonl")]}, r"nowhere\.jsonl"),
    ],
)
def test_bad_input_is_one_sentence(tiny_model: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FabulaError, match=said) as error:
        evaluate(options(tiny_model, **changes))
    assert "\n" not in str(error.value)


def test_one_written_story_is_too_few_for_floors(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    item = load_heldout(None, "valid", 4).items[0]
    path.write_text(json.dumps({"id": item.id, "text": "She left."}) + "\n")
    with pytest.raises(FabulaError, match="at least two prompts"):
        evaluate(Options(stories=[path], split="valid"))


def test_stories_for_other_briefs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "others.jsonl"
    path.write_text('{"id": "nobody", "text": "She left."}\n')
    with pytest.raises(FabulaError, match="none of its 1 stories is for a brief"):
        evaluate(Options(stories=[path], split="valid"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--single", "--candidates", "3"], "contradict"),
        (["--candidates", "0"], "candidates"),
        (["--seed", "-1"], "--seed is -1"),
        (["--words", "0"], "--words is 0"),
        (["--model", "a", "--model", "a"], "twice"),
        (["--stories", "x.jsonl", "--no-stories"], "nothing to do"),
    ],
)
def test_contradictory_options_are_refused(arguments: list[str], said: str) -> None:
    import typer

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, FabulaError)
    assert said in str(result.exception)


def test_an_absent_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    from fabula.evaluation import similarity

    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.bleu", None)
    similarity._tools.cache_clear()
    with pytest.raises(FabulaError, match=r"pip install 'fabula\[eval\]'"):
        evaluate(options(tiny_model))
