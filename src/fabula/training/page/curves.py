"""The curves of a run's page."""

from __future__ import annotations

from typing import Any

from fabula.reading.highlight import escape
from fabula.training.kinds import STORIES, kind_of
from fabula.training.page.svg import SHARE, Line, Points, curves
from fabula.training.plot import smooth
from fabula.training.records import Record
from fabula.training.schedule import peak_rates, planned, told

PLANNED_POINTS = 241


def all_curves(record: Record) -> str:
    """Every curve that the run has lines for."""
    drawn = [_loss(record), _perplexity(record), _learning_rate(record), _writing(record),
             _speed(record), _memory(record), _gradient(record)]  # fmt: skip
    return f'<div class="plots">{"".join(drawn)}</div>'


def of(lines: list[dict[str, Any]], key: str, scale: float = 1.0) -> Points:
    """(step, value) of the lines that have a figure."""
    return [(float(x["step"]), scale * float(x[key])) for x in lines if x.get(key) is not None]


def smoothed(points: Points) -> Points:
    """The same points, their values averaged over those before."""
    values = smooth([y for _, y in points])
    return [(x, y) for (x, _), y in zip(points, values, strict=True)]


def figure(title: str, caption: str, drawing: str) -> str:
    """A drawing with its title and caption."""
    note = f"<p>{escape(caption)}</p>" if caption else ""
    return f"<figure><figcaption><h4>{escape(title)}</h4>{note}</figcaption>{drawing}</figure>\n"


def _loss(record: Record) -> str:
    points, held_out = of(record.steps, "loss"), of(record.scores, "eval_loss")
    if not points and not held_out:
        return ""
    kind = kind_of(record.scores)
    lines = [
        Line("each step", points, "l0 faint", told=False),
        Line("training, smoothed", smoothed(points), "l0", shown="{:.4f}".format),
        Line("held out", held_out, "l1", dots=True, shown="{:.4f}".format),
    ]
    return figure("Loss", kind.unit, curves("Training and held-out loss over steps", lines))


def _perplexity(record: Record) -> str:
    if kind_of(record.scores) is not STORIES or not record.scores:
        return ""
    points = of(record.scores, "eval_word_perplexity")
    line = Line("word perplexity", points, "l1", dots=True, shown="{:,.2f}".format)
    caption = "of held-out stories, per word: the same for every tokenizer"
    return figure("Perplexity", caption, curves("Held-out word perplexity over steps", [line]))


def _learning_rate(record: Record) -> str:
    recipe = record.recipe
    end = float(recipe.steps) if recipe.steps is not None else None
    factors = planned(recipe, PLANNED_POINTS)
    rates = peak_rates(recipe)
    # What the optimiser's first group follows is what metrics.jsonl has.
    followed = next(iter(rates))
    lines = []
    by_share = end is None or (recipe.epochs is not None or recipe.max_minutes is not None)
    for number, (name, peak) in enumerate(rates.items()):
        style = f"l{(2, 3)[number]}"
        places = [n / (PLANNED_POINTS - 1) * (1 if by_share else end or 1)
                  for n in range(PLANNED_POINTS)]  # fmt: skip
        along = list(zip(places, (peak * f for f in factors), strict=True))
        lines.append(Line(f"{_words(name)}, planned", along, f"{style} planned"))
        if name == followed and record.steps:
            # A step's rate is that of the moment before it.
            done = [
                ((x["step"] - 1) * (x["progress"] / x["step"] if by_share else 1.0),
                 float(x["learning_rate"]))
                for x in record.steps
            ]  # fmt: skip
            lines.append(Line(_words(name), done, style))
    x_name = SHARE if by_share else "step"
    drawing = curves("Learning rate, planned and followed", lines, x_name, from_zero=True)
    return figure("Learning rate", told(recipe), drawing)


def _words(key: str) -> str:
    return {"learning_rate": "learning rate", "muon_learning_rate": "Muon's rate"}[key]


