"""The figures, tables and notes of a run's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fabula.corpus.report.charts import table
from fabula.reading.highlight import escape
from fabula.training.kinds import STORIES, kind_of
from fabula.training.recipe import Recipe, dump_recipe
from fabula.training.records import Record

MOST_NOTES = 200


def lead(record: Record) -> str:
    """What the run is, in a sentence."""
    recipe = record.recipe
    base = recipe.base_model or "a model from random weights"
    counts = record.facts.get("parameters", {})
    size = f", {counts['all'] / 1e6:,.1f} M parameters" if counts.get("all") else ""
    learns = ""
    if counts.get("all") and counts["learn"] != counts["all"]:
        share = counts["learn"] / counts["all"]
        learns = f", of which {counts['learn'] / 1e6:,.2f} M learn ({share:.1%})"
    what = "pairs of stories" if recipe.preferences else "picks" if recipe.picks else "stories"
    how = {"full": "all weights", "lora": "LoRA", "qlora": "QLoRA"}[recipe.method]
    return f'<p class="lead">{escape(f"{base}, {how}, on {what}{size}{learns}.")}</p>\n'


def numbers(record: Record) -> str:
    """Headline figures."""
    shown: list[tuple[str, str, str]] = []
    last, kind = record.last, kind_of(record.scores)
    if last:
        shown.append(("loss of the last step", f"{last['loss']:.3f}", kind.unit))
    if record.scores:
        first, newest = record.scores[0], record.scores[-1]
        key = "eval_bits_per_byte" if kind is STORIES else kind.key
        name = "held-out bits per byte" if kind is STORIES else f"held out: {kind.rows[1][0]}"
        before = f"from {first[key]:.3f}" if len(record.scores) > 1 else ""
        shown.append((name, f"{newest[key]:.3f}", before))
        if kind is STORIES:
            before = f"from {first['eval_word_perplexity']:,.2f}" if before else ""
            shown.append(("word perplexity", f"{newest['eval_word_perplexity']:,.2f}", before))
    if record.told:
        first, newest = record.told[0], record.told[-1]
        for key, name in (("eval_loop_rate", "text in loops"), ("eval_wishes_kept", "wishes kept")):
            before = f"from {first[key]:.0%}" if len(record.told) > 1 else ""
            shown.append((name, f"{newest[key]:.0%}", before))
    if last:
        shown.append(("tokens/s", f"{record.rate:,.0f}" if record.rate else "-", "median"))
        learnt = f"{last['loss_tokens'] / max(last['tokens'], 1):.0%} in the loss"
        shown.append(("tokens", _round(last["tokens"]), learnt))
        shown.append(("training", span(last["seconds"]), f"{last['step']:,} steps"))
        peak = max(line.get("memory_mb", 0.0) for line in record.steps)
        shown.append(("memory at most", f"{peak / 1e3:,.2f} GB", ""))
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}"
        f"{f'<small>{escape(beside)}</small>' if beside else ''}</dd></div>"
        for name, value, beside in shown
    )
    return f'<dl class="numbers">{cards}</dl>\n' if cards else ""


def span(seconds: float) -> str:
    """A length of time as people say it."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes}:{left:02} min" if minutes else f"{left} s"


def _round(number: float) -> str:
    for size, name in ((1e9, "B"), (1e6, "M")):
        if number >= size:
            return f"{number / size:,.2f} {name}"
    return f"{number:,.0f}"


def scores(record: Record) -> str:
    """What was held out, and the specimens' means, at each evaluation."""
    if not record.scores and not record.told:
        return ""
    kind = kind_of(record.scores)
    steps = sorted({x["step"] for x in record.scores} | {x["step"] for x in record.told})
    by_step = {x["step"]: x for x in record.scores}
    told = {x["step"]: x for x in record.told}
    heads = ["step", *(label for label, _ in kind.rows)] if record.scores else ["step"]
    heads += ["text in loops", "wishes kept", "ended", "words"] if told else []
    rows = []
    for step in steps:
        row = [f"{step:,}"]
        if record.scores:
            row += [
                _figure(by_step.get(step, {}), f"eval_{key}", "{:,.4f}") for _, key in kind.rows
            ]
        if told:
            line = told.get(step, {})
            row += [_figure(line, f"eval_{key}", "{:.0%}")
                    for key in ("loop_rate", "wishes_kept", "ended")]  # fmt: skip
            row.append(_figure(line, "eval_words", "{:,.0f}"))
        rows.append(row)
    html = ""
    if record.scores:
        count = record.scores[-1].get("eval_documents", record.facts.get("held_out", 0))
        html = f"<p>{count:,} {kind.things} that are not learnt.</p>\n"
    by_corpus = record.scores[-1].get("eval_by_corpus") if record.scores else None
    html += table(heads, rows)
    if by_corpus:
        first = record.scores[0].get("eval_by_corpus", {})
        html += table(
            ["corpus", "bits per byte before", "now"],
            [[name, _figure(first, name, "{:.4f}"), f"{value:.4f}"]
             for name, value in by_corpus.items()],
        )  # fmt: skip
    return html


def _figure(line: Mapping[str, Any], key: str, form: str) -> str:
    value = line.get(key)
    return form.format(value) if isinstance(value, (int, float)) else "-"


