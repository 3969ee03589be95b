"""Passages drawn sentence by sentence."""

from __future__ import annotations

import re

import pytest
from ngram import NgramEngine

from fabula.story import Brief
from fabula.writing.drafts import Draft, Task, compose
from fabula.writing.sampling import dice
from fabula.writing.settings import WriterSettings
from fabula.writing.sheet import Script, open_sheet

SETTINGS = WriterSettings(guidance=1.1, temperature=1.0)


def composed(
    engine: NgramEngine, seed: int, sign: float, limit: int = 160
) -> tuple[list[Draft], list[Draft]]:
    """Candidates of a passage whose judge likes short sentences (or long), and all it judged."""
    judged: list[Draft] = []

    def judge(draft: Draft) -> float:
        judged.append(draft)
        return sign * (len(draft.ids) - draft.fresh)

    script = Script(engine)
    sheet = open_sheet(
        engine,
        script.prompt(Brief(genre="western")),
        script.prompt(Brief()),
        engine.encode("# exposition\n"),
        6,
        SETTINGS.guidance,
    )
    task = Task(line=False, closing=False, limit=limit, least=60)
    return compose(sheet, script, task, SETTINGS, 6, dice(seed, "t"), judge), judged


@pytest.mark.parametrize("seed", range(4))
def test_each_sentence_goes_on_from_the_one_judged_best(engine: NgramEngine, seed: int) -> None:
    drafts, judged = composed(engine, seed, 1.0)
    assert drafts
    rounds: dict[int, list[Draft]] = {}
    for draft in judged:
        assert draft.end == "sentence"
        assert re.search(r"[.!?…][\"'”’)]*$", draft.text)
        rounds.setdefault(draft.fresh, []).append(draft)
    for group in rounds.values():
        best = max(group, key=lambda d: (len(d.ids) - d.fresh, -d.row))
        for draft in drafts:
            assert draft.ids[: len(best.ids)] == best.ids


@pytest.mark.parametrize("seed", range(4))
def test_scores_after_forks_are_the_engines(engine: NgramEngine, seed: int) -> None:
    for draft in composed(engine, seed, -1.0)[0]:
        prefix = draft.sheet.briefed.texts[draft.row][: draft.start]  # type: ignore[attr-defined]
        expected = engine.log_probabilities(prefix, [draft.ids])[0]
        assert draft.log_p[: len(draft.ids)] == pytest.approx(expected.tolist(), abs=1e-3)
        assert len(draft.gain) == len(draft.ids)


def test_what_ends_at_once_weighs_by_its_last_sentence(engine: NgramEngine) -> None:
    """Or the few sure tokens of the next heading would stand against a whole sentence."""
    at_once = later = 0
    for seed in range(8):
        for draft in composed(engine, seed, 1.0)[0]:
            drawn = engine.decode(draft.ids[draft.fresh :]).partition("#")[0].strip()
            said = engine.decode(draft.ids[draft.since :]).partition("#")[0].strip()
            assert said
            assert draft.text.endswith(said) or draft.end == "limit"  # cut off
            assert (draft.since < draft.fresh) == (not drawn)
            at_once += not drawn
            later += bool(drawn)
    assert at_once
    assert later


def test_a_passage_ends_by_its_limit(engine: NgramEngine) -> None:
    for draft in composed(engine, 1, 1.0, limit=40)[0]:
        assert len(draft.ids) <= 40
        assert draft.end in ("limit", "heading")
