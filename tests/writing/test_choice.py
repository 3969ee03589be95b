from __future__ import annotations

import pytest

from fabula.story import Brief
from fabula.story.sample import load_sample
from fabula.writing.choice import (
    ENOUGH,
    Scene,
    features,
    labels_wanted,
    log_chances,
    mood_of,
    mood_wanted,
    names_in,
    past_share,
    score,
    words_read,
)
from fabula.writing.drafts import LONG, Draft
from fabula.writing.settings import Weights
from fabula.writing.wishes import Want


def draft(text: str, end: str = "heading", log_p: float = -2.0) -> Draft:
    return Draft(None, 0, 0, [], [log_p] * 5, [0.1] * 5, text=text, end=end)  # type: ignore[arg-type]


def test_every_weight_has_its_feature() -> None:
    scene = Scene(
        due=[Want("phrase", "the lamp", 0)], later=[Want("phrase", "salt", 2)], summary="The lamp.",
        view="third", past=1.0, mood=0.2, words=10, before="Once.", named=frozenset({"mara"}),
        lexicon=frozenset({"she"}),
        labels={"genre": "western", "tone": "warm", "arc": "icarus", "ending": "happy"},
    )  # fmt: skip
    text = "Mara lit the lamp. She was glad of the salt, and she was glad of the wind."
    found = features(draft(text), scene)
    assert set(found) == set(Weights.model_fields)
    assert found["due"] == found["early"] == 1
    assert found["follows"] == 1
    assert found["unfinished"] == found["point_of_view"] == found["stranger"] == 0


@pytest.mark.parametrize(
    ("better", "worse", "scene"),
    [
        ("She was glad.", "I was glad, and I ran.", {"view": "third"}),
        ("She walked on and was cold.", "She walks on and is cold.", {"past": 1.0}),
        ("It was a lovely, happy day.", "It was a horrible, deadly day.", {"mood": 0.6}),
        ("It was a horrible, deadly day.", "It was a lovely, happy day.", {"mood": -0.6}),
        ("He saw the sea there.", "He saw the sea.", {"words": 5}),
        ("A new day came to them.", "The bell rang at the gate.", {"before": "The bell rang at."}),
        ("So the lamp went out.", "So the bell went out.", {"summary": "The lamp goes out."}),
        ("Then she saw Mara.", "Then she saw Bob.", {"named": frozenset({"mara"})}),
        ('"Go," she said.', '"Go, she said.', {}),
        ("She went home.", "She went", {}),
        ("Ann saw him.", "Ann saw Ann.", {}),
        ("She put a stone on the sand.", "She put a stone on the stone.", {}),
        ("He worked at a good post.", "He worked at a good post post.", {}),
        ("Anna had had bread.", "Anna ate the bread bread.", {}),
        ('"Help me, Bob!" said Ann.', '"Help me, Ann!" said Ann.', {}),
        ('"I am Ann," said Ann.', '"Help me, Ann!" said Ann.', {}),
        (
            "She found a clock and a bell.",
            "She found a clock and a clock.",
            {"wished": frozenset({"clock"})},
        ),
        (
            "She saw the bell.",
            "She saw the clock.",
            {
                "wished": frozenset({"clock"}),
                "before": "A clock. " * ENOUGH,
            },
        ),
        ("She took the lamp.", "She went home.", {"before": "It was late. She went home. So."}),
        ("She took the lamp.", "She lit the bell.", {"before": "There was an old bell."}),
        ("The stair was soft and cold.", "The stair was soft and soft.", {}),
        ("He saw her.", "He fif her.", {"lexicon": frozenset({"he", "saw", "her"})}),
    ],
)
def test_the_better_candidate_wins(better: str, worse: str, scene: dict[str, object]) -> None:
    held = Scene(**scene)  # type: ignore[arg-type]
    good, bad = (score(features(draft(t), held), Weights()) for t in (better, worse))
    assert good > bad


def test_a_proper_end_counts() -> None:
    last = Scene(closing=True)
    ends = {e: features(draft("The end.", e), last)["unfinished"] for e in ("story", "limit")}
    assert ends == {"story": 0, "limit": -1}


