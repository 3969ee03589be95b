"""How far two models' scores for the same texts are apart: what merging and rounding cost.

For scores z (reference) and z' over the same places: the largest and the root mean square of
z' - z; that divided by the root mean square of z around its mean at each place; the share of places
where the likeliest token is the same; and KL(p || p') in nats a token, p the reference's
distribution: how much likelier the reference finds what it would write than the other does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fabula.errors import FabulaError
from fabula.story import render_brief, render_completion
from fabula.story.sample import load_sample

if TYPE_CHECKING:
    import torch

    from fabula.training.tokenizer import TextTokenizer

MOST_BYTES = 400e6
"""Of kept scores: bounds how many tokens are compared."""


@dataclass(frozen=True)
class Gap:
    """Differences of scores, in logits, and of losses, in nats a token.

    Attributes:
        of, against: what was compared with which reference.
        tokens: places compared.
        largest, rms, relative, agreement, kl: see the module.
        loss, loss_reference: mean cross-entropy of the texts themselves.
    """

    of: str
    against: str
    tokens: int
    largest: float
    rms: float
    relative: float
    agreement: float
    kl: float
    loss: float
    loss_reference: float

    def figures(self) -> dict[str, Any]:
        """As JSON has them."""
        return {k: round(v, 8) if isinstance(v, float) else v for k, v in asdict(self).items()}


def held_out_texts(
    tokenizer: TextTokenizer, count: int, context: int, vocabulary: int
) -> list[list[int]]:
    """Stories that nothing was trained on (the sample's test split), as token ids.

    Args:
        count: stories.
        context: most tokens of one; the rest is left out.
        vocabulary: scores of a place, which bound how many places are kept.
    """
    from fabula.training.documents import encode_documents

    stories = load_sample("test")[:count]
    pairs = [(render_brief(s.brief), render_completion(s.outline, s.passages)) for s in stories]
    room = max(64, int(MOST_BYTES / 4 / vocabulary))
    texts = []
    for ids, _ in encode_documents(tokenizer, pairs):
        ids = ids[: min(context, room)]
        if len(ids) > 1:
            texts.append(ids)
            room -= len(ids)
        if room < 64:
            break
    return texts


def scores(model: Any, texts: Sequence[list[int]]) -> Iterator[torch.Tensor]:
    """Scores at each place of each text: float32 [tokens, vocabulary], in main memory.

    Raises:
        FabulaError: they are not finite.
    """
    import torch

    for ids in texts:
        with torch.inference_mode():
            place = next(model.parameters()).device
            out = model(input_ids=torch.tensor([ids], device=place), use_cache=False).logits[0]
            out = out.float().cpu()
        if not torch.isfinite(out).all():
            raise FabulaError(
                f"The model's scores overflow {str(next(model.parameters()).dtype)[6:]}; choose "
                "another --dtype."
            )
        yield out


def compare(
    of: str,
    against: str,
    found: Sequence[torch.Tensor],
    reference: Sequence[torch.Tensor],
    texts: Sequence[list[int]],
) -> Gap:
    """Compare scores place by place.

    Args:
        found, reference: one [tokens, vocabulary] a text.
        texts: their token ids.
    """
    import torch

    largest = squares = spread = same = kl = 0.0
    loss = [0.0, 0.0]
    places = numbers = 0
    for z, ref, ids in zip(found, reference, texts, strict=True):
        size = min(z.shape[1], ref.shape[1])
        z, ref = z[:, :size].double(), ref[:, :size].double()
        apart = z - ref
        largest = max(largest, float(apart.abs().max()))
        squares += float(apart.square().sum())
        spread += float((ref - ref.mean(dim=1, keepdim=True)).square().sum())
        same += int((z.argmax(dim=1) == ref.argmax(dim=1)).sum())
        log, log_ref = torch.log_softmax(z, dim=1), torch.log_softmax(ref, dim=1)
        kl += float((log_ref.exp() * (log_ref - log)).sum())
        following = torch.tensor(ids[1:])[:, None]
        for n, of_one in enumerate((log, log_ref)):
            loss[n] -= float(of_one[:-1].gather(1, following).sum())
        places += len(ids)
        numbers += apart.numel()
    predicted = places - len(texts)
    return Gap(
        of=of,
        against=against,
        tokens=places,
        largest=largest,
        rms=math.sqrt(squares / numbers),
        relative=math.sqrt(squares / spread) if spread else 0.0,
        agreement=same / places,
        kl=kl / places,
        loss=loss[0] / predicted,
        loss_reference=loss[1] / predicted,
    )
