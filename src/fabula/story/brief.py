"""The brief: what a reader asks of a story, every part of it optional.

The closed lists follow the classic short story: Freytag's five beats, and the six arcs of
Reagan et al. 2016, *The emotional arcs of stories are dominated by six basic shapes*.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

Arc = Literal[
    "rags to riches", "riches to rags", "man in a hole", "icarus", "cinderella", "oedipus"
]
Ending = Literal["happy", "sad", "bittersweet", "open", "twist"]
PointOfView = Literal["first", "second", "third"]
Role = Literal["protagonist", "antagonist", "ally", "other"]

ARCS: tuple[str, ...] = get_args(Arc)
ENDINGS: tuple[str, ...] = get_args(Ending)
POINTS_OF_VIEW: tuple[str, ...] = get_args(PointOfView)
ROLES: tuple[str, ...] = get_args(Role)
# Genre and tone are free text; these are the ones the sample corpus is labelled with.
GENRES = (
    "adventure", "comedy", "crime", "drama", "fairy tale", "fantasy", "ghost story",
    "historical", "horror", "mystery", "romance", "science fiction", "slice of life", "western",
)  # fmt: skip
TONES = (
    "hopeful", "wistful", "funny", "eerie", "tense", "tender", "dark", "playful", "solemn", "warm",
)  # fmt: skip

# Which way each arc moves last: a happy end after a fall, or a sad one after a rise, is a
# contradiction (none of the sample corpus's stories has one).
RISING_ARCS = frozenset({"rags to riches", "man in a hole", "cinderella"})
FALLING_ARCS = frozenset({"riches to rags", "icarus", "oedipus"})

MAX_LINE = 300
MAX_PREMISE = 2_000
MAX_LIST = 12


def _single_line(value: str) -> str:
    """Strip a one-line wish; refuse what no reader can mean: control characters."""
    value = value.strip()
    for char in value if not value.isprintable() else "":
        if unicodedata.category(char) == "Cc" and char not in "\n\t":
            raise ValueError(f"holds the control character U+{ord(char):04X}; take it out")
    if not value:
        raise ValueError("is empty; leave the key out instead")
    return value


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


Line = Annotated[str, Field(max_length=MAX_LINE), AfterValidator(_single_line)]
Premise = Annotated[str, Field(max_length=MAX_PREMISE), AfterValidator(_single_line)]


class Model(BaseModel):
    """Base of all vocabulary: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Character(Model):
    """Somebody in the story. A character without a name is known by traits alone."""

    name: Line | None = None
    role: Annotated[Role, BeforeValidator(_lower)] = "protagonist"
    traits: Annotated[list[Line], Field(max_length=MAX_LIST)] = []

    @field_validator("traits", mode="before")
    @classmethod
    def _accept_labelled_traits(cls, value: Any) -> Any:
        # The sample corpus labels a trait as {"trait": ..., "evidence": ...}.
        if not isinstance(value, list):
            return value
        return [t["trait"] if isinstance(t, dict) and "trait" in t else t for t in value]

    @model_validator(mode="after")
    def _says_something(self) -> Character:
        if self.name is None and not self.traits:
            raise ValueError("has neither a name nor a trait; give at least one")
        return self


class Setting(Model):
    """Where and when the story happens."""

    place: Line | None = None
    time: Line | None = None


class Brief(Model):
    """A reader's preferences for one story: the metadata tags a model is trained on.

    Attributes:
        characters: who is in it; the first is the protagonist unless roles say otherwise.
        setting: place and time.
        genre: free text; `GENRES` lists those of the sample corpus.
        tone: free text; `TONES` lists those of the sample corpus.
        arc: the shape of the protagonist's fortune, one of `ARCS`.
        ending: one of `ENDINGS`.
        point_of_view: one of `POINTS_OF_VIEW`.
        must_include: short phrases that have to occur in the text.
        theme: what the story is about, underneath.
        title: the title it should carry.
        length: wished length in words.
        premise: the writing prompt, one or two sentences.
    """

    title: Line | None = None
    characters: Annotated[list[Character], Field(max_length=MAX_LIST)] = []
    setting: Setting | None = None
    genre: Annotated[Line, BeforeValidator(_lower)] | None = None
    tone: Annotated[Line, BeforeValidator(_lower)] | None = None
    arc: Annotated[Arc, BeforeValidator(_lower)] | None = None
    ending: Annotated[Ending, BeforeValidator(_lower)] | None = None
    point_of_view: Annotated[PointOfView, BeforeValidator(_lower)] | None = None
    must_include: Annotated[list[Line], Field(max_length=MAX_LIST)] = []
    theme: Line | None = None
    length: Annotated[int, Field(ge=20, le=20_000)] | None = None
    premise: Premise | None = None

    @field_validator("setting", mode="after")
    @classmethod
    def _drop_empty_setting(cls, value: Setting | None) -> Setting | None:
        return None if value is not None and value == Setting() else value

    @model_validator(mode="after")
    def _no_contradiction(self) -> Brief:
        names = [c.name.casefold() for c in self.characters if c.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"contradicts itself: two characters are called '{name}'; rename one"
                )
        if self.ending == "happy" and self.arc in FALLING_ARCS:
            raise ValueError(
                f"contradicts itself: the arc '{self.arc}' ends in a fall, the ending is 'happy'; "
                "change one of the two"
            )
        if self.ending == "sad" and self.arc in RISING_ARCS:
            raise ValueError(
                f"contradicts itself: the arc '{self.arc}' ends in a rise, the ending is 'sad'; "
                "change one of the two"
            )
        if self.length is not None:
            wanted = sum(len(phrase.split()) for phrase in self.must_include)
            if wanted * 2 > self.length:
                raise ValueError(
                    f"contradicts itself: the things that must occur take {wanted} words, "
                    f"which does not fit a story of {self.length}; ask for a longer one"
                )
        return self

    @property
    def is_empty(self) -> bool:
        """True where the reader wished for nothing at all."""
        return self == Brief()

    @property
    def protagonist(self) -> Character | None:
        """The first character with that role, if any."""
        return next((c for c in self.characters if c.role == "protagonist"), None)
