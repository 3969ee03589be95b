"""Evaluation: scores with floors and intervals, comparisons, plots, a report."""

from __future__ import annotations

from fabula.evaluation.evaluate import evaluate
from fabula.evaluation.options import Options, Progress, Silence
from fabula.evaluation.result import Evaluation, SystemResult

__all__ = ["Evaluation", "Options", "Progress", "Silence", "SystemResult", "evaluate"]
