from __future__ import annotations

import numpy as np
import pytest
from ngram import NgramEngine

from fabula.story import Brief
from fabula.writing.drafts import LONG, Task, draw
from fabula.writing.insertion import forms, insert, places, watch
from fabula.writing.sampling import dice
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, open_sheet
from fabula.writing.wishes import Want

SETTINGS = WriterSettings(candidates=6, insertion_fall=20, guidance=1.1)


def drafts_for(engine: NgramEngine, want: Want, line: bool) -> tuple[list, Script, Task]:  # type: ignore[type-arg]
    script = Script(engine)
    opening = "# outline\nexposition:" if line else "# exposition\n"
    prompt, bare = script.prompt(Brief(genre="western", tone="funny")), script.prompt(Brief())
    sheet = open_sheet(engine, prompt, bare, engine.encode(opening), 6, SETTINGS.guidance)
    task = Task(line=line, closing=False, limit=50, watched=watch([want], script, line))
    return draw(sheet, script, task, SETTINGS, 6, dice(1, "t")), script, task


@pytest.mark.parametrize("line", [True, False])
@pytest.mark.parametrize(
    "want",
    [Want("phrase", "a silver hat", 0), Want("name", "Pema", 0), Want("place", "the moon", 0)],
)
def test_what_is_inserted_is_there_and_its_scores_are_the_engines(
    engine: NgramEngine, want: Want, line: bool
) -> None:
    drafts, script, task = drafts_for(engine, want, line)
    # A trigram model often glues a letter to the phrase, which then is not kept: try a few times.
    tries = (insert(want, drafts, script, task, SETTINGS, dice(n, "t")) for n in range(12))
    fresh = next(filter(None, tries))
    for draft in fresh:
        assert want.found(draft.text)
        assert draft.inserted == want.phrase
        prefix = draft.sheet.briefed.texts[draft.row][: draft.start]
        expected = engine.log_probabilities(prefix, [draft.ids])[0]
        assert draft.log_p[: len(draft.ids)] == pytest.approx(expected.tolist(), abs=1e-3)
        # The phrase is weighed too, or it would be free.
        mean = float(np.mean(draft.log_p))
        assert draft.likelihood == pytest.approx(mean * min(len(draft.log_p), LONG))


def test_the_likeliest_places_come_first(engine: NgramEngine) -> None:
    want = Want("phrase", "the bridge", 0)
    drafts, script, task = drafts_for(engine, want, False)
    found = places(drafts, forms(want, script, False), task, script, 8)
    scores = [p.first for p in found]
    assert scores == sorted(scores, reverse=True)
    for place in found:
        ids = drafts[place.draft].ids[: place.at]
        prefix = drafts[place.draft].sheet.briefed.texts[place.draft][: drafts[place.draft].start]
        assert engine.log_probabilities([*prefix, *ids], [place.form.ids[:1]])[0] == pytest.approx(
            place.first, abs=1e-3
        )


def test_nothing_is_inserted_where_the_text_after_it_limps(engine: NgramEngine) -> None:
    want = Want("phrase", "a silver hat", 0)
    drafts, script, task = drafts_for(engine, want, False)
    lenient = insert(want, drafts, script, task, SETTINGS, dice(2, "t"))
    floor = max(d.fluency for d in drafts) - 1
    strict = SETTINGS.model_copy(update={"insertion_fall": 1.0})
    kept = {tuple(d.ids) for d in insert(want, drafts, script, task, strict, dice(2, "t"))}
    assert lenient
    for draft in lenient:
        phrase = forms(want, script, False)[0].ids
        end = next(
            i for i in range(len(draft.ids)) if draft.ids[i - len(phrase) : i][1:] == phrase[1:]
        )
        after = float(np.mean(draft.log_p[end:]))
        assert (tuple(draft.ids) in kept) == (after >= floor)


def test_forms_fit_their_neighbours(engine: NgramEngine) -> None:
    script = Script(engine)
    inside, opening, bare = forms(Want("phrase", "a silver hat", 0), script, False)
    assert (inside.fits(" saw"), inside.fits(" the"), inside.fits(".")) == (True, False, False)
    assert (opening.fits(" saw"), opening.fits("."), opening.fits('"')) == (False, True, True)
    assert (bare.fits(" his"), bare.fits(" saw")) == (True, False)
    assert not any(form.fits("\n") or form.fits(None) for form in (inside, opening, bare))
    assert engine.decode(opening.ids) == " A silver hat"
    assert engine.decode(bare.ids) == " silver hat"


def test_names_times_and_traits_have_their_own_forms(engine: NgramEngine) -> None:
    script = Script(engine)
    first, inside = forms(Want("name", "Pema", 0), script, False)
    assert engine.decode(first.ids) == "Pema"
    assert (first.fits(None), first.fits(" saw")) == (True, False)
    assert [inside.fits(b) for b in (" saw", ".", " the", None)] == [True, True, False, False]
    said, told = forms(Want("trait", "shy", 0, "Pema"), script, False)
    assert [said.fits(b) for b in (" was", " a", ".", None)] == [True, False, False, False]
    assert engine.decode(told.ids) == " Pema was shy"
    assert (told.fits("."), told.fits(" was")) == (True, False)
    (time,) = forms(Want("time", "the 1920s", 0), script, False)
    assert engine.decode(time.ids) == "It was the 1920s."
    assert time.first


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ("the 1920s", "In the 1920s"),
        ("once upon a time", "Once upon a time"),
        ("midnight", "At midnight"),
        ("first day of winter", "On the first day of winter"),
        ("the night of the flood", "On the night of the flood"),
        ("the present day", "In the present day"),
        ("one summer", "One summer"),
    ],
)
def test_times_open_a_sentence(engine: NgramEngine, time: str, said: str) -> None:
    (form,) = forms(Want("time", time, 0), Script(engine), True)
    assert engine.decode(form.ids).strip() == said
