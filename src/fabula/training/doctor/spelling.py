"""Checks of a tokenizer: that it gives back the text it got, and hides no special token in it."""

from __future__ import annotations

from collections.abc import Sequence

from fabula.errors import FabulaError
from fabula.training.doctor.findings import Finding, ok, refused, some, warning
from fabula.training.tokenizer import TextTokenizer

MOST_UNKNOWN = 0.01
"""Share of the tokens that may be unknown."""
LINES = (
    "Genre: ghost story\n\n# outline\nclimax: The clock strikes.\n# climax\nIt struck.\n\nTwice.\n"
)
"""The text format lives on its line breaks."""


def check_tokenizer(
    tokenizer: TextTokenizer, texts: Sequence[str], vocabulary: int | None
) -> list[Finding]:
    """All checks that need no weights.

    Args:
        texts: of the data, prompts and completions.
        vocabulary: tokens that the weights know, or None where that cannot be told.
    """
    found = [check_special(tokenizer), check_spelling(tokenizer, texts)]
    if vocabulary is not None:
        highest = max((max(ids) for ids in tokenizer.encode_batch(list(texts)) if ids), default=0)
        found.append(check_size(tokenizer, vocabulary, highest))
    return found


def check_special(tokenizer: TextTokenizer) -> Finding:
    """Special tokens that are typed in a text stay text."""
    hf = tokenizer.hf
    special: dict[str, int] = {
        str(hf.convert_ids_to_tokens(i)): int(i) for i in sorted(set(hf.all_special_ids))
    }
    typed = tokenizer.encode_batch([f"She wrote {name} on the wall." for name in special])
    plain = set(tokenizer.encode_batch(["She wrote on the wall."])[0])
    hf_ids = list(hf("She wrote.")["input_ids"])
    unknown = hf.unk_token_id
    parsed = [
        name
        for name, ids in zip(special, typed, strict=True)
        if special[name] in ids and special[name] != unknown
    ]
    own = [name for name, number in special.items() if number in plain and number != unknown]
    figures = {"special": sorted(special), "parsed": parsed}
    if own:
        return refused(
            "special tokens",
            f"The tokenizer puts {some(own)} into plain text by itself, so that it would stand "
            "there twice",
            "use the tokenizer that belongs to the weights, whole",
            **figures,
        )
    if parsed:
        return refused(
            "special tokens",
            f"The tokenizer reads {some(parsed)} typed in a story as the special token, so a text "
            "could forge an end",
            "mark these tokens as special in tokenizer.json, or use the tokenizer that belongs to "
            "the weights",
            **figures,
        )
    adds = hf_ids[:1] and hf_ids[0] == tokenizer.bos and tokenizer.bos is not None
    more = f" (its own call adds {hf.bos_token}; here it is put in front once)" if adds else ""
    return ok("special tokens", f"{some(special)}: typed in a text they stay text{more}", **figures)


def check_spelling(tokenizer: TextTokenizer, texts: Sequence[str]) -> Finding:
    """Texts come back from their tokens, and few of these are unknown."""
    encoded = tokenizer.encode_batch([LINES, *texts])
    back = [tokenizer.decode(ids) for ids in encoded]
    unknown_id = tokenizer.hf.unk_token_id
    # GPT-2 names its end as its unknown token, but knows every byte.
    unknown = sum(ids.count(unknown_id) for ids in encoded) if unknown_id is not None else 0
    tokens = sum(map(len, encoded))
    changed = [t for t, b in zip(texts, back[1:], strict=True) if t != b]
    size = sum(len(t.encode()) for t in texts)
    figures = {
        "texts": len(texts), "tokens": tokens, "unknown": unknown, "changed": len(changed),
        "bytes_per_token": round(size / max(sum(map(len, encoded[1:])), 1), 3),
    }  # fmt: skip
    share = unknown / max(tokens, 1)
    if share > MOST_UNKNOWN:
        return refused(
            "tokenizer",
            f"{unknown:,} of {tokens:,} tokens of the data ({share:.1%}) are unknown to the "
            "tokenizer, so their letters are lost",
            "use a tokenizer that knows every byte, as those of Llama, Mistral and GPT-2 do",
            **figures,
        )
    if back[0].count("\n") != LINES.count("\n"):
        return refused(
            "tokenizer",
            "The tokenizer loses line breaks, by which a brief, an outline and passages are told "
            "apart",
            "use a tokenizer that keeps them, as those of Llama, Mistral and GPT-2 do",
            **figures,
        )
    if changed:
        first = changed[0]
        other = tokenizer.decode(tokenizer.encode_batch([first])[0])
        at = next(
            (i for i, (a, b) in enumerate(zip(first, other, strict=False)) if a != b),
            min(len(first), len(other)),
        )
        shown = f"{first[max(at - 12, 0) : at + 12]!r} becomes {other[max(at - 12, 0) : at + 12]!r}"
        return warning(
            "tokenizer",
            f"{len(changed)} of {len(texts)} texts do not come back from their tokens ({shown})",
            "see whether what it changes matters in a story",
            **figures,
        )
    missing = f", {unknown:,} tokens unknown" if unknown else ""
    told = f"{len(texts)} texts come back from their tokens letter by letter{missing}"
    if unknown:
        return warning("tokenizer", told, "see which letters it lacks", **figures)
    return ok("tokenizer", f"{told}, {figures['bytes_per_token']} bytes a token", **figures)


def check_size(tokenizer: TextTokenizer, vocabulary: int, highest: int) -> Finding:
    """The weights know every token that the tokenizer gives.

    Args:
        vocabulary: tokens that the weights know.
        highest: id that texts of the data have.
    """
    size = tokenizer.vocabulary
    figures = {"tokenizer": size, "weights": vocabulary, "highest": highest}
    needed = max(highest, tokenizer.eos, tokenizer.bos or 0)
    if needed >= vocabulary:
        return refused(
            "vocabulary",
            f"The tokenizer gives the id {needed}, but the model knows only {vocabulary}",
            "use the tokenizer that belongs to the weights",
            **figures,
        )
    if size > vocabulary:
        return warning(
            "vocabulary",
            f"The tokenizer has {size:,} tokens and the weights {vocabulary:,} rows, though no "
            "text of those looked at has one beyond",
            "see that they belong together",
            **figures,
        )
    return ok("vocabulary", f"{size:,} tokens, {vocabulary:,} rows of weights", **figures)


def check_end_of_generation(tokenizer: TextTokenizer, config: object) -> Finding:
    """What a model learns to end with is what servers stop at."""
    named = getattr(config, "eos_token_id", None)
    told = named if isinstance(named, list) else [named]
    stops = {int(i) for i in told if i is not None}
    figures = {"learnt": tokenizer.eos, "config": sorted(stops)}
    if stops and tokenizer.eos not in stops:
        return warning(
            "stop token",
            f"Stories end with {tokenizer.hf.eos_token} (id {tokenizer.eos}), but the model's "
            f"config names {sorted(stops)} as its end, at which a server would wait",
            "serve with the tokenizer's end-of-sequence token as stop token",
            **figures,
        )
    return ok("stop token", f"stories end with the id at which servers stop ({tokenizer.eos})")


def opened(source: str) -> TextTokenizer | FabulaError:
    """The tokenizer, or why it cannot be had."""
    from fabula.training.tokenizer import open_tokenizer

    try:
        return open_tokenizer(source)
    except FabulaError as error:
        return error