def notes(record: Record) -> str:
    """What was said, warnings marked."""
    items = []
    for line in record.notes[-MOST_NOTES:]:
        text = str(line.get("text", ""))
        bad = text.startswith(("Warning", "The run broke off")) or "damaged" in text
        mark = ' class="bad"' if bad else ""
        when = escape(str(line.get("time", ""))[:19].replace("T", " "))
        items.append(f"<li{mark}><time>{when}</time>{escape(text)}</li>")
    return f'<ul class="notes">{"".join(items)}</ul>\n' if items else ""


def data(record: Record) -> str:
    """Where the data came from, and what was counted."""
    html = ""
    sources = record.facts.get("data") or []
    if sources:
        rows = [
            [str(s["corpus"]), f"{s['stories']:,}", f"{s['repeat']:g}",
             ", ".join(s["licences"]) or "not stated"]
            for s in sources
        ]  # fmt: skip
        html += table(["corpus", "stories", "repeat", "licences"], rows)
    last = record.last
    if last:
        tokens, padding = last["tokens"], last["padding"]
        counted = [
            ["optimiser steps", f"{last['step']:,}", ""],
            ["epochs", f"{last['epoch']:.3f}", ""],
            ["tokens read", f"{tokens:,}", "without padding"],
            ["tokens in the loss", f"{last['loss_tokens']:,}",
             f"{last['loss_tokens'] / max(tokens, 1):.1%} of those read"],
            ["padding", f"{padding:,}", f"{padding / max(tokens + padding, 1):.1%} of all places"],
            ["documents left out as too long", f"{last['dropped']:,}", "whole, never cut"],
        ]  # fmt: skip
        html += table(["counted", "", ""], counted)
    return html


def recipe(record: Record) -> str:
    """All settings, those that differ from the defaults in bold, and the file itself."""
    rows = []
    given = flat_recipe(record.recipe)
    usual = _flat(_defaults())
    for key, value in given.items():
        shown = escape(value)
        changed = key not in usual or usual[key] != value
        rows.append(
            [f"<code>{escape(key)}</code>", f'<span class="changed">{shown}</span>']
            if changed
            else [f"<code>{escape(key)}</code>", shown]
        )
    file = escape(dump_recipe(record.recipe))
    return (
        "<p>Every setting; bold where it is not the default.</p>\n"
        + table(["key", "value"], rows, raw=True, style="words")
        + '<details class="settings"><summary>As a file: <code>recipe.yaml</code></summary>'
        f"<pre>{file}</pre></details>\n"
    )


def _defaults() -> dict[str, Any]:
    smallest = {"name": "x", "base_model": "x", "data": [{"corpus": "x"}], "steps": 1}
    made = Recipe.model_validate(smallest).model_dump(mode="json")
    return {k: v for k, v in made.items() if k not in smallest}


def flat_recipe(recipe: Recipe) -> dict[str, str]:
    """Every setting of a recipe by its dotted key, in words."""
    return _flat(recipe.model_dump(mode="json"))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        return found
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        found = {}
        for number, inner in enumerate(value, 1):
            found |= _flat(inner, f"{prefix}.{number}")
        return found
    if isinstance(value, list):
        return {prefix: ", ".join(map(str, value)) or "none"}
    if isinstance(value, bool):
        return {prefix: "yes" if value else "no"}
    return {
        prefix: "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    }


def machine(record: Record) -> str:
    """Where it was trained, by what, and when."""
    told = record.facts.get("machine", {})
    names = {
        "gpu": "GPU", "gpu_memory_gb": "GPU memory, GB", "processor": "processor",
        "cores": "cores", "threads": "threads", "memory_gb": "memory, GB",
        "processes": "processes", "system": "system",
    }  # fmt: skip
    rows = [[name, str(told[key])] for key, name in names.items() if told.get(key) is not None]
    if record.facts.get("architecture"):
        rows.append(["architecture", str(record.facts["architecture"])])
        rows.append(["computed in", str(record.facts.get("weights", ""))])
    rows += [[name, str(version)] for name, version in record.facts.get("versions", {}).items()]
    html = table(["machine and libraries", ""], rows, style="words") if rows else ""
    sittings = record.facts.get("sittings", [])
    if sittings:
        html += table(
            ["sitting from step", "began", "ended"],
            [[f"{s['step']:,}", moment(s.get("began")), moment(s.get("ended"))]
             for s in sittings],
            style="words",
        )  # fmt: skip
    return html


def moment(value: Any) -> str:
    """A time as people read it."""
    return str(value)[:19].replace("T", " ") + " UTC" if value else "-"


def foot(record: Record, drawn: str) -> str:
    """Links to the run's other files, and when the page was drawn."""
    files: Sequence[tuple[str, str]] = (
        ("CARD.md", "model card"), ("recipe.yaml", "recipe"), ("metrics.jsonl", "all figures"),
        ("specimens.jsonl", "all specimens"), ("loss.png", "curves as a picture"),
    )  # fmt: skip
    links = [f'<a href="{f}">{name}</a>' for f, name in files if (record.folder / f).is_file()]
    return (
        f"<p>Beside this page: {', '.join(links) or 'nothing yet'}.</p>"
        f"<p>Drawn {moment(drawn)}; <code>fabula runs FOLDER</code> draws it anew.</p>"
    )
