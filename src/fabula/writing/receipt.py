"""The receipt: each wish of a brief, kept or missed, with the words that show it."""

from __future__ import annotations

from collections.abc import Iterable

from fabula.reading import find_name, find_phrase, find_place, point_of_view, read
from fabula.reading.result import Reading
from fabula.story import Brief, Receipt, Span, Wish
from fabula.writing.choice import content
from fabula.writing.copying import words_of

LENGTH_TOLERANCE = 0.15
MOST_SPANS = 5
# A theme or premise counts as kept if this share of its content words occurs.
SHARE_OF_WORDS = 0.4


def receipt(brief: Brief, text: str) -> Receipt:
    """Check a text against a brief.

    Every span counts characters of `text`, and its `text` is what stands there.
    """
    reading = read(text)
    wishes: list[Wish] = []
    if brief.title is not None:
        wishes.append(Wish(wish="title", value=brief.title, kept=True, note="the story carries it"))
    for number, character in enumerate(brief.characters, 1):
        if character.name is not None:
            wishes.append(
                _spans(f"character {number}", character.name, find_name(text, character.name))
            )
        for trait in character.traits:
            wishes.append(_trait(f"trait of character {number}", trait, text, reading))
    if brief.setting is not None and brief.setting.place is not None:
        wishes.append(_spans("place", brief.setting.place, find_place(text, brief.setting.place)))
    if brief.setting is not None and brief.setting.time is not None:
        wishes.append(_time(brief.setting.time, text, reading))
    for key in ("genre", "tone", "arc", "ending"):
        if (value := getattr(brief, key)) is not None:
            wishes.append(_label(key, value, getattr(reading.brief, key), reading))
    if brief.point_of_view is not None:
        wishes.append(_view(brief.point_of_view, text))
    wishes += [_spans("must include", m, find_phrase(text, m)) for m in brief.must_include]
    for key in ("theme", "premise"):
        if (value := getattr(brief, key)) is not None:
            wishes.append(_by_words(key, value, text))
    if brief.length is not None:
        words = len(words_of(text))
        near = abs(words - brief.length) <= LENGTH_TOLERANCE * brief.length
        wishes.append(
            Wish(wish="length", value=str(brief.length), kept=near, note=f"{words} words")
        )
    return Receipt(wishes=wishes)


def _spans(wish: str, value: str, spans: Iterable[Span], note: str | None = None) -> Wish:
    found = list(spans)
    return Wish(wish=wish, value=value, kept=bool(found), spans=found[:MOST_SPANS], note=note)


def _evidence(reading: Reading, field: str, value: str) -> list[Span]:
    return [
        Span(start=e.start, end=e.end, text=e.text)
        for e in reading.evidence
        if (e.field == field or e.field.startswith(field + "."))
        and e.value.casefold() == value.casefold()
        and e.start < e.end
    ]


def _trait(wish: str, trait: str, text: str, reading: Reading) -> Wish:
    said = find_phrase(text, trait)
    if said:
        return _spans(wish, trait, said)
    shown = [
        span
        for number, character in enumerate(reading.brief.characters)
        if trait.casefold() in (t.casefold() for t in character.traits)
        for span in _evidence(reading, f"characters.{number}.traits", trait)
    ]
    return _spans(wish, trait, shown, "shown, not said" if shown else None)


def _time(value: str, text: str, reading: Reading) -> Wish:
    spans = find_phrase(text, value)
    read_time = reading.brief.setting.time if reading.brief.setting else None
    if not spans and read_time is not None and content(read_time) & content(value):
        spans = _evidence(reading, "setting.time", read_time)
    return _spans("time", value, spans)


def _label(wish: str, value: str, read_as: str | None, reading: Reading) -> Wish:
    kept = read_as is not None and read_as.casefold() == value.casefold()
    note = None if kept else f"reads as {read_as}" if read_as else "cannot be told"
    spans = _evidence(reading, wish, value)[:MOST_SPANS] if kept else []
    return Wish(wish=wish, value=value, kept=kept, spans=spans, note=note)


def _view(value: str, text: str) -> Wish:
    read_as, _, spans = point_of_view(text)
    kept = read_as == value
    note = None if kept else f"told in the {read_as} person" if read_as else "cannot be told"
    return Wish(
        wish="point of view",
        value=value,
        kept=kept,
        spans=spans[:MOST_SPANS] if kept else [],
        note=note,
    )


def _by_words(wish: str, value: str, text: str) -> Wish:
    wanted = content(value)
    spans: list[Span] = []
    hits: set[str] = set()
    for word in dict.fromkeys(words_of(value)):
        stem = word[:5]
        if stem in wanted and stem not in hits and (found := find_phrase(text, word)):
            hits.add(stem)
            spans.append(found[0])
    kept = bool(wanted) and len(hits) >= SHARE_OF_WORDS * len(wanted)
    return Wish(
        wish=wish,
        value=value,
        kept=kept,
        spans=spans[:MOST_SPANS] if kept else [],
        note=f"{len(hits)} of its {len(wanted)} content words occur",
    )