def test_tense_is_read_outside_of_quotations() -> None:
    assert past_share('"I am here and he is not," she said.') == 1
    assert past_share("Nothing.") is None
    shares = [past_share(s.text) for s in load_sample("train")[:60]]
    assert sum(s is not None and s > 0.7 for s in shares) > 50


def test_moods_follow_arc_and_ending() -> None:
    hole = [mood_wanted(Brief(arc="man in a hole"), n, 5) or 0 for n in range(5)]
    assert hole[0] > hole[2] < hole[4]
    assert (mood_wanted(Brief(ending="sad"), 4, 5) or 0) < 0 < (mood_wanted(Brief(arc="cinderella", ending="happy"), 4, 5) or 0)  # fmt: skip  # noqa: E501
    assert mood_wanted(Brief(ending="sad"), 3, 5) is None
    assert mood_wanted(Brief(arc="icarus"), 0, 1) is not None
    assert mood_of("A lovely, happy day!") > 0.4 > -0.4 > mood_of("A horrible murder.")


def test_a_sentence_without_sense_shows_in_few_tokens() -> None:
    whole = Draft(None, 0, 0, [], [-9.0, -1.0, -1.0, -1.0, -1.0, -1.0], since=1, text="A b c d e.")  # type: ignore[arg-type]
    broken = Draft(None, 0, 0, [], [-9.0, -0.1, -0.1, -4.0, -0.1, -0.7], since=1, text="A b c d e.")  # type: ignore[arg-type]
    sense, none = (features(d, Scene()) for d in (whole, broken))
    assert sense["likelihood"] == pytest.approx(none["likelihood"])
    assert sense["weakest"] > none["weakest"] == pytest.approx(-1.6)
    long = Draft(None, 0, 0, [], [-1.0] * 3 * LONG, text="A b c d e.")  # type: ignore[arg-type]
    assert features(long, Scene())["likelihood"] == -LONG


def test_a_label_read_well_enough_gains_nothing_more() -> None:
    west = "The sheriff rode his horse into the saloon, and the outlaw drew his gun at the ranch."
    held = Scene(labels={"genre": "western", "ending": "sad"}, enough=-1.0, span=(0.0, 0.2))
    found = features(draft(west), held)
    assert found["reads_genre"] == -1.0
    whole = features(draft(west), Scene(labels={"ending": "sad"}, span=(0.0, 1.0)))
    early = features(draft(west), Scene(labels={"ending": "sad"}, span=(0.0, 0.2)))
    assert early["reads_ending"] > whole["reads_ending"]


def test_names_in_a_text() -> None:
    assert names_in("The dog saw Mara's hat. He told Old Tom, and so did Ann.") == {
        "mara",
        "old",
        "tom",
        "ann",
    }


def test_labels_are_read_when_they_can_be() -> None:
    brief = Brief(genre="western", tone="odd", arc="icarus", ending="sad")
    assert labels_wanted(brief) == {"genre": "western", "arc": "icarus", "ending": "sad"}
    west = "The sheriff rode his horse into the saloon, and the outlaw drew his gun at the ranch."
    sky = "The captain steered the spaceship round the planet, and the robot read the star map."
    wish = {"genre": "western"}
    near, far = (log_chances(words_read(text), wish)["genre"] for text in (west, sky))
    assert near > far >= -4


def test_the_half_told_is_read_where_it_stands() -> None:
    """Misfortune in the middle speaks for a hole; at the end, against it."""
    stories = [s for s in load_sample("valid") if s.arc == "man in a hole" and s.theme is not None]
    hole = {"arc": "man in a hole"}
    gains = []
    for story in stories:
        half = words_read("\n\n".join(b.text for b in story.beats[:3]))
        there, at_the_end = log_chances(half, hole, told=0.6), log_chances(half, hole)
        gains.append(there["arc"] - at_the_end["arc"])
    assert len(gains) >= 3
    assert sum(gains) / len(gains) > 0
