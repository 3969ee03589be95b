"""Places and things of simple stories: nouns with a regular plural, to be swapped in training."""

from __future__ import annotations

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
