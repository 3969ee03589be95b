"""Fitting everything that reading learns, on the sample corpus's train split alone.

`fabula read --fit` runs this. The word vectors and the list of nouns come from unlabelled
texts; they are kept as shipped unless texts are given.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fabula.reading import entities, lists, match, places, store, things, traits
from fabula.reading.cast import choose_cast
from fabula.reading.features import Tables
from fabula.reading.fitlabels import choose_terms, fit_labels
from fabula.reading.phrases import name_parts
from fabula.reading.pov import decide
from fabula.reading.ranker import chances, fit_ranker
from fabula.reading.text import Document, scan
from fabula.reading.traits import TRAIT_CHANCE
from fabula.reading.vectors import make_vectors
from fabula.reading.words import NOT_MODIFIERS, NOT_NOUNS, PERSONS, TRAITS
from fabula.story.files import write_atomic
from fabula.story.sample import LabelledStory, load_annotated, load_labelled

Arrays = dict[str, npt.NDArray[np.generic]]
Say = Callable[[str], None]

FOLDS = 5
EVERY = 8  # of so many stories, one is also read with its protagonist unnamed
_DETERMINERS = frozenset("a an the his her my their our your this that".split())


def fit(target: Path, texts: Iterable[str] | None, say: Say) -> dict[str, float]:
    """Fit, and write `weights.npz` and `lexicon.json`.

    Args:
        target: folder of the two files.
        texts: unlabelled stories for word vectors and nouns; the shipped ones if None.
        say: told what is being done.

    Returns:
        Cross-validated figures on the train split.
    """
    stories = load_annotated()
    docs = [scan(s.text) for s in stories]
    if texts is None:
        kept, lexicon = store.weights(), store.lexicon()
        words, nouns = lexicon["words"].split("\n"), list(lexicon["nouns"])
        modifiers, common = lexicon["modifiers"].split(), frozenset(lexicon["known"].split())
        vectors, share = kept["vectors"], kept["word_weights"]
    else:
        say("word vectors")
        unlabelled = [*texts, *(s.text for s in stories)]
        words, vectors, share = make_vectors(unlabelled)
        found = find_vocabulary(unlabelled)
        nouns, modifiers, common = found.nouns, found.modifiers, found.common
    labelled = load_labelled()
    terms, rarity = choose_terms(labelled)
    known = common_words(docs) | common
    moods = lists.moods(words)
    tables = Tables(
        words={w: i for i, w in enumerate(words)},
        vectors=vectors.astype(np.float32) / 127 * share[:, None],
        moods=moods.astype(np.float32),
        terms={t: i for i, t in enumerate(terms)},
        rarity=rarity,
    )
    arrays: Arrays = {"vectors": vectors, "word_weights": share.astype(np.float32)}
    arrays |= {"moods": moods.astype(np.float16), "rarity": rarity}
    say("names")
    report = _fit_names(stories, docs, known, arrays)
    before = frozenset(modifiers) | frozenset(nouns)
    say("places")
    place_priors = places.learn_priors(
        [(s.setting.place or "", d) for s, d in zip(stories, docs, strict=True)]
    )
    report |= _fit_places(stories, docs, place_priors, before, arrays)
    say("traits")
    trait_priors, figures = _fit_traits(stories, docs, known, arrays)
    report |= figures
    say("things")
    noun_priors = learn_nouns(stories, docs, nouns)
    ranks = {w: float(np.log1p(i)) for i, w in enumerate(words)}
    report |= _fit_things(stories, docs, noun_priors, before, ranks, arrays)
    say("genre, tone, arc, ending, era")
    fitted, figures = fit_labels(labelled, tables)
    arrays |= fitted
    report |= figures
    lexicon = {
        "known": " ".join(sorted(known)), "words": "\n".join(words), "terms": "\n".join(terms),
        "modifiers": " ".join(modifiers), "nouns": noun_priors, "places": place_priors,
        "traits": trait_priors,
    }  # fmt: skip
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(target / store.WEIGHTS, buffer.getvalue())
    text = json.dumps(lexicon, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    write_atomic(target / store.LEXICON, text)
    return {k: round(v, 4) for k, v in report.items()}


def common_words(docs: Sequence[Document]) -> frozenset[str]:
    """Words that at least two stories write in lower case."""
    count: Counter[str] = Counter()
    for doc in docs:
        count.update({k for k, w in zip(doc.lower, doc.words, strict=True) if w[0].islower()})
    return frozenset(w for w, c in count.items() if c >= 2)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What texts without labels teach of words: nouns, words before nouns, common words."""

    nouns: list[str]
    modifiers: list[str]
    common: frozenset[str]


