"""Looking at all stories at once: duplicates out, splits by prompt and by likeness.

Near duplicates are found with MinHash and locality-sensitive hashing (Broder 1997; Indyk and
Motwani 1998), through datasketch. Of two stories alike the one stays that is held out, else the
one whose source fixes a split (the gold stories among them), else the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fabula.corpus.fingerprint import PERMUTATIONS
from fabula.corpus.schema import SPLITS
from fabula.corpus.stages import Settings
from fabula.errors import MissingExtra

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


def likeness(one: bytes, other: bytes) -> float:
    """Estimated Jaccard similarity of the texts behind two signatures, 0 to 1."""
    a, b = (np.frombuffer(s, dtype=np.uint32) for s in (one, other))
    return float(np.mean(a == b))


class LikeIndex:
    """Finds earlier stories like a new one."""

    def __init__(self, threshold: float) -> None:
        try:
            from datasketch import MinHash, MinHashLSH
        except ImportError:
            raise MissingExtra("Finding near duplicates", "corpus") from None
        self._lsh = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=(0.3, 0.7))
        self._minhash = MinHash
        self._signatures: dict[int, bytes] = {}

    def like(self, signature: bytes) -> list[tuple[int, float]]:
        """(key, likeness) of the stories that may be like this one, likest first."""
        found = self._lsh.query(self._wrap(signature))
        scored = [(key, likeness(self._signatures[key], signature)) for key in found]
        return sorted(scored, key=lambda pair: (-pair[1], pair[0]))

    def add(self, key: int, signature: bytes) -> None:
        """Remember a story."""
        self._signatures[key] = signature
        self._lsh.insert(key, self._wrap(signature), check_duplication=False)

    def _wrap(self, signature: bytes) -> Any:
        return self._minhash(
            num_perm=PERMUTATIONS,
            hashvalues=np.frombuffer(signature, dtype=np.uint32),
            scheme="affine32",
        )


def decide(candidates: list[Candidate], settings: Settings) -> list[Decision]:
    """A decision for every story, in the order given."""
    decisions = [Decision() for _ in candidates]
    order = sorted(
        range(len(candidates)),
        key=lambda i: (_RANK[candidates[i].split], i),
    )
    exact: dict[bytes, int] = {}
    index = LikeIndex(settings.related)
    groups = _Groups()
    for i in order:
        one = candidates[i]
        first = exact.setdefault(one.digest, i)
        if first != i:
            decisions[i] = Decision(reason="exact duplicate", twin=first)
            continue
        like = index.like(one.signature)
        if like and like[0][1] >= settings.near:
            decisions[i] = Decision(reason="near duplicate", twin=like[0][0])
            continue
        groups.find(one.prompt_id)
        for other, similarity in like:
            if similarity >= settings.related:
                groups.join(one.prompt_id, candidates[other].prompt_id)
        index.add(i, one.signature)
    _assign(candidates, decisions, order, groups, settings)
    return decisions


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
    index = LikeIndex(settings.related)
    prompts: dict[str, str] = {}
    digests: dict[bytes, str] = {}
    homes: dict[int, str] = {}
    number = 0
    for split in SPLITS:
        for one in parts.get(split, []):
            found["prompts"] += prompts.setdefault(one.prompt_id, split) != split
            found["texts"] += digests.setdefault(one.digest, split) != split
            found["near duplicates"] += any(
                homes[key] != split and similarity >= settings.related
                for key, similarity in index.like(one.signature)
            )
            index.add(number, one.signature)
            homes[number] = split
            number += 1
    return found
