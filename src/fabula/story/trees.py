"""Story trees: one situation told in many ways, where the reader's wishes decide the branch.

A tree is a text file: a head of fields, then nodes. The hero's fortune goes up or down three times
(rising action, climax, falling action), which gives the six arcs of Reagan et al. (2016); the
resolution depends on the last direction and on the ending wanted. Sentences hold alternatives
(``[a|b|c]``) and slots for the place and the things, so that a walk through a tree is a whole story
with a brief that is true of it, and two walks hardly share a paragraph. Walks are drawn while
training, as many as wanted; `docs/corpus.md` shows the file format.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from fabula.errors import FabulaError
from fabula.story.brief import ENDINGS, GENRES, TONES, Arc, Role, Setting
from fabula.story.files import read_text
from fabula.story.sample import LabelledBeat, LabelledCharacter, LabelledStory, LabelledTrait
from fabula.story.stock import TRAITS, any_place, any_thing, show, tell
from fabula.story.story import FREYTAG

UP, DOWN = "up", "down"
ARC_TURNS: dict[Arc, tuple[str, str, str]] = {
    "rags to riches": (UP, UP, UP),
    "riches to rags": (DOWN, DOWN, DOWN),
    "man in a hole": (DOWN, UP, UP),
    "icarus": (UP, DOWN, DOWN),
    "cinderella": (UP, DOWN, UP),
    "oedipus": (DOWN, UP, DOWN),
}
"""Direction of the hero's fortune in the rising action, the climax and the falling action."""
SUFFIX = ".tree"
ANY = "any"
MAX_BYTES = 200_000
_FIELDS = {
    *("genre", "point_of_view", "hero", "friend", "foe", "time", "place", "thing", "thing2"),
    *("tone up", "tone down", "theme up", "theme down"),
}
SLOT = re.compile(r"\{(?:(a|the|A|The) )?(place|thing|thing2|trait|trait again)\}")
_VAGUE = re.compile(r"\b(?<!\{)(the) (thing2?|place)\b(?!\})")
CHOICE = re.compile(r"\[([^\[\]]*)\]")
_TAIL = re.compile(r" (?:by|in|on|at|near|under|above|beside|behind|below|between) .*")
_PERSON = re.compile(r"(?P<name>[^(,]+?) \((?:she|he|they)\)(?:, .+)?")


@dataclass(frozen=True)
class Node:
    """A passage with alternatives and slots, and the sentence that sums it up."""

    summary: str
    text: str


@dataclass(frozen=True)
class Trait:
    """How a trait of the hero is told, and how it shows later."""

    name: str
    told: str
    shown: str


