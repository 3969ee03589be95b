"""The desk: the document so far, and candidates for what comes next in it.

Keys and values are reused from one decision to the next by forking the row that was chosen.
Where the context is full, the oldest passages leave it; brief, premise and outline never do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.story import Brief
from fabula.writing.drafts import Draft, Task, compose, draw, follow, tokens_of
from fabula.writing.insertion import insert, watch
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, Sheet, open_sheet
from fabula.writing.wishes import Want

# Less room than this is not worth a passage.
LEAST_ROOM = 24
ATTEMPTS = 3
MOST_INSERTED = 4


@dataclass
class Desk:
    """A document in the making.

    Attributes:
        brief: what the model sees of the brief.
        head: tokens of premise and outline.
        passages: tokens of each passage, heading included.
        last: the draft chosen last, whose keys and values can be reused.
    """

    engine: Engine
    settings: WriterSettings
    brief: Brief
    head: list[int] = field(default_factory=list)
    passages: list[list[int]] = field(default_factory=list)
    last: Draft | None = None

    def __post_init__(self) -> None:
        self.script = Script(self.engine)
        self.prompt = self.script.prompt(self.brief)
        self.bare_prompt = self.script.prompt(Brief())
        names = [c.name for c in self.brief.characters if c.name]
        marks = [self.engine.encode(m) for m in ("\n", '"', "“", "”", ":")]
        spelled = [self.script.after_word(" " + part) for n in names for part in n.split()]
        self.breakers = frozenset(t for ids in (*marks, *spelled) for t in ids)
        self._opened: list[int] = []

    @property
    def begun(self) -> bool:
        """Whether the document has any text after the brief."""
        return bool(self.head or self.passages)

    def room(self, opening: int = 8) -> int:
        """Tokens that one more passage can have, beside brief, premise and outline."""
        return self.engine.context - len(self.prompt) - len(self.head) - opening - 1

    def tokens_per_word(self) -> float:
        """How many tokens this engine spends on a word, from the outline."""
        text = self.engine.decode(self.head)
        return max(len(self.head) / max(len(text.split()), 1), 1.0)

    def candidates(
        self,
        opening: str,
        task: Task,
        rows: int,
        wants: Sequence[Want],
        rng: np.random.Generator,
        judge: Callable[[Draft], float],
    ) -> list[Draft]:
        """Draw candidates for a line or passage that begins after `opening`.

        Args:
            opening: text that stands before it: a heading, or a beat's name.
            task: what to draw; its history is filled in here.
            rows: how many.
            wants: wishes due now; those that no candidate keeps are inserted.
            judge: which sentence of a passage is the best to go on from: the one it puts highest.

        Raises:
            FabulaError: brief and outline leave no room in the model's context, or the model
                writes nothing.
        """
        # A line must not repeat the lines before it, a passage the passages.
        history = self.head if task.line else [t for ids in self.passages for t in ids]
        watched = watch(wants, self.script, task.line) if self.settings.insertions else []
        task = replace(task, history=history, breakers=self.breakers, watched=watched)
        for _ in range(ATTEMPTS):
            sheet, task = self._open(opening, task, rows)
            if task.line or not self.settings.by_sentence or rows == 1:
                drafts = draw(sheet, self.script, task, self.settings, rows, rng)
            else:
                drafts = compose(sheet, self.script, task, self.settings, rows, rng, judge)
            if drafts := [d for d in drafts if d.text]:
                return self._insert(wants, drafts, task, rng) if watched else drafts
        raise FabulaError(
            f"the model '{self.engine.name}' wrote nothing after '{opening.strip()}'; "
            "was it trained on Fabula's text format?"
        )

    def choose(self, draft: Draft, passage: bool) -> None:
        """Put a candidate of the last `candidates` into the document."""
        ids = [*self._opened, *tokens_of(draft, self.script)]
        if passage:
            self.passages.append(ids)
        else:
            self.head += ids
        self.last = draft

    def give(self, text: str) -> None:
        """Put text that is not the model's (a reader's outline) into the document's head."""
        self.head += self._encode(text)
        self.last = None

    def _encode(self, text: str) -> list[int]:
        return self.script.after_newline(text) if self.begun else self.engine.encode(text)

    def _open(self, opening: str, task: Task, rows: int) -> tuple[Sheet, Task]:
        """A sheet after the opening, in a window of the document that leaves room to write."""
        self._opened = self._encode(opening)
        most = self.room(len(self._opened))
        if most < LEAST_ROOM:
            raise FabulaError(
                f"the brief and outline take {len(self.prompt) + len(self.head)} tokens of the "
                f"{self.engine.context} that the model '{self.engine.name}' can hold; "
                "shorten the brief."
            )
        task = replace(task, limit=min(task.limit, most), least=min(task.least, most // 2))
        window = list(self.passages)
        while window and sum(map(len, window)) + task.limit > most:
            window.pop(0)
        if self.last is not None and len(window) == len(self.passages):
            return follow(self.last, self.script, opening, rows), task
        body = [*self.head, *(t for ids in window for t in ids), *self._opened]
        sheet = open_sheet(
            self.engine, self.prompt, self.bare_prompt, body, rows, self.settings.guidance
        )
        return sheet, task

    def _insert(
        self, wants: Sequence[Want], drafts: list[Draft], task: Task, rng: np.random.Generator
    ) -> list[Draft]:
        """Add candidates for the wishes that no candidate keeps; they may keep several."""
        pool = list(drafts)
        for want in [w for w in wants if not any(w.found(d.text) for d in drafts)][:MOST_INSERTED]:
            counts = [sum(bool(w.found(d.text)) for w in wants) for d in pool]
            base = [d for d, n in zip(pool, counts, strict=True) if n == max(counts)]
            pool += insert(want, base, self.script, task, self.settings, rng)
        return pool
