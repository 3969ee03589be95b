"""Fitting everything that reading learns, on the sample corpus's train split.

`fabula read --fit` runs this. The word vectors and the list of nouns come from unlabelled
texts, and who is a character is learnt from tales that experts asked about as well: both are kept
as shipped unless texts and tales are given.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fabula.reading import entities, lists, match, places, store, things, traits
from fabula.reading.cast import choose_cast
from fabula.reading.features import Tables
from fabula.reading.fitlabels import Planned, choose_terms, fit_labels, sparse
from fabula.reading.phrases import name_parts
from fabula.reading.pov import FIRST, decide
from fabula.reading.ranker import chances, fit_ranker
from fabula.reading.tales import Tale, characters
from fabula.reading.text import Words, lower_words, scan
from fabula.reading.traits import TRAIT_CHANCE
from fabula.reading.vectors import make_vectors
from fabula.reading.vocabulary import Vocabulary
from fabula.reading.words import NOT_MODIFIERS, NOT_NOUNS, PERSONS, TRAITS
from fabula.story.files import write_atomic
from fabula.story.sample import LabelledStory, load_annotated, load_planned

Arrays = dict[str, npt.NDArray[np.generic]]
Say = Callable[[str], None]

FOLDS = 5
EVERY = 8  # of so many stories, one is also read with its protagonist unnamed
_DETERMINERS = frozenset("a an the his her my their our your this that".split())


def fit(
    target: Path, texts: Iterable[str] | None, tales: Sequence[Tale] | None, say: Say
) -> dict[str, float]:
    """Fit, and write `weights.npz` and `lexicon.json`.

    Args:
        target: folder of the two files.
        texts: unlabelled stories for word vectors and nouns; the shipped ones if None.
        tales: further gold for who is a character; as shipped if None.
        say: told what is being done.

    Returns:
        Cross-validated figures on the train split.
    """
    sparse()  # a minute's work comes before it is needed
    stories = load_annotated()
    if texts is None:
        kept, lexicon = store.weights(), store.lexicon()
        words, nouns = lexicon["words"].split("\n"), list(lexicon["nouns"])
        modifiers, common = lexicon["modifiers"].split(), frozenset(lexicon["known"].split())
        vectors, share = kept["vectors"], kept["word_weights"]
    else:
        say("word vectors")
        unlabelled = [*texts, *(s.text for s in stories)]
        words, vectors, share = make_vectors(unlabelled)
        found = find_usage(unlabelled)
        nouns, modifiers, common = found.nouns, found.modifiers, found.common
    planned, counts = load_planned()
    terms, rarity = choose_terms([*stories, *planned])
    said = [lower_words(s.text) for s in stories]
    sets = [frozenset(lower) for lower in said]
    known = common_words([s.text for s in stories]) | common
    noun_priors = learn_nouns(stories, sets, nouns)
    place_priors = places.learn_priors(
        [(s.setting.place or "", lower) for s, lower in zip(stories, said, strict=True)]
    )
    gold = [_traits(s) for s in stories]
    trait_priors = traits.learn_priors(list(zip(gold, sets, strict=True)), TRAITS)
    vocabulary = Vocabulary(
        known=known, modifiers=frozenset(modifiers) | frozenset(noun_priors), nouns=noun_priors,
        places=place_priors, traits=trait_priors, vectors={w: i for i, w in enumerate(words)},
        terms={t: i for i, t in enumerate(terms)},
    )  # fmt: skip
    moods = lists.moods(words)
    tables = Tables.of(vectors, share, moods, rarity)
    arrays: Arrays = {"vectors": vectors, "word_weights": share.astype(np.float32)}
    arrays |= {"moods": moods.astype(np.float16), "rarity": rarity}
    batch = scan([s.text for s in stories], vocabulary)
    say("names")
    people = _people(stories, vocabulary)
    report = _fit_lead(people, len(stories), arrays)
    if tales is None:
        shipped = store.weights()
        arrays |= {k: shipped[k] for k in ("named_w", "named_b", "described_w", "described_b")}
    else:
        say("characters")
        report |= _fit_cast(people, stories, tales, vocabulary, arrays)
    say("places")
    report |= _fit_places(stories, batch, arrays)
    say("traits")
    report |= _fit_traits(stories, sets, batch, arrays)
    say("things")
    report |= _fit_things(stories, batch, arrays)
    say("genre, tone, arc, ending, era")
    fitted, figures = fit_labels(
        stories, tables, vocabulary, Planned.of(planned, counts, tables, vocabulary)
    )
    arrays |= fitted
    report |= figures
    learnt = {
        "known": " ".join(sorted(known)), "words": "\n".join(words), "terms": "\n".join(terms),
        "modifiers": " ".join(modifiers), "nouns": noun_priors, "places": place_priors,
        "traits": trait_priors,
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(target / store.WEIGHTS, buffer.getvalue())
    text = json.dumps(learnt, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    write_atomic(target / store.LEXICON, text)
    return {k: round(v, 4) for k, v in report.items()}


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that at least two stories write in lower case."""
    count: Counter[str] = Counter()
    for text in texts:
        words = scan([text], Vocabulary())
        count.update({words.lower(i) for i in range(len(words)) if words.shown(i)[0].islower()})
    return frozenset(w for w, c in count.items() if c >= 2)