@dataclass(frozen=True)
class Tree:
    """One story tree; see the module's docstring.

    Attributes:
        people: (role, name) of hero, friend and foe.
        places, times, things, seconds: what may fill the slots; an empty tuple is "any".
        tones, themes: by the direction in which a walk ends.
        nodes: by name, such as "climax up down".
        endings: by direction, the endings that have a resolution.
    """

    name: str
    genre: str
    point_of_view: str
    people: tuple[tuple[Role, str], ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    things: tuple[str, ...]
    seconds: tuple[str, ...]
    tones: dict[str, tuple[str, ...]]
    themes: dict[str, str]
    traits: tuple[Trait, ...]
    premises: tuple[str, ...]
    nodes: dict[str, Node]
    endings: dict[str, tuple[str, ...]] = field(default_factory=dict)


def turns_needed() -> list[str]:
    """Names of the nodes that every tree has, but for the resolutions."""
    nodes = {"exposition"}
    for first, second, third in ARC_TURNS.values():
        nodes |= {f"rising {first}", f"climax {first} {second}"}
        nodes.add(f"falling {first} {second} {third}")
    return sorted(nodes)


def parse_tree(text: str, where: str) -> Tree:
    """Read a tree.

    Args:
        where: the file, for messages.

    Raises:
        FabulaError: the line or the part that is wrong, and what it should be.
    """
    head, nodes, traits, premises = _parts(text, where)

    def options(key: str) -> tuple[str, ...]:
        value = head.get(key, ANY)
        return () if value == ANY else tuple(v.strip() for v in value.split("|") if v.strip())

    def one_of(key: str, closed: tuple[str, ...]) -> tuple[str, ...]:
        values = options(key)
        if not values or (bad := [v for v in values if v not in closed]):
            wrong = f"is '{bad[0]}'" if values else "is missing"
            raise FabulaError(f"{where}: '{key}' {wrong}; it is one of {', '.join(closed)}.")
        return values

    people: list[tuple[Role, str]] = []
    roles: dict[str, Role] = {"hero": "protagonist", "friend": "ally", "foe": "antagonist"}
    for key, role in roles.items():
        value = head.get(key, "none")
        if value == "none":
            continue
        match = _PERSON.fullmatch(value)
        if match is None:
            raise FabulaError(f"{where}: '{key}' is '{value}'; write it as 'Mara (she), a baker'.")
        people.append((role, match["name"].strip()))
    if not people or people[0][0] != "protagonist":
        raise FabulaError(f"{where}: there is no hero.")
    endings: dict[str, list[str]] = {UP: [], DOWN: []}
    for name in nodes:
        if name.startswith("resolution "):
            _, direction, ending = [*name.split(" "), "", ""][:3]
            if direction not in endings or ending not in ENDINGS:
                raise FabulaError(f"{where}: '== {name}' is no resolution; 'up happy' is.")
            endings[direction].append(ending)
    missing = [n for n in turns_needed() if n not in nodes]
    missing += [f"resolution {d} ..." for d, found in endings.items() if not found]
    missing += [] if premises else ["premise"]
    if missing:
        raise FabulaError(f"{where}: the node '== {missing[0]}' is missing.")
    if len(traits) < 2:
        raise FabulaError(f"{where}: it needs two lines 'trait NAME: told // shown' or more.")
    return Tree(
        name=Path(where).stem,
        genre=one_of("genre", GENRES)[0],
        point_of_view=one_of("point_of_view", ("first", "third"))[0],
        people=tuple(people),
        places=options("place"),
        times=options("time"),
        things=options("thing"),
        seconds=options("thing2"),
        tones={d: one_of(f"tone {d}", TONES) for d in (UP, DOWN)},
        themes={d: head.get(f"theme {d}", "") for d in (UP, DOWN)},
        traits=tuple(traits),
        premises=tuple(premises),
        nodes=nodes,
        endings={d: tuple(found) for d, found in endings.items()},
    )


def _parts(text: str, where: str) -> tuple[dict[str, str], dict[str, Node], list[Trait], list[str]]:
    """Head fields, nodes, traits and premises, each checked for its form."""
    head: dict[str, str] = {}
    traits: list[Trait] = []
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.rstrip()
        if line.startswith("== "):
            name = " ".join(line[3:].split("(")[0].split()).lower()
            if name in blocks:
                raise FabulaError(f"{where}, line {number}: the node '{name}' is there twice.")
            current = blocks.setdefault(name, [])
        elif current is not None:
            current.append(line)
        elif line:
            key, colon, value = (part.strip() for part in line.partition(":"))
            if key.startswith("trait ") and colon:
                told, cut, shown = value.partition("//")
                if not cut or not told.strip() or not shown.strip():
                    raise FabulaError(
                        f"{where}, line {number}: a trait is 'trait shy: told // shown'."
                    )
                traits.append(Trait(key[6:].strip(), told.strip(), shown.strip()))
            elif colon and key in _FIELDS:
                head[key] = value
            else:
                raise FabulaError(f"{where}, line {number}: '{line[:50]}' is no field of a tree.")
    nodes: dict[str, Node] = {}
    premises: list[str] = []
    for name, lines in blocks.items():
        body = "\n".join(lines).strip()
        _check_marks(body, f"{where}, node '{name}'")
        if name == "premise":
            premises = [line for line in body.split("\n") if line.strip()]
            continue
        first, _, rest = body.partition("\n")
        if not first.startswith(">") or not rest.strip():
            raise FabulaError(
                f"{where}, node '{name}': it starts with a line '> what happens', then the text."
            )
        # An outline says which thing.
        summary = _VAGUE.sub(r"{\1 \2}", first[1:].strip())
        nodes[name] = Node(summary, re.sub(r"\n{2,}", "\n\n", rest.strip()))
    for trait in traits:
        for part in (trait.told, trait.shown):
            _check_marks(part, f"{where}, trait '{trait.name}'")
    return head, nodes, traits, premises


def _check_marks(text: str, where: str) -> None:
    """Alternatives are closed and do not nest; every slot is known."""
    rest = SLOT.sub("", CHOICE.sub(lambda m: m[1].replace("|", ""), text))
    for mark in "[]{}|":
        if mark in rest:
            at = rest.index(mark)
            raise FabulaError(
                f"{where}: a stray '{mark}' near '{rest[max(0, at - 30) : at + 20]}'; alternatives "
                "are [a|b], not nested, and slots are {a place}, {the thing}, {trait} and the like."
            )
    if wrong := re.search(r"\b(?:an?|the) \{(?:place|thing|thing2)\}", text, re.IGNORECASE):
        raise FabulaError(f"{where}: write '{{a thing}}', not '{wrong[0]}'.")


def _forms(phrase: str) -> dict[str, str]:
    """A phrase with its article indefinite, definite and bare; a place loses its tail later."""
    article, _, rest = phrase.partition(" ")
    if article in ("a", "an", "the") and rest:
        return {"a": phrase, "the": "the " + rest, "": rest}
    return {"a": phrase, "the": "the " + phrase, "": phrase}


def _fill(text: str, slots: dict[str, dict[str, str]], rng: random.Random) -> str:
    """Choose among the alternatives, then fill the slots."""

    def slot(match: re.Match[str]) -> str:
        article, name = match[1] or "", match[2]
        value = slots[name].get(article.lower(), "")
        return value[:1].upper() + value[1:] if article[:1].isupper() else value

    for _ in range(2):  # a trait's sentence has alternatives and slots of its own
        text = CHOICE.sub(lambda m: rng.choice(m[1].split("|")), text)
        text = SLOT.sub(slot, text)
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r" ?\n ?", "\n", text).strip()


