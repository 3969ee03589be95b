"""Fitting: a small fit on the real pipeline, and the shipped model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from fabula.errors import FabulaError
from fabula.reading import features, fit, fitlabels, labels, moments, store
from fabula.reading.fit import find_usage, fit_ranker, unnamed
from fabula.reading.ranker import chances
from fabula.reading.text import scan
from fabula.story.sample import load_annotated, load_planned, load_sample


def test_the_shipped_model_is_small_and_has_no_pickle() -> None:
    folder = Path(store.__file__).parent.parent / "data" / "reading"
    assert sum(p.stat().st_size for p in folder.iterdir()) < 3_500_000
    for array in store.weights().values():
        assert array.dtype != object


def test_labels_are_probabilities_and_never_contradict() -> None:
    for story in load_sample("valid")[:10]:
        seen = features.extract(scan([story.text]))
        for chance in labels.predict(seen).values():
            assert sum(chance.values()) == pytest.approx(1, abs=1e-6)


def test_moments_are_sentences_of_the_text() -> None:
    story = load_sample("valid")[0]
    words = scan([story.text])
    ranges = words.sentences(0)
    found = moments.telling_moments(words, features.extract(words), "ending", story.ending)
    assert all((m.first, m.end) in ranges and m.weight > 0 for m in found)
    assert found == sorted(found, key=lambda m: m.first)


def test_label_fitting_learns_something_from_few_stories() -> None:
    stories = load_sample("train")[:120]
    arrays, report = fitlabels.fit_labels(stories, features.tables())
    assert report["arc alone"] > 1 / 6
    assert {"arc_bias", "arc_dense", "arc_ending", "genre_words"} <= set(arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    buffer.seek(0)
    assert np.load(buffer, allow_pickle=False)["arc_bias"].shape == (6,)


def test_planned_labels_help_where_few_stories_are_annotated() -> None:
    stories, tables = load_sample("train")[:120], features.tables()
    more = load_sample("train")[1000:1600]
    planned = fitlabels.Planned.of(more, [1.0] * len(more), tables)
    _, alone = fitlabels.fit_labels(stories, tables)
    arrays, helped = fitlabels.fit_labels(stories, tables, planned=planned)
    assert helped["arc alone"] > alone["arc alone"]
    # The weights that are stored hold both steps: they read planned stories better, too.
    recipe, seen = labels.RECIPES["arc"], planned.features
    terms = [
        arrays[f"arc_mode_{n}"].astype(float) * arrays[f"arc_mode_{n}_scale"] for n in (1, 2, 3)
    ]
    said = fitlabels.term_rows([seen], recipe, len(tables.rarity)) @ np.concatenate(terms)
    dense = labels.dense_part(seen, recipe, arrays["mood_mean"], arrays["mood_scale"])
    chosen = (said + dense @ arrays["arc_dense"] + arrays["arc_bias"]).argmax(axis=1)
    assert np.mean([labels.CLASSES["arc"][c] == s.arc
                    for c, s in zip(chosen, more, strict=True)]) > 0.9  # fmt: skip


def test_the_explicit_weights_score_as_the_examples_did() -> None:
    stories = load_sample("train")[:40]
    seen = features.extract(scan([s.text for s in stories]))
    recipe = labels.RECIPES["ending"]
    zero, one = np.zeros(15), np.ones(15)
    design = fitlabels.Design([seen], recipe, len(features.tables().rarity), zero, one)
    generator = np.random.default_rng(0)
    w, b = generator.normal(size=(design.rows.shape[1], 5)), generator.normal(size=5)
    (dense, words, last), bias = design.explicit(w, b)
    first = labels.dense_part(seen, recipe, zero, one)[0] @ dense + bias
    mine = slice(0, seen.edges[1])
    for block, matrix in (("words", words), ("last", last)):
        values = seen.values[features.BLOCKS.index(block), mine]
        first = first + values @ matrix[seen.terms[mine]]
    assert np.allclose(first, design.rows[0] @ w + b, atol=1e-4)


def test_a_ranker_learns_which_feature_matters() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(400, 3))
    right = (rows[:, 1] > 0.5).astype(np.int64)
    fitted = fit_ranker("toy", rows, right)
    chance = chances("toy", rows, fitted)
    assert ((chance > 0.5) == right).mean() > 0.95
    assert np.abs(fitted["toy_w"]).argmax() == 1


def test_vocabulary_is_sorted_by_where_words_stand() -> None:
    texts = ["The old lamp burned. She saw the lamp, and the old lamp fell. The lamp was hot."] * 3
    found = find_usage(texts)
    assert "lamp" in found.nouns
    assert "old" in found.modifiers
    assert "lamp" in found.common


def test_a_protagonist_can_be_made_unnamed() -> None:
    text = "Idris slept. Then Idris Pugh woke, and Pugh's cat woke Idris."
    assert unnamed(text, "Idris Pugh", "fox") == (
        "A fox slept. Then the fox woke, and the fox's cat woke the fox."
    )


def test_a_damaged_model_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "reading").mkdir()
    (tmp_path / "reading" / store.WEIGHTS).write_bytes(b"PK not a zip")
    monkeypatch.setattr(store, "files", lambda _: tmp_path)
    store.weights.cache_clear()
    try:
        with pytest.raises(FabulaError, match="missing or damaged"):
            store.weights()
        with pytest.raises(FabulaError, match="missing or damaged"):
            store.lexicon.__wrapped__()
    finally:
        store.weights.cache_clear()


def test_fitting_uses_the_train_split_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[bool] = []

    def spy() -> list[object]:
        asked.append(True)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "load_annotated", spy)
    with pytest.raises(KeyboardInterrupt):
        fit.fit(tmp_path, None, None, lambda _: None)
    assert asked
    train = {story.id for story in load_sample("train")}
    annotated, (planned, weights) = load_annotated(), load_planned()
    assert {story.id for story in [*annotated, *planned]} == train
    assert len(annotated) + len(planned) == len(train)
    assert {s.id[0] for s, weight in zip(planned, weights, strict=True) if weight < 1} == {"b"}
    assert list(tmp_path.iterdir()) == []
