"""Checks of texts as the model sees them: what is learnt of them, where they begin and end."""

from __future__ import annotations

from collections.abc import Sequence

from fabula.training.doctor.findings import Finding, ok, refused, skipped, some, warning
from fabula.training.doctor.texts import Seen
from fabula.training.tokenizer import TextTokenizer

MOST_EMPTY = 0.01
"""Share of the texts that may have nothing but their end to learn."""
MANY_CUT, MOST_CUT = 0.1, 0.5
"""Share of the texts left out for their length from which the doctor warns, and refuses."""


def check_texts(
    batches: Sequence[Sequence[Seen]], tokenizer: TextTokenizer, prompt_weight: float
) -> list[Finding]:
    """Labels, BOS, EOS and prompt of all texts of some micro-batches."""
    texts = [text for batch in batches for text in batch]
    return [
        check_labels(batches),
        check_bos(texts, tokenizer),
        check_eos(texts, tokenizer),
        check_prompt(texts, prompt_weight),
    ]


def check_labels(batches: Sequence[Sequence[Seen]]) -> Finding:
    """Every text has something to learn besides its end."""
    texts = [text for batch in batches for text in batch]
    barren = [text for text in texts if not text.learnt]
    empty = [text for text in texts if text.ends and text.learnt == 1]
    learnt, tokens = sum(t.learnt for t in texts), sum(map(len, texts))
    figures = {"texts": len(texts), "tokens": tokens, "learnt": learnt, "barren": len(barren)}
    if barren:
        dead = sum(not any(text.learnt for text in batch) for batch in batches)
        return refused(
            "labels",
            f"All labels are masked in {len(barren)} of {len(texts)} texts "
            f"({some(t.name for t in barren)}) and in {dead} of {len(batches)} micro-batches, so "
            "nothing would be learnt from them",
            "give them a completion, or leave them out",
            **figures,
        )
    if empty:
        found = (
            f"{len(empty)} of {len(texts)} texts have an empty completion "
            f"({some(t.name for t in empty)}), of which only the end would be learnt"
        )
        advice = "leave them out of the data"
        if len(empty) > MOST_EMPTY * len(texts):
            return refused("labels", found, advice, empty=len(empty), **figures)
        return warning("labels", found, advice, empty=len(empty), **figures)
    share = learnt / max(tokens, 1)
    return ok("labels", f"{learnt:,} of {tokens:,} tokens are learnt ({share:.0%})", **figures)


def check_bos(texts: Sequence[Seen], tokenizer: TextTokenizer) -> Finding:
    """Exactly one BOS, in front."""
    bos, name = tokenizer.bos, tokenizer.hf.bos_token
    if bos is None:
        return ok("bos", "the tokenizer has no BOS, and none is put in front")
    most = 2 if bos == tokenizer.eos else 1  # GPT-2's one special token also ends
    doubled = [t for t in texts if t.ids.count(bos) > (most if t.ends else most - (most == 2))]
    absent = [t for t in texts if t.ids[0] != bos]
    figures = {"texts": len(texts), "doubled": len(doubled), "absent": len(absent)}
    if doubled:
        return refused(
            "bos",
            f"{len(doubled)} of {len(texts)} texts have a second {name} ({doubled[0].name}): the "
            "tokenizer makes one of plain text",
            "use the tokenizer that belongs to the weights, with no normalizer or piece of text "
            f"that gives {name}",
            **figures,
        )
    if absent:
        return refused(
            "bos",
            f"{len(absent)} of {len(texts)} texts do not begin with {name} ({absent[0].name})",
            "use the tokenizer that belongs to the weights",
            **figures,
        )
    return ok("bos", f"each text begins with one {name}", **figures)