def _traits(tree: Tree, rng: random.Random) -> list[Trait]:
    """One or two traits of the hero: the tree's own, or one of any story's."""
    own = rng.sample(tree.traits, 2)
    kind = rng.random()
    if kind < 0.55:
        return own[: 1 if kind < 0.4 else 2]
    name, first = tree.people[0][1].split()[0], tree.point_of_view == "first"
    trait = rng.choice([t for t in TRAITS if t not in {t.name for t in own}])
    told = tell(trait, name, first, rng)
    shown = show(trait, name, first, rng)
    general = Trait(trait, told, shown)
    return [general] if kind < 0.75 else [general, own[0]]


def _time(tree: Tree, rng: random.Random) -> tuple[str | None, str]:
    """The time of the brief, and the sentence that tells it (or nothing)."""
    if not tree.times or rng.random() < 0.4:
        return None, ""
    time = rng.choice(tree.times)
    if rng.random() < 0.15:
        return time, ""
    if time.split()[0] in ("one", "long", "once", "last", "this", "many", "some", "every"):
        return time, rng.choice((f"It was {time}. ", f"This was {time}. "))
    when = time if time.split()[0] in ("in", "on", "at", "during", "before", "after") else ""
    return time, rng.choice((f"It was {time}. ", f"This was {when or 'in ' + time}. "))


def _befriend(
    text: str, tree: Tree, taken: list[Trait], rng: random.Random
) -> tuple[str, list[LabelledTrait]]:
    """Now and then say in the exposition what the friend is like, after the first word of him."""
    names = [name for role, name in tree.people if role == "ally"]
    if not names or not names[0][0].isupper() or rng.random() < 0.6:
        return text, []
    name = names[0].split(",")[0]
    # Outside of what is said aloud, where a sentence ends.
    spoken = [m.span() for m in re.finditer(r'"[^"]*"', text)]
    at = text.find(name)
    ends = [
        m.end()
        for m in re.finditer(r"[.!?](?=\n| [A-Z])", text)
        if m.start() > at >= 0 and not any(a <= m.start() < b for a, b in spoken)
    ]
    if not ends:
        return text, []
    trait = rng.choice([t for t in TRAITS if t not in {t.name for t in taken}])
    told = tell(trait, name, False, rng)
    return (
        f"{text[: ends[0]]} {told}{text[ends[0] :]}",
        [LabelledTrait(trait=trait, evidence=_sentence(trait, told))],
    )


