"""The card of an exported model: what it is, what handing it on cost, how to use it, its limits."""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fabula import __version__
from fabula.export.gap import Gap


@dataclass(frozen=True)
class Checked:
    """What llama.cpp made of a GGUF.

    Attributes:
        file: its name.
        kind: the type of its matrices.
        size: bytes.
        texts: read by llama.cpp into the same tokens.
        places: tokens written greedily by the model.
        equal: of them, those that llama.cpp finds the likeliest, too.
        margin: how much likelier (in logits) than llama.cpp's the model finds its own token, at
            most, where they differ.
        why_not: why llama.cpp was not asked; None if it was.
    """

    file: str
    kind: str
    size: int
    texts: int = 0
    places: int = 0
    equal: int = 0
    margin: float = 0.0
    why_not: str | None = None

    @property
    def sentence(self) -> str:
        """In words."""
        if self.why_not is not None:
            return f"not checked: {self.why_not}"
        said = (
            f"checked in llama.cpp: {self.texts} texts read into the same tokens, {self.equal} of "
            f"{self.places} tokens written the same"
        )
        if self.equal < self.places:
            said += f" (elsewhere the two were within {self.margin:.2g} logits)"
        return said


@dataclass
class Facts:
    """All that a card tells; filled while exporting.

    Attributes:
        name: of the model.
        said: what was exported.
        base: of an adapter, its base.
        method: "lora", "qlora" or "full", where the run is known, else "lora" or "".
        adapter: adapter_config.json.
        dtype: of the weights.
        parameters: of the model.
        context: tokens.
        licence: of the base, as the hub names it.
        gaps: what merging and rounding cost.
        computed: how scores were computed for them.
        bos: whether the tokenizer puts its BOS in front by itself; None where there is no BOS.
        files: GGUF files.
        window: of the attention, where it bounds a GGUF's context.
        ollama: whether there is a Modelfile.
        commands: vLLM's, by what they serve.
        notes: sentences to mind.
        where: the folder, or the repository of the hub.
        pushed: whether it is meant for the hub, where no adapter lies beside it.
        run_card: the run's own card.
    """

    name: str
    said: str
    base: str | None
    method: str
    adapter: dict[str, Any] | None
    dtype: str
    parameters: int = 0
    context: int = 0
    licence: str | None = None
    gaps: list[Gap] = field(default_factory=list)
    computed: str = ""
    bos: bool | None = None
    files: list[Checked] = field(default_factory=list)
    window: int | None = None
    ollama: bool = False
    commands: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    where: str = "FOLDER"
    pushed: bool = False
    run_card: str | None = None

    @property
    def ollama_name(self) -> str:
        """A name that Ollama takes."""
        return re.sub(r"[^a-z0-9._-]+", "-", self.name.lower()).strip("-.") or "story"


def card(facts: Facts) -> str:
    """The card as Markdown."""
    parts = [
        f"# {facts.name}",
        "Writes short stories for a reader's brief. Made by Fabula's `fabula export`.",
        _table(("", ""), _rows(facts)),
        "## Licence",
        _licence(facts),
        "## What handing it on cost",
        _gaps(facts),
        *(["## GGUF", _gguf(facts)] if facts.files else []),
        "## How to use it",
        _use(facts),
        "## Limits",
        _limits(facts),
    ]
    if facts.run_card is not None:
        # Its headings go below ours.
        below = "\n".join(
            "#" + line if line.startswith("#") else line
            for line in facts.run_card.strip().split("\n")
            if not line.startswith("![")
        )
        parts += ["# The run that it comes from", below]
    return "\n\n".join(parts) + "\n"


def _rows(facts: Facts) -> list[tuple[str, str]]:
    rows = [("base model", facts.base or "none beside it: all weights are its own")]
    if facts.adapter is not None:
        kind = "DoRA" if facts.adapter.get("use_dora") else "LoRA"
        kind = "rsLoRA" if facts.adapter.get("use_rslora") and kind == "LoRA" else kind
        over = " over 4-bit weights" if facts.method == "qlora" else ""
        rows.append(
            (
                "adapter",
                f"{kind} of rank {facts.adapter.get('r')}, alpha "
                f"{facts.adapter.get('lora_alpha')}, trained{over}, merged in float32 and rounded "
                f"to {facts.dtype}",
            )
        )
    rows += [
        ("parameters", f"{facts.parameters:,} in {facts.dtype}"),
        ("context", f"{facts.context:,} tokens"),
        ("made with", f"fabula {__version__}, {_versions()}, Python {platform.python_version()}"),
    ]
    return rows