def _writing(record: Record) -> str:
    if not record.told:
        return ""
    percent = "{:.1f}%".format
    lines = [
        Line(name, of(record.told, key, 100), style, dots=True, shown=percent)
        for name, key, style in (
            ("text in loops", "eval_loop_rate", "l1"),
            ("wishes kept", "eval_wishes_kept", "l2"),
            ("ended by itself", "eval_ended", "l3"),
            ("in the text format", "eval_in_format", "l4"),
        )
    ]
    drawing = curves("What the specimens are like over steps", lines, span=(0.0, 103.0))
    return figure("Specimens", "percent, means over the briefs", drawing)


def _speed(record: Record) -> str:
    points = of(record.steps, "tokens_per_second")
    if not points:
        return ""
    lines = [Line("each", points, "l0 faint", told=False),
             Line("tokens/s", smoothed(points), "l0", shown="{:,.0f}".format)]  # fmt: skip
    caption = "trained tokens a second, padding not counted"
    shares = of(record.steps, "share_of_peak", 100)
    if shares:
        caption += f"; {sum(y for _, y in shares) / len(shares):.1f}% of this machine's peak"
    return figure("Speed", caption, curves("Tokens a second over steps", lines, from_zero=True))


def _memory(record: Record) -> str:
    peak, held = (of(record.steps, key, 1e-3) for key in ("memory_mb", "memory_now_mb"))
    if not peak:
        return ""
    lines = [Line("at most", peak, "l5", shown="{:,.2f} GB".format),
             Line("held", held, "l4", shown="{:,.2f} GB".format)]  # fmt: skip
    where = "GPU" if record.facts.get("machine", {}).get("gpu") else "process"
    drawing = curves("Memory over steps", lines, from_zero=True)
    return figure("Memory", f"GB of the {where}", drawing)


def _gradient(record: Record) -> str:
    points = of(record.steps, "gradient_norm")
    if not points:
        return ""
    lines = [
        Line("each step", points, "l6 faint", told=False),
        Line("norm of the gradient", smoothed(points), "l6", shown="{:.3g}".format),
    ]
    clip = record.recipe.optimiser.clip
    caption = f"before it is clipped to {clip:g}" if clip else "never clipped"
    drawing = curves("Norm of the gradient over steps", lines, from_zero=True)
    return figure("Gradient", caption, drawing)


def compared(records: list[Record]) -> str:
    """Loss and scores of several runs in the same drawings."""
    styles = [f"l{n}" for n in (0, 1, 2, 3, 5, 6, 7, 4)]
    looks = [
        ("Training loss, smoothed", "over tokens", "loss", "tokens", 1.0),
        ("Training loss, smoothed", "over minutes", "loss", "seconds", 1 / 60),
        ("Tokens/s", "over steps", "tokens_per_second", "step", 1.0),
    ]
    drawn = []
    for title, caption, key, along, scale in looks:
        lines = []
        for number, record in enumerate(records):
            points = [(scale * float(x[along]), float(x[key])) for x in record.steps
                      if x.get(along) is not None]  # fmt: skip
            if points:
                style = styles[number % len(styles)]
                lines.append(Line(record.folder.name, smoothed(points), style))
        name = {"seconds": "minute", "tokens": "token"}.get(along, along)
        drawing = curves(f"{title} {caption}", lines, name, from_zero=key != "loss")
        drawn.append(figure(title, caption, drawing))
    for key, title in (
        ("eval_loss", "Held-out loss"),
        ("eval_bits_per_byte", "Held-out bits per byte"),
        ("eval_loop_rate", "Text of specimens in loops"),
        ("eval_wishes_kept", "Wishes kept by specimens"),
    ):
        lines = [
            Line(r.folder.name, of([*r.scores, *r.told], key), styles[n % len(styles)], dots=True)
            for n, r in enumerate(records)
        ]
        if any(line.points for line in lines):
            span = (0.0, 1.03) if key in ("eval_loop_rate", "eval_wishes_kept") else None
            drawn.append(figure(title, "over steps", curves(title, lines, span=span)))
    return f'<div class="plots">{"".join(drawn)}</div>'