def walk(tree: Tree, arc: Arc, rng: random.Random) -> LabelledStory:
    """One story of a tree, along an arc; everything else is drawn from `rng`."""
    turns = ARC_TURNS[arc]
    end = turns[-1]
    ending = rng.choice(tree.endings[end])
    place = _forms(rng.choice(tree.places) if tree.places else any_place(rng))
    place |= {"the": _TAIL.sub("", place["the"]), "": _TAIL.sub("", place[""])}
    thing = _forms(rng.choice(tree.things) if tree.things else any_thing(rng))
    second = thing
    while second[""].split()[-1] == thing[""].split()[-1]:
        second = _forms(rng.choice(tree.seconds) if tree.seconds else any_thing(rng))
        if len(tree.seconds) == 1:
            break
    traits = _traits(tree, rng)
    slots = {
        "place": place,
        "thing": thing,
        "thing2": second,
        "trait": {"": " ".join(t.told for t in traits)},
        "trait again": {"": rng.choice(traits).shown},
    }
    names = [
        "exposition",
        f"rising {turns[0]}",
        f"climax {turns[0]} {turns[1]}",
        f"falling {' '.join(turns)}",
        f"resolution {end} {ending}",
    ]
    nodes = [tree.nodes[name] for name in names]
    time, dated = _time(tree, rng)
    texts = [_fill(node.text, slots, rng) for node in nodes]
    texts[0], friend = _befriend(dated + texts[0], tree, traits, rng)
    text = "\n\n".join(texts)
    wishes = [f["a"] for f in (thing, second) if f[""].lower() in text.lower()]
    if len(wishes) > 1 and rng.random() < 0.5:
        wishes = [rng.choice(wishes)]
    shown = [LabelledTrait(trait=t.name, evidence=_sentence(t.name, text)) for t in traits]
    return LabelledStory.model_validate(
        {
            "id": f"{tree.name}: {arc}, {ending}",
            "title": tree.name.replace("_", " ").replace("-", " ").capitalize(),
            "premise": _fill(rng.choice(tree.premises), slots, rng),
            "characters": [
                LabelledCharacter(
                    name=name,
                    role=role,
                    traits=shown if role == "protagonist" else friend if role == "ally" else [],
                )
                for role, name in tree.people
            ],
            "setting": Setting(place=place["a"], time=time),
            "genre": tree.genre,
            "tone": rng.choice(tree.tones[end]),
            "arc": arc,
            "ending": ending,
            "point_of_view": tree.point_of_view,
            "must_include": wishes,
            "theme": _fill(tree.themes[end], slots, rng),
            "beats": [
                LabelledBeat(beat=beat, summary=_fill(node.summary, slots, rng), text=told)
                for beat, node, told in zip(FREYTAG, nodes, texts, strict=True)
            ],
        }
    )


def _sentence(word: str, text: str) -> str:
    """The first sentence that has a word: the evidence of a trait."""
    found = re.findall(r"[^.!?\n]+[.!?]*", text)
    return next((s.strip() for s in found if word.lower() in s.lower()), "")


def tree_paths(folder: Path) -> list[Path]:
    """Files of all trees of a folder and its subfolders, in order."""
    return sorted(folder.rglob(f"*{SUFFIX}"))


def load_tree(path: Path) -> Tree:
    """Read a tree's file.

    Raises:
        FabulaError: it cannot be read, or is not well formed.
    """
    return parse_tree(read_text(path, MAX_BYTES), str(path))


def load_trees(folder: Path) -> list[Tree]:
    """All trees of a folder and its subfolders, in the order of their paths.

    Raises:
        FabulaError: there are none, or one is not well formed.
    """
    paths = tree_paths(folder)
    if not paths:
        raise FabulaError(f"There are no story trees (*{SUFFIX}) in {folder}.")
    return [load_tree(path) for path in paths]


def own_trees() -> Path:
    """Folder of the trees in the package."""
    return Path(str(files("fabula.data").joinpath("trees")))


def held_out(tree: Tree) -> bool:
    """Whether a tree is one of those, about one in twenty, that nothing learns from."""
    return hashlib.sha256(f"fabula tree {tree.name}".encode()).digest()[0] < 13
