"""Best insertion: a wished phrase is put where the model itself finds it likeliest.

While candidates are drawn, the log-probability of each wish's first token is noted at every
place. If no candidate has the phrase, it is tried whole at the best of those places, and the
model goes on writing from the best one. What comes out are candidates like all others: they
need not be chosen, and are dropped where the text after the phrase limps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fabula.reading.phrases import name_parts
from fabula.writing.drafts import Draft, Task, draw
from fabula.writing.sampling import log_sum_exp
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, Sheet
from fabula.writing.wishes import Want

_DETERMINERS = frozenset("a an the his her my our their your its this that one some".split())
_COPULAS = frozenset("was were is am are so very too felt grew became".split())
_UNDATED = re.compile(
    r"(?:once|long|one|last|every|many|years|some|that|this|in|on|at|during|before|after)\b", re.I
)
_HOURS = re.compile(r"\b(?:midnight|noon|dawn|dusk|sunset|sunrise|nightfall|daybreak)\b", re.I)
_DAYS = re.compile(r"\b(?:day|night|morning|evening|eve|afternoon)\b", re.I)
# Only names and times open a text; a phrase needs some words before it.
FIRST_PLACE = 3
LEAST_AFTER = 4


@dataclass(frozen=True)
class Form:
    """One way to say a phrase.

    Attributes:
        ids: its tokens, in the middle of a text.
        after: words of which one must stand before it; None asks for none, and for no determiner.
        opening: whether it opens a sentence; None where it may or may not (a name).
        first: it opens the whole text.
    """

    ids: list[int]
    after: frozenset[str] | None = None
    opening: bool | None = False
    first: bool = False

    def fits(self, before: str | None) -> bool:
        """Whether it can stand after a token that reads `before` (None: at the very beginning)."""
        if before is None or self.first:
            return before is None and self.first
        if not before.strip() or before.endswith("\n"):
            return False
        word = before.strip().lower()
        if self.after is not None and word not in self.after:
            return False
        if self.after is None and word in _DETERMINERS:
            return False
        return self.opening in (None, before.rstrip()[-1] in '"”.!?')


def _dated(time: str) -> str:
    """A time with the preposition that it opens a sentence with: "in the 1920s"."""
    if _UNDATED.match(time):
        return time
    if _HOURS.search(time):
        return f"at {time}"
    if not _DAYS.search(time) or "present" in time:
        return f"in {time}"
    return f"on the {time}" if time.startswith(("first ", "last ")) else f"on {time}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def forms(want: Want, script: Script, line: bool) -> list[Form]:
    """The ways to say a wish that fit somewhere in a sentence of its kind."""

    def inside(text: str) -> list[int]:
        return script.after_word(" " + text)

    def at_first(text: str) -> Form:
        # A line begins after its label and a space, a passage after a line end.
        return Form(inside(text) if line else script.after_newline(text), first=True)

    phrase = want.phrase
    if want.kind == "name":
        names = list(dict.fromkeys((phrase, name_parts(phrase)[0])))
        return [form for n in names for form in (at_first(n), Form(inside(n), opening=None))]
    if want.kind == "time":
        if phrase.lower().startswith("once "):
            return [at_first(_capital(phrase))]
        # In a passage a sentence of its own, which no sentence after it can fail to fit.
        return [at_first(_capital(_dated(phrase)) if line else f"It was {phrase}.")]
    found = [Form(inside(phrase))]
    if want.kind == "trait":
        found = [Form(inside(phrase), after=_COPULAS)]
        if want.owner is not None:
            found.append(Form(inside(f"{want.owner} was {phrase}"), opening=True))
        return found
    if phrase[:1].islower():
        found.append(Form(inside(_capital(phrase)), opening=True))
    first, _, rest = phrase.partition(" ")
    if rest and first.lower() in _DETERMINERS:
        found.append(Form(inside(rest), after=_DETERMINERS))
    return found


def watch(wants: Sequence[Want], script: Script, line: bool) -> list[int]:
    """First tokens of all forms of some wishes, to be watched while candidates are drawn."""
    return sorted({f.ids[0] for w in wants for f in forms(w, script, line) if f.ids})


@dataclass(frozen=True)
class Place:
    """Where a form could go: after the first `at` tokens of a draft."""

    first: float
    draft: int
    at: int
    form: Form


def places(
    drafts: Sequence[Draft], options: Sequence[Form], task: Task, script: Script, n: int
) -> list[Place]:
    """Where the forms' first tokens are likeliest: n places over all drafts, and the beginning.

    No place is so late that the task's limit leaves no room to go on.
    """
    column = {token: i for i, token in enumerate(task.watched)}
    found: list[Place] = []
    for number, draft in enumerate(drafts):
        for at in (0, *range(FIRST_PLACE, min(len(draft.watched), len(draft.ids) - 1))):
            before = script.piece(draft.ids[at - 1]) if at else None
            for form in options:
                room = task.limit - at - len(form.ids)
                if room >= LEAST_AFTER and form.fits(before):
                    first = float(draft.watched[at][column[form.ids[0]]])
                    found.append(Place(first, number, at, form))
    # At equal likelihood the earlier place stands, so that the order is fixed.
    found.sort(key=lambda p: (-p.first, p.draft, p.at))
    # All drafts begin alike: one of them is enough to try what opens the text.
    opened = {id(p.form): p for p in reversed(found) if p.at == 0}
    return [*opened.values(), *[p for p in found if p.at][:n]]


def _try(draft: Draft, place: Place, rows: int) -> tuple[Sheet, Draft]:
    """Write the phrase at a place; returns the sheet after it, and the draft so far."""
    ids = place.form.ids
    computed = draft.sheet.length - draft.start
    sheet = draft.sheet.fork(draft.row, computed - place.at, ids[:1], rows)
    log_p, gain = [place.first], []
    for token in ids[1:]:
        _, briefed, bare = sheet.scores()
        log_p.append(float(briefed[0, token] - log_sum_exp(briefed)[0]))
        if bare is not None:
            gain.append(log_p[-1] - float(bare[0, token] - log_sum_exp(bare)[0]))
        sheet.step(np.full(rows, token, dtype=np.int64))
    begun = Draft(
        sheet,
        0,
        draft.start,
        [*draft.ids[: place.at], *ids],
        [*draft.log_p[: place.at], *log_p],
        [*draft.gain[: place.at], *gain],
        # Nothing else goes into the phrase itself.
        [*draft.watched[: place.at], *(np.full_like(draft.watched[0], -np.inf) for _ in ids)],
    )
    return sheet, begun


def insert(
    want: Want,
    drafts: Sequence[Draft],
    script: Script,
    task: Task,
    settings: WriterSettings,
    rng: np.random.Generator,
) -> list[Draft]:
    """Draw candidates that keep a wish which no draft kept.

    Returns:
        New candidates whose tokens after the phrase are, in the mean, at most
        `settings.insertion_fall` nats less likely than those of the best draft.
    """
    options = [f for f in forms(want, script, task.line) if f.ids and f.ids[0] in task.watched]
    tried = [
        (place, _try(drafts[place.draft], place, 1)[1])
        for place in places(drafts, options, task, script, settings.insertions)
    ]
    if not tried:
        return []
    # The whole phrase decides, its first token only proposed.
    place, _ = max(tried, key=lambda t: sum(t[1].log_p[t[0].at :]))
    rows = max(settings.candidates // 2, 1)
    sheet, begun = _try(drafts[place.draft], place, rows)
    begun.inserted = want.phrase
    fresh = draw(sheet, script, task, settings, rows, rng, begun)
    floor = max(d.fluency for d in drafts) - settings.insertion_fall
    after = len(begun.log_p)
    return [
        d
        for d in fresh
        if d.text and want.found(d.text) and float(np.mean(d.log_p[after:] or [floor])) >= floor
    ]
