"""Looking at all stories at once: duplicates out, splits by prompt and by likeness.

Of two stories alike the one stays that is held out, else the
one whose source fixes a split (the gold stories among them), else the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from fabula.corpus.alike import alike_pairs
from fabula.corpus.schema import SPLITS
from fabula.corpus.stages import Settings

_RANK = {"test": 0, "valid": 1, "train": 2, None: 3}


@dataclass(slots=True)
class Candidate:
    """What deciding needs to know of a cleaned story."""

    prompt_id: str
    digest: bytes
    signature: bytes
    split: str | None


@dataclass(slots=True)
class Decision:
    """Where a story goes, or why it falls and for which other story."""

    split: str | None = None
    reason: str | None = None
    twin: int | None = None


@dataclass(slots=True)
class _Groups:
    """Union-find over prompts."""

    parent: dict[str, str] = field(default_factory=dict)

    def find(self, key: str) -> str:
        root = key
        while (above := self.parent.setdefault(root, root)) != root:
            root = above
        while self.parent[key] != root:
            self.parent[key], key = root, self.parent[key]
        return root

    def join(self, one: str, other: str) -> None:
        # The smaller name is the root, so that order does not matter.
        low, high = sorted((self.find(one), self.find(other)))
        self.parent[high] = low


def decide(candidates: list[Candidate], settings: Settings) -> list[Decision]:
    """A decision for every story, in the order given."""
    decisions = [Decision() for _ in candidates]
    order = sorted(range(len(candidates)), key=lambda i: (_RANK[candidates[i].split], i))
    first_of: dict[bytes, int] = {}
    distinct: list[int] = []
    for i in order:
        first = first_of.setdefault(candidates[i].digest, i)
        if first == i:
            distinct.append(i)
        else:
            decisions[i] = Decision(reason="exact duplicate", twin=first)
    groups = _Groups()
    earlier = _earlier_alike([candidates[i].signature for i in distinct], settings.related)
    for place, i in enumerate(distinct):
        # Places count in the order of the walk, so an earlier one has been decided.
        like = [
            (similarity, distinct[other])
            for other, similarity in earlier.get(place, [])
            if decisions[distinct[other]].reason is None
        ]
        likest, twin = max(like, default=(0.0, -1), key=lambda pair: (pair[0], -pair[1]))
        if likest >= settings.near:
            decisions[i] = Decision(reason="near duplicate", twin=twin)
            continue
        groups.find(candidates[i].prompt_id)
        for _, other in like:
            groups.join(candidates[i].prompt_id, candidates[other].prompt_id)
    _assign(candidates, decisions, order, groups, settings)
    return decisions


def _earlier_alike(signatures: list[bytes], threshold: float) -> dict[int, list[tuple[int, float]]]:
    """For each story, the earlier ones that are at least that much alike."""
    found: dict[int, list[tuple[int, float]]] = {}
    first, second, similarity = alike_pairs(signatures, threshold)
    for a, b, s in zip(first.tolist(), second.tolist(), similarity.tolist(), strict=True):
        found.setdefault(b, []).append((a, s))
    return found


def _assign(
    candidates: list[Candidate],
    decisions: list[Decision],
    order: Iterable[int],
    groups: _Groups,
    settings: Settings,
) -> None:
    """Splits: the strictest that a group's sources fix, else by the group's hash."""
    fixed: dict[str, tuple[str, int]] = {}
    for i in order:
        split = candidates[i].split
        if decisions[i].reason is None and split is not None:
            # Strictest first, by the order of the walk.
            fixed.setdefault(groups.find(candidates[i].prompt_id), (split, i))
    for i, one in enumerate(candidates):
        if decisions[i].reason is not None:
            continue
        group = groups.find(one.prompt_id)
        if group not in fixed:
            decisions[i].split = split_of_group(group, settings)
        elif one.split is not None and one.split != fixed[group][0]:
            decisions[i] = Decision(
                reason="prompt or text shared with a held-out story", twin=fixed[group][1]
            )
        else:
            decisions[i].split = fixed[group][0]


def split_of_group(group: str, settings: Settings) -> str:
    """The split a group's name and the seed fix: uniform over groups."""
    raw = hashlib.sha256(f"fabula split {settings.seed} {group}".encode()).digest()
    share = int.from_bytes(raw[:8], "big") / 2**64
    if share < settings.test:
        return "test"
    return "valid" if share < settings.test + settings.valid else "train"


def leaks(parts: dict[str, list[Candidate]], settings: Settings) -> dict[str, int]:
    """What two splits share, counted anew from the finished corpus; all should be 0.

    Args:
        parts: the stories of each split.

    Returns:
        Numbers of stories of valid and test whose prompt, whole text or nearly whole text
        stands in another split too.
    """
    found = {"prompts": 0, "texts": 0, "near duplicates": 0}
    prompts: dict[str, str] = {}
    digests: dict[bytes, str] = {}
    homes: list[str] = []
    for split in SPLITS:
        for one in parts.get(split, []):
            found["prompts"] += prompts.setdefault(one.prompt_id, split) != split
            found["texts"] += digests.setdefault(one.digest, split) != split
            homes.append(split)
    signatures = [one.signature for split in SPLITS for one in parts.get(split, [])]
    for place, like in _earlier_alike(signatures, settings.related).items():
        found["near duplicates"] += any(homes[other] != homes[place] for other, _ in like)
    return found
