"""Copied runs of words are found whole, wherever they are, and nowhere else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fabula.evaluation import sharing
from fabula.evaluation.sharing import longest_shared
from fabula.evaluation.texts import ngrams
from fabula.story.sample import load_sample

texts = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)


def plainly(story: str, corpus: list[str]) -> int:
    words = story.split()
    longest = 0
    for n in range(1, len(words) + 1):
        theirs = {gram for text in corpus for gram in ngrams(text.split(), n)}
        if any(gram in theirs for gram in ngrams(words, n)):
            longest = n
    return longest


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, max_size=5), st.integers(1, 20))
def test_as_found_by_comparing_everything(
    stories: list[str], corpus: list[str], chunk: int
) -> None:
    before, sharing.CHUNK_WORDS = sharing.CHUNK_WORDS, chunk
    try:
        found = longest_shared(stories, [(str(i), t) for i, t in enumerate(corpus)])
    finally:
        sharing.CHUNK_WORDS = before
    assert [s.words for s in found] == [plainly(s, corpus) for s in stories]
    for shared in found:
        if shared.words:
            assert shared.source is not None
            assert shared.text in corpus[int(shared.source)]


def test_a_stolen_sentence_is_noticed_in_other_case_and_punctuation() -> None:
    train = load_sample("train")[:50]
    stolen = "the keeper wound the lamp and went slowly down the stair to the sea"
    corpus = [(s.id, s.text) for s in train] + [("x", f"Then—The keeper, {stolen[11:].upper()}!")]
    story = load_sample("valid")[0].text + "\n\nAnd " + stolen + ", they said."
    (found,) = longest_shared([story], corpus)
    assert found.words == 14
    assert found.source == "x"
    assert found.text == stolen


def test_a_run_does_not_reach_from_one_text_into_the_next() -> None:
    (found,) = longest_shared(["one two three four"], [("a", "one two"), ("b", "three four")])
    assert found.words == 2
