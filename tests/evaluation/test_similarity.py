"""Known values, and what each metric must notice and must ignore (after OpenMEVA, 2021)."""

from __future__ import annotations

import random

import pytest
import sacrebleu

from fabula.evaluation.bootstrap import derangements
from fabula.evaluation.similarity import METRICS, signatures, similarity
from fabula.story.sample import load_sample

TEXTS = [story.text for story in load_sample("valid")[:12]]


def scores(stories: list[str], references: list[str | None]) -> dict[str, float]:
    found = {name: s.value for name, s in similarity(stories, references).items()}
    assert set(found) == set(METRICS)
    return {name: value for name, value in found.items() if value is not None}


def test_a_story_against_itself_is_one_hundred() -> None:
    assert scores(TEXTS, list(TEXTS)) == pytest.approx(dict.fromkeys(METRICS, 100))


def test_bleu_is_sacrebleus_corpus_score() -> None:
    others = TEXTS[3:] + TEXTS[:3]
    ours = scores(TEXTS, list(others))["bleu"]
    assert ours == pytest.approx(sacrebleu.corpus_bleu(TEXTS, [others]).score)


def test_rouge_of_a_small_example() -> None:
    found = scores(["the cat sat"], ["the cat lay down"])
    # Two of three and two of four words: F = 2 * (2/3) * (2/4) / (2/3 + 2/4).
    assert found["rouge1"] == pytest.approx(100 * 4 / 7)
    assert found["rouge2"] == pytest.approx(100 * 2 / 5)
    assert found["rougeL"] == pytest.approx(100 * 4 / 7)


def test_stories_without_a_reference_do_not_count() -> None:
    assert scores([TEXTS[0], TEXTS[1]], [TEXTS[0], None]) == pytest.approx(
        dict.fromkeys(METRICS, 100)
    )
    assert scores(["a"], [None]) == {}


def test_order_of_words_is_noticed_by_all_but_rouge_1() -> None:
    shuffled = []
    for n, text in enumerate(TEXTS):
        words = text.split()
        random.Random(n).shuffle(words)
        shuffled.append(" ".join(words))
    found = scores(shuffled, list(TEXTS))
    assert found["rouge1"] == pytest.approx(100)
    assert found["bleu"] < 15
    assert found["rouge2"] < 25
    assert found["rougeL"] < 50


def test_case_and_punctuation_are_ignored_by_rouge_and_noticed_by_bleu() -> None:
    plain = ["".join(c for c in t.lower() if c.isalnum() or c in " \n'") for t in TEXTS]
    loud = [t.upper() for t in TEXTS]
    assert scores(loud, list(TEXTS))["rouge1"] == pytest.approx(100)
    assert scores(plain, list(TEXTS))["rouge1"] > 98
    assert scores(plain, list(TEXTS))["bleu"] < 80


def test_a_typo_costs_chrf_less_than_a_word_metric() -> None:
    typo = [t.replace("ing ", "ign ") for t in TEXTS]
    found = scores(typo, list(TEXTS))
    assert 100 - found["chrf"] < (100 - found["rouge2"])
    assert found["rouge2"] < 100


def test_another_prompts_story_is_far_from_zero_which_is_why_floors_are_shown() -> None:
    (pairing,) = derangements(range(len(TEXTS)), 1, 0)
    floor = scores(TEXTS, [TEXTS[j] for j in pairing])
    assert 20 < floor["rouge1"] < 50
    assert 0 < floor["bleu"] < 10


def test_empty_stories_are_scored_not_refused() -> None:
    found = scores(["", "word"], ["some words here", "word"])
    assert found["rouge1"] == pytest.approx(50)


def test_signatures_say_what_was_computed() -> None:
    found = signatures()
    assert "tok:13a" in found["bleu"]
    assert sacrebleu.__version__ in found["bleu"]
    assert "stemmer:no" in found["rouge"]
