"""The model card of a run: what it is, how it was made, what it scored, what it cannot do."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fabula import __version__
from fabula.story.files import write_atomic
from fabula.training.packing import Deck, Look
from fabula.training.recipe import Recipe
from fabula.training.sources import manifest_digest

if TYPE_CHECKING:
    from fabula.training.heldout import Score
    from fabula.training.sitting import Outcome

METHODS = {
    "full": "all weights trained",
    "lora": "a LoRA adapter beside frozen weights",
    "qlora": "a LoRA adapter beside frozen weights that are stored in 4 bits (QLoRA)",
}


def write_card(
    outcome: Outcome[Score], recipe: Recipe, seen: Look, deck: Deck, lines: list[dict[str, Any]]
) -> None:
    """Write CARD.md into the run's folder, and beside the final weights."""
    text = card(outcome, recipe, seen, deck, lines)
    write_atomic(outcome.folder / "CARD.md", text)
    if outcome.model is not None:
        write_atomic(outcome.model / "CARD.md", text)


def card(
    outcome: Outcome[Score], recipe: Recipe, seen: Look, deck: Deck, lines: list[dict[str, Any]]
) -> str:
    """The card as Markdown."""
    counts = outcome.counts
    learns, total = outcome.parameters
    base = recipe.base_model or "none: random weights"
    speeds = sorted(line["tokens_per_second"] for line in lines if "tokens_per_second" in line)
    speed = f"{speeds[len(speeds) // 2]:,.0f} tokens/s (median)" if speeds else "not measured"
    memory = max((line.get("memory_mb", 0.0) for line in lines), default=0.0)
    import torch
    import transformers

    rows = [
        ("base model", base),
        ("method", f"{recipe.method}: {METHODS[recipe.method]}"),
        ("parameters", f"{total:,} in all, {learns:,} trained ({learns / total:.1%})"),
        (
            "steps",
            f"{counts.step:,} of {recipe.batch_size} rows of {recipe.sequence_length} tokens",
        ),
        ("epochs", f"{counts.epochs:.2f}"),
        (
            "tokens",
            f"{counts.tokens:,} seen, {counts.learnt:,} in the loss, {counts.padding:,} of padding",
        ),
        ("time", f"{counts.seconds / 60:.1f} minutes at {speed}, {memory:,.0f} MB at most"),
        ("optimiser", f"{recipe.optimiser.name}, {recipe.optimiser.learning_rate:g}"),
        ("schedule", recipe.schedule.name),
        ("seed", str(recipe.seed)),
        (
            "made with",
            f"fabula {__version__}, torch {torch.__version__}, transformers "
            f"{transformers.__version__}, Python {platform.python_version()}",
        ),
    ]
    parts = [
        f"# {recipe.name}",
        "Writes short stories for a reader's brief; trained by Fabula.",
        "## How it was made",
        _table(("", ""), rows),
        "## Data",
        _table(
            ("corpus", "stories", "repeat", "licences"),
            [
                (
                    examples.name + _fingerprint(source.corpus),
                    f"{len(examples):,}",
                    f"{source.repeat:g}",
                    ", ".join(examples.licences) or "not stated",
                )
                for (examples, _), source in zip(deck.sources, recipe.data, strict=True)
            ],
        ),
        f"Stories too long for a row are left out whole, never cut: {counts.dropped:,} of "
        f"{counts.documents + counts.dropped:,} that came up.",
        "## Figures",
        _scores(outcome, recipe),
        "![loss](loss.png)" if outcome.folder.joinpath("loss.png").exists() else "",
        "## Make it again",
        f"```sh\nfabula train {recipe.name}/recipe.yaml\n```\n\nwith the `recipe.yaml` of this "
        "run; equal versions on one machine give equal weights unless the run is limited by time.",
        "## Limits",
        _limits(recipe, total, seen),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("-" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _fingerprint(corpus: str) -> str:
    digest = manifest_digest(corpus)
    return f", manifest {digest}" if digest else ""


def _scores(outcome: Outcome[Score], recipe: Recipe) -> str:
    if outcome.before is None or outcome.after is None:
        return "Nothing was held out."
    rows = [
        (
            label,
            f"{score.loss:.4f}",
            f"{score.bits_per_byte:.4f}",
            f"{score.word_perplexity:.2f}",
        )
        for label, score in (("before", outcome.before), ("after", outcome.after))
    ]
    return (
        _table(("held out", "nats per token", "bits per byte", "word perplexity"), rows)
        + f"\n\n{outcome.after.documents} stories of the {recipe.evaluation.split} split: outline, "
        "passages and end of sequence, given the whole brief."
    )


def _limits(recipe: Recipe, total: int, seen: Look) -> str:
    lines = [
        f"- It has seen documents of at most {recipe.sequence_length} tokens; longer stories are "
        "beyond what it learnt.",
        "- It writes fiction. What it says of the world is not knowledge.",
        "- It repeats the leanings of its data, and nothing filters what it writes.",
    ]
    if total < 100e6:
        lines.insert(
            0,
            f"- With {total / 1e6:.1f} million parameters it is tiny: expect simple sentences, "
            "loose logic and forgotten details.",
        )
    if recipe.method != "full":
        lines.append("- The adapter works with its base model only, whose licence stays in force.")
    return "\n".join(lines)
