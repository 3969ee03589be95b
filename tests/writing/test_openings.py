"""What a brief leaves open is decided before writing; what it says is never changed."""

from __future__ import annotations

from typing import Any

import pytest

from fabula.corpus.names import POOLS
from fabula.engines import open_engine
from fabula.story import GENRES, Brief
from fabula.writing import Writer
from fabula.writing.events import Note
from fabula.writing.openings import LONGEST, SHORTEST, decide, decided
from fabula.writing.settings import WriterSettings
from fabula.writing.standins import KnownNames

NAMES = KnownNames.model_validate(POOLS)


@pytest.mark.parametrize(
    "wishes",
    [
        {"genre": "comedy"},
        {"ending": "happy"},
        {"ending": "sad"},
        {"ending": "open"},
        {"arc": "icarus"},
        {"characters": [{"name": "Mara", "traits": ["shy"]}], "setting": {"time": "1920"}},
        {"characters": [{"name": "Oke", "role": "antagonist"}], "must_include": ["a red kite"]},
        {"characters": [{"traits": ["vain"]}], "setting": {"place": "a mill"}, "length": 90},
    ],
)
def test_every_gap_is_filled_and_no_wish_is_changed(wishes: dict[str, Any]) -> None:
    brief = Brief.model_validate(wishes)
    for seed in range(30):
        whole = decide(brief, NAMES, seed)
        assert Brief.model_validate(whole.model_dump()) == whole  # nothing contradicts itself
        assert whole == decide(brief, NAMES, seed)
        assert whole.genre in GENRES
        assert None not in (whole.arc, whole.ending, whole.tone, whole.point_of_view)
        # Of lengths the model has read few others; the writer itself holds to the wish.
        assert whole.length is not None
        assert SHORTEST <= whole.length <= LONGEST
        assert whole.setting is not None
        assert whole.setting.place
        assert whole.must_include
        hero = whole.protagonist
        assert hero is not None
        assert hero.name
        assert hero.traits
        for key, value in brief.model_dump(exclude={"characters", "setting", "length"}).items():
            if value:
                assert getattr(whole, key) == value
        assert whole.setting.time
        if brief.setting is not None and brief.setting.time is not None:
            assert whole.setting.time == brief.setting.time
        for asked in brief.characters:
            found = [c for c in whole.characters if c.role == asked.role]
            assert any(
                (asked.name is None or c.name == asked.name) and set(asked.traits) <= set(c.traits)
                for c in found
            )


def test_seeds_decide_differently_and_a_whole_brief_stays() -> None:
    brief = Brief(genre="comedy")
    assert len({str(decide(brief, NAMES, seed)) for seed in range(20)}) > 15
    whole = decide(brief, NAMES, 1)
    assert decide(whole, NAMES, 2).characters[0] == whole.characters[0]
    assert "genre" not in decided(brief, whole)
    assert "place" in decided(brief, whole)
    assert decided(whole, whole) == ""


def test_the_reader_is_told_and_only_the_readers_wishes_are_on_the_receipt() -> None:
    events: list[Any] = []
    settings = WriterSettings(candidates=2, plans=2, beat_tokens=20, insertions=0, guidance=1)
    writer = Writer(open_engine(), settings)
    story = writer.write(Brief(genre="comedy"), seed=4, on_event=events.append)
    assert any(isinstance(e, Note) and "decided by the dice" in e.text for e in events)
    assert story.brief == Brief(genre="comedy")
    assert story.receipt is not None
    assert [w.wish for w in story.receipt.wishes] == ["genre"]
    off = Writer(open_engine(), settings.model_copy(update={"decide": False}))
    events.clear()
    off.write(Brief(genre="comedy"), seed=4, on_event=events.append)
    assert not any("decided" in e.text for e in events if isinstance(e, Note))