def find_vocabulary(texts: Iterable[str]) -> Vocabulary:
    """Sort words by where they stand.

    A noun often stands between a determiner and the end of its phrase ("the lamp was"), a
    modifier between a determiner and a noun ("the old lamp"); a common word is mostly written
    in lower case.
    """
    inside: Counter[str] = Counter()
    total: Counter[str] = Counter()
    small: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        doc = scan(text)
        total.update(doc.lower)
        small.update(k for k, w in zip(doc.lower, doc.words, strict=True) if w[0].islower())
        for i in range(1, len(doc) - 1):
            if doc.lower[i - 1] not in _DETERMINERS or doc.before[i] or doc.words[i][0].isupper():
                continue
            if doc.before[i + 1] or doc.lower[i + 1] in NOT_MODIFIERS:
                inside[doc.lower[i]] += 1
            else:
                pairs[doc.lower[i], doc.lower[i + 1]] += 1
    nouns = {
        w for w, c in inside.items()
        if c >= 3 and c >= 0.08 * total[w] and w not in NOT_NOUNS and w.isalpha()
    }  # fmt: skip
    before: Counter[str] = Counter()
    for (modifier, noun), c in pairs.items():
        before[modifier] += c if noun in nouns else 0
    modifiers = [w for w, c in before.items() if c >= 3 and c >= 0.08 * total[w] and w.isalpha()]
    common = frozenset(w for w, c in small.items() if c >= 3 and c >= total[w] / 2)
    return Vocabulary(sorted(nouns), sorted(modifiers), common)


def learn_nouns(
    stories: Sequence[LabelledStory], docs: Sequence[Document], nouns: Iterable[str]
) -> dict[str, float]:
    """Log odds that a noun, where it occurs, is the head of a thing that must occur."""
    occurs: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for story, doc in zip(stories, docs, strict=True):
        seen = set(doc.lower)
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


def _fit_names(
    stories: Sequence[LabelledStory],
    docs: Sequence[Document],
    known: frozenset[str],
    arrays: Arrays,
) -> dict[str, float]:
    people = sorted(PERSONS)
    cases = [(s, d, "") for s, d in zip(stories, docs, strict=True)]
    for number, story in enumerate(stories[::EVERY]):
        person = people[number * 7 % len(people)]
        cases.append((story, scan(unnamed(story.text, _gold_lead(story), person)), person))
    blocks, member, lead = [], [], []
    for story, doc, person in cases:
        found = entities.find_entities(doc, known)
        blocks.append(entities.features(doc, found, known, decide(doc)[0] == "first"))
        chief = person or _gold_lead(story)
        everyone = [c.name for c in story.characters if c.role != "protagonist"] + [chief]
        member.append(np.array([_is_any(e, everyone) for e in found], dtype=np.int64))
        lead.append(np.array([_is_any(e, [chief]) for e in found], dtype=np.int64))
    rows = np.vstack(blocks)
    arrays |= fit_ranker("member", rows, np.concatenate(member))
    arrays |= fit_ranker("lead", rows, np.concatenate(lead))
    chosen = _held_out("lead", blocks, lead, len(stories))
    right = [bool(g[c.argmax()]) for c, g in zip(chosen, lead, strict=False) if len(c)]
    return {"protagonist": sum(right) / len(stories)}


