"""Who is a character is learnt from tales that experts asked about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fabula.corpus.fairytale import read_tales
from fabula.errors import FabulaError
from fabula.reading import fit, read, store
from fabula.reading.entities import find_entities
from fabula.reading.tales import Tale, characters
from fabula.reading.text import scan
from fabula.reading.vocabulary import vocabulary
from fabula.story.sample import load_annotated

TEXT = (
    "Once an old miller had a donkey. The donkey was tired. The miller beat the donkey every day. "
    "One night the donkey ran away, and on the road the donkey met a bee. 'Come,' said the "
    "donkey. A robber saw them. So the donkey walked to Bremen."
)
QUESTIONS = [
    ("Who beat the donkey?", ["character"], ["the old miller", "A miller"]),
    ("Where did the donkey go?", ["setting"], ["Bremen"]),
    ("What did the donkey do?", ["action"], ["it ran away"]),
    ("Who laughed?", ["feeling"], ["the robber"]),
]


def tale() -> Tale:
    return Tale.of([TEXT[:100], TEXT[100:]], QUESTIONS)


def test_a_tale_knows_whom_it_was_asked_about() -> None:
    told = tale()
    assert told.asked == (("the old miller", "A miller"),)
    assert told.places == ("Bremen",)
    assert told.answered(["the miller", "the donkey"]) == 1
    assert told.answered(["the donkey"]) == 0
    assert told.speaks_of("the donkey")
    assert not told.speaks_of("the bee")
    assert not told.speaks_of("the")


def test_characters_are_asked_about_or_often_spoken_of() -> None:
    found = find_entities(scan([TEXT]))
    who = dict(
        zip(map(found.name, range(len(found))), characters(found, [tale()]).tolist(), strict=True)
    )
    assert who["the old miller"] == 1  # asked about, though mentioned twice
    assert who["the donkey"] == 1  # mentioned seven times, and a question speaks of it
    assert who["Bremen"] == 0  # an answer, but mentioned once
    assert who["the robber"] == 0  # a question names it, but not one on a character


def test_nameless_characters_of_a_long_tale_are_read() -> None:
    """In the sample they are few; a tale told of a king and a fox at length is about them."""
    parts = [
        "Once upon a time there lived a king who had a golden bird.",
        *["The king sent the fox into the wood. The fox said to the king that it was cold. "
          "Then the king wept, and the fox ran home."] * 8,
        "And the king and the fox lived together until they died.",
    ]  # fmt: skip
    names = {c.name for c in read(" ".join(parts)).brief.characters}
    assert {"the king", "the fox"} <= names


@pytest.mark.parametrize("folder", [False, True])
def test_tales_are_read_from_lines_and_from_a_folder(tmp_path: Path, folder: bool) -> None:
    if folder:
        path = tmp_path / "data"
        path.mkdir()
        (path / "miller-story.csv").write_text(f'section,text\n1,"{TEXT}"\n')
        (path / "miller-questions.csv").write_text(
            "question_id,local-or-sum,cor_section,attribute1,question,answer1\n"
            "1,local,1,character,Who beat the donkey?,the old miller\n"
        )
    else:
        path = tmp_path / "tales.jsonl"
        asked = [{"question": q, "about": about, "answers": a} for q, about, a in QUESTIONS]
        row = {"title": "x", "sections": [TEXT], "questions": asked}
        path.write_text(json.dumps(row) + "\n")
    (told,) = read_tales(path)
    assert told.text == TEXT
    assert told.answered(["the miller"]) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"title": "x", "sections": ["Once."]}', "no question on a character"),
        ('{"title": "x", "sections": 3}', "tales.jsonl:1: sections are not a list of texts"),
        ("[1", "tales.jsonl, line 1: a JSON array"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "tales.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(FabulaError, match=said):
        read_tales(path)


def test_rankers_learn_from_tales_and_say_how_well_they_do() -> None:
    stories = load_annotated()[:80]
    tales = [tale()] * 10
    arrays: dict[str, np.ndarray] = {}
    people = fit._people(stories, vocabulary())
    report = fit._fit_cast(people, stories, tales, vocabulary(), arrays)  # type: ignore[arg-type]
    assert set(arrays) == {"named_w", "named_b", "described_w", "described_b"}
    assert arrays["described_w"].shape == store.weights()["described_w"].shape
    assert report["names"] > 0.7
    assert report["tales, who"] == 1.0  # each fold has seen the tale itself
