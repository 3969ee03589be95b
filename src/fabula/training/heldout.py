"""Loss on held-out stories: bits per byte and word perplexity of what a model has to write.

Of each document's completion (outline and passages, as the text format has them) and its EOS, given
the whole brief. Bits per byte is sum of nats / ln 2 / UTF-8 bytes of the completions; word
perplexity is exp(sum of nats / words), words parted by white space. Neither depends on how many
tokens a tokenizer makes. (`fabula evaluate` scores the passages alone, given the brief.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from fabula.errors import FabulaError
from fabula.training import memory
from fabula.training.documents import Encoder, encode_documents, render
from fabula.training.loss import LossOf
from fabula.training.models import evaluating
from fabula.training.packing import Batch, Document, collate, pack
from fabula.training.parallel import totals, world
from fabula.training.recipe import Recipe
from fabula.training.sources import Examples, open_split


@dataclass(frozen=True)
class Score:
    """Figures of held-out documents.

    Attributes:
        loss: nats per token of the completions and their EOS.
        bits_per_byte, word_perplexity: see the module.
        documents: how many; left_out: how many were too long for a row.
        by_corpus: bits per byte of each corpus.
    """

    loss: float
    bits_per_byte: float
    word_perplexity: float
    documents: int
    left_out: int
    by_corpus: dict[str, float]

    def metrics(self) -> dict[str, Any]:
        """As a line of metrics.jsonl has them."""
        several = {"eval_by_corpus": self.by_corpus} if len(self.by_corpus) > 1 else {}
        return {
            "eval_loss": self.loss,
            "eval_bits_per_byte": self.bits_per_byte,
            "eval_word_perplexity": self.word_perplexity,
            "eval_documents": self.documents,
            **several,
        }


def _corpora(recipe: Recipe) -> list[str]:
    return list(dict.fromkeys(source.corpus for source in recipe.data))


def held_out_rows(recipe: Recipe) -> list[tuple[Examples, list[int]]]:
    """The held-out split of each corpus of a recipe, and the rows of it that are measured.

    Spread evenly, about `evaluation.max_documents` of them all together.

    Raises:
        FabulaError: the split is missing or empty.
    """
    corpora, split = _corpora(recipe), recipe.evaluation.split
    opened = [open_split(corpus, split) for corpus in corpora]
    total = sum(map(len, opened))
    if not total:
        raise FabulaError(
            f"The {split} split of {', '.join(corpora)} is empty; prepare the corpus with "
            "held-out stories, or set evaluation.max_documents: 0."
        )
    share = min(1.0, recipe.evaluation.max_documents / total)
    found = []
    for examples in opened:
        wanted = min(len(examples), max(1, round(len(examples) * share)))
        rows = [i * len(examples) // wanted for i in range(wanted)] if len(examples) else []
        found.append((examples, rows))
    return found


class HeldOut:
    """Held-out documents, encoded once.

    Raises:
        FabulaError: the split is missing or empty.
    """

    def __init__(self, recipe: Recipe, encoder: Encoder, pad: int) -> None:
        self.pad = pad
        self.names: list[str] = []
        self.documents: list[Document] = []
        self.sizes: list[tuple[int, int]] = []
        self.left_out = 0
        for number, (examples, rows) in enumerate(held_out_rows(recipe)):
            self.names.append(examples.name)
            pairs = []
            for example in examples.read(rows):
                pairs.append((example.id, *render(example)))
            encoded = encode_documents(encoder, [(p, c) for _, p, c in pairs])
            for (name, _, completion), (ids, labels) in zip(pairs, encoded, strict=True):
                if len(ids) > recipe.sequence_length:
                    self.left_out += 1
                    continue
                self.documents.append(Document(name, number, ids, labels))
                self.sizes.append((len(completion.encode()), len(completion.split())))
        if not self.documents:
            raise FabulaError(
                f"No held-out story of {', '.join(_corpora(recipe))} fits a sequence_length of "
                f"{recipe.sequence_length}; raise it."
            )
        lengths = [len(d) for d in self.documents]
        self._rows = pack(lengths, recipe.sequence_length * recipe.micro_batch_size)

    @torch.no_grad()
    def score(self, loss_of: LossOf, model: torch.nn.Module) -> Score:
        """Score all documents, one batch at a time, without autocast.

        Of several processes, each scores its share, and all know the score of all.

        Raises:
            FabulaError: memory does not hold one document.
        """
        here = world()
        nats = [0.0] * len(self.documents)
        # All make as many passes, because those that part a model gather it together.
        passes = -(-len(self._rows) // here.size)
        with evaluating(model):
            for number in range(here.rank, passes * here.size, here.size):
                row = self._rows[min(number, len(self._rows) - 1)]
                found = self._nats(loss_of, row, next(model.parameters()).device)
                if number < len(self._rows):
                    nats = [found.get(n, old) for n, old in enumerate(nats)]
        return self._summary(totals(nats))

    def _nats(self, loss_of: LossOf, row: list[int], device: torch.device) -> dict[int, float]:
        """The loss of each document of a row; in halves where memory runs out."""
        try:
            batch: Batch = collate([[self.documents[n] for n in row]], self.pad, 0.0)
            losses = loss_of.each({k: v.to(device) for k, v in batch.items()}).double().cpu()
        except Exception as error:
            if not memory.is_out_of_memory(error) or loss_of.sharded:
                raise
            told = str(error).strip().splitlines()[0][:120]
            losses = None
        if losses is None:
            memory.free()
            if len(row) == 1:
                raise FabulaError(
                    f"Memory ran out while the held-out document {self.documents[row[0]].id} of "
                    f"{len(self.documents[row[0]]):,} tokens was scored ({told}); lower "
                    "sequence_length."
                )
            middle = len(row) // 2
            halves = (row[:middle], row[middle:])
            return {n: v for half in halves for n, v in self._nats(loss_of, half, device).items()}
        found, start = {}, 0  # losses come in reading order, document after document
        for n in row:
            learnt = sum(label >= 0 for label in self.documents[n].labels)
            found[n] = float(losses[start : start + learnt].sum())
            start += learnt
        return found

    def _summary(self, nats: list[float]) -> Score:
        tokens = sum(label >= 0 for d in self.documents for label in d.labels)
        total = math.fsum(nats)
        size = sum(b for b, _ in self.sizes)
        words = sum(w for _, w in self.sizes)
        by_corpus = {}
        for number, name in enumerate(self.names):
            mine = [i for i, d in enumerate(self.documents) if d.source == number]
            if mine:
                by_corpus[name] = (
                    math.fsum(nats[i] for i in mine)
                    / math.log(2)
                    / sum(self.sizes[i][0] for i in mine)
                )
        return Score(
            loss=total / tokens,
            bits_per_byte=total / math.log(2) / size,
            word_perplexity=math.exp(min(total / words, 700.0)),
            documents=len(self.documents),
            left_out=self.left_out,
            by_corpus=by_corpus,
        )
