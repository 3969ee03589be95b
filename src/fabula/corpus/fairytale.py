"""FairytaleQA (Xu et al. 2022): tales in sections, with questions and answers by experts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabula.corpus.beats import FREYTAG_CUTS
from fabula.corpus.given import Given, group_sections, join_beats
from fabula.corpus.names import TITLES
from fabula.corpus.source import Row
from fabula.corpus.structured import require
from fabula.corpus.tables import SPLIT_NAMES, json_records, read_csv
from fabula.errors import FabulaError
from fabula.reading.tales import Tale

STORY_SUFFIX, QUESTIONS_SUFFIX = "-story.csv", "-questions.csv"
MAX_NAMES = 4

_WORDS_OF_PLACE = 8
_NAME = re.compile(r"[A-Z][\w'’-]+(?: (?:(?:of|the|de|la|von|van) )?[A-Z][\w'’-]+){0,3}")
_ASKS_NAME = re.compile(r"(?i)who\b|what (?:is|was) (?:the )?(?:name|[\w'’ -]{1,40}['’]s? name)\b")
_ASKS_STAGE = re.compile(r"(?i)where (?:does|did|do|is|was) (?:the|this) (?:story|tale)\b")
_ASKS_HOME = re.compile(r"(?i)where (?:does|did|do) (.{1,60}) live\b\W*$")
_CAPITAL = re.compile(r"[A-Z][\w'’-]+")
_OFTEN = 5
_INTO = re.compile(r"(?i)(?:in|at|on|inside|upon) (?=\w)")
_NOT_PLACE = re.compile(
    r"(?i)(?:it|there|here|home|he|she|they|who|when|where|because|to|near|by|down|off)\b"
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question on a tale.

    Attributes:
        about: what it asks for: "character", "setting", "action", ...
        sections: which sections it is on, from 1.
        answers: by people, the first one first.
    """

    text: str
    about: tuple[str, ...]
    sections: tuple[int, ...]
    answers: tuple[str, ...]


def fill_tale(row: Row, sections: Sequence[str], questions: Sequence[Question]) -> None:
    """Make a story of a tale's sections: five beats at their borders, tags by the answers."""
    sections = [s.strip() for s in sections if s.strip()]
    groups = group_sections(sections, FREYTAG_CUTS)
    cuts: tuple[int, ...] = ()
    if groups is None:
        row.text = "\n\n".join(sections)
    else:
        row.text, cuts = join_beats(["\n\n".join(group) for group in groups])
    row.given = Given(cuts, names_told(questions, row.text), place_told(questions, row.text)).dump()


def names_told(questions: Sequence[Question], text: str) -> tuple[str, ...]:
    """Names that answer a question on a character, the one that the text has most often first.

    An answer counts as a name if all its words are capitals in the middle of a sentence too, and
    the text has it at least twice; "the king" is none. At most `MAX_NAMES`.
    """
    times: dict[str, int] = {}
    for question in questions:
        if "character" not in question.about or not _ASKS_NAME.match(question.text):
            continue
        for answer in question.answers:
            name = answer.strip().rstrip(".")
            if not _NAME.fullmatch(name) or (name.split()[0] in TITLES and " " not in name):
                continue
            count = len(re.findall(rf"(?<!\w){re.escape(name)}(?!\w)", text))
            inside = re.search(rf"[a-z,;] {re.escape(name)}(?!\w)", text)
            small = re.search(rf"(?<!\w){re.escape(name.lower())}(?!\w)", text)
            if count > 1 and inside is not None and small is None:
                times[name] = count
                break
    ranked = sorted(times, key=lambda name: -times[name])
    # "Finn" and "Finn M'Coul" are one.
    kept = [n for i, n in enumerate(ranked) if not any(_same(n, m) for m in ranked[:i])]
    return tuple(kept[:MAX_NAMES])


def _same(one: str, other: str) -> bool:
    a, b = set(one.split()), set(other.split())
    return a <= b or b <= a


def place_told(questions: Sequence[Question], text: str) -> str | None:
    """Where a tale happens, as the text has it.

    That is the answer to a question that asks just this, or that asks of the first section where
    somebody lives whom the text names often.
    """
    for asks in (_ASKS_STAGE, _ASKS_HOME):
        for question in questions:
            match = asks.match(question.text)
            if "setting" not in question.about or match is None:
                continue
            if asks is _ASKS_HOME and (
                question.sections != (1,)
                or not any(
                    name not in TITLES and len(re.findall(rf"\b{name}\b", text)) >= _OFTEN
                    for name in _CAPITAL.findall(match[1])
                )
            ):
                continue
            for answer in question.answers:
                place = _INTO.sub("", answer.strip().rstrip("."), count=1)
                if len(place.split()) > _WORDS_OF_PLACE or _NOT_PLACE.match(place):
                    continue
                found = re.search(rf"(?i)(?<!\w){re.escape(place)}(?!\w)", text)
                if place and found is not None:
                    return found[0]
    return None


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d{1,6}", str(value)))


def _texts(values: Any) -> tuple[str, ...]:
    values = values if isinstance(values, list) else [values]
    return tuple(v for v in values if isinstance(v, str) and v.strip())


