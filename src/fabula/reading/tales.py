"""Fairy tales with experts' questions (FairytaleQA, Xu et al. 2022), as gold for characters.

In the sample corpus nearly everybody has a name. In tales most have none, and who matters there is
told by whom the experts ask about.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fabula.reading.entities import Entities
from fabula.reading.match import content, same_name

OFTEN = 5
"""Mentions from which one that a question or answer speaks of counts as a character."""
_WHO = re.compile(r"(?i)who(?:m|se)?\b")


@dataclass(frozen=True, slots=True)
class Tale:
    """A tale and what was asked about it.

    Attributes:
        text: all of it.
        asked: the answers to each question on a character that begins with "who".
        said: the meaning words of all questions and answers.
        places: the answers to questions on the setting.
    """

    text: str
    asked: tuple[tuple[str, ...], ...]
    said: frozenset[str]
    places: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, sections: Sequence[str], questions: Sequence[tuple[str, Sequence[str], Sequence[str]]]
    ) -> Tale:
        """A tale in sections, and questions as (text, what they are about, answers)."""
        asked = [
            tuple(answers)
            for question, about, answers in questions
            if "character" in about and _WHO.match(question)
        ]
        said = " ".join(f"{question} {' '.join(answers)}" for question, _, answers in questions)
        places = [a for _, about, answers in questions if "setting" in about for a in answers]
        return cls("\n\n".join(sections), tuple(asked), content(said), tuple(places))

    def speaks_of(self, name: str) -> bool:
        """Whether a question or answer has all meaning words of a name."""
        words = content(name)
        return bool(words) and words <= self.said

    def answered(self, names: Sequence[str]) -> int:
        """How many of the questions that ask who are answered by one of the names."""
        return sum(any(same_name(n, a) for n in names for a in answers) for answers in self.asked)


def characters(entities: Entities, tales: Sequence[Tale]) -> npt.NDArray[np.int64]:
    """1 for entities of the tales who are characters, else 0, shape [entities].

    They are answers to a question that asks who, or mentioned `OFTEN` and spoken of.
    """
    counts = entities.counts.tolist()
    result = np.zeros(len(entities), dtype=np.int64)
    for number, doc in enumerate(entities.doc.tolist()):
        tale, forms = tales[doc], list(entities.forms(number))
        result[number] = tale.answered(forms) > 0 or (
            counts[number] >= OFTEN and any(tale.speaks_of(form) for form in forms)
        )
    return result
