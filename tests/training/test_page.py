"""A run's page: whole, self-contained, escaped, true to the figures; `fabula runs`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_run import start, stop_after
from tiny_recipe import recipe_data

from fabula.cli import main
from fabula.errors import FabulaError
from fabula.training.page import draw_page, make_page
from fabula.training.page.specimens import MOST_EVALUATIONS, specimen
from fabula.training.page.svg import HEIGHT, WIDTH, Line, curves, fewer, nice_ticks, short
from fabula.training.records import read_lines, read_record
from fabula.training.run import Announce

pytest.importorskip("torch")
NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes\" 'too'"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Whole(HTMLParser):
    """Sees that tags close in order, and collects what a page would load, run and name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.text).append(data)


class AtStart(Announce):
    """Keeps the page as it is at the first evaluation."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.pages = folder, list[str]()

    def metrics(self, line: dict[str, Any], progress: float) -> None:
        self.pages.append((self.folder / "index.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose briefs are nasty."""
    data = recipe_data(corpus, evaluation={"every": 2, "max_documents": 3})
    data["specimens"] = {"tokens": 24, "briefs": [{"genre": NASTY}, {"tone": "eerie"}]}
    runs = tmp_path_factory.mktemp("runs")
    told = AtStart(runs / "tiny")
    outcome = start(runs, data, told=told)
    (outcome.folder / "first-page").write_text(told.pages[0], "utf-8")
    return outcome.folder


def test_the_page_is_whole_loads_nothing_and_runs_only_its_own_script(folder: Path) -> None:
    raw = (folder / "index.html").read_text("utf-8")
    page = Whole(raw)
    assert len(page.ids) == len(set(page.ids))
    assert page.handlers == []
    assert all(link.startswith("#") or (folder / link).is_file() for link in page.links)
    assert {"CARD.md", "metrics.jsonl"} <= set(page.links)
    (script,) = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in raw
    assert "alert(1)" not in script
    assert NASTY in "".join(page.text)


def test_the_page_has_the_figures_of_the_run(folder: Path) -> None:
    page = " ".join("".join(Whole((folder / "index.html").read_text("utf-8")).text).split())
    record = read_record(folder)
    assert record.state == "finished"
    assert [line["step"] for line in record.scores] == [0, 2, 4]
    for line in record.scores:
        assert f"{line['eval_loss']:,.4f}" in page
        assert f"{line['eval_word_perplexity']:,.4f}" in page
    last = record.last
    for figure in (f"{last['tokens']:,}", f"{last['padding']:,}", "finished", "seed"):
        assert figure in page
    assert record.facts["versions"]["torch"] in page
    assert "stories an epoch" in page  # a note
    assert "learning rate, planned" in page


def test_before_the_first_step_the_page_has_the_schedule(folder: Path) -> None:
    first = (folder / "first-page").read_text("utf-8")
    text = "".join(Whole(first).text)
    assert "going on, 0.0%" in text
    assert "cosine, down to 0% of the peak; the run ends after 4 steps" in text
    assert first.count("<svg") == 1


def test_each_evaluation_has_its_specimens_to_choose(folder: Path) -> None:
    page = Whole((folder / "index.html").read_text("utf-8"))
    for brief in (0, 1):
        for step in (0, 2, 4):
            assert f"specimen-{brief}-{step}" in page.ids


def test_loops_of_a_specimen_are_marked_where_they_are() -> None:
    loop = "and then she went down to the sea again"
    told = {"passages": [["start", f"Once. {loop} {loop}"], ["end", f"{loop} & more"]],
            "words": 30, "loop_rate": 0.9, "wishes_kept": 0.5, "ended": False, "in_format": True,
            "missed": ["genre: <b>"], "outline": ["start: x"]}  # fmt: skip
    html = specimen(told, 7)
    marked = re.findall(r'<mark class="loop">(.*?)</mark>', html)
    assert len(marked) == 2
    assert marked[0].startswith("and then")
    assert marked[1].endswith("sea again")
    assert "Once. <mark" in html
    assert "</mark> &amp; more" in html
    assert "cut off" in html
    assert "&lt;b&gt;" in html
    Whole(html)


