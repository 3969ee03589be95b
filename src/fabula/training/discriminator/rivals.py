"""Rivals: what a model writes at the places where people have written a sentence.

A discriminator learns from them (`contest.py`): for each place, the sentence that
stands there and some that the model drew for the same text before it, from its own distribution.
The stories should be new to the model; of what it knows by heart it draws no rivals worth the name.

`rivals.jsonl`, one story a line: {"id", "prompt", "completion", "spots": [{"at", "end",
"rivals"}]}; all texts are token ids, `at` and `end` count tokens of the completion.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fabula.corpus.augment import Example, augment
from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.story.format import OUTLINE_HEADING
from fabula.training.documents import vary
from fabula.training.packing import changes_of
from fabula.training.recipe import Discriminator, Recipe
from fabula.writing.drafts import SENTENCE_END, Task, draw
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, Sheet

Ids = list[int]
PLAIN = WriterSettings(
    quorum=1.0,
    temperature=1.0,
    plan_temperature=1.0,
    top_p=1.0,
    min_p=0.0005,
    dry_multiplier=0.0,
    worn_penalty=0.0,
)
"""The model's own distribution, but for what it holds for all but impossible.

Rivals of a low temperature are blander than people's sentences, and a discriminator would learn to
love what is odd; against unaltered samples it learns the ratio of the two densities, which is what
a choice among them needs (Deng et al. 2020).
"""


@dataclass(frozen=True)
class Spot:
    """A place of a story.

    Attributes:
        at, end: where the sentence begins and ends, in tokens of the completion.
        rivals: what the model wrote there instead.
    """

    at: int
    end: int
    rivals: list[Ids]


@dataclass(frozen=True)
class Contest:
    """A story and its rivals, as token ids."""

    id: str
    prompt: Ids
    completion: Ids
    spots: list[Spot]


@dataclass(frozen=True)
class _Sentence:
    """A sentence, or a line of the outline, by the characters of the completion."""

    start: int
    end: int
    line: bool
    closing: bool


def sentences(completion: str) -> list[_Sentence]:
    """The lines of the outline and the sentences of the passages, in order."""
    found: list[_Sentence] = []
    at, outline = 0, completion.startswith(OUTLINE_HEADING)
    last = completion.rfind("\n# ")
    for line in completion.split("\n"):
        if line.startswith("# "):
            outline = line == OUTLINE_HEADING.strip()
        elif outline and ": " in line:
            found.append(_Sentence(at + line.index(":") + 1, at + len(line), True, False))
        elif line:
            start = at
            for match in SENTENCE_END.finditer(line):
                found.append(_Sentence(start, at + match.end(), False, at > last))
                start = at + match.end()
        at += len(line) + 1
    return found


def sample_contest(
    engine: Engine, example: Example, recipe: Recipe, rng: random.Random
) -> Contest | None:
    """Draw rivals for one story, varied as the recipe says; None where it does not fit.

    Args:
        engine: the model that writes them.
        example: the story.
        recipe: its `discriminator`, `augmentation` and `sequence_length` are used.
        rng: decides everything.
    """
    assert recipe.discriminator is not None
    changes = changes_of(recipe)
    if changes is not None:
        example = augment(example, rng, changes)
    prompt, text = vary(example, recipe.augmentation, rng)
    script = Script(engine)
    before = engine.encode(prompt)
    if engine.bos is not None:
        before = [engine.bos, *before]
    completion = engine.encode(text)
    if len(before) + len(completion) > min(recipe.sequence_length, engine.context):
        return None
    ends = {len(engine.decode(completion[:n])): n for n in range(len(completion) + 1)}
    places = [s for s in sentences(text) if s.start in ends and s.end in ends]
    chosen = _choose(places, recipe.discriminator, rng)
    if not chosen or not before:
        return None
    whole = engine.start([*before, *completion], 1)
    dice = np.random.default_rng(rng.getrandbits(64))
    spots = []
    for place in chosen:
        at, end = ends[place.start], ends[place.end]
        here = [*before, *completion[:at]]
        rows = recipe.discriminator.rivals
        sheet = Sheet(whole.fork(0, len(here) - 1, here[-1:], rows), None, 1.0)
        drawn = _draw(sheet, script, place, rows, dice)
        rivals = [ids for ids in drawn if ids and ids != completion[at:end]]
        if rivals:
            spots.append(Spot(at, end, rivals))
    return Contest(example.id, before, completion, spots) if spots else None


def _choose(
    places: Sequence[_Sentence], settings: Discriminator, rng: random.Random
) -> list[_Sentence]:
    lines = [p for p in places if p.line]
    told = [p for p in places if not p.line]
    chosen = rng.sample(lines, min(settings.lines, len(lines)))
    chosen += rng.sample(told, min(settings.sentences, len(told)))
    return sorted(chosen, key=lambda p: p.start)


def _draw(
    sheet: Sheet, script: Script, place: _Sentence, rows: int, dice: np.random.Generator
) -> list[Ids]:
    """One sentence (or line) in each row, as tokens, without what follows it."""
    limit = PLAIN.line_tokens if place.line else PLAIN.beat_tokens // 2
    task = Task(line=place.line, closing=place.closing, limit=limit)
    drafts = draw(sheet, script, task, PLAIN, rows, dice, pause=not place.line)
    found = []
    for draft in drafts:
        kept, rest = script.cut(draft.ids, draft.kept) if draft.text else (0, [])
        found.append([*draft.ids[:kept], *rest])
    return found


def write_rivals(
    engine: Engine,
    examples: Sequence[Example],
    recipe: Recipe,
    path: Path,
    tick: Callable[[int, int], None],
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Draw rivals for stories, and add them to a file as they come; what it has is not drawn anew.

    Args:
        tick: is told after each story how many are done, and of how many.
        stop: asked after each story; True leaves the rest for another time.

    Returns:
        Whether all are done.

    Raises:
        FabulaError: the file cannot be written, or no story fits.
    """
    seen = _seen(path)
    try:
        with path.open("a", encoding="utf-8") as file:
            for number, example in enumerate(examples):
                if number >= seen:
                    rng = random.Random(f"{recipe.seed}/rivals/{number}/{example.id}")
                    contest = sample_contest(engine, example, recipe, rng)
                    line = asdict(contest) if contest is not None else {"id": example.id}
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    tick(number + 1, len(examples))
                if stop():
                    return False
    except OSError as error:
        raise FabulaError(f"cannot write {path}: {error.strerror}.") from None
    return True


def _seen(path: Path) -> int:
    """Lines of the file that are whole; half a line, of a killed sitting, is cut off."""
    if not path.is_file():
        return 0
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        path.write_bytes(whole)
    return whole.count(b"\n")


def read_rivals(path: Path) -> list[Contest]:
    """The stories of a file that have rivals, in its order."""
    found: list[Contest] = []
    for line in path.read_text("utf-8").splitlines():
        with suppress(ValueError):
            data: dict[str, Any] = json.loads(line)
            if data.get("spots"):
                spots = [Spot(**spot) for spot in data["spots"]]
                found.append(Contest(data["id"], data["prompt"], data["completion"], spots))
    return found
