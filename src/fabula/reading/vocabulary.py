"""Every word form that was met, numbered, with what is known of it as columns.

A text becomes an array of numbers in one pass of a compiled pattern and a dictionary; all that
reading asks of a word after that is an index into a column. A form is described once, when it is
first met.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading import classes
from fabula.reading.inflection import singular, trait_forms
from fabula.reading.store import lexicon

MOST_FORMS = 400_000
"""The shipped vocabulary begins anew at so many forms, so that memory stays bounded."""

START = 0  # the form that opens every text
# What a form is.
WORD, MARK = 0, 1
# What a mark says of the gap between two words.
COMMA, QUOTE, STOP, PARAGRAPH, OPENS, OTHER = (1 << n for n in range(6))
# What a mark does to speech.
NOTHING, SPEAK, SILENT, TOGGLE = range(4)

_MARKS: dict[str, tuple[int, int]] = {
    ",": (COMMA, NOTHING), "(": (OPENS, NOTHING), ":": (OPENS, NOTHING), '"': (QUOTE, TOGGLE),
    "“": (QUOTE, SPEAK), "„": (QUOTE, SPEAK), "«": (QUOTE, SPEAK), "``": (QUOTE, SPEAK),
    "”": (QUOTE, SILENT), "»": (QUOTE, SILENT), "''": (QUOTE, SILENT),
}  # fmt: skip


SIGN_BITS = 18


def pair_sign(code: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where the sign of a pair's code stands: its product's upper bits (Fibonacci hashing)."""
    mixed = code.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(64 - SIGN_BITS)).astype(np.int64)


class Column:
    """A growing array."""

    def __init__(self, dtype: Any) -> None:
        self._data: npt.NDArray[Any] = np.zeros(1024, dtype=dtype)
        self._size = 0
        self.pending: list[Any] = []

    def array(self) -> npt.NDArray[Any]:
        """All values so far."""
        if self.pending:
            end = self._size + len(self.pending)
            if end > len(self._data):
                grown = np.zeros(max(end, 2 * len(self._data)), dtype=self._data.dtype)
                grown[: self._size] = self._data[: self._size]
                self._data = grown
            self._data[self._size : end] = self.pending
            self._size = end
            self.pending.clear()
        return self._data[: self._size]


class _Forms(dict[str, int]):
    """Number of each form; a new one is described on the spot."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, form: str) -> int:
        number = self[form] = len(self)
        self._vocabulary.describe(form)
        return number


class _Lows(dict[str, int]):
    """Number of each lower-case word."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, low: str) -> int:
        number = self[low] = len(self)
        self._vocabulary.describe_low(low)
        return number


