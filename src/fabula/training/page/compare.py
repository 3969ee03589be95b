"""A page that compares several runs: their curves together, their figures and what differs."""

from __future__ import annotations

from fabula.corpus.report.charts import table
from fabula.reading.highlight import escape
from fabula.training.kinds import kind_of
from fabula.training.page import whole_page
from fabula.training.page.curves import compared
from fabula.training.page.parts import flat_recipe, moment, span
from fabula.training.records import Record, now


def make_comparison(records: list[Record]) -> str:
    """The whole page."""
    names = [record.folder.name for record in records]
    title = " beside ".join(names) if len(names) <= 3 else f"{len(names)} runs"
    made = [
        ("figures", "Figures", _figures(records)),
        ("curves", "Curves", compared(records)),
        ("settings", "What differs", _differences(records)),
    ]
    return whole_page(title, f"<h1>{escape(title)}</h1>\n", made, f"Drawn {moment(now())}.")


def _figures(records: list[Record]) -> str:
    heads = ["run", "state", "steps", "loss", "held out", "text in loops", "wishes kept",
             "tokens/s", "training", "memory, GB"]  # fmt: skip
    rows = []
    for record in records:
        last, told = record.last, record.told[-1] if record.told else {}
        score = record.scores[-1] if record.scores else None
        rows.append([
            record.folder.name,
            record.state,
            f"{last['step']:,}" if last else "-",
            f"{last['loss']:.4f}" if last else "-",
            kind_of([score]).short.format(**score) if score else "-",
            f"{told['eval_loop_rate']:.0%}" if told else "-",
            f"{told['eval_wishes_kept']:.0%}" if told else "-",
            f"{record.rate:,.0f}" if record.rate else "-",
            span(last["seconds"]) if last else "-",
            f"{max(x.get('memory_mb', 0) for x in record.steps) / 1e3:.2f}" if last else "-",
        ])  # fmt: skip
    return table(heads, rows)


def _differences(records: list[Record]) -> str:
    """The settings in which the runs differ."""
    settings = [flat_recipe(record.recipe) for record in records]
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    rows = [
        [key, *(setting.get(key, "-") for setting in settings)]
        for key in keys
        if len({setting.get(key) for setting in settings}) > 1
    ]
    heads = ["setting", *(record.folder.name for record in records)]
    return table(heads, rows, style="words") if rows else "<p>Nothing: the recipes are equal.</p>"
