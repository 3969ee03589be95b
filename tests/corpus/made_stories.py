"""Stories made for these tests: grammatical, endless in number, hardly a phrase in common."""

from __future__ import annotations

import random

NAMES = "Odalys Bram Ketu Solveig Pirro Ngozi Ivo Hanne Tadeo Wren".split()
VERBS = "carried dropped painted buried mended counted hid wrapped followed sold borrowed".split()
ADJECTIVES = "red broken tiny heavy borrowed silent golden crooked wet old bright torn".split()
NOUNS = (
    "kite kettle ladder drum saddle lamp basket bell oar scarf goose wheel mirror letter coat "
    "anchor violin melon gate pony"
).split()
PLACES = "harbour orchard quarry attic market tunnel meadow mill pier barn chapel river".split()
OPENINGS = ("One day", "Then", "The next morning", "At last", "That night", "But soon")


def story(number: int, sentences: int = 18) -> str:
    """Story `number`: three sentences a paragraph, about nine words a sentence."""
    dice = random.Random(number)
    name = dice.choice(NAMES)
    lines = []
    for index in range(sentences):
        opening = f"{OPENINGS[index // 3 % 6]} {name}" if index % 3 == 0 else name
        lines.append(
            f"{opening} {dice.choice(VERBS)} the {dice.choice(ADJECTIVES)} {dice.choice(NOUNS)} "
            f"behind a {dice.choice(ADJECTIVES)} {dice.choice(PLACES)}."
        )
    return "\n\n".join(" ".join(lines[i : i + 3]) for i in range(0, sentences, 3))
