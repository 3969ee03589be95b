"""What a corpus leans to, as far as it can be counted: the pronouns of its protagonists.

On the walks of the package's story trees, whose heroes' pronouns are known, 78% are decided, and
96% of these rightly.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fabula.reading.phrases import name_parts

FEWEST = 2
"""Fewer pronouns after a name say nothing."""
MAJORITY = 0.55
_KINDS = {
    "he": "he", "him": "he", "his": "he", "himself": "he",
    "she": "she", "her": "she", "hers": "she", "herself": "she",
    "they": "they", "them": "they", "their": "they", "themselves": "they", "themself": "they",
}  # fmt: skip
PRONOUNS = ("he", "she", "they", "unclear")
_SPEECH = re.compile(r'"[^"\n]*"|“[^”\n]*”')
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(slots=True)
class Leanings:
    """Counted in a part of the documents.

    Attributes:
        documents: looked at.
        pronouns: by source, the documents with a named protagonist who does not tell them, by
            the pronoun that mostly follows the name: "he", "she", "they" or "unclear".
    """

    documents: int = 0
    pronouns: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def total(self) -> Counter[str]:
        """Of all sources."""
        return sum(self.pronouns.values(), Counter())

    def add(
        self, source: str, text: str, characters: list[dict[str, Any]], view: str | None
    ) -> None:
        """Count one document.

        Args:
            source: its name.
            text: of the document.
            characters: of its brief, as JSON.
            view: its point of view, if it is known.
        """
        self.documents += 1
        names = [c["name"] for c in characters if c.get("name")]
        chief = next(
            (c["name"] for c in characters
             if c.get("name") and (c.get("role") or "protagonist") == "protagonist"), None,
        )  # fmt: skip
        if chief is not None and view != "first":
            counts = self.pronouns.setdefault(source, Counter())
            counts[pronoun_of(text, chief, names)] += 1


def pronoun_of(text: str, chief: str, names: list[str]) -> str:
    """Which pronoun a character has: "he", "she", "they", or "unclear".

    In the narration, every pronoun counts for the character who was named last before it.

    Args:
        text: of the story.
        chief: the character's name.
        names: of all its characters.
    """
    bearers: dict[str, str] = {}
    for name in [chief, *names]:
        for part in name_parts(name):
            bearers.setdefault(part.strip(".,'").casefold(), name)
    counts: Counter[str] = Counter()
    last = None
    for match in _WORD.finditer(_SPEECH.sub(" ", text[:100_000])):
        word = match[0].casefold()
        if word in bearers:
            last = bearers[word]
        elif last == chief and word in _KINDS:
            counts[_KINDS[word]] += 1
    total = counts.total()
    if total < FEWEST:
        return "unclear"
    kind, most = max(counts.items(), key=lambda item: (item[1], item[0]))
    return kind if most >= MAJORITY * total else "unclear"
