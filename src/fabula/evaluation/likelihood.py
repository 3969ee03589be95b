r"""How well a model predicts held-out stories: bits per byte, word perplexity, prompt gain.

What is scored is the story's passages in the one text format, right behind the brief::

    <BOS> brief (or an empty one) | # exposition \n  text \n  # climax \n  text \n  ...

Encoded as in training (prompt and passages apart, one BOS, nothing else special), scored in one
piece. What counts:

- *Bits*: of every token that reaches into a passage's text or the line break that closes it.
  Tokens inside the heading lines are given for free, so a model that never saw the format does
  not pay for it; the end-of-sequence token is not counted.
- *Bytes*: UTF-8 bytes of the passages' texts as rendered, and nothing else: no headings, no
  closing line breaks.
- *Words*: runs of non-space characters of the same texts.

Sums over stories are divided by sums over stories, as lm-evaluation-harness does for
`bits_per_byte` and `word_perplexity`; the mean over stories of each story's own perplexity,
which some papers print under the same name, stands apart. None of these depends on how many
tokens a tokenizer makes. A story that does not fit the context is cut to the most whole words
that fit with each of its prompts, so that every condition (and every model of one evaluation)
is scored on the same text.

Conditions: `brief` (the story's own), `nothing` (an empty brief), `other` (the brief of another
prompt's story: the floor of conditioning), `outline` (its own brief and its own outline).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fabula.engines.protocol import Engine
from fabula.errors import FabulaError
from fabula.evaluation.bootstrap import Statistic, exp_ratio, mean, ratio
from fabula.evaluation.heldout import HeldOut
from fabula.evaluation.texts import first_words, written_words
from fabula.story import Brief, Passage, heading, render_brief, render_outline, render_passage
from fabula.story.format import escape_passage

CONDITIONS = ("brief", "nothing", "other", "outline")


@dataclass(frozen=True)
class Scored:
    """One story's figures.

    Attributes:
        bits: bits of the story's text, by condition.
        size: UTF-8 bytes of the text scored.
        words: written words of the text scored.
        tokens: tokens counted.
    """

    bits: Mapping[str, float]
    size: int
    words: int
    tokens: int


def prompts(item: HeldOut, other: Brief | None) -> dict[str, str]:
    """The text in front of the passages, by condition."""
    own = render_brief(item.brief)
    return {
        "brief": own,
        "nothing": render_brief(Brief()),
        **({"other": render_brief(other)} if other is not None else {}),
        **({"outline": own + render_outline(item.outline)} if item.outline is not None else {}),
    }


def cut(passages: Sequence[Passage], words: int) -> list[Passage]:
    """The first `words` written words of some passages."""
    kept = []
    for passage in passages:
        if words <= 0:
            break
        text = first_words(passage.text, words)
        words -= written_words(text)
        kept.append(Passage(beat=passage.beat, text=text))
    return kept


def _render(passages: Sequence[Passage]) -> str:
    return "".join(map(render_passage, passages))


def _prefix(engine: Engine, prompt: str) -> list[int]:
    return ([] if engine.bos is None else [engine.bos]) + engine.encode(prompt)


def fitting_words(engine: Engine, item: HeldOut, other: Brief | None) -> int:
    """The most whole words of a story that fit the context behind each of its prompts.

    0 where a prompt alone fills the context.
    """
    longest = max(len(_prefix(engine, p)) for p in prompts(item, other).values())
    room = engine.context - longest
    fits, too_many = 0, written_words(item.text) + 1
    if room > 0 and len(engine.encode(_render(item.passages))) <= room:
        return too_many - 1
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if len(engine.encode(_render(cut(item.passages, middle)))) <= room:
            fits = middle
        else:
            too_many = middle
    return fits


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def counted(engine: Engine, passages: Sequence[Passage]) -> tuple[list[int], list[bool]]:
    """Token ids of rendered passages, and which of them count as text.

    The token borders of headings are found by encoding the text up to there. A token that
    reaches over such a border counts as text: a tokenizer that merges across it pays for it.
    """
    text = _render(passages)
    ids = engine.encode(text)
    counts = [True] * len(ids)
    position = 0
    for passage in passages:
        opens = len(engine.encode(text[:position]))
        closes = _shared(ids, engine.encode(text[: position + len(heading(passage.beat))]))
        counts[opens:closes] = [False] * max(closes - opens, 0)
        position += len(render_passage(passage))
    return ids, counts


def score(engine: Engine, item: HeldOut, other: Brief | None, words: int) -> Scored | None:
    """Score the first `words` words of one story under all its conditions.

    Returns None if that is no text at all.
    """
    passages = cut(item.passages, words)
    if not passages:
        return None
    ids, counts = counted(engine, passages)
    bits = {}
    for condition, prompt in prompts(item, other).items():
        (logs,) = engine.log_probabilities(_prefix(engine, prompt), [ids])
        bits[condition] = -math.fsum(
            float(log) for log, counts_here in zip(logs, counts, strict=True) if counts_here
        ) / math.log(2)
        if not math.isfinite(bits[condition]):
            raise FabulaError(
                f"The model '{engine.name}' gives story '{item.id}' no finite probability; "
                "its weights hold NaN or infinity: train or download it again."
            )
    return Scored(
        bits=bits,
        size=sum(len(escape_passage(p.text).encode()) for p in passages),
        words=sum(written_words(p.text) for p in passages),
        tokens=sum(counts),
    )


def score_all(
    engine: Engine,
    items: Sequence[HeldOut],
    others: Sequence[Brief | None],
    words: Sequence[int],
    tick: Callable[[], None] = lambda: None,
) -> list[Scored | None]:
    """Score every story; `others` and `words` as in `score`."""
    rows = []
    for item, other, count in zip(items, others, words, strict=True):
        rows.append(score(engine, item, other, count))
        tick()
    if not any(rows):
        raise FabulaError(
            f"No held-out story fits the context of '{engine.name}' ({engine.context} tokens) "
            "behind its brief; use a model with a longer context."
        )
    return rows


def bits_per_byte(rows: Sequence[Scored | None], condition: str) -> Statistic:
    """Bits of all stories over bytes of all stories."""
    known = [r if r is not None and condition in r.bits else None for r in rows]
    return ratio(
        [r.bits[condition] if r else 0.0 for r in known],
        [float(r.size) if r else 0.0 for r in known],
    )


def word_perplexity(rows: Sequence[Scored | None], condition: str) -> Statistic:
    """exp(nats of all stories over words of all stories): the corpus word perplexity."""
    known = [r if r is not None and condition in r.bits else None for r in rows]
    return exp_ratio(
        [r.bits[condition] * math.log(2) if r else 0.0 for r in known],
        [float(r.words) if r else 0.0 for r in known],
    )


def mean_story_perplexity(rows: Sequence[Scored | None], condition: str) -> Statistic:
    """Mean over stories of 2 ** (bits / words); never to be compared with the corpus figure."""
    values: list[float | None] = []
    for row in rows:
        known = row is not None and condition in row.bits
        exponent = row.bits[condition] / row.words if row is not None and known else 0.0
        values.append(2**exponent if known and exponent < 1000 else None)
    return mean(values)


def gain(rows: Sequence[Scored | None], without: str, given: str = "brief") -> Statistic:
    """Bits a story that a condition saves over another; "prompt gain" for `nothing`, `brief`."""
    return mean(
        [
            r.bits[without] - r.bits[given]
            if r is not None and without in r.bits and given in r.bits
            else None
            for r in rows
        ]
    )


def own_brief_wins(rows: Sequence[Scored | None]) -> Statistic:
    """Percentage of stories likelier behind their own brief than behind another one; chance 50.

    Fan et al. 2018's prompt ranking with one distractor; equal scores count half.
    """
    wins = mean(
        [
            None
            if r is None or "other" not in r.bits
            else 50.0 * ((r.bits["brief"] < r.bits["other"]) + (r.bits["brief"] <= r.bits["other"]))
            for r in rows
        ]
    )
    return replace(wins, share=True)
