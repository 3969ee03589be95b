"""Story trees: their form, and walks through the trees of the package."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from fabula.errors import FabulaError
from fabula.story.trees import (
    ARC_TURNS,
    held_out,
    load_trees,
    own_trees,
    parse_tree,
    turns_needed,
    walk,
)
from fabula.training.sources import TREES, open_split

TREES_HERE = load_trees(own_trees())
HEAD = """genre: adventure
point_of_view: third
hero: Mara (she)
friend: Oke (he), a ferryman
tone up: hopeful | warm
tone down: solemn
place: a lighthouse | an old mill by the sea
thing: any
time: one autumn
trait shy: [Mara|She] was shy. // Shy or not, she spoke.
trait stubborn: Mara was stubborn. // She would not turn back.
"""


def small_tree(**changes: str) -> str:
    """A tree of short nodes; `changes` replace the text of nodes (spaces as underscores)."""
    nodes = {name: f"> Mara at {name}.\nAt {{the place}}: {name}." for name in turns_needed()}
    nodes["exposition"] = (
        "> Mara finds {a thing}.\nMara and Oke had {a thing} at {a place}. {trait}"
    )
    for name, node in nodes.items():
        if name.startswith("climax"):
            nodes[name] = node + " {trait again} [One|Two] {thing}."
    nodes["resolution up happy"] = "> It ends well.\n{The thing} was safe."
    nodes["resolution down sad"] = "> It ends badly.\n{The thing} was gone."
    nodes["premise"] = "Mara wants {the thing}."
    nodes |= {name.replace("_", " "): text for name, text in changes.items()}
    return HEAD + "".join(f"\n== {name}\n{text}\n" for name, text in nodes.items() if text)


@pytest.mark.parametrize("tree", TREES_HERE, ids=lambda t: t.name)
def test_every_walk_of_our_trees_is_true_of_its_brief(tree) -> None:
    for arc in ARC_TURNS:
        story = walk(tree, arc, random.Random(f"{tree.name} {arc}"))
        text = story.text.lower()
        told = [story.text, story.premise, *(b.summary for b in story.beats)]
        assert not re.search(r"[\[\]{}|]", " ".join(told))
        assert 150 <= len(story.text.split()) <= 450
        assert story.arc == arc
        assert story.must_include
        wishes = [re.sub(r"^(an?|the) ", "", w.lower()) for w in story.must_include]
        assert all(wish in text for wish in wishes)
        assert all(c.name.split()[0].lower() in text for c in story.characters)
        assert all(t.evidence in story.text for t in story.characters[0].traits)
        assert story.ending != ("sad" if ARC_TURNS[arc][-1] == "up" else "happy")
        assert "  " not in text


def test_a_walk_is_its_generators_alone() -> None:
    tree = parse_tree(small_tree(), "small.tree")
    one, two = (walk(tree, "icarus", random.Random(5)) for _ in range(2))
    assert one == two
    assert one != walk(tree, "icarus", random.Random(6))
    assert one.beats[2].text.startswith("At the")
    assert [b.summary for b in one.beats][1:4] == [
        "Mara at rising up.",
        "Mara at climax up down.",
        "Mara at falling up down down.",
    ]
    assert one.beats[4].text.endswith("was gone.")


def test_places_lose_their_tail_when_they_come_again() -> None:
    tree = parse_tree(small_tree(), "small.tree")
    found = {walk(tree, "icarus", random.Random(n)).text for n in range(20)}
    mills = [text for text in found if "an old mill by the sea" in text]
    assert mills
    assert all("At the old mill: rising up." in text for text in mills)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("genre: adventure\ncolour: red\n", "'colour: red' is no field"),
        (small_tree(rising_up=""), "'== rising up' is missing"),
        (small_tree(rising_up="Mara went.\nOn."), "starts with a line '> what happens'"),
        (small_tree(rising_up="> S.\nMara [went|ran."), "a stray '['"),
        (small_tree(rising_up="> S.\nMara {went}."), "a stray '{'"),
        (small_tree(rising_up="> S.\nMara saw a {thing}."), "write '{a thing}'"),
        (small_tree().replace("adventure", "advent"), "'genre' is 'advent'"),
        (small_tree().replace("Mara (she)", "Mara"), "'hero' is 'Mara'"),
        (small_tree(resolution_up_merry="> S.\nAll was well."), "'== resolution up merry'"),
        (small_tree() + "\n== rising up\n> S.\nTwice.\n", "is there twice"),
        (small_tree().replace("// Shy or not, she spoke.", ""), "'trait shy: told // shown'"),
    ],
)
def test_a_malformed_tree_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(FabulaError) as caught:
        parse_tree(text, "bad.tree")
    assert said in str(caught.value)
    assert "bad.tree" in str(caught.value)


def test_training_reads_walks_and_holds_whole_trees_out(tmp_path: Path) -> None:
    train, valid = open_split(TREES, "train"), open_split(TREES, "valid")
    learnt = {x.id.split(":")[0] for x in train.read(range(0, len(train), 7))}
    kept = {x.id.split(":")[0] for x in valid.read(range(len(valid)))}
    assert kept == {t.name for t in TREES_HERE if held_out(t)}
    assert not learnt & kept
    assert train.read([3]) == train.read([3])
    count = sum(not held_out(t) for t in TREES_HERE)
    again = train.read([3, 3 + 6 * count])
    assert again[0].brief.arc == again[1].brief.arc
    assert again[0].text != again[1].text
    (tmp_path / "small.tree").write_text(small_tree(), encoding="utf-8")
    both = [open_split(str(tmp_path), split) for split in ("train", "valid")]
    assert sorted(map(len, both)) in ([0, 6], [0, 600])
    with pytest.raises(FabulaError, match="no story trees"):
        load_trees(tmp_path / "none")