def _traits(story: LabelledStory) -> set[str]:
    return {t.trait.lower() for c in story.characters for t in c.traits}


@dataclass(frozen=True, slots=True)
class Usage:
    """What texts without labels teach of words: nouns, words before nouns, common words."""

    nouns: list[str]
    modifiers: list[str]
    common: frozenset[str]


def find_usage(texts: Iterable[str]) -> Usage:
    """Sort words by where they stand.

    A noun often stands between a determiner and the end of its phrase ("the lamp was"), a
    modifier between a determiner and a noun ("the old lamp"); a common word is mostly written
    in lower case.
    """
    inside: Counter[str] = Counter()
    total: Counter[str] = Counter()
    small: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    known = Vocabulary()
    for text in texts:
        words = scan([text], known)
        lower = [known.words[n] for n in words.low.tolist()]
        shown = [known.shown[n] for n in words.form.tolist()]
        gap = words.gap.tolist()
        total.update(lower)
        small.update(k for k, w in zip(lower, shown, strict=True) if w[0].islower())
        for i in range(1, len(lower) - 1):
            if lower[i - 1] not in _DETERMINERS or gap[i] or shown[i][0].isupper():
                continue
            if gap[i + 1] or lower[i + 1] in NOT_MODIFIERS:
                inside[lower[i]] += 1
            else:
                pairs[lower[i], lower[i + 1]] += 1
    nouns = {
        w for w, c in inside.items()
        if c >= 3 and c >= 0.08 * total[w] and w not in NOT_NOUNS and w.isalpha()
    }  # fmt: skip
    before: Counter[str] = Counter()
    for (modifier, noun), c in pairs.items():
        before[modifier] += c if noun in nouns else 0
    modifiers = [w for w, c in before.items() if c >= 3 and c >= 0.08 * total[w] and w.isalpha()]
    common = frozenset(w for w, c in small.items() if c >= 3 and c >= total[w] / 2)
    return Usage(sorted(nouns), sorted(modifiers), common)


def learn_nouns(
    stories: Sequence[LabelledStory], said: Sequence[frozenset[str]], nouns: Iterable[str]
) -> dict[str, float]:
    """Log odds that a noun, where it occurs, is the head of a thing that must occur."""
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for story, seen in zip(stories, said, strict=True):
        occurs.update(seen)
        right.update({p.lower().split()[-1] for p in story.must_include} & seen)
    wanted = set(nouns) | {w for w, c in right.items() if c >= 2 and w.isalpha()}
    base = sum(right[w] for w in wanted) / max(1, sum(occurs[w] for w in wanted))
    shares = {w: (right[w] + 5 * base) / (occurs[w] + 5) for w in wanted}
    return {w: round(float(np.log(s / (1 - s))), 3) for w, s in shares.items()}


def _gold_lead(story: LabelledStory) -> str:
    return next(c.name for c in story.characters if c.role == "protagonist")


def _held_out(
    name: str,
    blocks: Sequence[npt.NDArray[np.float64]],
    right: Sequence[npt.NDArray[np.int64]],
    stories: int | None = None,
) -> list[npt.NDArray[np.float64]]:
    """Chances of each story's candidates by a ranker fitted on other stories.

    Blocks past the first `stories` are variants of stories `EVERY` apart: they follow theirs.
    """
    count = len(blocks) if stories is None else stories
    fold = np.random.default_rng(0).permutation(count) % FOLDS
    fold = np.concatenate([fold, fold[::EVERY][: len(blocks) - count]])
    result: list[npt.NDArray[np.float64]] = [np.zeros(0)] * count
    for k in range(FOLDS):
        rows = np.vstack([b for b, f in zip(blocks, fold, strict=True) if f != k])
        labels = np.concatenate([r for r, f in zip(right, fold, strict=True) if f != k])
        fitted = fit_ranker(name, rows, labels)
        for i in np.flatnonzero(fold[:count] == k).tolist():
            result[i] = chances(name, blocks[i], fitted)
    return result


def unnamed(text: str, name: str, person: str) -> str:
    """The text with a character's name replaced by "the fox": most of our leads have names."""
    given = "|".join(re.escape(p) for p in [name, *name_parts(name)])
    pattern = re.compile(rf"(?P<stop>(?:^|[.!?\"“]\s*)?)\b(?:{given})\b(?:\s+(?:{given})\b)*", re.M)
    first = True

    def described(match: re.Match[str]) -> str:
        nonlocal first
        article = "a" if first else "the"
        first = False
        opens = match["stop"] or match.start() == 0
        return f"{match['stop']}{article.capitalize() if opens else article} {person}"

    return pattern.sub(described, text)


