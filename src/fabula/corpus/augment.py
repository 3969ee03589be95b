"""Multiply rare stories: rename characters, swap places, things and traits, consistently.

A name that stands in the brief, the outline and the text is changed in all of them at once, so
that the only way to predict it is to look it up in the brief (delexicalisation in reverse; Wen et
al. 2015). Everything is a pure function of the example and the random generator.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from fabula.corpus.names import GENDER, POOLS, TITLES
from fabula.story import Beat, Brief, Outline, Passage
from fabula.story.brief import Model
from fabula.story.stock import PLACES, QUALITIES, THINGS, TRAITS, article

_WORD = re.compile(r"[^\W\d_]+(?:[-'][^\W\d_]+)*")
_HE = re.compile(r"\b(?:he|him|his|himself)\b", re.IGNORECASE)
_SHE = re.compile(r"\b(?:she|her|hers|herself)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+[.!?\"]*")


class Example(Model):
    """One training example, before it is rendered."""

    id: str = ""
    brief: Brief
    premise: str | None = None
    outline: Outline | None = None
    passages: list[Passage]

    @property
    def text(self) -> str:
        """The story's text."""
        return "\n\n".join(p.text for p in self.passages)

    @property
    def words(self) -> int:
        """Words of the passages, parted by white space."""
        return sum(len(p.text.split()) for p in self.passages)


def given_name(name: str) -> str | None:
    """The part of a name that can be exchanged: its first capitalised word that is no title."""
    for word in _WORD.findall(name):
        if word[0].isupper() and word not in TITLES:
            return str(word)
    return None


def guess_gender(name: str, text: str) -> str | None:
    """The pronouns a name goes with: by the name itself, else by sentences around it.

    Returns:
        "female", "male", or None where neither is clear.
    """
    for word in _WORD.findall(name):
        if GENDER.get(word) in ("female", "male"):
            return GENDER[word]
    given = given_name(name)
    if given is None:
        return None
    sentences = _SENTENCE.findall(text)
    he = she = 0
    for i, sentence in enumerate(sentences):
        if given in sentence:
            near = sentence + (sentences[i + 1] if i + 1 < len(sentences) else "")
            he += len(_HE.findall(near))
            she += len(_SHE.findall(near))
    if max(he, she) >= 2 and max(he, she) >= 4 * min(he, she):
        return "male" if he > she else "female"
    return None


def _map_text(example: Example, change: Callable[[str], str]) -> Example:
    """Apply one change to every string of the example that a model sees."""
    brief = example.brief
    update: dict[str, object] = {
        "characters": [
            c.model_copy(
                update={
                    "name": change(c.name) if c.name else None,
                    "traits": [change(t) for t in c.traits],
                }
            )
            for c in brief.characters
        ],
        "must_include": [change(m) for m in brief.must_include],
    }
    for key in ("title", "theme", "premise"):
        if (value := getattr(brief, key)) is not None:
            update[key] = change(value)
    if brief.setting is not None and brief.setting.place is not None:
        update["setting"] = brief.setting.model_copy(update={"place": change(brief.setting.place)})
    return Example(
        id=example.id,
        brief=brief.model_copy(update=update),
        premise=change(example.premise) if example.premise is not None else None,
        outline=None
        if example.outline is None
        else Outline(
            beats=[Beat(beat=b.beat, summary=change(b.summary)) for b in example.outline.beats]
        ),
        passages=[Passage(beat=p.beat, text=change(p.text)) for p in example.passages],
    )


def rename_characters(example: Example, rng: random.Random) -> Example:
    """Give every character whose name can be exchanged a new one of the same pronouns."""
    text = example.text
    mapping: dict[str, str] = {}
    taken = {w for c in example.brief.characters for w in _WORD.findall(c.name or "")}
    for character in example.brief.characters:
        given = given_name(character.name) if character.name else None
        if given is None or given in mapping or re.search(rf"\b{given.lower()}\b", text):
            continue  # no name, done, or a word of the language ("Swift", "Moon")
        gender = guess_gender(character.name or "", text) or "neutral"
        pool = [n for n in POOLS[gender] if n not in taken and n not in text]
        if not pool:
            continue
        mapping[given] = rng.choice(pool)
        taken.add(mapping[given])
    if not mapping:
        return example
    both = {**mapping, **{k.upper(): v.upper() for k, v in mapping.items() if len(k) > 1}}
    pattern = re.compile(
        rf"\b(?:{'|'.join(map(re.escape, sorted(both, key=len, reverse=True)))})\b"
    )
    return _map_text(example, lambda s: pattern.sub(lambda m: both[m[0]], s))


def _swap_word(example: Example, old: str, new: str, *, noun: bool = True) -> Example:
    """Exchange a word everywhere: at a sentence's start, after a or an, and a noun's plural."""
    plural = "(s?)" if noun else "()"
    pattern = re.compile(rf"\b((?:an?|An?) )?({re.escape(old)}){plural}\b", re.IGNORECASE)

    def one(match: re.Match[str]) -> str:
        word = new[0].upper() + new[1:] if match[2][0].isupper() else new
        if match[3]:
            word += "es" if new.endswith(("s", "sh", "ch", "x")) else "s"
        return match[1][0] + article(new)[1:] + " " + word if match[1] else word

    return _map_text(example, lambda s: pattern.sub(one, s))