class Vocabulary:
    """Numbers for words, and columns of what is known of them.

    Attributes:
        forms: number of each form as it stands in texts ("Mara's"), marks among them.
        lows: number of each word, lower-case, apostrophes straight, without a possessive ``'s``.
        written: of each form, itself.
        shown: of each form, the word without its possessive ``'s``.
        words: of each low, the word.

    Columns by form: `kind`, `low`, `capital` (a capital that is no shouting), `upper` (its first
    letter is a capital), `owns` (a possessive ``'s``), `gap` and `speech` (of marks).
    Columns by low: `bits` (see classes.py), `noun` (log odds), `place`, `trait` (numbers into
    `places` and `traits`, -1 for none), `vector`, `term`, `paired` (rows of the tables of
    features.py, -1 for none), `rarity`, `season` (see
    classes.py), `adverb` (a trait's adverb).
    """

    def __init__(
        self,
        *,
        known: frozenset[str] = frozenset(),
        modifiers: frozenset[str] = frozenset(),
        nouns: Mapping[str, float] | None = None,
        places: Mapping[str, float] | None = None,
        traits: Mapping[str, float] | None = None,
        vectors: Mapping[str, int] | None = None,
        terms: Mapping[str, int] | None = None,
    ) -> None:
        self._known, self._modifiers = known, modifiers
        self._nouns, self._vectors, self._terms = nouns or {}, vectors or {}, terms or {}
        self.places = sorted(places or {})
        self.place_priors = np.array([(places or {})[p] for p in self.places])
        self._places = {p: n for n, p in enumerate(self.places)}
        self.traits = sorted(traits or {})
        self.trait_priors = np.array([(traits or {})[t] for t in self.traits])
        number = {t: n for n, t in enumerate(self.traits)}
        self._traits = {form: number[t] for form, t in trait_forms(traits or {}).items()}
        pairs = [t.split(" ") for t in self._terms if " " in t]
        partners = sorted({w for pair in pairs for w in pair})
        self._paired = {w: n for n, w in enumerate(partners)}
        codes = [self._paired[a] * len(partners) + self._paired[b] for a, b in pairs]
        order = np.argsort(codes, kind="stable")
        self.partners = len(partners)
        self.pair_codes = np.array(codes, dtype=np.int64)[order]
        self.pair_signs = np.zeros(1 << SIGN_BITS, dtype=np.bool_)
        self.pair_signs[pair_sign(self.pair_codes)] = True
        columns = [self._terms[f"{a} {b}"] for a, b in pairs]
        self.pair_terms = np.array(columns, dtype=np.int64)[order]
        self.forms, self.lows = _Forms(self), _Lows(self)
        self.written: list[str] = []
        self.shown: list[str] = []
        self.words: list[str] = []
        self._columns = {
            name: Column(dtype)
            for name, dtype in (
                ("kind", np.uint8), ("low", np.int64), ("capital", np.bool_),
                ("upper", np.bool_), ("owns", np.bool_), ("gap", np.uint8),
                ("speech", np.uint8), ("bits", np.int64), ("noun", np.float64),
                ("place", np.int64), ("trait", np.int64), ("vector", np.int64),
                ("term", np.int64), ("paired", np.int64), ("rarity", np.float64),
                ("season", np.int8), ("adverb", np.bool_),
            )
        }  # fmt: skip
        self._form = [self._columns[n].pending for n in
                      ("kind", "low", "capital", "upper", "owns", "gap", "speech")]  # fmt: skip
        self._low = [self._columns[n].pending for n in
                     ("bits", "noun", "place", "trait", "vector", "term", "paired", "rarity",
                      "season", "adverb")]  # fmt: skip
        assert self.forms["\x00"] == START

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column; of forms or of lows."""
        return self._columns[name].array()

    def describe(self, form: str) -> None:
        """Fill the columns of a new form."""
        self.written.append(form)
        first = form[0]
        if not first.isalnum():
            self._mark(form)
            return
        word, low, owns = form, form.lower(), False
        if "’" in low or "'" in low:
            low = low.replace("’", "'")
            owns = low.endswith("'s") and len(low) > 2
            if owns:
                word, low = word[:-2], low[:-2]
        upper = first.isupper()
        capital = upper and (len(word) == 1 or not word.isupper())
        self.shown.append(word)
        for column, value in zip(
            self._form, (WORD, self.lows[low], capital, upper, owns, 0, NOTHING), strict=True
        ):
            column.append(value)

    def _mark(self, form: str) -> None:
        if form in _MARKS:
            gap, speech = _MARKS[form]
        elif form[0] in ".!?…":
            gap, speech = STOP, NOTHING
        elif form == "\x00" or form[0] == "\u2029" or (form[0] == "\n" and len(form) > 1):
            gap, speech = (0 if form == "\x00" else PARAGRAPH), SILENT
        else:
            gap, speech = OTHER, NOTHING
        self.shown.append(form)
        for column, value in zip(
            self._form, (MARK, 0, False, False, False, gap, speech), strict=True
        ):
            column.append(value)

    def describe_low(self, low: str) -> None:
        """Fill the columns of a new word."""
        bits = classes.closed_bits(low)
        if low in self._known:
            bits |= classes.KNOWN
        if low in self._modifiers:
            bits |= classes.MODIFIERS
        if low in self._nouns:
            bits |= classes.NOUNS
        place = self._places.get(low, -1)
        if place < 0:
            place = self._places.get(singular(low), -1)
        vector = self._vectors.get(low, -1)
        trait = self._traits.get(low, -1)
        self.words.append(low)
        for column, value in zip(
            self._low,
            (
                bits, self._nouns.get(low, 0.0), place, trait, vector,
                self._terms.get(low, -1), self._paired.get(low, -1),
                float(np.log1p(vector)) if vector >= 0 else 6.0, classes.season(low),
                trait >= 0 and self.traits[trait] != low,
            ),
            strict=True,
        ):  # fmt: skip
            column.append(value)


_current: list[Vocabulary] = []


def vocabulary() -> Vocabulary:
    """The shipped vocabulary."""
    if not _current or len(_current[0].forms) > MOST_FORMS:
        _current[:] = [Vocabulary(**_learnt())]
    return _current[0]


@cache
def _learnt() -> dict[str, Any]:
    data = lexicon()
    return {
        "known": frozenset(data["known"].split()),
        "modifiers": frozenset(data["modifiers"].split()) | frozenset(data["nouns"]),
        "nouns": data["nouns"],
        "places": data["places"],
        "traits": data["traits"],
        "vectors": {word: i for i, word in enumerate(data["words"].split("\n"))},
        "terms": {term: i for i, term in enumerate(data["terms"].split("\n"))},
    }
