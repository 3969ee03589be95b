from __future__ import annotations

from fabula.writing.worn import Worn, is_content

PIECES = {0: " clock", 1: " the", 2: " Mara", 3: ".", 4: " lamp"}


def test_a_word_is_free_at_first_and_then_ever_dearer() -> None:
    worn = Worn([0, 0, 1, 1, 1, 2, 2, 2], 2, 5, {2}, PIECES.__getitem__, 0.5, 3)
    assert not worn.losses.any()
    for _ in range(2):
        for token in PIECES:
            worn.append(1, token)
    # Row 0 wrote nothing; in row 1 the clock has come four times, the lamp twice.
    assert worn.losses.tolist() == [[0] * 5, [1, 0, 0, 0, 0]]


def test_a_history_counts_from_the_start() -> None:
    worn = Worn([0] * 5, 1, 5, (), PIECES.__getitem__, 0.5, 3)
    assert worn.losses.tolist() == [[1.5, 0, 0, 0, 0]]


def test_content() -> None:
    assert [is_content(p) for p in (" clock", "Lamp", " the", " would", ".", "12345", "\n")] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip
