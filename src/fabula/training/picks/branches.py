"""Candidates as branches of the story that they could have gone on from.

The candidates of a place share all that is before them, and the places of a story share most of it.
So a story is read once, as a trunk, and every candidate once, as a branch that sees the trunk up to
where it leaves it and itself (tree attention; Miao et al. 2024, *SpecInfer*, arXiv:2305.09781). As
pairs of whole texts, the best and each wrong candidate of a place, they are some twenty times the
tokens (`recipes/embedded.yaml`).

A row holds the trunk, then its branches one after another; positions go on from where a branch
leaves the trunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fabula.errors import FabulaError
from fabula.story import Passage, render_brief, render_outline, render_passage
from fabula.story.format import OUTLINE_HEADING, heading, render_beat, render_premise
from fabula.story.story import Beat
from fabula.training.attention import one_by_one, register, widened
from fabula.training.loss import TOLERANCE
from fabula.training.models import evaluating
from fabula.training.packing import ALIGNMENT, Batch
from fabula.training.picks.places import PickedStory, Place
from fabula.training.tokenizer import TextTokenizer

NAME = "fabula_branches"


@dataclass(frozen=True)
class Branch:
    """One candidate.

    Attributes:
        leaves: tokens of the trunk before it.
        ids: its tokens: what is not in the trunk of the text before it, and the candidate.
        judged: how many of them, the last ones, are the candidate's own.
    """

    leaves: int
    ids: list[int]
    judged: int


@dataclass(frozen=True)
class Pick:
    """What a reader said of a place: numbers of branches."""

    branches: tuple[int, ...]
    best: int
    wrong: tuple[int, ...]
    rest: tuple[int, ...]


@dataclass(frozen=True)
class Branched:
    """A story, or a part of its places, as tokens."""

    id: str
    trunk: list[int]
    branches: list[Branch]
    picks: list[Pick]

    def __len__(self) -> int:
        return len(self.trunk) + sum(len(b.ids) for b in self.branches)


def text_before(story: PickedStory, place: Place) -> str:
    """The completion up to a place."""
    told = story.outline.beats
    premise = render_premise(story.premise) if story.premise is not None else ""
    if place.plan:
        lines = "".join(map(render_beat, told[: place.part]))
        return f"{premise}{OUTLINE_HEADING}{lines}{told[place.part].beat}:"
    passages = "".join(map(render_passage, story.passages[: place.part]))
    begun = heading(told[place.part].beat)
    if place.said.strip():
        begun = render_passage(Passage(beat=told[place.part].beat, text=place.said)).rstrip("\n")
    return premise + render_outline(story.outline) + passages + begun


def text_with(story: PickedStory, place: Place, candidate: str) -> str:
    """The completion up to a place, and a candidate."""
    beat = story.outline.beats[place.part].beat
    if place.plan:
        before = text_before(story, place).removesuffix(f"{beat}:")
        return before + render_beat(Beat(beat=beat, summary=candidate))
    said = place.said
    gap = " " if said.strip() and not said[-1].isspace() else ""
    whole = Passage(beat=beat, text=said + gap + candidate)
    before = text_before(story, place.model_copy(update={"said": ""}))
    return before.removesuffix(heading(beat)) + render_passage(whole).rstrip("\n")


def encode(story: PickedStory, tokenizer: TextTokenizer, longest: int, most: int) -> list[Branched]:
    """A story as tokens, in as many rows as its places need.

    Args:
        longest: tokens of a document that the model can read; places past it are left out.
        most: tokens of a row.
    """
    told = render_outline(story.outline) + "".join(map(render_passage, story.passages))
    if story.premise is not None:
        told = render_premise(story.premise) + told
    texts = [render_brief(story.brief), told]
    for place in story.places:
        texts += [text_before(story, place)]
        texts += [text_with(story, place, candidate) for candidate in place.candidates]
    pieces = iter(tokenizer.encode_batch(texts))
    prompt = [*([] if tokenizer.bos is None else [tokenizer.bos]), *next(pieces)]
    trunk = [*prompt, *next(pieces)][:longest]
    rows: list[Branched] = []
    for place in story.places:
        before = [*prompt, *next(pieces)]
        texts_of = [[*prompt, *next(pieces)] for _ in place.candidates]
        branches = _branches(before, texts_of, trunk)
        if not branches or max(b.leaves + len(b.ids) for b in branches) > longest:
            continue
        size = sum(len(b.ids) for b in branches)
        if not rows or len(rows[-1]) + size > most:
            rows.append(Branched(story.id, trunk, [], []))
        first = len(rows[-1].branches)
        rows[-1].branches.extend(branches)
        rows[-1].picks.append(
            Pick(
                branches=tuple(range(first, first + len(branches))),
                best=first + place.best,
                wrong=tuple(first + i for i in place.wrong),
                rest=tuple(first + i for i in place.rest),
            )
        )
    return [row for row in rows if len(row) <= most]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first tokens two texts share."""
    size = min(len(one), len(other))
    return next((i for i in range(size) if one[i] != other[i]), size)


def _branches(before: list[int], texts: list[list[int]], trunk: list[int]) -> list[Branch]:
    """Branches of one place; none where a candidate adds no token of its own."""
    # A tokenizer may merge across the border: judged is what differs from the text before.
    start = min(_common(before, text) for text in texts)
    leaves = min(_common(before[:start], trunk), start)
    if min(map(len, texts)) <= start or not leaves:
        return []
    return [Branch(leaves, text[leaves:], len(text) - start) for text in texts]


def collate(story: Branched, pad: int) -> Batch:
    """Tensors of one row.

    `input_ids` and `position_ids`, [1, width]; `trunk`, tokens of the trunk, [1]; `leaves` and
    `lengths`, tokens of the trunk that each branch sees and its own, [branches]; `rows`, `targets`
    and `branch`, [judged]: the token that tells each judged one, that one, and whose it is; and
    `picks`. Branches of padding and judgements that are nobody's fill up to `ALIGNMENT`: kernels
    are kept in memory for each shape that they meet.

    Args:
        pad: id of padding.
    """
    ids, positions = list(story.trunk), list(range(len(story.trunk)))
    rows, targets, branch = [], [], []
    for number, each in enumerate(story.branches):
        start, size = len(ids), len(each.ids)
        for k in range(size - each.judged, size):
            # The first token of a branch is told by the last that it shares with the trunk.
            rows.append(start + k - 1 if k else each.leaves - 1)
            targets.append(each.ids[k])
            branch.append(number)
        ids += each.ids
        positions += range(each.leaves, each.leaves + size)
    leaves, lengths = [b.leaves for b in story.branches], [len(b.ids) for b in story.branches]
    while empty := -len(ids) % ALIGNMENT:
        # No longer than the longest: all branches are computed as if they were as long.
        size = min(empty, max(lengths, default=1))
        ids += [pad] * size
        positions += range(1, 1 + size)
        leaves.append(1)
        lengths.append(size)
    empty = -len(rows) % ALIGNMENT
    rows += [0] * empty
    targets += [pad] * empty
    branch += [len(lengths)] * empty
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "trunk": torch.tensor([len(story.trunk)]),
        "leaves": torch.tensor(leaves),
        "lengths": torch.tensor(lengths),
        "rows": torch.tensor(rows),
        "targets": torch.tensor(targets),
        "branch": torch.tensor(branch),
        "picks": story.picks,
    }


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors there."""
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}


@dataclass(frozen=True)
class Layout:
    """Who sees whom in a row.

    Attributes:
        trunk: tokens of the trunk.
        hidden: [branch tokens, trunk], True where a token does not see the trunk's.
        position: [branch tokens], tokens before it in its text.
        slot: [branch tokens], where a token lies among `branches` x `longest` places.
        branches, longest: of them, and tokens of the longest.
    """

    trunk: int
    hidden: torch.Tensor
    position: torch.Tensor
    slot: torch.Tensor
    branches: int
    longest: int


def layout_of(batch: Batch) -> torch.Tensor:
    """The layout of a row, on a tensor that transformers hands to the attention as a mask."""
    trunk = int(batch["trunk"])
    leaves, lengths = batch["leaves"], batch["lengths"]
    device = leaves.device
    longest = int(lengths.max())
    number = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
    starts = lengths.cumsum(0) - lengths
    within = torch.arange(len(number), device=device) - starts[number]
    carrier: torch.Tensor = lengths.view(1, 1, 1, -1)
    carrier.plan = Layout(  # type: ignore[attr-defined]
        trunk=trunk,
        hidden=torch.arange(trunk, device=device)[None] >= leaves[number][:, None],
        position=leaves[number] + within,
        slot=number * longest + within,
        branches=len(lengths),
        longest=longest,
    )
    return carrier


@torch.compiler.disable  # type: ignore[untyped-decorator]
def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a trunk and its branches.

    Args:
        query: [1, heads, width, size]; key and value may have fewer heads.
        attention_mask: what `layout_of` returns.
        dropout: not applied, as the reference has none.
        sliding_window: a token sees this many tokens back, itself among them.

    Returns:
        [1, width, heads, size], and None for the weights that nobody asked for.
    """
    plan: Layout = attention_mask.plan  # type: ignore[attr-defined]
    heads, kind, n = query.shape[1], value.dtype, plan.trunk
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = (t[0] for t in widened(query, key, value))
    with torch.autocast(query.device.type, enabled=False):
        trunk = one_by_one(q[:, :n], k[:, :n], v[:, :n], [n], 0.0, scale, sliding_window)
        branches = _of_branches(plan, q, k, v, scale, sliding_window)
        out = torch.cat([trunk, branches], dim=1)
    return out.to(kind).transpose(0, 1).reshape(1, query.shape[2], heads, -1), None


def _of_branches(
    plan: Layout,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    """What branch tokens take from the trunk and from their own branch; [heads, tokens, size]."""
    n, heads, size = plan.trunk, q.shape[0], q.shape[2]

    def by_branch(t: torch.Tensor) -> torch.Tensor:
        places = t.new_zeros(heads, plan.branches * plan.longest, size)
        return places.index_copy(1, plan.slot, t[:, n:]).view(heads, plan.branches, -1, size)

    hidden = plan.hidden
    unseen = torch.ones(plan.longest, plan.longest, dtype=torch.bool, device=q.device).triu(1)
    if window is not None:
        back = plan.position[:, None] - torch.arange(n, device=q.device)
        hidden = hidden | (back >= window)
        unseen = unseen | ~unseen.new_ones(unseen.shape).triu(1 - window)
    q_own, k_own, v_own = map(by_branch, (q, k, v))
    # In float32 whatever the rest is in: bfloat16 has too few bits for scores and their weights.
    seen, within = k[:, :n].float().transpose(1, 2), k_own.float().transpose(2, 3)
    from_trunk = (q[:, n:].float() @ seen * scale).masked_fill(hidden, -torch.inf)
    own = (q_own.float() @ within * scale).masked_fill(unseen, -torch.inf)
    own = own.flatten(1, 2)[:, plan.slot]
    weights = torch.cat([from_trunk, own], dim=-1).softmax(dim=-1).to(v.dtype)
    places = weights.new_zeros(heads, plan.branches * plan.longest, plan.longest)
    own = places.index_copy(1, plan.slot, weights[..., n:])
    own = own.view(heads, plan.branches, plan.longest, -1) @ v_own
    return weights[..., :n] @ v[:, :n] + own.flatten(1, 2)[:, plan.slot]


def log_probabilities(model: Any, batch: Batch) -> torch.Tensor:
    """Log-probability of each candidate after all that is before it, nats, [branches or more].

    Args:
        model: a transformers model whose attention is `NAME`.
    """
    scores = model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=layout_of(batch),
        use_cache=False,
        logits_to_keep=batch["rows"],
    ).logits[0]
    told = scores.float().log_softmax(-1).gather(1, batch["targets"][:, None])[:, 0]
    nobody = len(batch["lengths"])
    sums: torch.Tensor = told.new_zeros(nobody + 1).index_add(0, batch["branch"], told)
    return sums


def prepare(model: Any, vocabulary: int) -> None:
    """Give a model this attention, and see by a tiny computation that it is right there.

    Raises:
        FabulaError: in this architecture branches would not be read as texts of their own.
    """
    register(NAME, attend)
    trunk = [(5 * n + 1) % vocabulary for n in range(40)]
    branches = [
        Branch(leaves, [(7 * n + leaves) % vocabulary for n in range(size)], size - 1)
        for leaves, size in ((9, 4), (30, 7), (30, 5), (40, 2))
    ]
    try:
        with torch.no_grad(), evaluating(model):
            expected = [_alone(model, trunk, branch) for branch in branches]
            model.set_attn_implementation(NAME)
            batch = collate(Branched("", trunk, branches, []), 0)
            placed = to_device(batch, next(model.parameters()).device)
            found = log_probabilities(model, placed).cpu()[: len(branches)]
        agrees = torch.allclose(
            found, torch.tensor(expected), rtol=TOLERANCE[model.dtype], atol=0.01
        )
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        raise FabulaError(_unfit(model)) from error
    if not agrees:
        raise FabulaError(_unfit(model))


def _unfit(model: Any) -> str:
    return (
        f"Candidates cannot be read as branches of a story in {type(model).__name__}; use a Llama, "
        "Mistral or GPT-2 kind of model."
    )


def _alone(model: Any, trunk: list[int], branch: Branch) -> float:
    """Log-probability of a candidate whose text is read by itself."""
    ids = torch.tensor(
        [[*trunk[: branch.leaves], *branch.ids]], device=next(model.parameters()).device
    )
    scores = model(input_ids=ids, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    told = scores.gather(1, ids[0, 1:, None])
    return float(told[len(told) - branch.judged :].sum())
