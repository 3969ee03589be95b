"""What makes a run visible while it goes on: notes, facts, specimens, trackers, its page.

Nothing here may end a run: where a story or the page cannot be written, that is said once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fabula.errors import FabulaError
from fabula.story import render_brief
from fabula.story.files import write_atomic
from fabula.training import facts, models, parallel, records
from fabula.training.page import draw_page
from fabula.training.recipe import Recipe
from fabula.training.records import add_line, read_facts, read_lines
from fabula.training.specimens import Specimen, briefs_of, means, write_specimens
from fabula.training.tokenizer import TextTokenizer, open_tokenizer
from fabula.training.trackers import name_run, show_texts

if TYPE_CHECKING:
    from fabula.training.sitting import Announce
    from fabula.training.trainer import StoryTrainer

PAGE_SECONDS = 30.0
"""Least time between two drawings of the page; a drawing that takes long waits longer."""
PAGE_SHARE = 0.01
"""Most of the time that drawing the page may take."""
LOOPS_RISE = 0.1
"""So much more of the stories in loops is worth a warning, where the loss falls."""


class Noted:
    """Tells what it is told on, and keeps the sentences in the run's folder.

    Args:
        announce: whom to tell.
        folder: of the run; nothing is written before it has its recipe.
    """

    def __init__(self, announce: Announce, folder: Path) -> None:
        self.announce = announce
        self.folder = folder
        self._kept: list[dict[str, Any]] = []

    def note(self, text: str) -> None:
        """A sentence."""
        self.announce.note(text)
        self.keep(text)

    def keep(self, text: str) -> None:
        """Keep a sentence that was told already."""
        if not parallel.world().first:
            return
        self._kept.append({"time": records.now(), "text": text})
        self.flush()

    def flush(self) -> None:
        """Write what is kept, where the run has begun."""
        if (self.folder / "recipe.yaml").is_file():
            with suppress(FabulaError):
                for line in self._kept:
                    add_line(self.folder / records.NOTES, line)
            self._kept = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.announce, name)


@contextmanager
def watched(announce: Announce, folder: Path) -> Iterator[Any]:
    """Whom a run tells: what it says is kept, and its page is drawn when it ends, however."""
    noted = Noted(announce, folder)
    try:
        yield noted
    except BaseException as error:
        told = str(error) if isinstance(error, FabulaError) else f"{type(error).__name__}: {error}"
        if (folder / records.FACTS).is_file():
            noted.keep(f"The run broke off. {told}")
        raise
    finally:
        if parallel.world().first and (folder / records.FACTS).is_file():
            _close(folder)
            with suppress(FabulaError):
                draw_page(folder)


def _close(folder: Path) -> None:
    """Note that the sitting has ended, and whether the run has."""
    told = read_facts(folder)
    for sitting in told.get("sittings", [])[-1:]:
        began = datetime.fromisoformat(sitting["began"]).timestamp()
        final = folder / "final"
        finished = final.is_dir() and final.stat().st_mtime >= began
        sitting |= {"ended": records.now(), "finished": finished}
    with suppress(FabulaError):
        write_atomic(folder / records.FACTS, records.dump(told))


class Seeing:
    """One sitting, as it is seen.

    Args:
        step: from which it goes on.
        announce: whom to tell.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        model: nn.Module,
        stream: Any,
        held_out: Any,
        step: int,
        announce: Any,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.announce = announce
        self.first = parallel.world().first
        self.off = recipe.specimens is None
        # Before a sitting that goes on, the stories of its first step have been written.
        self.written_at = step if step else -1
        self.tokenizer: TextTokenizer | None = None
        self.loss: float | None = None
        self.drawn_at, self.drawing_took = time.monotonic(), 0.0
        self.page_failed = False
        if not self.first:
            return
        path = folder / records.SPECIMENS
        kept = [line for line in read_lines(path) if line.get("step", 0) <= step] if step else []
        self.before = [line["means"] | {"step": line["step"], "loss": line["loss"]}
                       for line in kept if "means" in line]  # fmt: skip
        if kept or path.exists():
            write_atomic(path, "".join(records.dump_line(line) for line in kept))
        told = read_facts(folder) if step else {}
        sittings = [*told.get("sittings", []), {"step": step, "began": records.now()}]
        gathered = facts.gather(recipe, model, stream, held_out)
        write_atomic(folder / records.FACTS, records.dump({**gathered, "sittings": sittings}))
        if isinstance(announce, Noted):
            announce.flush()
        self.draw()

    def joins(self, trainer: StoryTrainer) -> None:
        """Be told of its evaluations, and name its run to the trackers."""
        trainer.after_evaluation = self.evaluated
        name_run(trainer, self.recipe.name, self.folder, self.announce.note)

    def sees(self, line: dict[str, Any]) -> None:
        """A line of metrics before it is written; it gets the memory of this moment."""
        self.loss = line.get("loss", self.loss)
        if "loss" in line:
            line["memory_now_mb"] = round(facts.memory_now() / 1e6, 1)
            wait = max(PAGE_SECONDS, self.drawing_took / PAGE_SHARE)
            if time.monotonic() - self.drawn_at > wait:
                self.draw()

    def evaluated(self, trainer: StoryTrainer) -> None:
        """After each evaluation: the specimens, and the page."""
        step = trainer.counts.step
        if not self.off and step != self.written_at:
            self.written_at = step
            self._write(trainer, step)
        if self.first:
            self.draw()

    def draw(self) -> None:
        """Draw the run's page."""
        began = time.monotonic()
        try:
            draw_page(self.folder)
        except FabulaError as error:
            if not self.page_failed:
                self.announce.note(f"The run's page cannot be drawn: {error}")
            self.page_failed = True
        self.drawn_at = time.monotonic()
        self.drawing_took = self.drawn_at - began

    def _write(self, trainer: StoryTrainer, step: int) -> None:
        settings = self.recipe.specimens
        assert settings is not None
        if not self.first and not parallel.is_sharded(trainer.network):
            return
        began = time.monotonic()
        try:
            if self.tokenizer is None:
                self.tokenizer = open_tokenizer(_tokenizer_of(self.recipe, self.folder))
            found = write_specimens(trainer.network, self.tokenizer, settings, self.recipe.seed)
        except Exception as error:  # whatever a library may raise: training goes on
            self.off = True
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
            self.announce.note(f"No specimens are written: {reason.rstrip('.')}.")
            return
        if not self.first:
            return
        told = means(found)
        score = trainer.last_score
        loss = float(score[1].loss) if score is not None and score[0] == step else self.loss
        prompts = map(render_brief, briefs_of(settings))
        line = {
            "step": step,
            "loss": loss,
            "seconds": round(time.monotonic() - began, 2),
            "means": told,
            "specimens": [
                {"brief": prompt, **asdict(specimen)}
                for prompt, specimen in zip(prompts, found, strict=True)
            ],
        }
        add_line(self.folder / records.SPECIMENS, line)
        trainer.report({"step": step, **told})
        trainer.log(dict(told))
        show_texts(trainer, {f"specimen {n}": _shown(s) for n, s in enumerate(found, 1)}, step)
        told_now = {**told, "step": step, "loss": loss}
        if warning := rising_loops(self.before, told_now):
            self.announce.note(warning)
        self.before.append(told_now)


