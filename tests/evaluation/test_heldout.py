"""Held-out stories: whole prompts, nested limits, one sentence for what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from corpus_rows import MakeCorpus, row

from fabula.errors import FabulaError
from fabula.evaluation.heldout import load_heldout
from fabula.story.sample import load_sample


def test_the_sample_split_is_whole_and_limits_are_nested() -> None:
    whole = load_heldout(None, "valid")
    assert {i.id for i in whole.items} == {s.id for s in load_sample("valid")}
    assert whole.other_story == [None] * len(whole.items)
    some = load_heldout(None, "valid", 7)
    assert some.items == whole.items[:7]
    assert some.available == len(whole.items)


def test_a_story_of_the_same_prompt_is_the_ceiling(paired_corpus: Path) -> None:
    found = load_heldout(paired_corpus, "test")
    assert len(set(found.groups)) == 6
    text = {item.id: item.text for item in found.items}
    by_group: dict[str, list[str]] = {}
    for item in found.items:
        by_group.setdefault(item.group, []).append(item.id)
    for item, other in zip(found.items, found.other_story, strict=True):
        (sibling,) = [i for i in by_group[item.group] if i != item.id]
        assert other == text[sibling]


def test_the_ceiling_does_not_need_its_story_to_be_chosen(paired_corpus: Path) -> None:
    found = load_heldout(paired_corpus, "test", 1)
    assert found.other_story[0] not in (None, found.items[0].text)


def test_rows_without_brief_and_later_parts_are_left_out_and_counted(
    make_corpus: MakeCorpus,
) -> None:
    a, b, c, d = load_sample("valid")[:4]
    folder = make_corpus(
        test=[row(a, "a"), row(b, "b", brief="{}"), row(c, "c"), row(d, "c", part=2, parts=2)]
    )
    found = load_heldout(folder, "test")
    assert {i.id for i in found.items} == {a.id, c.id}
    assert (found.available, found.without_brief, found.later_parts) == (2, 1, 1)


def test_a_corpus_without_briefs_is_refused(make_corpus: MakeCorpus) -> None:
    folder = make_corpus(test=[row(s, s.id, brief="{}") for s in load_sample("valid")[:3]])
    with pytest.raises(FabulaError, match=r"none of the 3 stories .* has a brief"):
        load_heldout(folder, "test")


def test_what_is_not_there_is_refused(tmp_path: Path, make_corpus: MakeCorpus) -> None:
    with pytest.raises(FabulaError, match="not a prepared corpus"):
        load_heldout(tmp_path / "nowhere", "test")
    folder = make_corpus(test=[])
    with pytest.raises(FabulaError, match="holds no stories"):
        load_heldout(folder, "test")
    with pytest.raises(FabulaError, match=r"no valid\.parquet"):
        load_heldout(folder, "valid")
    with pytest.raises(FabulaError, match="is not a split"):
        load_heldout(None, "dev")
    with pytest.raises(FabulaError, match="--limit is 0"):
        load_heldout(None, "valid", 0)


def test_a_truncated_file_is_refused(paired_corpus: Path) -> None:
    file = paired_corpus / "test.parquet"
    file.write_bytes(file.read_bytes()[:2_000])
    with pytest.raises(FabulaError, match="damaged"):
        load_heldout(paired_corpus, "test")
