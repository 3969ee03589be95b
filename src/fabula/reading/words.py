"""Word lists of our own: who speaks how, what is a person, what is a place.

Small closed lists only; what can be counted from stories is learnt (`fabula read --fit`).
"""

from __future__ import annotations

# Capitals that name no one.
NEVER_NAMES = frozenset(
    "i i'm i've i'd i'll monday tuesday wednesday thursday friday saturday sunday january "
    "february march april may june july august september october november december christmas "
    "easter english french german spanish italian american british chinese russian roman greek "
    "indian irish scottish welsh dutch latin europe america england france germany africa asia "
    "god lord ok okay tv mr mrs ms o oh yes no mars earth moon sun north south east west the a "
    "an and but then when if so she he it they we you my his her their our its this that there "
    "here what why how who where once one two three four five six seven eight nine ten hi hey "
    "hello h-hello bye goodbye ah aha oh ooh ouch um uh er hm hmm mm huh wow alas hurrah hurray "
    "hush ha haha ho bravo amen damn meanwhile nevertheless moreover however therefore "
    "otherwise indeed anyway besides furthermore during having being reddit internet mondays "
    "tuesdays wednesdays thursdays fridays saturdays sundays maybe perhaps forty-one mmm well "
    "now not never at in on by for from to of as with please thank sorry".split()
)

SPEECH = frozenset(
    "said says say asked asks ask cried cries called calls whispered whispers answered answers "
    "replied replies shouted shouts told tells laughed muttered murmured sighed snapped begged "
    "added agreed announced began bellowed boomed breathed chuckled continued croaked declared "
    "demanded explained gasped groaned growled grumbled grunted hissed insisted moaned mumbled "
    "offered ordered promised purred repeated roared sang screamed smiled sniffed sobbed spoke "
    "stammered thought warned wailed wept whistled wondered wrote yelled nodded read admitted "
    "argued bawled barked blurted chirped complained confessed cooed corrected squeaked hummed "
    "joked pleaded reminded scoffed snorted suggested swore urged".split()
)

NAMING = frozenset("named called name is am me him her it hello hey dear oh poor".split())

# Nouns that can be a character without a name ("the old miller").
PERSONS = frozenset(
    "man woman boy girl child baby lady gentleman fellow stranger guest visitor neighbor "
    "neighbour friend mother father grandmother grandfather grandma grandpa granny brother "
    "sister son daughter uncle aunt cousin nephew niece wife husband widow widower bride groom "
    "twin orphan king queen prince princess emperor empress duke duchess count countess baron "
    "knight lord vizier sultan chancellor steward chief headman mayor judge lawyer sheriff "
    "marshal deputy detective inspector constable policeman officer captain sergeant soldier "
    "sailor mate crew pirate bosun admiral general colonel commander pilot driver conductor "
    "passenger porter clerk teller teacher headmaster matron professor doctor nurse surgeon "
    "patient priest monk nun abbot bishop pastor preacher smith blacksmith miller baker butcher "
    "cook chef waiter landlord landlady innkeeper barkeep keeper owner boss manager foreman "
    "buyer seller peddler pedlar merchant trader tailor cobbler weaver potter carpenter mason "
    "farmer shepherd herder hunter fisherman gardener ferryman rider coachman stableman groom "
    "thief robber burglar beggar tramp hermit witch wizard magician sorcerer giant ogre troll "
    "dwarf elf fairy goblin genie ghost spirit phantom demon devil angel mermaid dragon monster "
    "creature robot machine scarecrow doll puppet statue voice echo bear wolf fox dog cat mouse "
    "rat horse mare donkey mule goat sheep cow ox pig hen rooster duck goose swan crow raven "
    "owl eagle hawk heron gull sparrow bird fish whale snake frog toad turtle tortoise lion "
    "tiger elephant monkey rabbit hare squirrel hedgehog moth bee spider singer actor dancer "
    "fiddler painter poet artist writer editor inventor engineer miner banker customer student "
    "pupil apprentice servant maid butler guard watchman jailer prisoner rider messenger "
    "postman old-woman traveler traveller fisherwoman seamstress washerwoman madam sea wind "
    "river breeze".split()
)

KIN = frozenset(
    "mother father grandmother grandfather grandma grandpa granny brother sister uncle aunt "
    "mama papa mum mom dad nana son daughter husband wife cousin".split()
)

