"""Words of a text: counted, cut, compared; all that looks at one story alone.

Two notions of a word, never mixed: *written words* are what stands between white space (counts,
cuts, perplexities, as in Fan et al. 2018), *spoken words* are runs of letters, digits and
apostrophes in lower case (repetition, diversity, shared spans), so that punctuation and case do
not hide a repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_WRITTEN = re.compile(r"\S+")
_SPOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_END = re.compile(r"""[.!?…][\s"'”’)\]*_]*$""")

DISTINCT_WORDS = 150


def written_words(text: str) -> int:
    """Number of runs of non-space characters."""
    return sum(1 for _ in _WRITTEN.finditer(text))


def spoken_words(text: str) -> list[str]:
    """Words in lower case, without punctuation; curly apostrophes are made straight."""
    return [w.replace("’", "'") for w in _SPOKEN.findall(text.lower())]


def first_words(text: str, count: int) -> str:
    """The text up to the end of its written word number `count`, white space kept."""
    for number, match in enumerate(_WRITTEN.finditer(text), 1):
        if number == count:
            return text[: match.end()]
    return text


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of n words, in order."""
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def distinct(text: str, n: int, words: int = DISTINCT_WORDS) -> float | None:
    """Distinct n-grams over all n-grams among the first `words` spoken words.

    Li et al. 2016's distinct-n, within one story and at a fixed length, because it falls with
    length. None for a story shorter than that.
    """
    start = spoken_words(text)[:words]
    if len(start) < words:
        return None
    grams = ngrams(start, n)
    return len(set(grams)) / len(grams)


def ends_on_a_sentence(text: str) -> bool:
    """Whether the last thing is the end of a sentence, quotation marks and brackets aside."""
    return _END.search(text) is not None