def _json_questions(value: Any) -> list[Question]:
    if not isinstance(value, list):
        return []
    return [
        Question(str(q.get("question", "")), _texts(q.get("about")), _numbers(q.get("section")),
                 _texts(q.get("answers")))
        for q in value
        if isinstance(q, Mapping)
    ]  # fmt: skip


def fairytale_rows(path: Path) -> Iterator[Row]:
    """Tales of FairytaleQA: of its folder, or JSON lines with a title, sections and questions."""
    for row, sections, questions in tales(path):
        if row.reason is None:
            fill_tale(row, sections, questions)
        yield row


def tales(path: Path) -> Iterator[tuple[Row, Sequence[str], Sequence[Question]]]:
    """The tales of a file or folder as they stand there, each with its row still to be filled.

    A tale that cannot be read has its reason in the row, and no sections.

    Raises:
        FabulaError: it is not of FairytaleQA's layout.
    """
    yield from _folder_tales(path) if path.is_dir() else _json_tales(path)


def read_tales(path: Path) -> list[Tale]:
    """The tales of a file or folder, with what the experts asked.

    Raises:
        FabulaError: a tale cannot be read, or nothing is asked about characters.
    """
    found: list[Tale] = []
    for row, sections, questions in tales(path):
        if row.reason is not None:
            raise FabulaError(f"{row.origin}: {row.reason}.")
        found.append(Tale.of(sections, [(q.text, q.about, q.answers) for q in questions]))
    if not any(tale.asked for tale in found):
        raise FabulaError(f"{path} has no question on a character; is it FairytaleQA?")
    return found


def _json_tales(path: Path) -> Iterator[tuple[Row, Sequence[str], Sequence[Question]]]:
    for line, record in json_records(path):
        row = Row(origin=f"{path.name}:{line.number}", share=line.share)
        found: list[str] = []
        questions: list[Question] = []
        if isinstance(record, str):
            row.reason = record
        else:
            sections, title = record.get("sections"), record.get("title")
            row.title = title if isinstance(title, str) else None
            if isinstance(sections, list) and all(isinstance(s, str) for s in sections):
                found, questions = sections, _json_questions(record.get("questions"))
            else:
                row.reason = "sections are not a list of texts"
        yield row, found, questions


def tale_files(path: Path) -> list[Path]:
    """The tales of FairytaleQA's folder (its stories in sections), or the file that is named.

    The data is published several times over, by origin and by split, in sections and in
    sentences: the sections by split are taken where they are there.

    Raises:
        FabulaError: the folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.rglob(f"*{STORY_SUFFIX}") if p.is_file())
    for part, wanted in (("sentence-stories", False), ("data-by-train-split", True)):
        chosen = [p for p in found if (part in p.relative_to(path).parts) == wanted]
        found = chosen or found
    if not found:
        raise FabulaError(f"{path} has no files named *{STORY_SUFFIX}; is it FairytaleQA's folder?")
    return found


def question_files(path: Path) -> list[Path]:
    """The files of questions that belong to the tales of a folder."""
    if not path.is_dir():
        return []
    return [q for tale in tale_files(path) if (q := _questions_of(tale)) is not None]


def _questions_of(tale: Path) -> Path | None:
    name = tale.name.removesuffix(STORY_SUFFIX) + QUESTIONS_SUFFIX
    parts = ["questions" if p == "section-stories" else p for p in tale.parent.parts]
    found = (folder / name for folder in (tale.parent, Path(*parts)))
    return next((p for p in found if p.is_file()), None)


def _folder_tales(path: Path) -> Iterator[tuple[Row, Sequence[str], Sequence[Question]]]:
    files = tale_files(path)
    for number, file in enumerate(files):
        place = file.relative_to(path)
        stem = file.name.removesuffix(STORY_SUFFIX)
        splits = [SPLIT_NAMES.get(p, p) for p in place.parts[:-1]]
        row = Row(
            origin=f"{place.as_posix()}:1",
            id=(place.parent / stem).as_posix(),
            title=stem.replace("-", " "),
            split=next((s for s in splits if s in ("train", "valid", "test")), None),
            share=number / len(files),
        )
        header, records = read_csv(file)
        column = require(file, header, ("section", "text"), "FairytaleQA's story")
        sections: list[str] = []
        for line, record in records:
            if isinstance(record, str):
                row.origin, row.reason = f"{place.as_posix()}:{line}", record
                break
            sections.append(record[column["text"]])
        if row.reason is None and not any(s.strip() for s in sections):
            row.reason = "no sections"
        asked = _questions_of(file) if row.reason is None else None
        yield row, sections, _csv_questions(asked) if asked else []


def _csv_questions(path: Path) -> list[Question]:
    header, records = read_csv(path)
    wanted = ("cor_section", "attribute1", "question", "answer1")
    column = require(path, header, wanted, "FairytaleQA's questions")
    abouts = [c for c in header if re.fullmatch(r"(?i)attribute\d", c)]
    answers = [c for c in header if re.fullmatch(r"(?i)answer\d", c)]
    return [
        Question(
            record[column["question"]].strip(),
            tuple(record[c].strip().lower() for c in abouts if record[c].strip()),
            _numbers(record[column["cor_section"]]),
            _texts([record[c] for c in answers]),
        )
        for _, record in records
        if not isinstance(record, str)
    ]
