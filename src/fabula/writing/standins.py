"""Stand-ins: a name that a small model cannot spell is lent one that it can.

A model of a few million parameters copies "Mara" faithfully and stumbles over "Oyelaran". Where
a model comes with a list of the names it knows, a name that is not among them is replaced by a
known one in all that the model sees, and put back in all that it writes (delexicalisation; Wen
et al. 2015, *Semantically conditioned LSTM-based natural language generation*). Titles and
lower-case descriptions ("Dr", "the old miller") stay as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from fabula.engines.choose import EMBEDDED, adapter_base, embedded_folder, is_adapter
from fabula.errors import FabulaError
from fabula.reading.phrases import name_parts
from fabula.story import Brief, Character, Outline, read_text, validate
from fabula.story.brief import Model
from fabula.writing.sampling import dice

Gender = Literal["female", "male", "neutral"]
GENDERS: tuple[Gender, ...] = get_args(Gender)
NAMES_FILE = "names.json"

_GENDERED = {
    "female": frozenset(
        "mrs ms miss lady dame madam madame queen princess empress duchess countess mother sister "
        "aunt auntie grandmother grandma granny nana widow mistress girl woman daughter wife she "
        "her hers herself witch heroine nun".split()
    ),
    "male": frozenset(
        "mr mister sir lord king prince emperor duke count baron father brother uncle grandfather "
        "grandpa master boy man son husband he him his himself wizard monk".split()
    ),
}
_WORD = re.compile(r"[^\W\d_]+")


class KnownNames(Model):
    """Names that a model was trained on, by the pronoun they mostly went with."""

    female: list[str] = Field(default_factory=list)
    male: list[str] = Field(default_factory=list)
    neutral: list[str] = Field(default_factory=list)

    def tokens(self, encode: Callable[[str], list[int]]) -> dict[str, int]:
        """The names (lower case) that are one token in the middle of a sentence, and which."""
        spelled = ((n, encode(" " + n)) for g in GENDERS for n in getattr(self, g))
        return {name.casefold(): ids[0] for name, ids in spelled if len(ids) == 1}

    @property
    def every(self) -> frozenset[str]:
        """All of them, in lower case."""
        return frozenset(n.casefold() for g in GENDERS for n in getattr(self, g))


def load_names(path: Path) -> KnownNames:
    """Read a model's list of names.

    Raises:
        FabulaError: the file is damaged.
    """
    try:
        data = json.loads(read_text(path, 1_000_000))
    except ValueError as error:
        raise FabulaError(f"{path}: not JSON ({error}); fetch the model again.") from None
    return validate(KnownNames, data, str(path))


def names_known(model: str) -> KnownNames | None:
    """The list that comes with a model (or with the base of an adapter), if there is one.

    Args:
        model: the name that an engine was opened by.
    """
    folder = embedded_folder() if model == EMBEDDED else Path(model)
    if is_adapter(folder):
        return names_known(adapter_base(folder))
    path = folder / NAMES_FILE
    return load_names(path) if path.is_file() else None


def _bounded(name: str, flags: int = 0) -> re.Pattern[str]:
    """A name as a whole word, its inner white space free."""
    body = r"\s+".join(map(re.escape, name.split()))
    left = r"(?<!\w)" if name[0].isalnum() else ""
    right = r"(?!\w)" if name[-1].isalnum() else ""
    return re.compile(left + body + right, flags)


def core(name: str) -> list[str]:
    """The proper parts of a name: no titles, no lower-case words."""
    return [part for part in name_parts(name) if not part[0].islower()]


def guess_gender(character: Character, brief: Brief) -> Gender:
    """From titles and traits, from the pronouns near the name, else from its ending."""
    name = character.name or ""
    said = [w.casefold() for t in (name, *character.traits) for w in _WORD.findall(t)]
    for text in (brief.premise, brief.theme):
        if text and (found := _bounded(name, re.IGNORECASE).search(text)):
            said += [w.casefold() for w in _WORD.findall(text[found.start() : found.end() + 120])]
    counts = {g: sum(w in words for w in said) for g, words in _GENDERED.items()}
    if counts["female"] != counts["male"]:
        return "female" if counts["female"] > counts["male"] else "male"
    first = core(name)[0].casefold() if core(name) else ""
    return "female" if first.endswith("a") else "neutral"


class StandIns:
    """A brief's names and the ones that the model sees instead.

    Attributes:
        pairs: (name in the brief without titles, stand-in), longest name first.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = sorted(pairs, key=lambda pair: (-len(pair[0]), pair[0]))
        self._hide = [
            (_bounded(form, re.IGNORECASE if form == real else 0), stand)
            for real, stand in self.pairs
            for form in dict.fromkeys([real, *real.split()])
            if form == real or len(form) > 1
        ]
        self._real = {stand: real for real, stand in self.pairs}
        stands = "|".join(re.escape(s) for s in sorted(self._real, key=len, reverse=True))
        upper = "|".join(re.escape(s.upper()) for s in sorted(self._real, key=len, reverse=True))
        self._show = re.compile(rf"(?<!\w)(?:({stands})|({upper}))(?!\w)") if stands else None
        self._shouted = {s.upper(): s for s in self._real}

    @classmethod
    def choose(
        cls, brief: Brief, known: KnownNames | None, seed: int, spells: Callable[[str], bool]
    ) -> StandIns:
        """Lend a known name to every name of the brief that the model may not spell.

        Args:
            known: the model's list; None lends nothing.
            seed: decides which.
            spells: whether a word is one the model writes in one piece.
        """
        if known is None:
            return cls()
        every = known.every
        words = {w.casefold() for text in _strings(brief) for w in _WORD.findall(text)}
        rng = dice(seed, "stand-ins")
        pairs: list[tuple[str, str]] = []
        for character in brief.characters:
            parts = core(character.name) if character.name else []
            if not parts or all(p.casefold() in every or spells(p) for p in parts):
                continue
            gender = guess_gender(character, brief)
            options = getattr(known, gender) or known.neutral or known.female or known.male
            free = [n for n in options if n.istitle() and n.casefold() not in words]
            free = [n for n in free if _WORD.fullmatch(n)]
            if not free:
                continue
            stand = free[int(rng.integers(len(free)))]
            words.add(stand.casefold())
            pairs.append((" ".join(parts), stand))
        return cls(pairs)

    def hide(self, text: str) -> str:
        """What the model sees of a text of the reader's."""
        for pattern, stand in self._hide:
            text = pattern.sub(stand, text)
        return text

    def show(self, text: str, said: set[str] | None = None) -> str:
        """Put the real names back into what the model wrote.

        A name of several parts stands whole where it is first said, and by its first part after
        that. `said` carries on from one text to the next; it is updated.
        """
        if self._show is None:
            return text
        said = set() if said is None else said

        def put_back(match: re.Match[str]) -> str:
            stand = match[1] or self._shouted[match[2]]
            real = self._real[stand]
            name = real.split()[0] if stand in said else real
            said.add(stand)
            return name if match[1] else name.upper()

        return self._show.sub(put_back, text)

    def hide_brief(self, brief: Brief) -> Brief:
        """The brief that the model sees."""
        if not self.pairs:
            return brief
        return Brief.model_validate(_map_strings(brief.model_dump(exclude_none=True), self.hide))

    def hide_outline(self, outline: Outline) -> Outline:
        """The outline that the model sees."""
        beats = [b.model_copy(update={"summary": self.hide(b.summary)}) for b in outline.beats]
        return Outline(beats=beats)


_CLOSED = frozenset({"role", "arc", "ending", "point_of_view", "genre", "tone"})


def _map_strings(value: object, change: Callable[[str], str], key: str = "") -> object:
    if isinstance(value, str):
        return value if key in _CLOSED else change(value)
    if isinstance(value, list):
        return [_map_strings(v, change, key) for v in value]
    if isinstance(value, dict):
        return {k: _map_strings(v, change, k) for k, v in value.items()}
    return value


def _strings(brief: Brief) -> list[str]:
    found: list[str] = []

    def note(text: str) -> str:
        found.append(text)
        return text

    _map_strings(brief.model_dump(exclude_none=True), note)
    return found