def _is_any(entity: entities.Entity, names: Sequence[str]) -> bool:
    return any(match.same_name(form, n) for form in entity.forms for n in names)


def _fit_places(
    stories: Sequence[LabelledStory],
    docs: Sequence[Document],
    priors: dict[str, float],
    before: frozenset[str],
    arrays: Arrays,
) -> dict[str, float]:
    blocks, right = [], []
    for story, doc in zip(stories, docs, strict=True):
        found = places.candidates(doc, priors, before)
        gold = match.content(story.setting.place or "")
        blocks.append(places.features(doc, found, priors))
        right.append(np.array([match.content(p.head) <= gold for p in found], dtype=np.int64))
    arrays |= fit_ranker("place", np.vstack(blocks), np.concatenate(right))
    chosen = _held_out("place", blocks, right)
    hits = [bool(g[c.argmax()]) for c, g in zip(chosen, right, strict=True) if len(c)]
    return {"place noun": sum(hits) / len(stories)}


def _fit_traits(
    stories: Sequence[LabelledStory],
    docs: Sequence[Document],
    known: frozenset[str],
    arrays: Arrays,
) -> tuple[dict[str, float], dict[str, float]]:
    gold = [{t.trait.lower() for c in s.characters for t in c.traits} for s in stories]
    pairs = list(zip(gold, docs, strict=True))
    priors = traits.learn_priors(pairs, TRAITS)
    fold = np.random.default_rng(0).permutation(len(stories)) % FOLDS
    blocks: list[npt.NDArray[np.float64]] = []
    honest: list[npt.NDArray[np.float64]] = []
    right: list[npt.NDArray[np.int64]] = []
    # The prior of a trait is itself learnt from labels: a story must not see its own.
    outside = [
        {**dict.fromkeys(priors, min(priors.values())),
         **traits.learn_priors([p for p, f in zip(pairs, fold, strict=True) if f != k], TRAITS)}
        for k in range(FOLDS)
    ]  # fmt: skip
    table = traits.index(priors)
    for number, doc in enumerate(docs):
        first = decide(doc)[0] == "first"
        cast = [
            m.entity
            for m in choose_cast(doc, entities.find_entities(doc, known), known, first, arrays)
        ]
        found = traits.candidates(doc, cast, table, first) if cast else []
        blind = outside[fold[number]]
        honest.append(traits.features(doc, found, cast, blind))
        blocks.append(traits.features(doc, found, cast, priors))
        right.append(np.array([t.trait in gold[number] for t in found], dtype=np.int64))
    arrays |= fit_ranker("trait", np.vstack(honest), np.concatenate(right))
    chance = np.concatenate(_held_out("trait", honest, right))
    truth = np.concatenate(right)
    order = np.argsort(-chance)
    last = int((chance >= TRAIT_CHANCE).sum())
    total = sum(len(g) for g in gold)
    hits = float(truth[order[:last]].sum())
    return priors, {"trait precision": hits / max(1, last), "trait recall": hits / total}


def _fit_things(
    stories: Sequence[LabelledStory],
    docs: Sequence[Document],
    nouns: dict[str, float],
    before: frozenset[str],
    ranks: dict[str, float],
    arrays: Arrays,
) -> dict[str, float]:
    blocks, right, words = [], [], []
    for story, doc in zip(stories, docs, strict=True):
        found = things.candidates(doc, nouns, before)
        said = [" ".join(doc.lower[t.first : t.end]) for t in found]
        blocks.append(things.features(doc, found, nouns, ranks))
        right.append(
            np.array(
                [any(match.same_thing(p, g) for g in story.must_include) for p in said],
                dtype=np.int64,
            )
        )
        words.append(said)
    arrays |= fit_ranker("thing", np.vstack(blocks), np.concatenate(right))
    chosen = _held_out("thing", blocks, right)
    hits = [float(g[np.argsort(-c)[:2]].sum()) / 2 for c, g in zip(chosen, right, strict=True)]
    return {"things, first two": float(np.mean(hits))}
