"""Documents: encoding, what is left out, and what hostile text cannot do."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabula.errors import FabulaError
from fabula.story import parse_brief, parse_completion
from fabula.story.sample import load_sample
from fabula.training.documents import (
    IGNORED,
    Example,
    encode_document,
    example_from_row,
    render,
    vary,
)
from fabula.training.recipe import Augmentation
from fabula.training.sources import SampleExamples, open_split
from fabula.training.tokenizer import (
    BEGIN,
    END,
    PAD,
    TextTokenizer,
    open_tokenizer,
    train_tokenizer,
)

CHANCE = st.floats(min_value=0, max_value=1)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> TextTokenizer:
    return open_tokenizer(str(tokenizer_folder))


@settings(max_examples=80, deadline=None)
@given(prompt=st.text(max_size=60), completion=st.text(max_size=60))
def test_one_bos_the_prompt_masked_and_eos_the_last_label(
    tokenizer: TextTokenizer, prompt: str, completion: str
) -> None:
    ids, labels = encode_document(tokenizer, prompt, completion)
    assert ids[0] == tokenizer.bos
    assert ids.count(0) == 1
    assert ids[-1] == labels[-1] == tokenizer.eos
    assert ids.count(1) == 1
    learnt = labels.count(IGNORED)
    assert labels == [IGNORED] * learnt + ids[learnt:]
    assert tokenizer.decode(ids[learnt:-1]) == completion
    assert tokenizer.decode(ids[1:learnt]) == prompt


def test_special_tokens_cannot_be_typed(tokenizer: TextTokenizer) -> None:
    hostile = f"a{BEGIN}b{END}c{PAD}"
    (ids,) = tokenizer.encode_batch([hostile])
    assert not {0, 1, 2} & set(ids)
    assert tokenizer.decode(ids) == hostile


def test_gpt2s_single_special_token_stands_once_in_front_and_once_behind(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    train_tokenizer(["a story"] * 3, 300, 64, tmp_path)
    hf = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), bos_token=END, eos_token=END
    )
    ids, labels = encode_document(TextTokenizer(hf, "here"), "a", "story")
    assert ids[0] == ids[-1] == labels[-1] == 1
    assert ids.count(1) == 2
    assert labels[0] == IGNORED


def test_a_tokenizer_without_end_is_refused(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    train_tokenizer(["a story"] * 3, 300, 64, tmp_path)
    hf = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    with pytest.raises(FabulaError, match="no end-of-sequence token"):
        TextTokenizer(hf, "here")


def test_training_a_tokenizer_twice_gives_the_same_files(tmp_path: Path) -> None:
    texts = [s.text for s in load_sample("train")[:30]]
    for name in ("one", "two"):
        train_tokenizer(iter(texts), 600, 64, tmp_path / name)
    one, two = ((tmp_path / n / "tokenizer.json").read_bytes() for n in ("one", "two"))
    assert one == two
    opened = open_tokenizer(str(tmp_path / "one"))
    assert (opened.bos, opened.eos, opened.pad, opened.vocabulary) == (0, 1, 2, 600)


def first() -> Example:
    return SampleExamples("train").read([0])[0]


def test_nothing_left_out_is_the_rendering_of_the_corpus() -> None:
    example = first()
    prompt, completion = vary(example, Augmentation(), random.Random(0))
    assert (prompt, completion) == render(example)
    brief = parse_brief(prompt)
    assert brief.premise == example.premise
    premise, outline, passages = parse_completion(completion)
    assert premise is None
    assert outline == example.outline
    assert passages == example.passages


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    tag=CHANCE,
    brief_gone=CHANCE,
    premise_gone=CHANCE,
    write=CHANCE,
    outline_gone=CHANCE,
)
def test_what_is_left_stays_true(
    seed: int, tag: float, brief_gone: float, premise_gone: float, write: float, outline_gone: float
) -> None:
    """Every variation parses, changes no passage, and claims nothing that the example did not."""
    example = first()
    chances = Augmentation(
        drop_tag=tag,
        drop_brief=brief_gone,
        drop_premise=premise_gone,
        write_premise=write,
        drop_outline=outline_gone,
    )
    prompt, completion = vary(example, chances, random.Random(seed))
    brief = parse_brief(prompt)
    premise, outline, passages = parse_completion(completion)
    assert passages == example.passages
    assert outline in (None, example.outline)
    assert [brief.premise, premise].count(None) >= 1
    assert {brief.premise, premise} <= {None, example.premise}
    for field, value in brief.model_dump(exclude={"premise", "setting"}).items():
        whole = example.brief.model_dump()[field]
        if field == "characters":
            assert {c["name"] for c in value} <= {c["name"] for c in whole}
        elif field == "must_include":
            assert set(value) <= set(whole)
        else:
            assert value in (None, whole)


def counted(chances: Augmentation) -> list[tuple[Any, Any, Any]]:
    example = first()
    found = []
    for seed in range(400):
        prompt, completion = vary(example, chances, random.Random(seed))
        brief = parse_brief(prompt)
        premise, outline, _ = parse_completion(completion)
        found.append((brief, premise, outline))
    return found


def test_things_are_left_out_as_often_as_the_recipe_says() -> None:
    found = counted(
        Augmentation(drop_tag=0.3, drop_premise=0.2, write_premise=0.5, drop_outline=0.1)
    )
    share = {
        "genre": sum(b.genre is not None for b, _, _ in found) / 400,
        "in the brief": sum(b.premise is not None for b, _, _ in found) / 400,
        "written": sum(p is not None for _, p, _ in found) / 400,
        "outline": sum(o is not None for _, _, o in found) / 400,
    }
    expected = {"genre": 0.7, "in the brief": 0.4, "written": 0.4, "outline": 0.9}
    assert share == pytest.approx(expected, abs=0.09)


def test_length_is_filled_in_only_where_asked() -> None:
    example = first()
    prompt, _ = vary(example, Augmentation(add_length=True), random.Random(0))
    wanted = parse_brief(prompt).length
    assert wanted is not None
    assert abs(wanted - example.words) <= 13
    assert "Length" not in vary(example, Augmentation(), random.Random(0))[0]


def test_rows_of_a_prepared_corpus_read_as_the_sample_does(corpus: Path) -> None:
    examples = open_split(str(corpus), "train")
    one = examples.read([3])[0]
    same = SampleExamples("train").read([3])[0]
    assert (one.id, one.brief, one.premise) == (same.id, same.brief, same.premise)
    assert one.passages == same.passages[:2]
    assert one.brief.premise is None
    assert examples.licences == ["Apache-2.0"]


def test_a_row_of_something_else_is_named() -> None:
    with pytest.raises(FabulaError, match=r"here, row 'x': .*genr: Extra .*fabula prepare"):
        example_from_row({"id": "x", "brief": '{"genr": "horror"}', "premise": None}, "here")


def test_a_sparse_brief_keeps_few_wishes() -> None:
    story = load_sample("train")[0]
    example = Example(
        id=story.id,
        brief=story.brief.model_copy(update={"premise": None}),
        premise=story.premise,
        outline=story.outline,
        passages=story.passages,
    )
    lines = {}
    for chance in (0.0, 1.0):
        rates = Augmentation(sparse_brief=chance)
        prompts = [vary(example, rates, random.Random(n))[0] for n in range(60)]
        lines[chance] = sum(len(p.splitlines()) for p in prompts)
    # Each wish is left out three times in four.
    assert lines[1.0] < 0.55 * lines[0.0]
