"""Texts as the model gets them: read back from the tensors of batches, whatever kind of run.

A story is a document of a packed micro-batch; of a pair both stories are; of a pick each candidate
is, after what stands before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fabula.training.documents import IGNORED
from fabula.training.packing import Batch, Document, Stream
from fabula.training.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from fabula.training.picks.branches import Branched
    from fabula.training.preferences.thumb_trainer import EncodedThumb
    from fabula.training.preferences.trainer import EncodedPair


@dataclass(frozen=True)
class Seen:
    """One text as the model sees it.

    Attributes:
        name: of the story.
        role: "", or what it is beside others: chosen, rejected, best, wrong, neither.
        ids: its tokens, BOS and EOS among them.
        weights: what predicting each token weighs in the loss; 0 for the first.
        prompt: so many tokens at the beginning are what is given (BOS among them).
        crosses: the loss has it predict the first token of the next document.
        source: number of its corpus in the recipe.
        ends: it is a whole document, whose end has to be learnt.
        losses: of each token, nats, None where it is not learnt or was not measured.
    """

    name: str
    ids: list[int]
    weights: list[float]
    prompt: int
    role: str = ""
    crosses: bool = False
    source: int = 0
    ends: bool = True
    losses: list[float | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt(self) -> int:
        """Tokens after the prompt that weigh something in the loss."""
        return sum(w > 0 for w in self.weights[self.prompt :])

    @property
    def mean_loss(self) -> float | None:
        """Mean loss of what is learnt after the prompt, nats a token."""
        told = [loss for loss in self.losses[self.prompt :] if loss is not None]
        return sum(told) / len(told) if told else None

    def as_document(self) -> Document:
        """For a batch of one's own."""
        labels = [i if w > 0 else IGNORED for i, w in zip(self.ids, self.weights, strict=True)]
        return Document(self.name, self.source, self.ids, labels)

    def with_losses(self, losses: Iterable[float]) -> Seen:
        """With the loss of each token that weighs something, in order."""
        told = iter(losses)
        return replace(self, losses=[next(told) if w > 0 else None for w in self.weights])


def stories(stream: Stream, encoder: TextTokenizer) -> tuple[list[list[Seen]], list[str], int]:
    """The first window's texts, read back from its micro-batches.

    Returns:
        The texts of each micro-batch; prompts and completions as they are, before they are
        encoded; how many documents are too long.
    """
    made, dropped = stream.batches(0, 0)
    # Where the prompt ends is found apart from the labels, by encoding it alone.
    told = stream.deck.texts(0, 0)
    prompts = encoder.encode_batch([prompt for _, _, prompt, _ in told])
    front = [] if encoder.bos is None else [encoder.bos]
    beginnings: dict[str, list[tuple[int, list[int]]]] = {}
    for (name, source, _, _), prompt in zip(told, prompts, strict=True):
        beginnings.setdefault(name, []).append((source, [*front, *prompt]))
    plain = [text for _, _, *pair in told for text in pair]
    return [_read_back(batch, encoder, beginnings) for batch in made], plain, dropped


def _read_back(
    batch: Batch, encoder: TextTokenizer, beginnings: dict[str, list[tuple[int, list[int]]]]
) -> list[Seen]:
    names = iter(batch["load"].ids)
    found = []
    for ids, positions, weights in zip(
        *(batch[key].tolist() for key in ("input_ids", "position_ids", "weights")), strict=True
    ):
        starts = [i for i, p in enumerate(positions) if p == 0]
        for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
            mine = ids[start:end]
            if all(i == encoder.pad for i in mine):
                continue
            name = next(names, "?")
            source, prompt = _beginning(mine, beginnings.get(name, []))
            found.append(
                Seen(
                    name=name,
                    ids=mine,
                    weights=[0.0, *weights[start : end - 1]],
                    prompt=prompt,
                    crosses=weights[end - 1] > 0,
                    source=source,
                )
            )
    return found