def _by_text(
    rows: npt.NDArray[Any], doc: npt.NDArray[np.int64], texts: int
) -> list[npt.NDArray[Any]]:
    """Rows that stand text by text, a block for each text."""
    return np.split(rows, np.searchsorted(doc, np.arange(1, texts)))


@dataclass(frozen=True, slots=True)
class _Examples:
    """Entities of texts, as rankers of characters are fitted to them.

    Attributes:
        found: the entities.
        first_person: whether each text's narrator is a character, shape [texts].
        rows: their features, shape [entities, features].
        member, lead: 1 where an entity is a character, and the protagonist, shape [entities].
    """

    found: entities.Entities
    first_person: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.float64]
    member: npt.NDArray[np.int64]
    lead: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str], vocabulary: Vocabulary) -> _Examples:
        """Unlabelled so far."""
        words = scan(texts, vocabulary)
        found, first_person = entities.find_entities(words), decide(words).view == FIRST
        none = np.zeros(len(found), np.int64)
        return cls(found, first_person, entities.features(found, first_person), none, none.copy())


def _people(stories: Sequence[LabelledStory], vocabulary: Vocabulary) -> _Examples:
    """The annotated stories; then, of one in EVERY, a variant whose protagonist has no name."""
    people = sorted(PERSONS)
    cases = [(s, s.text, "") for s in stories]
    for number, story in enumerate(stories[::EVERY]):
        person = people[number * 7 % len(people)]
        cases.append((story, unnamed(story.text, _gold_lead(story), person), person))
    examples = _Examples.of([text for _, text, _ in cases], vocabulary)
    for number, doc in enumerate(examples.found.doc.tolist()):
        story, _, person = cases[doc]
        chief = person or _gold_lead(story)
        everyone = [c.name for c in story.characters if c.role != "protagonist"] + [chief]
        forms = examples.found.forms(number)
        examples.member[number] = _is_any(forms, everyone)
        examples.lead[number] = _is_any(forms, [chief])
    return examples


def _fit_lead(examples: _Examples, stories: int, arrays: Arrays) -> dict[str, float]:
    """Who is the protagonist; of so many stories, whose variants follow them."""
    arrays |= fit_ranker("lead", examples.rows, examples.lead)
    texts = len(examples.first_person)
    blocks, right = (_by_text(x, examples.found.doc, texts) for x in (examples.rows, examples.lead))
    chosen = _held_out("lead", blocks, right, stories)
    hits = [bool(g[c.argmax()]) for c, g in zip(chosen, right, strict=False) if len(c)]
    return {"protagonist": sum(hits) / stories}


def _fit_cast(
    ours: _Examples,
    stories: Sequence[LabelledStory],
    tales: Sequence[Tale],
    vocabulary: Vocabulary,
    arrays: Arrays,
) -> dict[str, float]:
    """Who is a character, on stories and on tales; figures by folds of both.

    Returns:
        F1 of the stories' names, and of the tales the share of questions that ask who which are
        answered by those read, and of those read the share that somebody speaks of.
    """
    theirs = _Examples.of([t.text for t in tales], vocabulary)
    theirs.member[:] = characters(theirs.found, tales)
    fold = np.random.default_rng(0).permutation(len(stories)) % FOLDS
    doc = ours.found.doc
    mine = np.concatenate([fold, fold[::EVERY]])[doc]
    tale_fold = np.random.default_rng(1).permutation(len(tales)) % FOLDS
    names: dict[bool, list[list[str]]] = {True: [[] for _ in stories], False: [[] for _ in tales]}
    for k in range(FOLDS):
        outside = _fit_members(ours, mine != k, theirs, tale_fold[theirs.found.doc] != k)
        use = mine != k
        outside |= fit_ranker("lead", ours.rows[use], ours.lead[use])
        for examples, folds in ((ours, fold), (theirs, tale_fold)):
            cast = choose_cast(examples.found, examples.first_person, outside)
            for entity, text in zip(cast.entity.tolist(), cast.doc.tolist(), strict=True):
                if text < len(folds) and folds[text] == k:
                    names[examples is ours][text].append(examples.found.name(entity))
    arrays |= _fit_members(ours, mine >= 0, theirs, theirs.found.doc >= 0)
    read, told = names[True], names[False]
    gold = [[c.name for c in s.characters] for s in stories]
    hits = sum(_is_any([n], g) for r, g in zip(read, gold, strict=True) for n in r)
    found = sum(_is_any([n], r) for r, g in zip(read, gold, strict=True) for n in g)
    precision, recall = hits / sum(map(len, read)), found / sum(map(len, gold))
    asked = sum(len(t.asked) for t in tales)
    spoken = [t.speaks_of(n) for t, r in zip(tales, told, strict=True) for n in r]
    return {
        "names": 2 * precision * recall / (precision + recall),
        "tales, who": sum(t.answered(r) for t, r in zip(tales, told, strict=True)) / max(asked, 1),
        "tales, named": sum(spoken) / max(len(spoken), 1),
    }