def check_eos(texts: Sequence[Seen], tokenizer: TextTokenizer) -> Finding:
    """The last label is EOS, and no EOS stands inside."""
    eos, name = tokenizer.eos, tokenizer.hf.eos_token
    whole = [text for text in texts if text.ends]
    if not whole:
        return ok("eos", "sentences are judged and not ends, so how a story ends stays as it is")
    unlearnt = [t for t in whole if t.ids[-1] != eos or not t.weights[-1] > 0]
    front = 1 if tokenizer.bos == eos else 0
    early = [t for t in whole if eos in t.ids[front:-1]]
    crossing = [t for t in whole if t.crosses]
    figures = {
        "texts": len(whole), "unlearnt": len(unlearnt), "early": len(early), "pad": tokenizer.pad,
    }  # fmt: skip
    if unlearnt:
        return refused(
            "eos",
            f"{name} is not the last label of {len(unlearnt)} of {len(whole)} texts "
            f"({some(t.name for t in unlearnt)}), so stories would never end",
            "use a tokenizer whose end-of-sequence token is not masked as padding",
            **figures,
        )
    if early:
        return refused(
            "eos",
            f"{name} stands inside {len(early)} of {len(whole)} texts ({early[0].name}), so "
            "stories would break off",
            "use a tokenizer whose unknown token or pieces of text are not its end-of-sequence "
            "token",
            **figures,
        )
    if crossing:
        return refused(
            "eos",
            f"{len(crossing)} of {len(whole)} texts learn the first token of the next document",
            "report this, with the recipe",
            **figures,
        )
    same = " (padding has the same id, and is masked by place)" if tokenizer.pad == eos else ""
    return ok("eos", f"the last label of each text is {name}{same}", **figures)


def check_prompt(texts: Sequence[Seen], weight: float) -> Finding:
    """The prompt weighs in the loss what the recipe says, and stands in front only."""
    leaks = [t for t in texts if any(abs(w - weight) > 1e-6 for w in t.weights[1 : t.prompt])]
    given = sum(max(t.prompt - 1, 0) for t in texts)
    figures = {"prompt_tokens": given, "leaking": len(leaks), "weight": weight}
    if leaks:
        heaviest = max(max(t.weights[1 : t.prompt]) for t in leaks)
        return refused(
            "prompt",
            f"The prompt of {len(leaks)} of {len(texts)} texts ({leaks[0].name}) weighs "
            f"{heaviest:g} in the loss, where loss_on_prompt is {weight:g}",
            "set loss_on_prompt to what is meant",
            **figures,
        )
    echoed = [t for t in texts if _echoes(t)]
    if echoed:
        found = (
            f"{len(echoed)} of {len(texts)} texts repeat their whole prompt where the story should "
            f"begin ({some(t.name for t in echoed)}), so it would be learnt as text"
        )
        advice = "cut the prompt off the front of the stories"
        verdict = refused if len(echoed) > MOST_EMPTY * len(texts) else warning
        return verdict("prompt", found, advice, echoed=len(echoed), **figures)
    told = "none of it is learnt" if not weight else f"each weighs {weight:g} in the loss"
    return ok("prompt", f"{given:,} tokens of prompts: {told}", **figures)


def _echoes(text: Seen) -> bool:
    """Whether what is learnt begins with the prompt; its border tokens may have merged."""
    prompt = text.ids[1 : text.prompt - 1]
    after = text.ids[text.prompt : text.prompt + len(prompt)]
    return text.ends and len(prompt) >= 8 and prompt == after


def check_endings(
    dropped: int, looked: int, length: int, longest: int | None = None, what: str = "stories"
) -> Finding:
    """Texts longer than a row are left out whole: how many are.

    Args:
        dropped: of `looked` texts.
        length: tokens of a row.
        longest: tokens of the longest text, where it is known.
        what: they are, in the plural.
    """
    if not looked:
        return skipped("endings", "there are no texts to look at")
    share = dropped / looked
    size = f" (the longest has {longest:,} tokens)" if longest else ""
    figures = {"dropped": dropped, "looked": looked, "longest": longest}
    if not dropped:
        return ok(
            "endings", f"all {looked:,} {what} looked at fit {length:,} tokens whole", **figures
        )
    found = (
        f"{dropped:,} of {looked:,} {what} ({share:.1%}) are longer than {length:,} tokens and "
        f"would be left out whole{size}"
    )
    advice = "raise sequence_length, or prepare the corpus with a smaller --max-words"
    if share >= MOST_CUT:
        return refused("endings", found[0].upper() + found[1:], advice, **figures)
    if share >= MANY_CUT:
        return warning("endings", found, advice, **figures)
    return ok("endings", found, **figures)
