"""Looking at all stories at once: duplicates out, splits by prompt and by likeness.

Of two stories alike the one stays that is held out, else the
one whose source fixes a split (the gold stories among them), else the first.

What is known of the stories stands in columns, some 560 bytes a story.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.corpus.alike import alike_pairs
from fabula.corpus.fingerprint import PERMUTATIONS
from fabula.corpus.schema import SPLITS
from fabula.corpus.stages import Settings

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

# A split's rank: the strictest first; then what no source gave a split.
RANKED = ("test", "valid", "train")
UNFIXED = len(RANKED)
REASONS = (
    None,
    "exact duplicate",
    "near duplicate",
    "prompt or text shared with a held-out story",
)
_EXACT, _NEAR, _SHARED = range(1, len(REASONS))


@dataclass(slots=True)
class Candidate:
    """What deciding needs to know of one cleaned story."""

    prompt_id: str
    digest: bytes
    signature: bytes
    split: str | None


@dataclass(frozen=True, slots=True)
class Candidates:
    """What deciding needs to know of `n` cleaned stories, in order.

    Attributes:
        prompt: the number of each one's prompt, shape [n].
        digest: of the text, two numbers, shape [n, 2].
        signature: MinHash, shape [n, PERMUTATIONS].
        rank: of the split that its source gives it, `UNFIXED` for none, shape [n].
    """

    prompt: npt.NDArray[np.uint64]
    digest: npt.NDArray[np.uint64]
    signature: npt.NDArray[np.uint32]
    rank: Codes

    def __len__(self) -> int:
        return len(self.prompt)

    @classmethod
    def of(cls, stories: Sequence[Candidate]) -> Candidates:
        """Columns of single stories."""
        return cls.joined(
            [s.prompt_id for s in stories],
            b"".join(s.digest for s in stories),
            b"".join(s.signature for s in stories),
            [s.split for s in stories],
        )

    @classmethod
    def joined(
        cls, prompts: Sequence[str], digests: bytes, signatures: bytes, splits: Sequence[str | None]
    ) -> Candidates:
        """Columns of prompts (16 hex digits), joined digests and signatures, and splits."""
        return cls(
            np.frombuffer(bytes.fromhex("".join(prompts)), dtype=">u8").astype(np.uint64),
            np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2),
            np.frombuffer(signatures, dtype="<u4").reshape(-1, PERMUTATIONS),
            np.array([RANKED.index(s) if s else UNFIXED for s in splits], dtype=np.int8),
        )

    @classmethod
    def together(cls, parts: Sequence[Candidates]) -> Candidates:
        """The stories of several batches."""
        empty = cls.joined([], b"", b"", [])
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in (empty, *parts)])
                for name in ("prompt", "digest", "signature", "rank")
            )
        )


@dataclass(frozen=True, slots=True)
class Decisions:
    """Where `n` stories go, or why they fall and for which other story.

    Attributes:
        rank: of the split, `UNFIXED` where it falls, shape [n].
        reason: number into REASONS, 0 where it stays, shape [n].
        twin: the story that it falls for, -1 for none, shape [n].
    """

    rank: Codes
    reason: Codes
    twin: Ints

    def split(self, story: int) -> str | None:
        """Name of a story's split; None if it falls."""
        rank = int(self.rank[story])
        return None if rank == UNFIXED else RANKED[rank]


