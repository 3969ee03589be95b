"""Findings: what each check saw, what it makes of it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warning", "refused", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        verdict: "ok", "warning", "refused" (the run would be wrong), or "skipped" (it could not be
            made here).
        found: what was found, a clause without its full stop.
        advice: what to do, a clause; empty where nothing is to be done.
        figures: the numbers behind it.
    """

    check: str
    verdict: Verdict
    found: str
    advice: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """Found and advice as one sentence."""
        return f"{self.found}; {self.advice}." if self.advice else f"{self.found}."

    @property
    def told(self) -> str:
        """What a table says: the sentence where something is to be done."""
        words = self.sentence if self.advice else self.found
        # A folder or a token at the beginning keeps its letters.
        first = words.split(maxsplit=1)[0]
        return words[0].upper() + words[1:] if first.isalpha() else words

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self)}


def ok(check: str, found: str, **figures: Any) -> Finding:
    """Nothing is wrong."""
    return Finding(check, "ok", found, "", figures)


def warning(check: str, found: str, advice: str, **figures: Any) -> Finding:
    """It may be meant so."""
    return Finding(check, "warning", found, advice, figures)


def refused(check: str, found: str, advice: str, **figures: Any) -> Finding:
    """The run would learn something else than was meant."""
    return Finding(check, "refused", found, advice, figures)


def skipped(check: str, why: str) -> Finding:
    """The check could not be made."""
    return Finding(check, "skipped", f"not checked: {why.rstrip('.')}")


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Those that forbid the run."""
    return [f for f in findings if f.verdict == "refused"]


def verdict_of(findings: Sequence[Finding]) -> str:
    """All findings in a sentence."""
    bad = len(refusals(findings))
    if bad:
        return f"Refused: {bad} check{'s' * (bad != 1)} forbid{'s' * (bad == 1)} this run."
    left = sum(f.verdict == "skipped" for f in findings)
    if left:
        return f"Nothing that was checked forbids this run; {left} checks could not be made."
    return "Nothing forbids this run."


def some(names: Iterable[str], most: int = 3) -> str:
    """A few of some names, and how many more there are."""
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
