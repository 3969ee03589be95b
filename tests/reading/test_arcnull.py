"""An arc tag is believed where the story's own order beats nearly all shuffled ones."""

from __future__ import annotations

import numpy as np
import pytest

from fabula.reading import arcnull, labels, read_fields
from fabula.reading.features import extract
from fabula.reading.linear import softmax
from fabula.reading.text import scan
from fabula.story.sample import load_sample

STORIES = [s for s in load_sample("valid") if s.theme is None][:120]


def test_the_shortcut_scores_a_text_as_the_reading_does() -> None:
    """In its own order, but for where in its sentence a word stands."""
    words = scan([s.text for s in STORIES[:40]])
    features = extract(words)
    wanted = labels.all_scores(features)["arc"]
    apart = []
    for doc in range(40):
        text = arcnull._Sentences.of(words, features, doc)
        assert text is not None
        found = text.chances(np.arange(len(text.sizes))[None])[0]
        apart.append(np.abs(found - softmax(wanted[doc])).max())
    assert np.median(apart) < 0.05


def test_tags_that_beat_their_null_are_right_more_often() -> None:
    texts = [s.text for s in STORIES]
    every = [f.get("arc") for f in read_fields(texts, min_confidence=0.5)]
    proven = [f.get("arc") for f in read_fields(texts, min_confidence=0.5, proven_arcs=True)]
    gold = [s.arc for s in STORIES]
    assert all(b in (None, a) for a, b in zip(every, proven, strict=True))
    rest = [a == g for a, b, g in zip(every, proven, gold, strict=True) if a and not b]
    kept = [b == g for b, g in zip(proven, gold, strict=True) if b]
    assert len(kept) > 30
    assert np.mean(kept) > np.mean(rest) + 0.05


def test_a_shuffled_text_seldom_beats_its_null() -> None:
    dice = np.random.default_rng(0)
    texts = []
    for story in STORIES[:100]:
        words = scan([story.text])
        spans = words.spans(0)
        sentences = [story.text[spans[a][0] : spans[b - 1][1]] + "." for a, b in words.sentences(0)]
        texts.append(" ".join(dice.permutation(sentences)))
    words = scan(texts)
    features = extract(words)
    best = labels.all_scores(features)["arc"].argmax(axis=1)
    passed = [arcnull.beats_null(words, features, n, int(best[n])) for n in range(100)]
    # One in twenty by chance; 13 of a hundred or more would come up once in a thousand times.
    assert np.mean(passed) < 0.13


def test_the_first_orders_settle_only_what_all_of_them_would() -> None:
    words = scan([s.text for s in STORIES])
    features = extract(words)
    best = labels.all_scores(features)["arc"].argmax(axis=1).tolist()
    passed = [arcnull.beats_null(words, features, n, arc) for n, arc in enumerate(best)]
    proven = [arcnull.p_value(words, features, n, arc) <= 0.05 for n, arc in enumerate(best)]
    assert passed == proven
    assert any(passed)
    assert not all(passed)


@pytest.mark.parametrize("text", ["", "Hi.", "One. Two. Three. Four."])
def test_a_text_of_few_sentences_proves_nothing(text: str) -> None:
    words = scan([text])
    assert arcnull.p_value(words, extract(words), 0, 0) == 1.0