class _Groups:
    """Union-find over numbered prompts; the smallest number is the root, whatever the order."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size))

    def find(self, key: int) -> int:
        root = key
        while (above := self.parent[root]) != root:
            root = above
        while self.parent[key] != root:
            self.parent[key], key = root, self.parent[key]
        return root

    def join(self, one: int, other: int) -> None:
        low, high = sorted((self.find(one), self.find(other)))
        self.parent[high] = low

    def roots(self) -> Ints:
        return np.array([self.find(key) for key in range(len(self.parent))], dtype=np.int64)


def decide(stories: Candidates, settings: Settings) -> Decisions:
    """A decision for every story."""
    count = len(stories)
    reason, twin = np.zeros(count, dtype=np.int8), np.full(count, -1, dtype=np.int64)
    order = np.argsort(stories.rank, kind="stable")
    # Of equal texts the first in that order stays.
    _, first, inverse = np.unique(
        stories.digest[order], axis=0, return_index=True, return_inverse=True
    )
    before = first[inverse.ravel()]
    again = before != np.arange(count)
    reason[order[again]], twin[order[again]] = _EXACT, order[before[again]]
    distinct = order[~again]
    names, prompt = np.unique(stories.prompt, return_inverse=True)
    groups = _Groups(len(names))
    for place, earlier in _earlier_alike(stories.signature[distinct], settings.related).items():
        # Places count in the order of the walk, so an earlier one has been decided.
        story = int(distinct[place])
        like = [(s, int(distinct[p])) for p, s in earlier if not reason[distinct[p]]]
        likest, other = max(like, default=(0.0, -1), key=lambda pair: (pair[0], -pair[1]))
        if likest >= settings.near:
            reason[story], twin[story] = _NEAR, other
            continue
        for _, other in like:
            groups.join(int(prompt[story]), int(prompt[other]))
    rank = _assign(stories, reason, twin, order, groups.roots()[prompt], names, settings)
    return Decisions(rank, reason, twin)


def _earlier_alike(
    signatures: npt.NDArray[np.uint32], threshold: float
) -> dict[int, list[tuple[int, float]]]:
    """For each story that has any, the earlier ones that are at least that much alike."""
    found: dict[int, list[tuple[int, float]]] = {}
    first, second, similarity = alike_pairs(signatures, threshold)
    by_second = np.lexsort((first, second))
    for n in by_second.tolist():
        found.setdefault(int(second[n]), []).append((int(first[n]), float(similarity[n])))
    return found


def _assign(
    stories: Candidates,
    reason: Codes,
    twin: Ints,
    order: Ints,
    group: Ints,
    names: npt.NDArray[np.uint64],
    settings: Settings,
) -> Codes:
    """Splits: the strictest that a group's sources fix, else by the group's hash."""
    walk = order[(reason[order] == 0) & (stories.rank[order] < UNFIXED)]
    fixed, first = np.unique(group[walk], return_index=True)
    rank_of = np.full(len(names), UNFIXED, dtype=np.int8)
    rank_of[fixed] = stories.rank[walk[first]]
    fixed_by = np.full(len(names), -1, dtype=np.int64)
    fixed_by[fixed] = walk[first]
    free = np.unique(group[(reason == 0) & (rank_of[group] == UNFIXED)])
    rank_of[free] = [
        RANKED.index(split_of_group(f"{int(name):016x}", settings)) for name in names[free]
    ]
    apart = (reason == 0) & (stories.rank < UNFIXED) & (stories.rank != rank_of[group])
    reason[apart], twin[apart] = _SHARED, fixed_by[group[apart]]
    return np.where(reason == 0, rank_of[group], UNFIXED).astype(np.int8)


def split_of_group(group: str, settings: Settings) -> str:
    """The split a group's name and the seed fix: uniform over groups."""
    raw = hashlib.sha256(f"fabula split {settings.seed} {group}".encode()).digest()
    share = int.from_bytes(raw[:8], "big") / 2**64
    if share < settings.test:
        return "test"
    return "valid" if share < settings.test + settings.valid else "train"


def leaks(stories: Candidates, rank: Codes, settings: Settings) -> dict[str, int]:
    """What two splits share, counted anew from the finished corpus; all should be 0.

    Args:
        stories: all that were looked at.
        rank: of the split that each is in, `UNFIXED` for none.
        settings: as for `decide`.

    Returns:
        Numbers of stories of valid and test whose prompt, whole text or nearly whole text
        stands in another split too.
    """
    # Split by split, train first, as they stand in the corpus.
    home = np.array([SPLITS.index(name) for name in RANKED] + [len(SPLITS)])[rank]
    kept = np.flatnonzero(rank < UNFIXED)
    kept = kept[np.argsort(home[kept], kind="stable")]
    home = home[kept]

    def elsewhere(keys: npt.NDArray[np.uint64]) -> int:
        _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        return int((home[first[inverse.ravel()]] != home).sum())

    first, second, _ = alike_pairs(stories.signature[kept], settings.related)
    apart = np.unique(second[home[first] != home[second]])
    return {
        "prompts": elsewhere(stories.prompt[kept]),
        "texts": elsewhere(stories.digest[kept]),
        "near duplicates": len(apart),
    }
