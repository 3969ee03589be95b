"""A stock of places, things and traits that fit many stories.

The nouns have a regular plural, so that training can swap them; story trees draw from the stock
where any place, thing or trait will do.
"""

from __future__ import annotations

import random

PLACES = tuple(
    """
    airport attic bakery bank barn bay beach bridge cabin cafe camp canal castle cave cellar
    chapel church circus clinic cottage court cove dam desert dock factory farm ferry field
    forest fort garage garden harbour hill hospital hotel house hut inn island jail jungle
    kitchen lake library lighthouse market meadow mill mine monastery moor mountain museum
    office orchard palace park pond port prison quarry ranch river school shed ship shop
    spaceship stable station street swamp temple tent theatre tower town train tunnel valley
    village vineyard well windmill workshop yard zoo
    """.split()
)

THINGS = tuple(
    """
    anchor apple apron arrow axe bag ball balloon banner barrel basket bell bicycle blanket boat
    book boot bottle bow bowl box bracelet bread broom brush bucket button cake camera candle
    cane cap car card carpet cart chain chair cheese clock coat coin comb compass cookie cork
    cradle crate crown cup diamond diary doll door drum egg envelope feather fiddle flag flower
    flute fork gate glove guitar hammer harp hat helmet horn jar jewel kettle key kite knife
    ladder lamp lantern leaf letter lock machine map mask medal mirror mitten necklace needle
    net oar parcel pearl pebble pen pencil photo piano pie pillow pipe plate pot puppet purse
    puzzle quilt radio ribbon ring robot rock rope rug sack saddle sail scarf seed shell shoe
    shovel sled spoon statue stick stone stool suitcase sword table teapot telescope ticket
    torch toy tree trumpet umbrella vase violin wagon watch wheel whistle
    """.split()
)

_TOO_BIG = frozenset(
    "anchor boat car carpet cart chain chair door drum fiddle gate ladder machine piano rug sail "
    "sled statue table tree wagon wheel stool suitcase sack barrel rock harp".split()
)
HAND_THINGS = tuple(t for t in THINGS if t not in _TOO_BIG)
"""Things that a hand can hold."""

QUALITIES = tuple(
    """
    old new small little tiny big heavy plain broken cracked dusty dented rusty torn worn bent
    chipped painted polished carved folded red blue green yellow white black grey brown purple
    orange silver golden copper brass tin iron wooden glass paper leather clay stone woollen bone
    striped spotted round square wet cold warm burnt empty lost borrowed stolen forgotten secret
    strange ugly pretty lucky fine cheap precious
    """.split()
)

_MORE_THINGS = (
    "a bag of salt",
    "a ball of string",
    "a bar of soap",
    "a bottle of ink",
    "a box of matches",
    "a bundle of letters",
    "a cup of tea",
    "a jar of honey",
    "a loaf of bread",
    "a pair of gloves",
    "a pot of glue",
    "a rubber duck",
    "a sack of seeds",
    "a silk scarf",
    "a train ticket",
    "a pocket watch",
    "a wedding ring",
    "a tin whistle",
    "a music box",
    "a snow globe",
    "a fishing net",
    "a chess piece",
    "a birthday cake",
    "a love letter",
    "an alarm clock",
    "an oil lamp",
    "an unsent letter",
    "an iron key",
)

_MORE_PLACES = (
    "a space station",
    "a moon base",
    "a night train",
    "a research station",
    "a cargo ship",
    "a fishing village",
    "a mountain pass",
    "a mountain village",
    "a mining town",
    "a market square",
    "a boarding house",
    "a bus station",
    "a railway station",
    "a wine cellar",
    "a rose garden",
    "a coffee shop",
    "a flower shop",
    "a toy shop",
    "a book shop",
    "a frozen lake",
    "a desert town",
    "a harbour town",
    "a country road",
    "a pine forest",
    "a coral island",
    "a border post",
    "a great hall",
    "a city roof",
    "an ice station",
    "an apple orchard",
    "an old theatre",
    "an island farm",
    "the edge of a forest",
    "the royal kitchen",
)
_PLACE_QUALITIES = tuple(
    "old small little quiet lonely dusty busy poor rich cold windy narrow empty crowded ruined "
    "famous hidden abandoned sunny snowy".split()
)
_PLACE_TAILS = tuple(
    """
    by the sea|by the river|in the hills|in the north|on the coast|near the border|under a volcano|
    at the edge of town|on the plain|in the mountains|by the old road|above the town
    """.replace("\n", "")
    .replace("    ", "")
    .split("|")
)


