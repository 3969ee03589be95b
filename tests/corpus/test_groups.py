"""Duplicates, splits, leaks."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_stories import story

from fabula.corpus.alike import MAX_RUN, Alike, alike_pairs, likeness
from fabula.corpus.fingerprint import (
    PERMUTATIONS,
    fingerprints,
    normalise,
    prompt_id,
    shingle_hashes,
    signature,
)
from fabula.corpus.groups import (
    REASONS,
    Candidate,
    Candidates,
    decide,
    found_in,
    leaks,
    split_of_group,
)
from fabula.corpus.stages import Settings


def candidate(text: str, prompt: str, split: str | None = None) -> Candidate:
    (found,) = fingerprints([normalise(text)])
    return Candidate(prompt_id(prompt), found.digest, found.signature, split, found.passages)


class Decided(NamedTuple):
    """A decision on one story, in words."""

    split: str | None
    reason: str | None
    twin: int | None


def decided(stories: list[Candidate], settings: Settings) -> list[Decided]:
    found = decide(Candidates.of(stories), settings)
    return [
        Decided(
            found.split(n),
            REASONS[found.reason[n]],
            int(found.twin[n]) if found.reason[n] else None,
        )
        for n in range(len(stories))
    ]


def pairs_of(signatures: list[bytes], threshold: float) -> Alike:
    table = np.frombuffer(b"".join(signatures), dtype="<u4").reshape(-1, PERMUTATIONS)
    return alike_pairs(table, threshold)


def changed(text: str, words: int) -> str:
    """The same text with some words replaced, evenly over it."""
    parts = text.split(" ")
    for index in range(words):
        parts[index * len(parts) // words] = f"other{index}"
    return " ".join(parts)


def test_layout_and_punctuation_do_not_matter() -> None:
    assert normalise("The Cat,\n sat — down!") == normalise("the cat sat down")
    assert prompt_id("A clock stops.") == prompt_id("a CLOCK stops")


@given(st.lists(st.sampled_from("a bb ccc dd e".split()), min_size=5, max_size=40))
def test_shingle_hashes_are_those_of_five_words(words: list[str]) -> None:
    """Equal runs hash equal wherever they stand, different runs differ."""
    hashes = shingle_hashes(" ".join(words)).tolist()
    runs = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
    assert len(hashes) == len(runs)
    assert len(set(zip(runs, hashes, strict=True))) == len(set(runs)) == len(set(hashes))


@pytest.mark.parametrize("words", [1, 4, 10, 30])
def test_likeness_estimates_jaccard(words: int) -> None:
    one, other = normalise(story(1, 60)), normalise(changed(story(1, 60), words))
    a, b = (set(shingle_hashes(t).tolist()) for t in (one, other))
    assert likeness(signature(one), signature(other)) == pytest.approx(
        len(a & b) / len(a | b), abs=0.15
    )


@pytest.mark.parametrize("text", ["", "one", "one two three four"])
def test_texts_shorter_than_a_shingle_have_signatures(text: str) -> None:
    assert len(signature(text)) == 512


def test_alike_pairs_are_those_that_comparing_all_would_find() -> None:
    texts = [story(n, 40) for n in range(80)]
    texts += [changed(texts[n], 1 + n % 12) for n in range(80)]
    signatures = [signature(normalise(t)) for t in texts]
    first, second, similarity, _ = pairs_of(signatures, 0.5)
    found = dict(zip(zip(first.tolist(), second.tolist(), strict=True), similarity, strict=True))
    wanted = {
        (i, j): likeness(signatures[i], signatures[j])
        for i, j in itertools.combinations(range(160), 2)
        if likeness(signatures[i], signatures[j]) >= 0.5
    }
    assert len(wanted) > 60
    assert found.items() <= wanted.items()
    assert len(found) >= 0.95 * len(wanted)
    assert all(pair in found for pair, value in wanted.items() if value >= 0.7)


@pytest.mark.parametrize("count", [0, 1, 2, 3 * MAX_RUN])
def test_many_texts_of_one_kind(count: int) -> None:
    first, second, _, crowded = pairs_of([signature("a kite a kite a kite")] * count, 0.5)
    pairs = count * (count - 1) // 2
    rest = max(0, count - MAX_RUN)
    assert len(first) == pairs - rest * (rest - 1) // 2
    assert (first < second).all()
    assert crowded == (count > MAX_RUN)


def test_exact_and_near_duplicates_fall_and_name_their_twin() -> None:
    text = story(1, 40)
    decisions = decided(
        [
            candidate(text, "one"),
            candidate(text.upper(), "two"),
            candidate(changed(text, 3), "three"),
            candidate(story(2), "four"),
        ],
        Settings(),
    )
    assert [d.reason for d in decisions] == [None, "exact duplicate", "near duplicate", None]
    assert [d.twin for d in decisions] == [None, 0, 0, None]


def test_the_held_out_twin_stays() -> None:
    text = story(1)
    decisions = decided(
        [candidate(text, "a", "train"), candidate(text, "b"), candidate(text, "c", "test")],
        Settings(),
    )
    assert [d.reason for d in decisions] == ["exact duplicate", "exact duplicate", None]
    assert decisions[2].split == "test"


def test_all_stories_of_a_prompt_and_all_that_are_alike_share_a_split() -> None:
    settings = Settings(valid=0.3, test=0.3)
    stories = []
    for number in range(60):
        text = story(number, 40)
        # Two answers to a prompt, and a reworked one under another prompt.
        stories += [
            candidate(text, f"prompt {number}"),
            candidate(story(1000 + number), f"prompt {number}"),
            candidate(changed(text, 11), f"other prompt {number}"),
        ]
    decisions = decided(stories, settings)
    related = [
        n
        for n in range(0, 180, 3)
        if likeness(stories[n].signature, stories[n + 2].signature) >= settings.related
    ]
    assert len(related) > 30
    for n in range(0, 180, 3):
        assert decisions[n].split == decisions[n + 1].split
    for n in related:
        assert decisions[n + 2].reason is not None or decisions[n + 2].split == decisions[n].split
    assert {d.split for d in decisions if d.reason is None} == {"train", "valid", "test"}


def test_a_prompt_shared_with_a_held_out_story_falls() -> None:
    decisions = decided(
        [
            candidate(story(1), "shared", "train"),
            candidate(story(2), "shared", "valid"),
            candidate(story(3), "shared"),
        ],
        Settings(),
    )
    assert decisions[0].reason == "prompt or text shared with a held-out story"
    assert [d.split for d in decisions[1:]] == ["valid", "valid"]


def test_shares_and_seed() -> None:
    counts = Counter(split_of_group(f"g{n}", Settings(valid=0.1, test=0.2)) for n in range(5_000))
    assert counts["test"] == pytest.approx(1_000, abs=120)
    assert counts["valid"] == pytest.approx(500, abs=90)
    one, other = (
        [split_of_group(f"g{n}", Settings(valid=0.3, test=0.3, seed=s)) for n in range(100)]
        for s in (0, 1)
    )
    assert one != other


def test_order_of_the_stories_does_not_change_their_split() -> None:
    stories = [candidate(story(n), f"prompt {n % 9}") for n in range(40)]
    settings = Settings(valid=0.3, test=0.3)
    forward = [d.split for d in decided(stories, settings)]
    backward = [d.split for d in decided(stories[::-1], settings)]
    assert forward == backward[::-1]


def test_leaks_are_seen() -> None:
    text = story(1, 40)
    stories = [
        candidate(text, "one", "train"),
        candidate(story(2), "two", "train"),
        candidate(changed(text, 5), "three", "valid"),
        candidate(story(3), "two", "valid"),
        candidate(text, "four", "test"),
        candidate(story(4), "five", "test"),
        candidate(story(2), "two"),
        candidate(story(6, 60), "six", "valid"),
        candidate(story(7, 60) + " " + " ".join(story(6, 60).split()[:120]), "seven", "train"),
    ]
    found = Candidates.of(stories)
    seen = leaks(found, found.rank, Settings())
    assert seen == {"prompts": 1, "texts": 1, "near duplicates": 2, "passages": 3}
    decisions = decide(found, Settings())
    assert set(leaks(found, decisions.rank, Settings()).values()) == {0}


def words(text: str, first: int, last: int) -> str:
    return " ".join(text.split()[first:last])


def test_a_reprint_of_a_passage_falls() -> None:
    long = story(1, 90)
    decisions = decided(
        [
            candidate(long, "whole"),
            candidate(words(long, 100, 300), "an excerpt"),
            candidate(story(2, 40), "another"),
        ],
        Settings(),
    )
    assert [d.reason for d in decisions] == [None, "reprint of a passage", None]
    assert decisions[1].twin == 0


def test_of_two_the_one_that_stands_in_the_other_falls_though_it_came_first() -> None:
    tale = story(1, 30)
    collection = f"{story(2, 50)} {tale} {story(3, 50)}"
    decisions = decided([candidate(tale, "alone"), candidate(collection, "all")], Settings())
    assert [d.reason for d in decisions] == ["reprint of a passage", None]
    assert decisions[0].twin == 1
    # But not if it is held out: then what holds it may not be learnt from.
    decisions = decided(
        [candidate(tale, "alone", "test"), candidate(collection, "all", "train")], Settings()
    )
    assert [d.split for d in decisions] == ["test", None]


def test_a_corpus_just_made_never_leaks_what_was_boilerplate() -> None:
    """What stood in too many stories to tell is looked at again where some of these fell."""
    said = words(story(99, 60), 0, 70)
    stories = [candidate(f"{story(n, 40)} {said}", f"p {n}") for n in range(40)]
    # Copies, by which the passage stands in sixty stories at first.
    stories += [candidate(f"{story(n, 40)} {said}".upper(), f"p {n}") for n in range(20)]
    found = Candidates.of(stories)
    settings = Settings(valid=0.3, test=0.3)
    decisions = decide(found, settings)
    assert Counter(REASONS[r] for r in decisions.reason) == {None: 40, "exact duplicate": 20}
    assert set(leaks(found, decisions.rank, settings).values()) == {0}


@pytest.mark.parametrize("length", [60, 80, 150])
def test_a_shared_passage_joins_a_split(length: int) -> None:
    settings = Settings(valid=0.3, test=0.3)
    apart = together = 0
    for number in range(40):
        one, other = story(number, 60), story(1_000 + number, 60)
        mixed = f"{other} {words(one, 50, 50 + length)} {story(2_000 + number, 30)}"
        first, second, third = decided(
            [
                candidate(one, f"one {number}"),
                candidate(mixed, f"mixed {number}"),
                candidate(other[: len(other) // 2].swapcase()[:40], f"short {number}"),
            ],
            settings,
        )
        assert first.reason is None
        assert second.reason is None
        together += first.split == second.split
        apart += first.split != third.split
    assert together == 40
    assert apart > 10


def test_what_everybody_says_joins_nothing() -> None:
    signature_line = words(story(99, 60), 0, 70)
    settings = Settings(valid=0.3, test=0.3)
    stories = [candidate(f"{story(n, 40)} {signature_line}", f"p {n}") for n in range(120)]
    splits = Counter(d.split for d in decided(stories, settings))
    assert None not in splits
    assert min(splits.values()) > 15


def test_stories_of_a_test_file_are_found() -> None:
    known = [
        candidate(story(1, 40), "same"),
        candidate(changed(story(2, 40), 3), "near"),
        candidate(f"{words(story(3, 60), 30, 130)} {story(33, 60)}", "quoted"),
        candidate(story(4, 40), "asked"),
        candidate(story(5, 40), "not in it"),
    ]
    stories = [
        candidate(story(6, 40), "mine"),
        candidate(story(1, 40).upper(), "other"),
        candidate(story(2, 40), "other 2"),
        candidate(story(3, 60), "other 3"),
        candidate(story(44, 40), "ASKED"),
    ]
    found = found_in(Candidates.of(known), Candidates.of(stories), Settings())
    assert [REASONS[r] for r in found.reason] == [
        None,
        "same text as one it is checked against",
        "nearly the same as one it is checked against",
        "shares a passage with one it is checked against",
        "shares its prompt with one it is checked against",
    ]
    assert found.twin.tolist() == [-1, 0, 1, 2, 3]
    decisions = decide(Candidates.of(stories), Settings(), found)
    assert decisions.reason.tolist() == found.reason.tolist()


@given(st.lists(st.integers(0, 60), max_size=6))
def test_fingerprints_are_the_same_in_any_company(sizes: list[int]) -> None:
    texts = [normalise(words(story(n, 40), 0, size)) for n, size in enumerate(sizes)]
    together = fingerprints(texts)
    assert together == [fingerprints([text])[0] for text in texts]
    assert [one.signature for one in together] == [signature(text) for text in texts]


def test_no_stories_need_no_decision() -> None:
    assert decided([], Settings()) == []