def test_a_long_run_makes_no_huge_page(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "long"
    shutil.copytree(folder, run)
    step = next(x for x in read_lines(run / "metrics.jsonl") if "loss" in x)
    lines = [json.dumps({**step, "step": n, "progress": n / 60_000}) for n in range(1, 20_000)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 20000, "lo', "utf-8")
    written = read_lines(run / "specimens.jsonl")[-1]
    (run / "specimens.jsonl").write_text(
        "".join(json.dumps({**written, "step": n}) + "\n" for n in range(0, 20_000, 100))
    )
    began = time.monotonic()
    draw_page(run)
    assert time.monotonic() - began < 10
    raw = (run / "index.html").read_text("utf-8")
    assert len(raw) < 1_500_000
    assert raw.count('<template id="specimen-0-') == MOST_EVALUATIONS
    assert 'id="specimen-0-0"' in raw
    assert 'id="specimen-0-19900"' in raw


def test_a_run_is_stopped_or_broken_off(
    folder: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_after(patched, 2)
        outcome = start(tmp_path, recipe_data(corpus))
    assert read_record(outcome.folder).state == "stopped"
    assert "stopped, 50.0%" in make_page(read_record(outcome.folder))
    facts = json.loads((outcome.folder / "facts.json").read_text())
    del facts["sittings"][-1]["ended"]
    (outcome.folder / "facts.json").write_text(json.dumps(facts))
    assert read_record(outcome.folder).state == "going on"
    for path in outcome.folder.iterdir():
        os.utime(path, (1e9, 1e9))
    assert read_record(outcome.folder).state == "broken off"
    start(tmp_path, recipe_data(corpus), resume=True)
    after = read_record(outcome.folder)
    assert after.state == "finished"
    assert [s["step"] for s in after.facts["sittings"]] == [0, 2]


def test_what_broke_a_run_off_stands_on_its_page(corpus: Path, tmp_path: Path) -> None:
    class Fails(Announce):
        def metrics(self, line: dict[str, Any], progress: float) -> None:
            if line["step"] == 3:
                raise FabulaError("the disk <is> full")

    data = recipe_data(corpus, checkpoint={"every": 1})
    with pytest.raises(FabulaError):
        start(tmp_path, data, told=Fails())
    page = (tmp_path / "tiny" / "index.html").read_text("utf-8")
    assert "The run broke off. the disk &lt;is&gt; full" in page
    assert 'class="bad"' in page


@given(st.integers(2, 5000), st.integers(3, 400))
def test_fewer_points_keep_the_ends_and_the_mean(count: int, most: int) -> None:
    points = [(float(n), float(n * n % 97)) for n in range(count)]
    found = fewer(points, most)
    assert len(found) <= max(most, 2)
    assert (found[0], found[-1]) == (points[0], points[-1])
    assert [x for x, _ in found] == sorted({x for x, _ in found})


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_round_and_inside(low: float, size: float) -> None:
    high = low + size
    ticks = nice_ticks(low, high)
    assert len(ticks) <= 6
    assert all(low - size * 1e-6 <= t <= high + size * 1e-6 for t in ticks)


def test_numbers_of_an_axis() -> None:
    shown = [short(v) for v in (0, 0.25, 1200, 45_000, 2_500_000, 3e-4, 1.5e-3)]
    assert shown == ["0", "0.25", "1200", "45k", "2.5M", "3e-4", "1.5e-3"]


def test_curves_stay_in_their_frame_and_tell_their_numbers() -> None:
    points = [(float(n), 3.0 - n / 50) for n in range(100)]
    html = curves(
        "Loss", [Line("loss <x>", points), Line("held", [(0, 3.0), (99, 1.0)], dots=True)]
    )
    Whole(html)
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", " ".join(re.findall('points="(.*?)"', html))):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
    assert "loss &lt;x&gt;: 1.02" in html  # at the last step
    assert "held: 1" in html
    Whole(curves("Nothing yet", []))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["fabula", "runs", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_runs_are_listed_compared_and_drawn_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("one", "two"):
        shutil.copytree(folder, tmp_path / name)
    recipe = (tmp_path / "two" / "recipe.yaml").read_text()
    (tmp_path / "two" / "recipe.yaml").write_text(recipe.replace("eps: 1.0e-08", "eps: 1.0e-07"))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "recipe.yaml").write_text("name: [")
    runs = ["--runs", str(tmp_path)]
    assert call(monkeypatch, *runs) == 0
    printed = capsys.readouterr()
    assert re.search(r"one +finished +4 ", printed.out)
    assert "two" in printed.out
    assert "left out:" in printed.err
    assert call(monkeypatch, "one", "two", *runs, "--json", "--page", str(tmp_path / "c.html")) == 0
    told = json.loads(capsys.readouterr().out)
    assert [r["step"] for r in told["runs"]] == [4, 4]
    assert told["runs"][0]["eval_loss"] == read_record(folder).scores[-1]["eval_loss"]
    page = (tmp_path / "c.html").read_text("utf-8")
    text = "".join(Whole(page).text)
    assert "optimiser.eps" in text
    assert "optimiser.clip" not in text
    (tmp_path / "one" / "index.html").unlink()
    assert call(monkeypatch, "one", *runs) == 0
    Whole((tmp_path / "one" / "index.html").read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "is no folder"),
        (["--runs", "nowhere"], "no folder nowhere"),
        (["--runs", "empty"], "no run in empty"),
        (["empty"], "not the folder of a run"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    assert sentence in capsys.readouterr().err