# Nouns a story can take place in; the fitted gazetteer adds those of the sample's train split.
PLACES = frozenset(
    "abbey airport alley apartment arena attic bakery balcony bank barbershop barn barracks "
    "basement bath bay beach boat bookshop border bridge bus cabin cafe camp campsite canal "
    "canyon caravan castle cathedral cave cellar cemetery chapel church circus city classroom "
    "cliff clinic clock coast college colony corridor cottage court courthouse courtyard creek "
    "crypt dam desert diner dock docks dome drawbridge dungeon elevator embassy estate factory "
    "fair farm farmhouse ferry field fields fjord forest fort fortress foundry frontier garage "
    "garden gate glacier glen graveyard greenhouse grove hall hallway harbor harbour hill hills "
    "hospital hotel house hut inn island islands jail jungle junkyard kitchen laboratory lab "
    "lagoon lake lane laundry library lighthouse lobby manor market marsh meadow mill mine moat "
    "monastery moon moor morgue mountain mountains museum nursery oasis observatory ocean "
    "office orchard orphanage palace park pasture path pier pigsty planet plantation platform "
    "playground pond port post prairie prison quarry quay railway ranch reef reservoir "
    "restaurant ridge river road rocket roof rooftop room ruins saloon school schoolhouse "
    "schoolroom sea seaside shed ship shipyard shop shore shrine smithy spaceship square stable "
    "stage stagecoach station store stream street studio submarine subway suburb swamp tavern "
    "temple tent theater theatre tomb tower town trail train treehouse tunnel university valley "
    "vault village vineyard volcano warehouse waterfall well windmill wood woods workshop yard "
    "zoo".split()
)

# Words that end a noun phrase when walking back from its noun.
NOT_MODIFIERS = frozenset(
    "and but or of in on at to by for with from was is were had has have that who which as than "
    "so then when not be been being she he it they i you we up down out into over off onto "
    "inside behind near above below under through across around along past toward towards "
    "against about like all every each some any no more only just even still if because until "
    "before after while am are do did does could would can will shall should may might must "
    "said him them me us there here what where why how very too left reached saw found crossed "
    "entered built ran owned".split()
)

NOT_NOUNS = frozenset(
    "other same first last next only very own more most few many much little such one two three "
    "four five six seven eight nine ten old big small long good great new best whole rest lot "
    "bit time times day days way moment moments year years thing things end kind sort side".split()
)

TRAITS = frozenset(
    "absent-minded adventurous affectionate aloof ambitious angry anxious argumentative "
    "arrogant ashamed bashful bitter blunt boastful bold bored bossy brave bright calm "
    "cantankerous careful careless caring cautious charming chatty cheerful clever clumsy cold "
    "confident conceited considerate content courageous courteous cowardly crafty cranky "
    "creative cruel cunning curious cynical daring dedicated defiant determined devoted "
    "dignified diligent discreet dishonest disciplined dreamy dutiful eager earnest easygoing "
    "eccentric elegant envious faithful fair fearful fearless fierce firm foolish forgetful "
    "forgiving frail frank friendly frightened frugal fussy generous gentle gloomy graceful "
    "grateful greedy grim gruff grumpy guilty gullible handy hardworking hardy harsh hasty "
    "haughty headstrong helpful hesitant homesick honest honorable hopeful hospitable humble "
    "hungry idealistic idle imaginative impatient impulsive independent industrious ingenious "
    "innocent inquisitive inventive jealous jolly joyful just keen kind kindly kindhearted lazy "
    "lively logical lonely loud lovesick loving loyal mean meek melancholy merciful merry "
    "meticulous mild mischievous miserly modest moody musical mysterious naive neat nervous "
    "nimble nosy obedient observant obstinate odd orderly patient peaceful persistent petty "
    "playful pious polite pompous practical precise proud prudent punctual quarrelsome quick "
    "quick-witted quiet rash rebellious reckless reliable reluctant reserved resourceful "
    "respectful restless ruthless sad sarcastic scared scheming secretive selfish selfless "
    "sensible sensitive serious severe sharp shrewd shy silent silly sincere skeptical skilled "
    "skillful sleepy sly smug sociable solemn solitary spoiled stern stingy strict strong "
    "stubborn superstitious suspicious sweet sympathetic tactful talented talkative tame "
    "tenacious tender thorough thoughtful thoughtless thrifty tidy timid tireless tough "
    "trusting truthful trustworthy ungrateful unhappy unselfish upright vain vengeful versatile "
    "vicious vigilant warm wary watchful weak weary wicked wild wily wise wistful witty worried "
    "zealous".split()
)

# Capitals that are places, not people.
LANDS = frozenset(
    "africa america arctic asia athens atlantic austria baghdad barcelona beijing belgium "
    "berlin bombay boston brazil britain brooklyn brussels budapest cairo calcutta california "
    "canada chicago chile china constantinople copenhagen cornwall crete cuba damascus delft "
    "delhi denmark devon dublin edinburgh egypt england ethiopia europe finland florence france "
    "geneva genoa germany ghana glasgow granada greece greenland haiti hamburg havana hawaii "
    "holland hungary iceland india ireland istanbul italy jamaica japan jerusalem jupiter "
    "kansas kenya korea krakow kyoto lagos lapland lima lisbon liverpool london madrid "
    "manchester mars marseille mercury mexico milan mombasa montana morocco moscow mumbai "
    "naples nepal netherlands nevada nigeria norway ohio oregon orleans osaka oslo pacific "
    "pakistan palermo paris peking peru poland portugal prague rajasthan rome rotterdam russia "
    "sahara samarkand saturn scotland senegal seville siberia sicily sinai spain stockholm "
    "sweden switzerland sydney syria texas tibet titan tokyo toledo toronto turkey ukraine "
    "venice vermont vienna vietnam wales warsaw york zanzibar zurich".split()
)
