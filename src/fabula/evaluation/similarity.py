"""BLEU, chrF and ROUGE of a story against a human story, as statistics that can be resampled.

BLEU (Papineni et al. 2002) is the corpus score of sacrebleu: n-gram counts and lengths are
summed over stories. chrF (Popović 2015, sacrebleu) and ROUGE-1/2/L F (Lin 2004, rouge-score,
without stemming) are means over stories. All are on the scale 0 to 100.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np

from fabula.errors import MissingExtra
from fabula.evaluation.bootstrap import Floats, Statistic, mean

METRICS = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
NAMES = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
}
_ORDER = 4


@cache
def _tools() -> tuple[Any, Any, Any]:
    try:
        from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-untyped]
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise MissingExtra("Scoring stories with BLEU and ROUGE", "eval") from None
    return BLEU(), CHRF(), RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)


def require() -> None:
    """Fail early, before anything is written, if the libraries are absent.

    Raises:
        MissingExtra: sacrebleu or rouge-score is not installed.
    """
    _tools()


def signatures() -> dict[str, str]:
    """What exactly was computed: sacrebleu's signatures and rouge-score's version."""
    bleu, chrf, _ = _tools()
    for metric in (bleu, chrf):
        metric.corpus_score(["a"], [["a"]])
    return {
        "bleu": str(bleu.get_signature()),
        "chrf": str(chrf.get_signature()),
        "rouge": f"rouge-score|F|stemmer:no|version:{version('rouge-score')}",
    }


def _bleu_of_sums(sums: Floats) -> Floats:
    """Corpus BLEU of summed counts, shape [draws, 10]: matches, totals, two lengths."""
    bleu, _, _ = _tools()
    scores = []
    for row in np.rint(sums).astype(np.int64):
        if row[_ORDER] == 0 or row[-1] == 0:
            scores.append(np.nan if row[-1] == 0 else 0.0)
            continue
        result = bleu.compute_bleu(
            correct=row[:_ORDER].tolist(),
            total=row[_ORDER : 2 * _ORDER].tolist(),
            sys_len=int(row[-2]),
            ref_len=int(row[-1]),
            smooth_method=bleu.smooth_method,
        )
        scores.append(result.score)
    return np.array(scores, dtype=np.float64)


def similarity(
    stories: Sequence[str],
    references: Sequence[str | None],
    tick: Callable[[], None] = lambda: None,
) -> dict[str, Statistic]:
    """Score each story against one reference.

    Args:
        stories: texts, already cut to equal length.
        references: as many texts; None leaves the story out of all sums.
        tick: called once a story.

    Returns:
        One statistic for each of `METRICS`, on the scale 0 to 100.
    """
    bleu, chrf, rouge = _tools()
    counts = np.zeros((len(stories), 2 * _ORDER + 2))
    scores: dict[str, list[float | None]] = {name: [] for name in METRICS[1:]}
    for i, (story, reference) in enumerate(zip(stories, references, strict=True)):
        tick()
        if reference is None:
            for column in scores.values():
                column.append(None)
            continue
        result = bleu.corpus_score([story], [[reference]])
        counts[i] = [*result.counts, *result.totals, result.sys_len, result.ref_len]
        scores["chrf"].append(chrf.sentence_score(story, [reference]).score)
        for name, score in rouge.score(reference, story).items():
            scores[name].append(100 * score.fmeasure)
    return {
        "bleu": Statistic(counts, _bleu_of_sums),
        **{name: mean(column) for name, column in scores.items()},
    }