_SILENT = ("honest", "hour", "heir", "honour")


def article(word: str) -> str:
    """'a' or 'an', as it stands before a word in lower case."""
    return "an" if word[0] in "aeiou" or word.startswith(_SILENT) else "a"


def with_article(noun: str) -> str:
    """A noun with 'a' or 'an' before it."""
    return f"{article(noun)} {noun}"


def any_place(rng: random.Random) -> str:
    """A place of a story, such as 'a lighthouse' or 'a quiet mill in the hills'."""
    if rng.random() < 0.3:
        return rng.choice(_MORE_PLACES)
    noun = rng.choice(PLACES)
    if rng.random() < 0.35:
        noun = f"{rng.choice(_PLACE_QUALITIES)} {noun}"
    tail = f" {rng.choice(_PLACE_TAILS)}" if rng.random() < 0.15 else ""
    return with_article(noun) + tail


def any_thing(rng: random.Random) -> str:
    """A thing that a hand can hold, such as 'a broken clock'."""
    if rng.random() < 0.15:
        return rng.choice(_MORE_THINGS)
    noun = rng.choice(HAND_THINGS)
    if rng.random() < 0.8:
        noun = f"{rng.choice(QUALITIES)} {noun}"
    return with_article(noun)


TRAITS = tuple(
    """
    absent-minded adventurous ambitious anxious bold bossy brave bright calm careful careless
    caring cautious cheerful clever clumsy cold cruel cunning curious daring determined devoted
    dreamy dutiful eager faithful fearful fearless fierce firm foolish forgetful forgiving friendly
    frightened funny fussy generous gentle gloomy grateful greedy grumpy hardworking hasty helpful
    homesick honest hopeful humble hungry impatient inventive jealous jolly kind lazy lively lonely
    loud loyal merry mild mischievous modest nervous nosy obedient observant orderly patient playful
    polite pompous practical proud punctual quick quiet rash reckless reliable resourceful restless
    rude sad selfish sensible serious shrewd shy silent sleepy sly stern strict strong stubborn
    superstitious suspicious talkative tender thoughtful thrifty tidy timid tireless tough trusting
    truthful vain wary watchful weary wise witty worried
    """.split()
)
_TOLD = (
    "{name} was {trait}.",
    "{name} was {a trait} {person}.",
    "{name} had always been {trait}.",
    "Everyone knew how {trait} {name} was.",
    "People said that {name} was {trait}.",
    "{name} was {trait}, and it showed.",
)
_TOLD_FIRST = (
    "I was {trait}.",
    "I am {a trait} {person}.",
    "I have always been {trait}.",
    "Everyone knew how {trait} I was.",
    "People say that I am {trait}.",
    "I was {trait}, and I knew it.",
)
_SHOWN = (
    "{name} was still {trait}.",
    "{name} was as {trait} as ever.",
    "{name} stayed {trait} even now.",
)
_SHOWN_FIRST = (
    "I was still {trait}.",
    "I was as {trait} as ever.",
    "I stayed {trait} even now.",
)


def _say(forms: tuple[str, ...], trait: str, name: str, rng: random.Random) -> str:
    return rng.choice(forms).format(
        name=name,
        trait=trait,
        **{"a trait": with_article(trait)},
        person=rng.choice(("soul", "person")),
    )


def tell(trait: str, name: str, first: bool, rng: random.Random) -> str:
    """A sentence that says the trait of the hero."""
    return _say(_TOLD_FIRST if first else _TOLD, trait, name, rng)


def show(trait: str, name: str, first: bool, rng: random.Random) -> str:
    """A sentence that says it again, later."""
    return _say(_SHOWN_FIRST if first else _SHOWN, trait, name, rng)


def stock_words() -> str:
    """Everything in the stock, as one text: words that stories may be told in."""
    things = (*PLACES, *THINGS, *QUALITIES, *_MORE_THINGS, *_MORE_PLACES)
    return " ".join((*things, *_PLACE_QUALITIES, *_PLACE_TAILS, *TRAITS))
