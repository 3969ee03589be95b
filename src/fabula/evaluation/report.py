"""report.md: the table, the pictures, and all that is needed to read them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fabula.evaluation.result import Evaluation
from fabula.evaluation.tables import cells, columns, heading, legend

OF_HUMAN_STORIES = """\
- **Bits per byte**: bits of the passages' text in the text format behind the brief, all stories
  together, over the UTF-8 bytes of these texts. Heading lines are given for free and are not in
  the denominator; the end-of-sequence token does not count. *Given nothing* is behind an empty
  brief. The floor is another prompt's brief.
- **Word perplexity of the corpus**: exp of all nats over all words (between white space), of the
  same texts. The *mean of the stories' perplexities* is another number and never to be compared
  with it.
- **Prompt gain**: bits that the brief saves on a story, mean over stories.
- **Likeness**: BLEU of the corpus, chrF and ROUGE F as means over stories, 0 to 100. The human
  figure is another human's story for the same prompt, where there is one.
"""
DEFINITIONS = """\
- **Wishes kept**: share of the brief's wishes that the receipt finds kept. The floor is the same
  receipt on stories for other briefs.
- **The arc asked for**: its place among six by the correlation of the story's VADER curve; *as
  read*, whether the reading, which the receipt goes by, holds it the likeliest of six.
- **Loop**: some 8 words in a row occur 3 times. **Repeated 4-grams**: share that occurred before
  in the story. **Distinct-n**: distinct over all n-grams of the first 150 words.
- **End-positivity**: mean VADER of the last fifth of the sentences minus that of the rest.
- **Ends by itself**: the last passage ended with the end-of-sequence token, not at a limit.
  **Probability of the end there**: what the model gives that token behind the story's last word;
  the floor is one passage earlier, the human figure (if any) behind the human story.
- **Shared with the training stories**: longest run of words, case and punctuation aside.
- **A story takes**: seconds by the clock of the machine that wrote it.
- Intervals of shares of 0 and 100% are exact (Clopper and Pearson), all others bootstrapped.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(result: Evaluation, pictures: Sequence[tuple[str, str]]) -> str:
    """The report.

    Args:
        result: of the evaluation.
        pictures: (file name, caption) of each picture beside it.
    """
    heads = columns(result)
    lines = ["# Evaluation", "", heading(result) + ".", ""]
    for title, rows in cells(result):
        lines += [f"## {title}", ""]
        lines.append("| " + " | ".join(map(_cell, heads)) + " |")
        lines.append("|---" + "|---:" * (len(heads) - 1) + "|")
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
        lines.append("")
    for file, caption in pictures:
        lines += [f"![{caption}]({file})", "", f"*{caption}*", ""]
    lines += ["## How to read this", ""]
    lines += [f"- {line}" for line in [*legend(result), *result.notes]]
    lines += ["", ("" if result.drawn else OF_HUMAN_STORIES) + DEFINITIONS]
    lines += ["## Systems", ""]
    for system in result.systems:
        lines.append(f"- **{system.name}**: {system.stories} stories")
        if system.weights is not None:
            lines.append(f"  - weights `{system.weights}`")
        if system.settings is not None:
            lines.append(f"  - settings `{json.dumps(system.settings, sort_keys=True)}`")
        if system.truncation is not None:
            lines.append(f"  - {system.truncation.sentence()}")
    return "\n".join(lines) + "\n"