def _fit_members(
    ours: _Examples,
    use: npt.NDArray[np.bool_],
    theirs: _Examples,
    use_theirs: npt.NDArray[np.bool_],
) -> Arrays:
    """Two rankers, of those who have a name and those who have none."""
    rows = np.concatenate([ours.rows[use], theirs.rows[use_theirs]])
    right = np.concatenate([ours.member[use], theirs.member[use_theirs]])
    nameless = np.concatenate([ours.found.described[use], theirs.found.described[use_theirs]])
    result: Arrays = {}
    for name, these in (("named", ~nameless), ("described", nameless)):
        result |= fit_ranker(name, rows[these], right[these])
    return result


def _is_any(forms: Iterable[str], names: Sequence[str]) -> bool:
    return any(match.same_name(form, n) for form in forms for n in names)


def _fit_places(stories: Sequence[LabelledStory], batch: Words, arrays: Arrays) -> dict[str, float]:
    found = places.candidates(batch)
    rows = places.features(found, batch.vocabulary.place_priors)
    gold = [match.content(s.setting.place or "") for s in stories]
    right = np.array(
        [match.content(found.noun(n)) <= gold[d] for n, d in enumerate(found.doc.tolist())],
        dtype=np.int64,
    )
    arrays |= fit_ranker("place", rows, right)
    blocks, truth = (_by_text(x, found.doc, len(stories)) for x in (rows, right))
    chosen = _held_out("place", blocks, truth)
    hits = [bool(g[c.argmax()]) for c, g in zip(chosen, truth, strict=True) if len(c)]
    return {"place noun": sum(hits) / len(stories)}


def _fit_traits(
    stories: Sequence[LabelledStory],
    said: Sequence[frozenset[str]],
    batch: Words,
    arrays: Arrays,
) -> dict[str, float]:
    gold, names = [_traits(s) for s in stories], batch.vocabulary.traits
    first_person = decide(batch).view == FIRST
    cast = choose_cast(entities.find_entities(batch), first_person, arrays)
    found = traits.candidates(batch, cast, first_person)
    doc = batch.doc[found.at]
    right = np.array(
        [names[t] in gold[d] for t, d in zip(found.trait.tolist(), doc.tolist(), strict=True)],
        dtype=np.int64,
    )
    # The prior of a trait is itself learnt from labels: a story must not see its own.
    fold = np.random.default_rng(0).permutation(len(stories)) % FOLDS
    pairs = list(zip(gold, said, strict=True))
    honest = np.zeros((len(right), len(traits.FEATURES)))
    least = float(batch.vocabulary.trait_priors.min())
    for k in range(FOLDS):
        outside = traits.learn_priors(
            [p for p, f in zip(pairs, fold, strict=True) if f != k], TRAITS
        )
        blind = np.array([outside.get(t, least) for t in names])
        inside = fold[doc] == k
        honest[inside] = traits.features(batch, found, cast, blind)[inside]
    arrays |= fit_ranker("trait", honest, right)
    blocks, truth = (_by_text(x, doc, len(stories)) for x in (honest, right))
    chance = np.concatenate(_held_out("trait", blocks, truth))
    taken = chance >= TRAIT_CHANCE
    hits, total = float(right[taken].sum()), sum(len(g) for g in gold)
    return {"trait precision": hits / max(1, int(taken.sum())), "trait recall": hits / total}


def _fit_things(stories: Sequence[LabelledStory], batch: Words, arrays: Arrays) -> dict[str, float]:
    found = things.candidates(batch)
    rows = things.features(batch, found)
    doc = batch.doc[found.first]
    right = np.zeros(len(rows), dtype=np.int64)
    for number, (a, b) in enumerate(zip(found.first.tolist(), found.end.tolist(), strict=True)):
        phrase = " ".join(batch.lower(i) for i in range(a, b))
        wanted = stories[doc[number]].must_include
        right[number] = any(match.same_thing(phrase, g) for g in wanted)
    arrays |= fit_ranker("thing", rows, right)
    blocks, truth = (_by_text(x, doc, len(stories)) for x in (rows, right))
    chosen = _held_out("thing", blocks, truth)
    hits = [float(g[np.argsort(-c)[:2]].sum()) / 2 for c, g in zip(chosen, truth, strict=True)]
    return {"things, first two": float(np.mean(hits))}