def swap_place(example: Example, rng: random.Random) -> Example:
    """Move the story: the place's noun becomes another of the list, wherever it stands."""
    setting = example.brief.setting
    if setting is None or setting.place is None:
        return example
    heads = [w for w in setting.place.lower().split() if w in PLACES]
    if not heads or heads[-1] not in example.text.lower():
        return example
    others = [p for p in PLACES if p not in example.text.lower()]
    return _swap_word(example, heads[-1], rng.choice(others)) if others else example


def swap_thing(example: Example, rng: random.Random) -> Example:
    """Change one wanted thing ("a red ball") for another, wherever its noun stands.

    What quality it has ("red") changes as often as not, if nothing else is called so.
    """
    for phrase in rng.sample(example.brief.must_include, len(example.brief.must_include)):
        *before, head = phrase.lower().split()
        if head not in THINGS:
            continue
        text = example.text.lower()
        others = [t for t in THINGS if t not in text]
        if not others:
            return example
        new = rng.choice(others)
        had = before[-1] if before else ""
        alone = had in QUALITIES and text.count(had) == text.count(f"{had} {head}")
        if alone and rng.random() < 0.5:
            quality = rng.choice([q for q in QUALITIES if q not in (new, head)])
            example = _swap_word(example, f"{had} {head}", f"{quality} {new}")
        return _swap_word(example, head, new)
    return example


_SAID_OF_THINGS = frozenset(
    "bright calm cold cunning determined fierce firm frightened funny gentle gloomy hungry kind "
    "lonely loud merry mild patient quick quiet rash sad serious silent sly stern strict strong "
    "tender tidy tough vain wild worried".split()
)
"""Traits that nights, voices and soup have too, or that are other words besides."""


def swap_trait(example: Example, rng: random.Random) -> Example:
    """Change one trait of one character ("brave") for another, wherever the word stands.

    What the character does stays as it was: the brief's word in the text is what is learnt.
    """
    text = example.text.lower()
    had = {t for c in example.brief.characters for t in c.traits}
    known = [t for t in sorted(had) if t in TRAITS and t not in _SAID_OF_THINGS]
    told = [t for t in known if re.search(rf"\b{t}\b", text)]
    others = [t for t in TRAITS if t not in had and t not in text]
    if not told or not others:
        return example
    return _swap_word(example, rng.choice(told), rng.choice(others), noun=False)


_DETERMINER = r"(?:an?|the|one|two|three|his|her|my|their)"
_STOP = (
    r"(?!(?:and|the|with|for|from|that|this|was|were|had|has|into|over|under|out|off|but|who|which|"
    r"when|then|not|all|any|some|than|him|them|they|you|your|our|are|can|very|same|other|day|time|way)\b)"
)
# A listed thing with what stands before it, or determiner + word + noun: a noun where a
# punctuation mark or a small word follows.
_PHRASE = re.compile(
    rf"\b(?:{_DETERMINER} )?{_STOP}[a-z]{{3,}} (?:{'|'.join(THINGS)})s?\b"
    rf"|\b{_DETERMINER} {_STOP}[a-z]{{3,}} {_STOP}[a-z]{{3,}}"
    r"(?=[.,;!?]| (?:and|in|on|at|with|of|to|from|was|for|by)\b)"
)


def wish_for_things(example: Example, rng: random.Random) -> Example:
    """Where a brief wishes for less than three things that must occur, wish for others that do.

    A brief that has such wishes gets one more at most, and as often as not.
    """
    had = example.brief.must_include
    if len(had) >= 3 or (had and rng.random() < 0.5):
        return example
    heads = {h.lower().split()[-1] for h in had}
    found = {m[0] for m in _PHRASE.finditer(example.text) if m[0].split()[-1].lower() not in heads}
    if not found:
        return example
    number = 1 if had else min(len(found), rng.choice((1, 1, 2)))
    wished = [*had, *rng.sample(sorted(found), number)]
    return example.model_copy(
        update={"brief": example.brief.model_copy(update={"must_include": wished})}
    )


class AugmentSettings(Model):
    """How often each change is made, as probabilities."""

    wish_for_things: float = 0.7

    rename_characters: float = 0.9
    swap_place: float = 0.2
    swap_thing: float = 0.2
    swap_trait: float = 0.0


def augment(example: Example, rng: random.Random, settings: AugmentSettings) -> Example:
    """One random variation of an example; the same generator state gives the same variation."""
    if rng.random() < settings.wish_for_things:
        example = wish_for_things(example, rng)
    if rng.random() < settings.rename_characters:
        example = rename_characters(example, rng)
    if rng.random() < settings.swap_place:
        example = swap_place(example, rng)
    if rng.random() < settings.swap_thing:
        example = swap_thing(example, rng)
    if rng.random() < settings.swap_trait:
        example = swap_trait(example, rng)
    return example
