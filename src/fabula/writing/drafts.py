"""Drafts: candidates for one line or one passage, drawn side by side in one batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from fabula.engines.protocol import Scores
from fabula.story.format import unescape, unescape_passage
from fabula.writing.copying import Guard, sample_originals
from fabula.writing.dry import Dry
from fabula.writing.sampling import log_sum_exp, sample
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, Sheet
from fabula.writing.verbatim import Reciting, own_wordings
from fabula.writing.worn import Worn

End = Literal["open", "line", "sentence", "heading", "story", "limit"]
MOST_GAIN = 2.0
LONG = 16
"""Tokens of a long sentence: a passage that was drawn whole weighs as one."""
_HEADING = re.compile(r"(?:\A|\n)#")
_BLANK_LINES = re.compile(r"\n{3,}")
# A sentence ends at its mark, with the quotation mark that may close it.
SENTENCE_END = re.compile(r"[.!?…][\"'”’)]*(?=\s|\Z)")


CLOSED = re.compile(r"[.!?…][\"'”’)]*\Z")
"""Where a text ends with a whole sentence."""


@dataclass(frozen=True)
class Task:
    """What is to be drawn.

    Attributes:
        line: a single line (premise, outline sentence), or else a passage.
        closing: the passage is the last: the story may, and should, end.
        limit: most tokens.
        least: fewest tokens before a passage may end.
        history: tokens of the story so far, which should not be repeated.
        breakers: names and marks, which may: DRY matches nothing across them.
        watched: tokens whose log-probability is wanted at every place.
        strangers: tokens that are held back: names of nobody in this story.
    """

    line: bool
    closing: bool
    limit: int
    least: int = 0
    history: Sequence[int] = ()
    breakers: frozenset[int] = frozenset()
    watched: Sequence[int] = ()
    strangers: Sequence[int] = ()


@dataclass
class Draft:
    """One candidate.

    Attributes:
        sheet: the batch that it is a row of.
        row: which.
        start: length of the document, in tokens, where this candidate begins.
        ids: its tokens.
        log_p: log-probability of each token given the brief (temperature 1, no guidance).
        gain: how much likelier each token is with the brief than without; empty unguided.
        watched: log-probability of the watched tokens at each place, [places, watched].
        text: what it says, unescaped; empty for a failed draft.
        kept: the text as it stands in the document, before its closing newline.
        end: how it ended; "sentence": it waits there to go on.
        fresh: tokens before the sentence that was drawn last.
        since: tokens before the last sentence, the drawn one or, where none was drawn and the
            passage ended at once, the one before it; 0 where a phrase was put in.
        inserted: the phrase that was put in, if any.
        passed_over: sentences before its end that others were preferred to.
    """

    sheet: Sheet
    row: int
    start: int
    ids: list[int]
    log_p: list[float] = field(default_factory=list)
    gain: list[float] = field(default_factory=list)
    watched: list[npt.NDArray[np.float32]] = field(default_factory=list)
    text: str = ""
    kept: str = ""
    end: End = "open"
    fresh: int = 0
    since: int = 0
    inserted: str | None = None
    passed_over: list[str] = field(default_factory=list)

    @property
    def _weighed(self) -> slice:
        """Sentences that wait are weighed by themselves: what is before them is the same."""
        return slice(self.fresh if self.end == "sentence" else 0, None)

    @property
    def fluency(self) -> float:
        """Mean log-probability of a token, nats."""
        log_p = self.log_p[self._weighed]
        return float(np.mean(log_p)) if log_p else -20.0

    @property
    def likelihood(self) -> float:
        """Log-probability of the last sentence, nats; of one longer than `LONG`, in proportion."""
        log_p = self.log_p[self.since :]
        return float(np.mean(log_p)) * self.tokens if log_p else -20.0 * LONG

    @property
    def tokens(self) -> int:
        """Tokens of the last sentence; of one longer than `LONG`, so many."""
        return min(len(self.log_p[self.since :]), LONG)

    @property
    def weakest(self) -> float:
        """Mean log-probability of the three unlikeliest tokens of the last sentence, nats."""
        log_p = sorted(self.log_p[self.since :])[:3]
        return float(np.mean(log_p)) if log_p else -20.0

    @property
    def mean_gain(self) -> float:
        """Mean pointwise information between brief and token, nats (Li et al. 2016).

        No token counts for more than `MOST_GAIN`: a name that only the brief could give is worth
        ten nats, and saying it again and again is not a virtue.
        """
        gain = self.gain[self._weighed]
        return float(np.clip(gain, -MOST_GAIN, MOST_GAIN).mean()) if gain else 0.0


def draw(
    sheet: Sheet,
    script: Script,
    task: Task,
    settings: WriterSettings,
    rows: int,
    rng: np.random.Generator,
    begun: Draft | None = None,
    pause: bool = False,
) -> list[Draft]:
    """Draw candidates until enough of them have ended or reached the limit.

    Args:
        sheet: a batch of `rows` rows, ready for its next token.
        begun: a draft whose tokens the sheet already holds, and which all rows continue.
        pause: a candidate ends with its first new sentence.
    """
    start = begun.start if begun is not None else sheet.length
    drafts = [
        Draft(
            sheet,
            row,
            start,
            list(begun.ids) if begun else [],
            list(begun.log_p) if begun else [],
            list(begun.gain) if begun else [],
            list(begun.watched) if begun else [],
            fresh=len(begun.ids) if begun else 0,
            since=begun.fresh if begun else 0,
            inserted=begun.inserted if begun else None,
        )
        for row in range(rows)
    ]
    dry, worn = _dry(task, settings, rows), _worn(script, task, settings, rows)
    reciting = _reciting(script, task, settings, rows)
    guard = Guard(sample_originals(), rows, script.piece, settings.copied_words)
    for draft in drafts:
        for token in draft.ids:
            dry.append(draft.row, token)
            worn.append(draft.row, token)
            guard.append(draft.row, token)
            if reciting is not None:
                reciting.append(draft.row, token)
    cuts = settings
    if task.line:
        cuts = settings.model_copy(update={"temperature": settings.plan_temperature})
    every = np.arange(rows)
    watched = np.asarray(task.watched, dtype=np.int64)
    strangers = np.asarray(task.strangers, dtype=np.int64)
    while True:
        guided, briefed, bare = sheet.scores()
        _ban(guided, script, task, drafts)
        guided[:, strangers] -= np.float32(settings.stranger_penalty)
        dry.apply(guided)
        if reciting is not None:
            reciting.apply(guided)
        guard.apply(guided)
        tokens = sample(guided, cuts, rng, worn.losses)
        norm = log_sum_exp(briefed)
        log_p = briefed[every, tokens] - norm
        if bare is not None:
            gain = log_p - (bare[every, tokens] - log_sum_exp(bare))
        places = briefed[:, watched] - norm[:, None] if len(watched) else None
        for row, draft in enumerate(drafts):
            if draft.end != "open":
                continue
            token = int(tokens[row])
            if token == script.engine.eos:
                draft.log_p.append(float(log_p[row]))
                _finish(draft, script, "story", task.line)
                continue
            draft.ids.append(token)
            draft.log_p.append(float(log_p[row]))
            if bare is not None:
                draft.gain.append(float(gain[row]))
            if places is not None:
                draft.watched.append(places[row])
            dry.append(row, token)
            worn.append(row, token)
            guard.append(row, token)
            if reciting is not None:
                reciting.append(row, token)
            _look_for_end(draft, script, task)
            if pause and draft.end == "open":
                _look_for_pause(draft, script)
            if draft.end == "open" and len(draft.ids) >= task.limit:
                _finish(draft, script, "limit", task.line)
        ended = [d for d in drafts if d.end != "open"]
        if len(ended) >= settings.quorum * rows:
            return ended
        sheet.step(tokens)


def compose(
    sheet: Sheet,
    script: Script,
    task: Task,
    settings: WriterSettings,
    rows: int,
    rng: np.random.Generator,
    judge: Callable[[Draft], float],
) -> list[Draft]:
    """Draw a passage sentence by sentence: all rows go on from the best of the last ones.

    The passage ends where at least half of the rows would end it.

    Returns:
        The candidates for its end, which share all that is before.
    """
    begun: Draft | None = None
    passed_over: list[str] = []
    while True:
        drawn = draw(sheet, script, task, settings, rows, rng, begun, pause=True)
        found = [draft for draft in drawn if draft.text]
        ended = [draft for draft in found if draft.end != "sentence"]
        if 2 * len(ended) >= len(found):
            for draft in ended:
                draft.passed_over = passed_over
            return ended
        waiting = [draft for draft in found if draft.end == "sentence"]
        begun = max(waiting, key=lambda d: (judge(d), -d.row))
        others = (script.engine.decode(d.ids[d.fresh :]).strip() for d in waiting if d is not begun)
        passed_over += [text for text in others if text]
        back = begun.sheet.length - begun.start - (len(begun.ids) - 1)
        sheet = begun.sheet.fork(begun.row, back, begun.ids[-1:], rows)


def _dry(task: Task, settings: WriterSettings, rows: int) -> Dry:
    return Dry(
        task.history if settings.dry_multiplier else (),
        rows,
        task.breakers,
        settings.dry_multiplier,
        settings.dry_base,
        settings.dry_allowed,
    )


def _reciting(script: Script, task: Task, settings: WriterSettings, rows: int) -> Reciting | None:
    if task.line or not settings.reciting_penalty:
        return None
    return Reciting(
        own_wordings(),
        rows,
        script.piece,
        script.openers,
        settings.recited_words,
        settings.reciting_penalty,
    )


def _worn(script: Script, task: Task, settings: WriterSettings, rows: int) -> Worn:
    return Worn(
        task.history,
        rows,
        script.engine.vocabulary,
        task.breakers,
        script.piece,
        settings.worn_penalty,
        settings.worn_free,
    )


def _ban(scores: Scores, script: Script, task: Task, drafts: Sequence[Draft]) -> None:
    """Hold endings back until they are due, and empty beginnings always."""
    engine = script.engine
    hold_story = task.line or not task.closing
    for row, draft in enumerate(drafts):
        early = len(draft.ids) < max(task.least, 1)
        if hold_story or early:
            scores[row, engine.eos] = -np.inf
        if engine.bos is not None and engine.bos != engine.eos:
            scores[row, engine.bos] = -np.inf
        if early and script.heading_start is not None:
            scores[row, script.heading_start] = -np.inf
        if not draft.ids and script.newline:
            scores[row, script.newline[-1]] = -np.inf


def _look_for_end(draft: Draft, script: Script, task: Task) -> None:
    piece = script.piece(draft.ids[-1])
    if task.line and "\n" in piece:
        _finish(draft, script, "line", True)
    elif not task.line and "#" in piece and _HEADING.search(script.engine.decode(draft.ids)):
        _finish(draft, script, "heading", False)


def _look_for_pause(draft: Draft, script: Script) -> None:
    """Where a token opens what follows a sentence, it is taken back."""
    if not script.piece(draft.ids[-1])[:1].isspace():
        return
    said = script.engine.decode(draft.ids[draft.fresh : -1]).strip()
    if said and CLOSED.search(said):
        for each in (draft.ids, draft.log_p, draft.gain, draft.watched):
            if each:
                each.pop()
        _finish(draft, script, "sentence", False)


def _finish(draft: Draft, script: Script, end: End, line: bool) -> None:
    """Read the text off a draft that has ended."""
    draft.end = end
    if draft.inserted is not None:
        draft.since = 0
    elif script.engine.decode(draft.ids[draft.fresh :]).partition("#")[0].strip():
        draft.since = draft.fresh
    text = script.engine.decode(draft.ids)
    if end == "line":
        text = text.partition("\n")[0]
    elif end == "heading":
        text = text[: match.start()] if (match := _HEADING.search(text)) else text
    elif end == "limit":
        ends = [m.end() for m in SENTENCE_END.finditer(text)]
        text = text[: ends[-1]] if ends else text
    draft.kept = text.rstrip()
    spoken = unescape(draft.kept) if line else unescape_passage(draft.kept)
    # A model may write half a character; nobody can read that.
    draft.text = _BLANK_LINES.sub("\n\n", spoken.replace("\ufffd", "")).strip()


def follow(draft: Draft, script: Script, text: str, rows: int) -> Sheet:
    """Continue the document after a chosen draft: its text, a newline, then `text`."""
    kept, rest = script.cut(draft.ids, draft.kept + "\n")
    tail = [*rest, *script.after_newline(text)]
    computed = draft.sheet.length - draft.start
    if kept > computed:
        tail = [*draft.ids[computed:kept], *tail]
        kept = computed
    return draft.sheet.fork(draft.row, computed - kept, tail, rows)


def tokens_of(draft: Draft, script: Script) -> list[int]:
    """The tokens with which a chosen draft stands in the document, closing newline included."""
    kept, rest = script.cut(draft.ids, draft.kept + "\n")
    return [*draft.ids[:kept], *rest]
