"""The examination as one self-contained page: no script, nothing loaded, everything escaped."""

from __future__ import annotations

from fabula.reading.highlight import escape
from fabula.training.doctor.examine import Examination
from fabula.training.doctor.findings import verdict_of
from fabula.training.doctor.terminal import BOUNDS, COLOURS, MARKS, level, title
from fabula.training.doctor.texts import Seen, pieces
from fabula.training.tokenizer import TextTokenizer

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_WORDS = {"ok": "fine", "warning": "look at it", "refused": "refused", "skipped": "not checked"}
_STYLE = """
:root { --ink: #222; --paper: #fffdf9; --soft: #6b6b6b; --line: #ddd6ca; color-scheme: light; }
body { font: 16px/1.6 Georgia, serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font: 14px/1.45 system-ui, sans-serif; }
td, th { border-bottom: 1px solid var(--line); padding: .35rem .6rem .35rem 0; text-align: left;
  vertical-align: top; }
td:first-child { white-space: nowrap; }
.ok { color: #1a6e37; } .warning { color: #8a5a00; } .refused { color: #b00020; }
.warning, .refused { font-weight: 600; } .skipped { color: var(--soft); }
article { border: 1px solid var(--line); border-radius: .4rem; padding: .8rem 1rem;
  margin: 1rem 0; background: #fff; }
article h3 { font: 600 13px/1.4 system-ui, sans-serif; color: var(--soft); margin: 0 0 .6rem; }
article p { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
.g { color: #777; } .b { border-left: 3px solid #1f5fbf; padding-left: .25em; }
.s { font: 600 .72em/1 ui-monospace, monospace; border: 1px solid #1f5fbf; color: #1f5fbf;
  border-radius: .2em; padding: .1em .25em; }
.n::after { content: "\\23CE"; color: #b6ab98; font-size: .8em; }
.legend { font: 13px/2 system-ui, sans-serif; } .legend span { padding: .15em .45em; }
""" + "".join(
    f".l{n} {{ background: {colour}; color: {'#111' if n < 4 else '#fff'}; }}\n"
    for n, colour in enumerate(COLOURS)
)


def make_page(told: Examination) -> str:
    """The whole page."""
    recipe = told.recipe
    name = escape(recipe.name)
    rows = "".join(
        f'<tr><td class="{f.verdict}">{MARKS[f.verdict][0]} {_WORDS[f.verdict]}</td>'
        f"<td>{escape(f.check)}</td>"
        f"<td>{escape(f.told)}</td></tr>\n"
        for f in told.findings
    )
    verdict = escape(verdict_of(told.findings))
    shown = ""
    if told.tokenizer is not None and told.batch:
        texts = "".join(
            _article(text, told.tokenizer, number) for number, text in enumerate(told.batch, 1)
        )
        shown = (
            "<h2>A micro-batch as the model sees it</h2>\n"
            f"{_legend(any(t.losses for t in told.batch))}{texts}"
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>Doctor: {name}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{name}: before the first step</h1>\n"
        f"<p>{escape(str(recipe.base_model or 'random weights'))}, {recipe.method}, "
        f"{recipe.sequence_length:,} tokens a row. <strong>{verdict}</strong></p>\n"
        f"<h2>Checks</h2>\n<table>{rows}</table>\n{shown}</body></html>\n"
    )


def _legend(measured: bool) -> str:
    parts = ['<span class="g">prompt</span>', '<span class="b">learnt from here on</span>',
             '<span class="s">special token</span>']  # fmt: skip
    if measured:
        edges = ("0", *(f"{bound:g}" for bound in BOUNDS))
        for number, edge in enumerate(edges):
            upper = f"–{BOUNDS[number]:g}" if number < len(BOUNDS) else " and more"
            parts.append(f'<span class="l{number}">{edge}{upper} nats</span>')
        parts.append("point at a token for its number and its loss")
    return f'<p class="legend">{" ".join(parts)}</p>\n'


def _article(text: Seen, tokenizer: TextTokenizer, number: int) -> str:
    special = set(tokenizer.hf.all_special_ids)
    spans = []
    for i, piece in enumerate(pieces(tokenizer, text.ids)):
        loss = text.losses[i] if text.losses else None
        kinds = [f"l{level(loss)}" if loss is not None else "g" if i < text.prompt else ""]
        kinds += ["s"] if text.ids[i] in special else []
        kinds += ["b"] if i == text.prompt else []
        told = f"token {i}, id {text.ids[i]}" + (f", {loss:.2f} nats" if loss is not None else "")
        lines = escape(piece).replace("\n", '<span class="n"></span>\n')
        named = " ".join(kind for kind in kinds if kind)
        spans.append(f'<span class="{named}" title="{told}">{lines}</span>')
    return f"<article><h3>{escape(title(text, number))}</h3><p>{''.join(spans)}</p></article>\n"
