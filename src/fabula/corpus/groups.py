"""Looking at all stories at once: duplicates out, splits by prompt and by likeness.

Of two stories alike the one stays that is held out, else the one whose source fixes a split (the
gold stories among them), else the first; where one holds nearly all of the other, else the longer.

What is known of the stories stands in columns, some 560 bytes a story.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.corpus.alike import Alike, alike_pairs
from fabula.corpus.fingerprint import PERMUTATIONS
from fabula.corpus.passages import Samples, SharedPassages, shared_counts, shared_passages
from fabula.corpus.schema import SPLITS
from fabula.corpus.stages import Settings

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]

# A split's rank: the strictest first; then what no source gave a split.
RANKED = ("test", "valid", "train")
UNFIXED = len(RANKED)
CROWD = 100
"""Stories of a group that may overfill a held-out split; a larger one is for training."""
REASONS = (
    None,
    "exact duplicate",
    "near duplicate",
    "reprint of a passage",
    "prompt or text shared with a held-out story",
    "same text as one it is checked against",
    "nearly the same as one it is checked against",
    "shares a passage with one it is checked against",
    "shares its prompt with one it is checked against",
)
(_EXACT, _NEAR, _REPRINT, _SHARED, _AS_KNOWN, _LIKE_KNOWN, _QUOTES_KNOWN, _ASKED_KNOWN) = range(
    1, len(REASONS)
)
KNOWN = (_AS_KNOWN, _LIKE_KNOWN, _QUOTES_KNOWN, _ASKED_KNOWN)
"""Numbers of the reasons of `found_in`."""


@dataclass(slots=True)
class Candidate:
    """What deciding needs to know of one cleaned story."""

    prompt_id: str
    digest: bytes
    signature: bytes
    split: str | None
    passages: bytes = b""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What deciding needs to know of `n` cleaned stories, in order.

    Attributes:
        prompt: the number of each one's prompt, shape [n].
        digest: of the text, two numbers, shape [n, 2].
        signature: MinHash, shape [n, PERMUTATIONS].
        rank: of the split that its source gives it, `UNFIXED` for none, shape [n].
        samples: of their passages.
    """

    prompt: npt.NDArray[np.uint64]
    digest: npt.NDArray[np.uint64]
    signature: npt.NDArray[np.uint32]
    rank: Codes
    samples: Samples

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
            [s.passages for s in stories],
        )

    @classmethod
    def joined(
        cls,
        prompts: Sequence[str],
        digests: bytes,
        signatures: bytes,
        splits: Sequence[str | None],
        passages: Sequence[bytes],
    ) -> Candidates:
        """Columns of prompts (16 hex digits), joined digests and signatures, and the rest."""
        return cls(
            np.frombuffer(bytes.fromhex("".join(prompts)), dtype=">u8").astype(np.uint64),
            np.frombuffer(digests, dtype=">u8").astype(np.uint64).reshape(-1, 2),
            np.frombuffer(signatures, dtype="<u4").reshape(-1, PERMUTATIONS),
            np.array([RANKED.index(s) if s else UNFIXED for s in splits], dtype=np.int8),
            Samples.of(passages),
        )

    @classmethod
    def together(cls, parts: Sequence[Candidates]) -> Candidates:
        """The stories of several batches."""
        every = (cls.joined([], b"", b"", [], []), *parts)
        return cls(
            np.concatenate([part.prompt for part in every]),
            np.concatenate([part.digest for part in every]),
            np.concatenate([part.signature for part in every]),
            np.concatenate([part.rank for part in every]),
            Samples.together([part.samples for part in every]),
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

    def join_all(self, first: Ints, second: Ints) -> None:
        for pair in np.unique(np.stack([first, second], axis=1), axis=0).tolist():
            self.join(*pair)

    def roots(self) -> Ints:
        return np.array([self.find(key) for key in range(len(self.parent))], dtype=np.int64)


def decide(stories: Candidates, settings: Settings, known: Decisions | None = None) -> Decisions:
    """A decision for every story.

    Args:
        stories: all of them.
        settings: thresholds, shares and seed.
        known: of `found_in`: those that fall there take no part.
    """
    count = len(stories)
    reason = np.zeros(count, dtype=np.int8) if known is None else known.reason.copy()
    rank, twin = np.full(count, UNFIXED, np.int8), np.full(count, -1, dtype=np.int64)
    decisions = Decisions(rank, reason, twin)
    order = np.argsort(stories.rank, kind="stable")

    def left() -> Ints:
        staying: Ints = order[reason[order] == 0]
        return staying

    _drop_equal(stories, left(), decisions)
    compared = left()
    alike = alike_pairs(stories.signature[compared], settings.related)
    _drop_alike(compared, alike, decisions, settings)
    sampled = left()
    shared = shared_passages(stories.samples.of_texts(sampled), settings.passage)
    _drop_reprints(stories, sampled, shared, decisions, settings)
    names, prompt = np.unique(stories.prompt, return_inverse=True)
    groups = _Groups(len(names))
    again = True
    while again:
        for places, pairs in ((compared, alike), (sampled, shared)):
            first, second = places[pairs.first], places[pairs.second]
            both = (reason[first] == 0) & (reason[second] == 0)
            groups.join_all(prompt[first[both]], prompt[second[both]])
        rank[:] = _assign(stories, reason, twin, order, groups.roots()[prompt], names, settings)
        # What was passed over as too common may be so no more among what is left, which is all
        # that the leak check sees.
        again = False
        now = left()
        if alike.crowded and len(now) < len(compared):
            compared, again = now, True
            alike = alike_pairs(stories.signature[now], settings.related)
        if shared.boilerplate and len(now) < len(sampled):
            sampled, again = now, True
            shared = shared_passages(stories.samples.of_texts(now), settings.passage)
    return decisions


def _drop_equal(stories: Candidates, order: Ints, decisions: Decisions) -> None:
    """Of equal texts the first in that order stays."""
    _, first, inverse = np.unique(
        stories.digest[order], axis=0, return_index=True, return_inverse=True
    )
    before = first[inverse.ravel()]
    again = before != np.arange(len(order))
    decisions.reason[order[again]] = _EXACT
    decisions.twin[order[again]] = order[before[again]]


def _drop_alike(places: Ints, alike: Alike, decisions: Decisions, settings: Settings) -> None:
    """Of nearly equal texts the first in the order of `places` stays."""
    near = alike.likeness >= settings.near
    _drop_later(
        places, alike.first[near], alike.second[near], alike.likeness[near], _NEAR, decisions
    )


def _drop_reprints(
    stories: Candidates,
    places: Ints,
    shared: SharedPassages,
    decisions: Decisions,
    settings: Settings,
) -> None:
    """Of two texts alike in rank the one falls that stands in the other, else the lower one."""
    samples = stories.samples.of_texts(places)
    both, *own = shared_counts(samples, shared.first, shared.second)
    # Places counted by rank, then by length.
    order = np.lexsort((np.arange(len(places)), -samples.sizes(), stories.rank[places]))
    number = np.empty(len(places), dtype=np.int64)
    number[order] = np.arange(len(places))
    one, other = number[shared.first], number[shared.second]
    share = both / np.maximum(np.where(one > other, *own), 1)
    within = share >= settings.contained
    first, second = np.minimum(one, other)[within], np.maximum(one, other)[within]
    _drop_later(places[order], first, second, share[within], _REPRINT, decisions)


def _drop_later(
    stories: Ints,
    first: Ints,
    second: Ints,
    similarity: npt.NDArray[np.float64],
    why: int,
    decisions: Decisions,
) -> None:
    """Drop the second of each pair for the likest first one that stays.

    Args:
        stories: those that `first` and `second` count, in the order in which they are decided.
        first, second: numbers of the two of each pair, first < second.
        similarity: of each pair.
        why: the reason's number.
        decisions: what is written to.
    """
    reason, twin = decisions.reason, decisions.twin
    # An earlier one has been decided; of one story's pairs the likest comes first.
    for pair in np.lexsort((first, -similarity, second)).tolist():
        story, other = stories[second[pair]], stories[first[pair]]
        if reason[story] == 0 and reason[other] == 0:
            reason[story], twin[story] = why, other


def found_in(known: Candidates, stories: Candidates, settings: Settings) -> Decisions:
    """Which stories are, or are nearly, or quote, or answer the prompt of a known one.

    Args:
        known: stories that are none of the corpus, such as a benchmark's.
        stories: those of the corpus.
        settings: thresholds.

    Returns:
        Decisions whose twins are numbers of known stories.
    """
    count = len(stories)
    reason, twin = np.zeros(count, dtype=np.int8), np.full(count, -1, dtype=np.int64)

    def fall(which: Ints, twins: Ints, why: int) -> None:
        # Of several the first; what fell for a graver reason keeps it.
        which, first = np.unique(which, return_index=True)
        free = reason[which] == 0
        reason[which[free]], twin[which[free]] = why, twins[first[free]]

    fall(*_equal(known.digest, stories.digest), _AS_KNOWN)
    size = len(known)
    alike = alike_pairs(np.concatenate([known.signature, stories.signature]), settings.near, size)
    new = alike.second >= size
    fall(alike.second[new] - size, alike.first[new], _LIKE_KNOWN)
    shared = shared_passages(
        Samples.together([known.samples, stories.samples]), settings.passage, size
    )
    new = shared.second >= size
    fall(shared.second[new] - size, shared.first[new], _QUOTES_KNOWN)
    fall(*_equal(known.prompt[:, None], stories.prompt[:, None]), _ASKED_KNOWN)
    return Decisions(np.full(count, UNFIXED, dtype=np.int8), reason, twin)


def _equal(known: npt.NDArray[np.uint64], stories: npt.NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """The stories whose keys are known ones, and the first known one of each."""
    both = np.concatenate([known, stories])
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    earliest = first[inverse.ravel()][len(known) :]
    which = np.flatnonzero(earliest < len(known))
    return which, earliest[which]


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
    free, sizes = np.unique(group[(reason == 0) & (rank_of[group] == UNFIXED)], return_counts=True)
    total = int((reason == 0).sum())
    rank_of[free] = [
        RANKED.index(_split_of(f"{int(name):016x}", size / total, size, settings))
        for name, size in zip(names[free], sizes.tolist(), strict=True)
    ]
    apart = (reason == 0) & (stories.rank < UNFIXED) & (stories.rank != rank_of[group])
    reason[apart], twin[apart] = _SHARED, fixed_by[group[apart]]
    return np.where(reason == 0, rank_of[group], UNFIXED).astype(np.int8)


def _split_of(group: str, share: float, size: int, settings: Settings) -> str:
    """The split of a group: its own, but training if it alone would overfill a held-out one."""
    split = split_of_group(group, settings)
    wanted = {"test": settings.test, "valid": settings.valid, "train": 1.0}[split]
    return "train" if size > CROWD and share > wanted else split


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
        Numbers of stories of valid and test whose prompt, whole text, nearly whole text or a
        passage stands in another split too.
    """
    home = np.array([SPLITS.index(name) for name in RANKED] + [len(SPLITS)])[rank]
    # In the order of `decide`, so that the same ones are compared where not all can be.
    kept = np.argsort(stories.rank, kind="stable")
    kept = kept[rank[kept] < UNFIXED]
    alike = alike_pairs(stories.signature[kept], settings.related)
    shared = shared_passages(stories.samples.of_texts(kept), settings.passage)

    def elsewhere(keys: npt.NDArray[np.uint64]) -> int:
        # Train first, so that those held out are counted.
        order = kept[np.argsort(home[kept], kind="stable")]
        _, first, inverse = np.unique(keys[order], axis=0, return_index=True, return_inverse=True)
        return int((home[order][first[inverse.ravel()]] != home[order]).sum())

    def apart(first: Ints, second: Ints) -> int:
        one, other = kept[first], kept[second]
        held_out = np.where(home[one] > home[other], one, other)
        return len(np.unique(held_out[home[one] != home[other]]))

    return {
        "prompts": elsewhere(stories.prompt),
        "texts": elsewhere(stories.digest),
        "near duplicates": apart(alike.first, alike.second),
        "passages": apart(shared.first, shared.second),
    }