def _versions() -> str:
    from importlib.metadata import PackageNotFoundError, version

    said = []
    for package in ("torch", "transformers", "peft", "gguf", "xllamacpp"):
        try:
            said.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(said)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["-"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _licence(facts: Facts) -> str:
    whose = f"Its base, {facts.base}," if facts.base else "The model"
    known = f"`{facts.licence}` on the hub" if facts.licence else "not known to Fabula"
    return (
        f"{whose} is licensed: {known}. That licence binds these weights as well; read it before "
        "you pass them on, with what it asks of names and notices. So do the licences of the "
        "stories it was trained on, which the card of the run lists."
    )


def _gaps(facts: Facts) -> str:
    if not facts.gaps:
        return "Not measured (`--no-check`)."
    rows = [
        (
            f"{gap.of}, against {gap.against}",
            f"{gap.largest:.3g}",
            f"{gap.rms:.2g}",
            f"{gap.relative:.2%}",
            f"{gap.agreement:.2%}",
            f"{gap.kl:.2g}",
            f"{gap.loss_reference:.4f} → {gap.loss:.4f}",
        )
        for gap in facts.gaps
    ]
    head = ("scores of", "largest gap", "RMS", "relative", "same likeliest", "KL", "loss")
    return (
        _table(head, rows)
        + f"\n\nOver {facts.gaps[0].tokens:,} tokens of held-out stories of the sample corpus, "
        f"computed {facts.computed}. Gaps in logits, KL and loss in nats a token."
        + _explained(facts)
    )


def _explained(facts: Facts) -> str:
    if facts.adapter is None:
        return ""
    said = " Unmerged: the base in 16 or 32 bits with the adapter beside it."
    if len(facts.gaps) > 1:
        said += (
            " As trained: the adapter over the 4-bit weights it learnt with. It is merged into "
            "the weights that those were made from, so the gap is what quantising had taken away."
        )
    return said


def _gguf(facts: Facts) -> str:
    rows = [(f"`{c.file}`", f"{c.size / 1e6:,.1f} MB", c.sentence) for c in facts.files]
    said = _table(("file", "size", "llama.cpp"), rows)
    if facts.window is not None:
        said += (
            f"\n\nllama.cpp computes this architecture without its sliding window of "
            f"{facts.window:,} tokens. Within one window that is the same, so the files state a "
            f"context of {facts.window:,}."
        )
    return said


def _use(facts: Facts) -> str:
    lines = [
        "A prompt is a brief in Fabula's text format, one wish a line, closed by a blank line; "
        "the model writes an outline and then the story, and its end-of-sequence token. "
        "`example-prompt.txt` is one, byte for byte. Not a chat: no roles, no template.",
        f"```sh\nfabula write --model {shlex.quote(facts.where)} --genre comedy\n```",
    ]
    if facts.bos:
        lines.append(
            "Servers send text: the tokenizer puts the token that opens a document in front, once. "
            "Add none by hand."
        )
    elif facts.bos is False:
        lines.append(
            "**The tokenizer does not put the token that opens a document in front by itself**: "
            "send it yourself, once."
        )
    for what, command in facts.commands.items():
        if "adapter" in what and facts.pushed:
            continue
        lines.append(f"vLLM, {what}:\n\n```sh\n{command}\n```")
    if facts.ollama:
        lines.append(
            f"Ollama:\n\n```sh\nollama create {facts.ollama_name} -f Modelfile\n"
            f"curl -s localhost:11434/api/generate -d \"$(jq -Rs '{{model: "
            f'"{facts.ollama_name}", prompt: ., stream: false}}\' example-prompt.txt)"\n```'
        )
    lines += [f"Mind: {note}" for note in facts.notes]
    return "\n\n".join(lines)


def _limits(facts: Facts) -> str:
    lines = [
        "- It writes fiction. What it says of the world is not knowledge.",
        "- It repeats the leanings of its data, and nothing filters what it writes.",
        "- A server samples once; Fabula's writer draws several candidates for each sentence and "
        "chooses, so the same weights write better through `fabula write`.",
        "- Servers read special tokens out of a prompt's text, which Fabula's engines never do: "
        "keep them out of what strangers type.",
    ]
    if facts.parameters < 100e6:
        lines.insert(
            0,
            f"- With {facts.parameters / 1e6:.1f} million parameters it is tiny: expect simple "
            "sentences, loose logic and forgotten details.",
        )
    return "\n".join(lines)


def read_run_card(folder: Path) -> str | None:
    """The card that lies in a model's folder."""
    place = folder / "CARD.md"
    return place.read_text("utf-8", errors="replace") if place.is_file() else None
