"""What a run shows while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_recipe import recipe_data

from fabula.training.progress import MARKS, Show, TimeLeft
from fabula.training.recipe import Recipe

pytest.importorskip("torch")


def test_the_time_left_is_that_of_this_sittings_rate() -> None:
    left = TimeLeft()
    assert left.told(0.5) == "time left unknown"
    left.add(1000.0, 0.5)  # resumed at the half
    assert left.told(0.5) == "time left unknown"
    left.add(1060.0, 0.6)
    assert left.seconds(0.6) == pytest.approx(240)
    assert left.told(0.6) == "0:04:00 left"


def test_a_slow_start_is_forgotten() -> None:
    left = TimeLeft()
    left.add(0.0, 0.0)
    left.add(600.0, 0.001)  # compiling
    for n in range(1, 2 * MARKS):
        left.add(600.0 + n, 0.001 + n / 1000)
    done = 0.001 + (2 * MARKS - 1) / 1000
    assert left.seconds(done) == pytest.approx(1000 * (1 - done))


def test_a_run_that_stands_still_says_so() -> None:
    left = TimeLeft()
    left.add(0.0, 0.2)
    left.add(10.0, 0.2)
    assert left.told(0.2) == "time left unknown"


def line(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "loss": 2.5, "learning_rate": 1e-3, "tokens_per_second": 1234.0,
            "tokens": 1000, "loss_tokens": 820, "memory_mb": 900.0,
            "share_of_peak": 0.21, **more}  # fmt: skip


def test_plain_lines_tell_everything_and_come_seldom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Show(Recipe.model_validate(recipe_data(tmp_path))) as show:
        score = {"loss": 3.25, "bits_per_byte": 1.5, "word_perplexity": 40.0, "documents": 3}
        means = {"loop_rate": 0.25, "wishes_kept": 0.5, "ended": 1, "in_format": 1, "words": 150}
        for figures in (score, means):
            show.metrics({"step": 0, **{f"eval_{k}": v for k, v in figures.items()}}, 0.0)
        show.metrics(line(1, memory_now_mb=700.0), 0.25)
        show.metrics(line(2), 0.5)  # within ten seconds
        show.metrics(line(4, memory_mb=33_900.0, memory_now_mb=12_000.0), 1.0)
    told = capsys.readouterr().err.splitlines()
    assert "held-out loss 3.2500" in told[0]
    assert "25% of the text in loops, 50% of the wishes kept" in told[1]
    assert len(told) == 4
    for part in ("step 1", "loss 2.500", "held out 3.250", "lr 1.00e-03"):
        assert part in told[2]
    assert "1,234 tok/s (82% learnt)  21% of the peak  700, at most 900 MB" in told[2]
    assert "12.0 of at most 33.9 GB" in told[3]
    assert "0:00:00 left" in told[3]
