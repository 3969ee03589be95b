"""Bits per byte, perplexities and prompt gain on real tiny models."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fabula.engines import Engine, open_engine
from fabula.evaluation.endings import end_probability
from fabula.evaluation.heldout import HeldOut, load_heldout
from fabula.evaluation.likelihood import (
    bits_per_byte,
    counted,
    cut,
    fitting_words,
    gain,
    mean_story_perplexity,
    own_brief_wins,
    score,
    score_all,
    word_perplexity,
)
from fabula.evaluation.texts import written_words
from fabula.story import Brief, Passage, render_brief, render_passage

ITEMS = load_heldout(None, "valid", 6).items
PASSAGES = [
    Passage(beat="exposition", text="# Zoë's clock stopped…\n\n“No,” she said."),
    Passage(beat="climax", text="It struck twelve."),
]


@pytest.fixture(scope="module")
def uniform(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The tiny model with embeddings of zero: every token is as likely as any other."""
    folder = tmp_path_factory.mktemp("models") / "uniform"
    shutil.copytree(tiny_model, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = np.zeros_like(tensors["model.embed_tokens.weight"])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return open_engine(folder)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Engine:
    return open_engine(tiny_model)


@pytest.fixture(scope="module", params=["tiny_model", "tiny_gpt2"])
def any_engine(request: pytest.FixtureRequest) -> Engine:
    return open_engine(request.getfixturevalue(request.param))


def item(passages: list[Passage]) -> HeldOut:
    return HeldOut("x", "x", Brief(genre="ghost story"), None, passages)


def test_a_uniform_model_pays_log_v_a_token(uniform: Engine) -> None:
    words = [fitting_words(uniform, i, None) for i in ITEMS]
    rows = score_all(uniform, ITEMS, [None] * len(ITEMS), words)
    tokens = bytes_ = words_ = 0
    for one, count in zip(ITEMS, words, strict=True):
        passages = cut(one.passages, count)
        bytes_ += sum(len(p.text.encode()) for p in passages)
        words_ += sum(written_words(p.text) for p in passages)
        headings = sum(len(uniform.encode(f"# {p.beat}\n")) for p in passages)
        tokens += len(uniform.encode("".join(map(render_passage, passages)))) - headings
    for condition in ("brief", "nothing", "outline"):
        value = bits_per_byte(rows, condition).value
        assert value == pytest.approx(math.log2(uniform.vocabulary) * tokens / bytes_, rel=1e-5)
    perplexity = word_perplexity(rows, "brief").value
    assert perplexity == pytest.approx(uniform.vocabulary ** (tokens / words_), rel=1e-4)
    assert gain(rows, "nothing").value == pytest.approx(0, abs=1e-3)


def test_only_bytes_of_the_text_are_counted_and_all_of_its_tokens(any_engine: Engine) -> None:
    row = score(any_engine, item(PASSAGES), None, 100)
    assert row is not None
    # The first text opens with a heading sign, which the format guards with a backslash.
    assert row.size == sum(len(p.text.encode()) for p in PASSAGES) + 1
    assert row.words == sum(len(p.text.split()) for p in PASSAGES)
    ids, counts = counted(any_engine, PASSAGES)
    text = any_engine.decode([i for i, c in zip(ids, counts, strict=True) if c])
    assert text == "\\" + PASSAGES[0].text + "\n" + PASSAGES[1].text + "\n"
    rest = any_engine.decode([i for i, c in zip(ids, counts, strict=True) if not c])
    assert rest == "# exposition\n# climax\n"


def test_a_token_over_the_border_counts_as_text(engine: Engine) -> None:
    class Merging:
        """The tiny model's tokens, but a line break and what follows it are one."""

        def __getattr__(self, name: str) -> object:
            return getattr(engine, name)

        def encode(self, text: str) -> list[int]:
            parts = text.replace("\nI", "\x00I").split("\x00")
            ids = engine.encode(parts[0])
            for part in parts[1:]:
                ids += [9_000 + ord(part[0]), *engine.encode(part[1:])]
            return ids

    merging: Engine = Merging()  # type: ignore[assignment]
    ids, counts = counted(merging, PASSAGES)
    assert counts[ids.index(9_000 + ord("I"))]
    assert sum(not c for c in counts) == sum(
        len(engine.encode(text)) for text in ("# exposition\n", "# climax")
    )


def test_log_probabilities_add_up_by_the_chain_rule(engine: Engine) -> None:
    one = item(PASSAGES[1:])
    row = score(engine, one, None, 100)
    assert row is not None
    prefix = [
        engine.bos or 0,
        *engine.encode(render_brief(one.brief)),
        *engine.encode("# climax\n"),
    ]
    total = 0.0
    for token in engine.encode("It struck twelve.\n"):
        scores = engine.start(prefix, 1).scores[0].astype(np.float64)
        total += scores[token] - np.logaddexp.reduce(scores)
        prefix.append(token)
    assert row.bits["brief"] == pytest.approx(-total / math.log(2), rel=1e-3)


def test_stories_are_cut_to_whole_words_that_fit_every_prompt(engine: Engine) -> None:
    one = ITEMS[0]
    words = fitting_words(engine, one, ITEMS[1].brief)
    assert 0 < words < written_words(one.text)
    row = score(engine, one, ITEMS[1].brief, words)
    assert row is not None
    assert set(row.bits) == {"brief", "nothing", "other", "outline"}
    assert row.words == words
    text = "\n\n".join(p.text for p in cut(one.passages, words))
    assert one.text.startswith(text)
    longest = (
        1
        + len(engine.encode(render_brief(one.brief) + "# outline\n"))
        + sum(
            len(engine.encode(f"{b.beat}: {b.summary}\n"))
            for b in one.outline.beats  # type: ignore[union-attr]
        )
    )
    used = longest + len(engine.encode("".join(map(render_passage, cut(one.passages, words)))))
    assert engine.context - 12 < used <= engine.context


def test_a_story_that_does_not_fit_at_all_is_left_out(engine: Engine) -> None:
    long = Brief(premise="clock " * 330)
    one = HeldOut("x", "x", long, None, PASSAGES)
    assert fitting_words(engine, one, None) == 0
    assert score(engine, one, None, 0) is None


def test_corpus_and_mean_story_perplexity_are_two_numbers(engine: Engine) -> None:
    words = [fitting_words(engine, i, None) for i in ITEMS]
    rows = score_all(engine, ITEMS, [None] * len(ITEMS), words)
    corpus, mean = (f(rows, "brief").value for f in (word_perplexity, mean_story_perplexity))
    assert corpus is not None
    assert mean is not None
    assert mean > corpus  # by Jensen, where stories are of about equal length
    each = [2 ** (r.bits["brief"] / r.words) for r in rows if r is not None]
    assert mean == pytest.approx(sum(each) / len(each))


def test_a_brief_wins_against_itself_half_of_the_time(engine: Engine) -> None:
    rows = score_all(engine, ITEMS[:2], [i.brief for i in ITEMS[:2]], [40, 40])
    assert own_brief_wins(rows).value == 50


def test_the_end_probability_is_that_of_the_end_token(uniform: Engine) -> None:
    chance = end_probability(uniform, ITEMS[0].brief, None, PASSAGES)
    assert chance == pytest.approx(1 / uniform.vocabulary, rel=1e-4)
    assert end_probability(uniform, ITEMS[0].brief, None, PASSAGES * 40) is None
