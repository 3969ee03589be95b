from __future__ import annotations

import pytest

from fabula.story import Brief, Character
from fabula.writing.limits import notes
from fabula.writing.standins import StandIns


@pytest.mark.parametrize(
    ("brief", "said"),
    [
        (Brief(genre="cyberpunk"), "genre 'cyberpunk'"),
        (Brief(tone="smug"), "tone 'smug'"),
        (Brief(point_of_view="second"), "second person"),
        (Brief(premise="Хранитель маяка слышит часы."), "English only"),
    ],
)
def test_what_the_model_does_not_know_is_said(brief: Brief, said: str) -> None:
    (note,) = notes(brief, StandIns())
    assert said in note


def test_what_it_knows_is_not() -> None:
    brief = Brief(genre="ghost story", tone="eerie", characters=[Character(name="Zoë")])
    assert list(notes(brief, StandIns())) == []


def test_stand_ins_are_announced() -> None:
    (note,) = notes(Brief(genre="crime"), StandIns([("Zxqv", "Nell")]))
    assert "'Zxqv'" in note
    assert "'Nell'" in note