def rising_loops(before: list[dict[str, Any]], now: dict[str, Any]) -> str | None:
    """A warning where the loss has fallen since a time when the stories looped less.

    Args:
        before: `step`, `loss` (or None) and `eval_loop_rate` of earlier evaluations.
        now: the same of this one.
    """
    for earlier in before:
        if now["loss"] is None or earlier["loss"] is None or now["loss"] >= earlier["loss"]:
            continue
        if now["eval_loop_rate"] >= earlier["eval_loop_rate"] + LOOPS_RISE:
            return (
                f"Warning: at step {now['step']}, {now['eval_loop_rate']:.0%} of the specimens' "
                f"text lies in loops, at step {earlier['step']} it was "
                f"{earlier['eval_loop_rate']:.0%}, though the loss has fallen from "
                f"{earlier['loss']:.3f} to {now['loss']:.3f}: read them on the run's page before "
                "training on."
            )
    return None


def _shown(specimen: Specimen) -> str:
    parts = [f"# {beat}\n\n{text}" if beat else text for beat, text in specimen.passages]
    return "\n\n".join(parts)


def _tokenizer_of(recipe: Recipe, folder: Path) -> str:
    """Where a run's tokenizer is."""
    if recipe.base_model is not None:
        return models.resolve(recipe.base_model)
    assert recipe.init is not None
    trained = recipe.init.tokenizer == "train"
    return str(folder / "tokenizer") if trained else models.resolve(recipe.init.tokenizer)