def _beginning(ids: list[int], known: Sequence[tuple[int, list[int]]]) -> tuple[int, int]:
    """(source, tokens of the prompt) by the longest known beginning that a text has."""
    fitting = [(len(b), s) for s, b in known if ids[: len(b)] == b]
    return (max(fitting)[1], max(fitting)[0]) if fitting else (0, 1)


def pairs(chosen: Sequence[EncodedPair], pad: int) -> list[Seen]:
    """Both stories of some pairs, read back from their batch."""
    from fabula.training.preferences.trainer import collate

    batch = collate(chosen, pad)
    rows = zip(
        *(batch[k].tolist() for k in ("input_ids", "attention_mask", "completion_mask")),
        strict=True,
    )
    found = []
    for number, (ids, there, judged) in enumerate(rows):
        pair = chosen[number % len(chosen)]
        at = [i for i, t in enumerate(there) if t]
        found.append(
            Seen(
                name=pair.id,
                ids=[ids[i] for i in at],
                weights=[float(judged[i]) for i in at],
                prompt=len(pair.prompt),
                role="chosen" if number < len(chosen) else "rejected",
            )
        )
    # Pair by pair, the better story first.
    half = len(chosen)
    return [text for n in range(half) for text in (found[n], found[n + half])]


def thumbs(chosen: Sequence[EncodedThumb]) -> list[Seen]:
    """The stories of some thumbs, read back from their batch."""
    from fabula.training.preferences.thumb_trainer import collate

    # What stands under another's brief is not learnt, and so not looked at.
    batch = collate(chosen, [thumb.completion for thumb in chosen], 0)
    rows = zip(
        chosen,
        *(batch[k].tolist() for k in ("input_ids", "attention_mask", "completion_mask")),
        strict=True,
    )
    found = []
    for thumb, ids, there, told in rows:
        at = [i for i, t in enumerate(there) if t]
        found.append(
            Seen(
                name=thumb.id,
                ids=[ids[i] for i in at],
                weights=[float(told[i]) for i in at],
                prompt=len(thumb.prompt),
                role="up" if thumb.label else "down",
            )
        )
    return found


def judged(chosen: Sequence[EncodedPair] | Sequence[EncodedThumb], pad: int) -> list[Seen]:
    """The stories of some pairs, or of some thumbs."""
    if chosen and hasattr(chosen[0], "label"):
        return thumbs(chosen)  # type: ignore[arg-type]
    return pairs(chosen, pad)  # type: ignore[arg-type]


def picks(rows: Iterable[Branched]) -> list[Seen]:
    """The candidates of each place, after what stands before them."""
    found = []
    for row in rows:
        for pick in row.picks:
            for number in pick.branches:
                branch = row.branches[number]
                ids = [*row.trunk[: branch.leaves], *branch.ids]
                start = len(ids) - branch.judged
                role = "best" if number == pick.best else "neither"
                found.append(
                    Seen(
                        name=row.id,
                        ids=ids,
                        weights=[0.0] * start + [1.0] * branch.judged,
                        prompt=start,
                        role="wrong" if number in pick.wrong else role,
                        ends=False,
                    )
                )
    return found


def pieces(tokenizer: TextTokenizer, ids: Sequence[int]) -> list[str]:
    """The text of each token; special tokens by their names, parts of a character empty.

    The last token of a character that several make has the whole of it.
    """
    special: set[int] = set(tokenizer.hf.all_special_ids)
    names: Any = tokenizer.hf.convert_ids_to_tokens
    out: list[str] = []
    before, read = 0, 0  # decoded together: [before:read] is what the next piece is cut from
    for i, token in enumerate(ids):
        if token in special:
            out.append(str(names(token)))
            before = read = i + 1
            continue
        old = tokenizer.decode(list(ids[before:read]))
        new = tokenizer.decode(list(ids[before : i + 1]))
        if new.endswith("\ufffd") and i + 1 - read < 8 and i + 1 < len(ids):
            out.append("")
            continue
        out.append(new[len(old) :])
        before, read = read, i + 1
    return out
