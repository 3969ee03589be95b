"""Documents: a story as a model sees it, with parts left out at random, as token ids.

A document is BOS + prompt + completion + EOS. Prompt and completion are encoded apart, so that
no string search is needed to tell what is learnt; exactly one BOS; the last label is EOS.
"""

from __future__ import annotations

import random
import re
from typing import Any, Protocol

from pydantic import ValidationError

from fabula.corpus.augment import Example
from fabula.errors import FabulaError
from fabula.story import Brief, Outline, Passage, Setting, render_brief, render_completion
from fabula.training.recipe import Augmentation

IGNORED = -100
"""Label of a token that is not learnt."""
SPARSE = 0.75
"""Chance of each wish to be left out of a brief of few wishes."""
Ids = list[int]


class Encoder(Protocol):
    """What the documents need of a tokenizer: see `tokenizer.TextTokenizer`."""

    bos: int | None
    eos: int

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """Plain token ids: no special token is added, and none can be typed."""


def example_from_row(row: dict[str, Any], where: str) -> Example:
    """Read an example from a row of the corpus; its premise stands beside the brief, not in it.

    Raises:
        FabulaError: the row is not what `fabula prepare` writes.
    """
    try:
        brief = Brief.model_validate_json(row["brief"])
        premise = row["premise"] if row["premise"] is not None else brief.premise
        outline = Outline.model_validate({"beats": row["outline"]}) if row["outline"] else None
        passages = [Passage.model_validate(p) for p in row["passages"]]
    except (KeyError, TypeError, ValueError) as error:
        known = error.errors()[0] if isinstance(error, ValidationError) else None
        at = ".".join(map(str, known["loc"])) if known else ""
        reason = f"{at}: {known['msg']}" if known else f"{type(error).__name__} {error}"
        raise FabulaError(
            f"{where}, row '{row.get('id')}': not a story of a prepared corpus ({reason}); "
            "make the corpus again with 'fabula prepare'."
        ) from None
    return Example(
        id=str(row["id"]),
        brief=_without_premise(brief),
        premise=premise,
        outline=outline,
        passages=passages,
    )


def _without_premise(brief: Brief) -> Brief:
    return brief.model_copy(update={"premise": None})


def render(example: Example) -> tuple[str, str]:
    """Prompt and completion as the corpus has them: a known premise stands in the brief."""
    brief = example.brief.model_copy(update={"premise": example.premise})
    return render_brief(brief), render_completion(example.outline, example.passages)


def _drop_wishes(brief: Brief, chance: float, rng: random.Random) -> Brief:
    """Leave out each wish with the given chance; each trait and each phrase is a wish."""
    kept: dict[str, Any] = {}
    for field in ("title", "genre", "tone", "arc", "ending", "point_of_view", "theme", "length"):
        if getattr(brief, field) is not None and rng.random() < chance:
            kept[field] = None
    characters = []
    for character in brief.characters:
        gone = rng.random() < chance
        traits = [t for t in character.traits if rng.random() >= chance]
        if not gone and (character.name is not None or traits):
            characters.append(character.model_copy(update={"traits": traits}))
    kept["characters"] = characters
    if brief.setting is not None:
        place = None if rng.random() < chance else brief.setting.place
        time = None if rng.random() < chance else brief.setting.time
        kept["setting"] = Setting(place=place, time=time)
    kept["must_include"] = [p for p in brief.must_include if rng.random() >= chance]
    return brief.model_copy(update=kept)


def vary(example: Example, settings: Augmentation, rng: random.Random) -> tuple[str, str]:
    """Prompt and completion of one seeing of an example: what is left out is drawn from `rng`."""
    brief, premise, outline = example.brief, example.premise, example.outline
    if settings.add_length and brief.length is None:
        brief = brief.model_copy(update={"length": max(20, round(example.words / 25) * 25)})
    if rng.random() < settings.drop_brief:
        brief = Brief()
    elif settings.sparse_brief and rng.random() < settings.sparse_brief:
        brief = _drop_wishes(brief, SPARSE, rng)
    elif settings.drop_tag:
        brief = _drop_wishes(brief, settings.drop_tag, rng)
    if rng.random() < settings.drop_outline:
        outline = None
    written: str | None = None
    if rng.random() < settings.drop_premise:
        premise = None
    elif rng.random() < settings.write_premise:
        # What tells of earlier parts is context, and not for a model to make up.
        premise, written = (None, premise) if not _is_part(premise) else (premise, None)
    prompt, _ = render(example.model_copy(update={"brief": brief, "premise": premise}))
    return prompt, render_completion(outline, example.passages, written)


def _is_part(premise: str | None) -> bool:
    """Whether a premise says which part of a long story follows (`fabula.corpus.parts`)."""
    return premise is not None and re.match(r"Part \d+ of \d+\.", premise) is not None


def encode_documents(
    encoder: Encoder, documents: list[tuple[str, str]]
) -> list[tuple[Ids, list[int]]]:
    """Token ids and labels of (prompt, completion) pairs; see `encode_document`."""
    texts = [text for pair in documents for text in pair]
    pieces = encoder.encode_batch(texts)
    front = [] if encoder.bos is None else [encoder.bos]
    encoded = []
    for prompt, completion in zip(pieces[::2], pieces[1::2], strict=True):
        masked = [*front, *prompt]
        learnt = [*completion, encoder.eos]
        encoded.append((masked + learnt, [IGNORED] * len(masked) + learnt))
    return encoded


def encode_document(encoder: Encoder, prompt: str, completion: str) -> tuple[Ids, list[int]]:
    """Token ids and labels of one document, equally long.

    Labels are the ids themselves where the token is learnt (completion and EOS) and `IGNORED`
    elsewhere; they are not shifted. A tokenizer whose BOS is its EOS (GPT-2) gets that id once
    in front and once at the end.
    """
    return encode_documents(encoder, [(prompt, completion)])[0]
