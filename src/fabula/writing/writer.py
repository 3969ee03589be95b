"""The writer: brief, premise, outline, passages, receipt.

Each step draws candidates in one batch, chooses one, and goes on from its keys and values
(Fan et al. 2018 for premise before story; Yao et al. 2019, *Plan-and-Write*, for the outline;
Yang et al. 2022, *Re3*, for choosing among candidates).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from fabula import __version__
from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.reading.pov import point_of_view
from fabula.story import (
    FREYTAG,
    ROLES,
    Beat,
    Brief,
    Making,
    Outline,
    Passage,
    Story,
    heading,
    render_outline,
)
from fabula.story.format import OUTLINE_HEADING, PREMISE_TAG
from fabula.writing.choice import (
    USUAL_WORDS,
    Scene,
    features,
    labels_wanted,
    mood_wanted,
    past_share,
    score,
)
from fabula.writing.copying import known_words, sample_originals, words_of
from fabula.writing.desk import Desk
from fabula.writing.drafts import Draft, Task
from fabula.writing.events import BeatPlanned, Event, Finished, Note, PassageChosen, PremiseChosen
from fabula.writing.limits import notes
from fabula.writing.openings import decide, decided
from fabula.writing.receipt import receipt
from fabula.writing.sampling import dice
from fabula.writing.settings import WriterSettings
from fabula.writing.standins import KnownNames, StandIns, names_known
from fabula.writing.wishes import Want, missing, spread

Listener = Callable[[Event], None]
# How the words of the sample corpus's training stories spread over Freytag's beats.
SHARES = dict(zip(FREYTAG, (0.17, 0.24, 0.22, 0.17, 0.20), strict=True))
FAULT = 1000.0
"""Taken off the score of a sentence that forges a tag or copies."""
MOST_SUMMARY = 1_000
# Guidance may drive a small model to write the brief's own tags into the text.
_TAGS = "Title|Place|Time|Genre|Tone|Arc|Ending|Point of view|Theme|Must include|Length|Premise"
_TAG = re.compile(rf"(?:{_TAGS}|{'|'.join(r.capitalize() for r in ROLES)}):")


class Writer:
    """Writes stories with one engine.

    Args:
        engine: the language model.
        settings: all dials; the defaults suit the embedded model.
    """

    def __init__(self, engine: Engine, settings: WriterSettings | None = None) -> None:
        self.engine = engine
        self.settings = settings or WriterSettings()
        self.names = names_known(engine.name)

    def write(
        self,
        brief: Brief,
        seed: int = 0,
        on_event: Listener | None = None,
        outline: Outline | None = None,
    ) -> Story:
        """Write one story. Same engine, settings, brief, outline and seed: same story.

        Args:
            brief: the wishes.
            seed: any whole number from 0.
            on_event: is told every decision as it falls.
            outline: an outline to follow, instead of one of the writer's own.

        Raises:
            FabulaError: the brief is empty, or does not fit the model.
        """
        if brief.is_empty and outline is None:
            raise FabulaError("the brief is empty; wish for at least one thing.")
        if seed < 0:
            raise FabulaError(f"the seed is {seed}; give a whole number from 0.")
        return _Work(self, brief, seed, on_event or (lambda event: None), outline).story()

    def spells(self, word: str) -> bool:
        """Whether the model writes a word (in either case) in one piece."""
        encode = self.engine.encode
        return any(len(encode(" " + w)) == 1 for w in (word, word.lower()))


class _Work:
    """One story in the making. What the model sees (stand-ins) and what the reader sees apart."""

    def __init__(
        self, writer: Writer, brief: Brief, seed: int, tell: Listener, outline: Outline | None
    ) -> None:
        self.engine, self.settings = writer.engine, writer.settings
        self.brief, self.seed, self.tell, self.given = brief, seed, tell, outline
        self.standins = StandIns.choose(brief, writer.names, seed, writer.spells)
        if writer.names is not None:
            for text in notes(brief, self.standins):
                tell(Note(text))
        self.wished = self.seen = self.standins.hide_brief(brief)
        if writer.names is not None and self.settings.decide and outline is None:
            self.seen = decide(self.wished, writer.names, seed)
            if text := decided(self.wished, self.seen):
                tell(Note(text))
        self.whole = self.seen is not self.wished
        self.desk = Desk(self.engine, self.settings, self.seen)
        known = writer.names or KnownNames()
        self.names = known.tokens(self.desk.script.after_word)
        self.known = writer.names
        self.rejected: dict[str, list[str]] = {}
        self.ended: bool | None = None
        self.beats = [b.beat for b in outline.beats] if outline else list(self.settings.beats)

    def story(self) -> Story:
        # A brief that has been made whole says as much as a premise, and says it better.
        wants_premise = self.brief.premise is None and self.given is None and not self.whole
        premise = self._premise() if wants_premise else None
        seen_outline, outline = self._outline(premise)
        passages = self._passages(seen_outline)
        story = Story(
            title=self.brief.title,
            brief=self.brief,
            premise=premise,
            outline=outline,
            passages=passages,
            making=Making(
                fabula=__version__,
                model=self.engine.name,
                weights=self.engine.weights,
                seed=self.seed,
                settings={
                    **self.settings.model_dump(mode="json"),
                    "outline_given": self.given is not None,
                },
                rejected=self.rejected,
                ended=self.ended,
            ),
        )
        story = story.model_copy(update={"receipt": receipt(self.brief, story.text)})
        self.tell(Finished(story))
        return story

    def _premise(self) -> str:
        wants = spread(self.wished, 1)
        scene = Scene(line=True, later=wants, named=self._named())
        draft = self._decide(f"{PREMISE_TAG}:", self._line(), "premise", 0, scene, ())
        text = self.standins.show(draft.text)
        self.tell(PremiseChosen(text))
        return text

    def _outline(self, premise: str | None) -> tuple[Outline, Outline]:
        """(outline as the model sees it, outline as the reader sees it)."""
        if self.given is not None:
            seen = self.standins.hide_outline(self.given)
            self.desk.give(render_outline(seen))
            for number, beat in enumerate(self.given.beats):
                self.tell(BeatPlanned(number, beat.beat, beat.summary))
            return seen, self.given
        wants = spread(self.wished, len(self.beats))
        told: list[Beat] = []
        shown: list[Beat] = []
        said: set[str] = set()
        for number, name in enumerate(self.beats):
            scene = self._line_scene(number, told, wants, self.standins.hide(premise or ""))
            opening = ("" if number else OUTLINE_HEADING) + f"{name}:"
            draft = self._decide(
                opening, self._line(), f"outline: {name}", number, scene, scene.due
            )
            summary = draft.text[:MOST_SUMMARY]
            told.append(Beat(beat=name, summary=summary))
            shown.append(Beat(beat=name, summary=self.standins.show(summary, said)))
            self.tell(BeatPlanned(number, name, shown[-1].summary))
        return Outline(beats=told), Outline(beats=shown)

    def _line_scene(
        self, number: int, told: Sequence[Beat], wants: Sequence[Want], premise: str = ""
    ) -> Scene:
        """What a line of the outline is held against; the premise as the model sees it."""
        before = "\n".join(b.summary for b in told)
        open_wants = missing(wants, before)
        return Scene(
            line=True,
            due=[w for w in open_wants if w.due <= number],
            later=[w for w in open_wants if w.due > number],
            before=before,
            named=self._named(premise, before),
            labels=labels_wanted(self.seen),
            span=self._span(number),
            lexicon=self.lexicon,
            enough=self.settings.read_enough,
        )

    def _passages(self, outline: Outline) -> list[Passage]:
        wants = spread(self.wished, len(self.beats), outline)
        told: list[str] = []
        shown: list[Passage] = []
        said: set[str] = set()
        self._warn_of_length()
        for number, beat in enumerate(outline.beats):
            closing = number == len(self.beats) - 1
            words = self._words(number, told)
            scene = self._scene(number, outline, told, wants, words)
            task = self._passage_task(words, closing)
            draft = self._decide(heading(beat.beat), task, beat.beat, number, scene, scene.due)
            told.append(draft.text)
            text = self.standins.show(draft.text, said)
            shown.append(Passage(beat=beat.beat, text=text))
            self.tell(PassageChosen(number, beat.beat, text))
        return shown

    def _scene(
        self,
        number: int,
        outline: Outline,
        told: list[str],
        wants: Sequence[Want],
        words: int | None,
    ) -> Scene:
        before = "\n\n".join(told)
        open_wants = missing(wants, before)
        summaries = "\n".join(b.summary for b in outline.beats)
        return Scene(
            closing=number == len(self.beats) - 1,
            due=[w for w in open_wants if w.due <= number],
            later=[w for w in open_wants if w.due > number],
            summary=outline.beats[number].summary,
            view=self.seen.point_of_view or (point_of_view(before)[0] if before else None),
            past=past_share(before) if before else None,
            mood=mood_wanted(self.seen, number, len(self.beats)),
            labels=labels_wanted(self.seen),
            span=self._span(number),
            usual=words or USUAL_WORDS,
            words=words,
            before=before,
            named=self._named(summaries, before),
            lexicon=self.lexicon,
            wished=self._wished_words(),
            enough=self.settings.read_enough,
        )

    def _decide(
        self, opening: str, task: Task, what: str, number: int, scene: Scene, wants: Sequence[Want]
    ) -> Draft:
        """Draw, choose, and remember what was not chosen."""
        settings = self.settings
        rows, weights = (
            (settings.plans, settings.plan_weights)
            if task.line
            else (settings.candidates, settings.weights)
        )
        rng = dice(self.seed, what, number)
        if scene.named is not None:
            strangers = [t for name, t in self.names.items() if name not in scene.named]
            task = replace(task, strangers=strangers)

        copied = self._copied_after(scene.before)

        def judge(draft: Draft) -> float:
            faults = bool(_TAG.search(draft.text)) + copied(draft.text)
            return score(features(draft, scene), weights) - FAULT * faults

        pool = self.desk.candidates(opening, task, rows, wants, rng, judge)
        pool = [d for d in pool if not _TAG.search(d.text)] or pool
        scores = [judge(draft) for draft in pool]
        best = max(range(len(pool)), key=lambda i: (scores[i], -i))
        order = sorted(range(len(pool)), key=lambda i: (-scores[i], i))
        texts = [pool[i].text for i in order if i != best]
        texts += next((draft.passed_over for draft in pool if draft.passed_over), [])
        others = dict.fromkeys(map(self.standins.show, texts))
        self.rejected[what] = list(others)
        self.ended = None if task.line else pool[best].end == "story"
        self.desk.choose(pool[best], passage=not task.line)
        return pool[best]

    def _copied_after(self, before: str) -> Callable[[str], int]:
        """Words by which a text's longest copied run is too long, as the reader will see it."""
        most, said = self.settings.copied_words, set[str]()
        tail = self.standins.show(before, said).split()[-most:]

        def copied(text: str) -> int:
            joined = " ".join([*tail, self.standins.show(text, set(said))])
            run = sample_originals().longest_run(joined, most + 1)
            return max(len(run.split()) - most, 0)

        return copied

    def _line(self) -> Task:
        return Task(line=True, closing=False, limit=self.settings.line_tokens)

    def _words(self, number: int, told: list[str]) -> int | None:
        """Words wanted of a beat: its share of what the wished length still leaves."""
        if self.brief.length is None:
            return None
        left = self.brief.length - sum(len(words_of(t)) for t in told)
        shares = [SHARES.get(b, 1 / len(self.beats)) for b in self.beats[number:]]
        return max(round(left * shares[0] / sum(shares)), 12)

    def _span(self, number: int) -> tuple[float, float]:
        """Where a beat will begin and end in the story, 0 to 1."""
        shares = np.array([SHARES.get(b, 1 / len(self.beats)) for b in self.beats])
        ends = shares.cumsum() / shares.sum()
        return float(ends[number - 1]) if number else 0.0, float(ends[number])

    def _passage_task(self, words: int | None, closing: bool) -> Task:
        if words is None:
            return Task(line=False, closing=closing, limit=self.settings.beat_tokens)
        tokens = words * self.desk.tokens_per_word()
        limit, least = math.ceil(1.35 * tokens) + 8, int(0.6 * tokens)
        return Task(line=False, closing=closing, limit=limit, least=least)

    def _warn_of_length(self) -> None:
        if self.brief.length is None:
            return
        room = int(self.desk.room() / self.desk.tokens_per_word())
        longest = max(self._words(0, []) or 0, self.brief.length // len(self.beats))
        if longest > room:
            self.tell(
                Note(
                    f"'{self.engine.name}' can hold about {room} words beside brief and outline; "
                    f"{self.brief.length} words in {len(self.beats)} beats will come out shorter."
                )
            )

    @cached_property
    def lexicon(self) -> frozenset[str] | None:
        """Words that the model can know; None for a model without a list of its names.

        Only of a model that comes with one is it known what else it has read.
        """
        if self.known is None:
            return None
        words = frozenset(words_of(str(self.seen.model_dump()))) | self.known.every
        return known_words() | words

    def _wished_words(self) -> frozenset[str]:
        """The nouns of things and place that the model sees wished, and the traits."""
        place = self.seen.setting.place if self.seen.setting is not None else None
        heads = [words_of(p)[-1:] for p in (*self.seen.must_include, place or "")]
        traits = [words_of(t) for c in self.seen.characters for t in c.traits]
        return frozenset(w for words in (*heads, *traits) for w in words)

    def _named(self, *texts: str) -> frozenset[str] | None:
        """Names that may occur; None where the brief names nobody."""
        if not any(c.name for c in self.seen.characters):
            return None
        return frozenset(words_of(" ".join([str(self.seen.model_dump()), *texts])))
