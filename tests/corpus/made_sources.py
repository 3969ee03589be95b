"""Sources in their published layouts, made small for these tests."""

from __future__ import annotations

import csv
import io
import tarfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_stories import story

Members = Sequence[tuple[str, bytes]]


def halves(first: int, count: int) -> tuple[bytes, bytes]:
    """`count` lines of prompts, and of stories in the published form."""
    prompts = "".join(f"[ WP ] A kite , number {n} .\n" for n in range(first, first + count))
    stories = "".join(
        story(n).replace("\n\n", " <newline> <newline> ").replace(".", " .") + "\n"
        for n in range(first, first + count)
    )
    return prompts.encode(), stories.encode()


def published(*counts: int, folder: str = "writingPrompts/") -> list[tuple[str, bytes]]:
    """Members of an archive with so many stories in train, valid and test."""
    members = []
    for number, (split, count) in enumerate(zip(("train", "valid", "test"), counts, strict=False)):
        for half, content in zip(("source", "target"), halves(number * 1000, count), strict=True):
            members.append((f"{folder}{split}.wp_{half}", content))
    return members


def tar(members: Members, mode: str = "w:gz", extra: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """An archive of some members, and then of others that are headers alone."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
        for header in extra:
            archive.addfile(header)
    return sink.getvalue()


def odd(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """A member that is only a header."""
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, link
    return header


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """A CSV table."""
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(header)
    writer.writerows(rows)
    return sink.getvalue().encode()


ROC = ["storyid", "storytitle", *(f"sentence{n}" for n in range(1, 6))]
CLOZE = [
    "InputStoryid", *(f"InputSentence{n}" for n in range(1, 5)), "RandomFifthSentenceQuiz1",
    "RandomFifthSentenceQuiz2", "AnswerRightEnding",
]  # fmt: skip


def five(number: int) -> list[str]:
    """Five sentences of about nine words."""
    return [s.strip() + "." for s in story(number, 5).replace("\n\n", " ").split(".")[:5]]


def roc(count: int) -> list[list[str]]:
    """Rows of ROCStories."""
    return [[f"id-{n}", f"Title {n}", *five(n)] for n in range(count)]


def cloze(count: int) -> list[list[str]]:
    """Rows of the Story Cloze Test; the right ending is 1, 2, 1, 2, ..."""
    rows = []
    for n in range(count):
        *plot, end = five(n)
        ends = [end, "Nobody knew of it."] if n % 2 == 0 else ["Nobody knew of it.", end]
        rows.append([f"id-{n}", *plot, *ends, str(n % 2 + 1)])
    return rows


QUESTIONS = [
    "question_id", "local-or-sum", "cor_section", "attribute1", "attribute2", "question",
    "ex-or-im1", "answer1", "answer2",
]  # fmt: skip


def tale(number: int) -> list[str]:
    """Seven sections of three paragraphs, of Solvej in Drommund."""
    return [
        f"In Drommund the children asked Solvej about part {part}.\n" + story(number * 10 + part, 6)
        for part in range(7)
    ]


def fairytale_folder(folder: Path, count: int = 2) -> Path:
    """FairytaleQA's folder, by split and once more by origin and in sentences."""
    root = folder / "FairytaleQA"
    for number in range(count):
        split = ("train", "val", "test")[number % 3]
        name = f"the-kite-{number}"
        sections = table(["section", "text"], list(enumerate(tale(number), 1)))
        questions = table(
            QUESTIONS,
            [
                [1, "local", 1, "character", "", "Who was asked?", "explicit", "Solvej", ""],
                [2, "local", 1, "character", "", "Who asked?", "explicit", "the children", ""],
                [3, "local", 1, "setting", "", "Where did Solvej live?", "explicit",
                 "in Drommund", ""],
                [4, "summary", "2,3", "action", "", "What did Ivo do?", "explicit", "he hid", ""],
            ],
        )  # fmt: skip
        for layout, part in (("data-by-train-split", split), ("data-by-origin", "book")):
            for kind, suffix, content in (
                ("section-stories", "story", sections),
                ("sentence-stories", "story", table(["sentence", "text"], [[1, "One."]])),
                ("questions", "questions", questions),
            ):
                place = root / layout / kind / part
                place.mkdir(parents=True, exist_ok=True)
                (place / f"{name}-{suffix}.csv").write_bytes(content)
    return root


def wrapped(text: str) -> str:
    """A text with short lines, as books are typed."""
    return "\n\n".join(textwrap.fill(p, 70) for p in text.split("\n\n"))


BOOK_TITLES = ["The Red Kite", "A Kettle in the Mill", "The Oar That Sang"]


def collection(titles: Sequence[str] = BOOK_TITLES, numbered: bool = False) -> str:
    """A book of stories with a title page, a table of contents and headings."""
    numbers = [f"{n}. " if numbered else "" for n in ("I", "II", "III", "IV")]
    contents = "".join(
        f"  {n}{t} {'. ' * 9} {i * 11 + 1}\n"
        for i, (n, t) in enumerate(zip(numbers, titles, strict=False))
    )
    stories = "".join(
        f"\n\n\n\n{n}{t.upper()}\n\n\n{wrapped(story(i))}\n"
        for i, (n, t) in enumerate(zip(numbers, titles, strict=False))
    )
    return (
        "THE RED KITE\n\nand Other Stories\n\nBy Odalys Wren\n\n[Illustration: A kite\nover a mill]"
        f"\n\n\nCONTENTS\n\n{' ' * 30}PAGE\n\n  PREFACE {' ' * 20} iii\n{contents}\n\n\nPREFACE\n\n"
        f"These stories were told by the sea.\n{stories}"
    )


def gutenberg(
    body: str,
    start: str = "*** START OF THIS PROJECT GUTENBERG EBOOK THE RED KITE ***",
    end: str = "*** END OF THIS PROJECT GUTENBERG EBOOK THE RED KITE ***",
    title: str = "The Red Kite\n       and Other Stories",
    encoding: str = "UTF-8",
) -> str:
    """A text between Project Gutenberg's marks."""
    return (
        "The Project Gutenberg EBook of The Red Kite, by Odalys Wren\n\nThis eBook is for the use "
        f"of anyone anywhere.\n\n\nTitle: {title}\n\nAuthor: Odalys Wren\n\n"
        f"Character set encoding: {encoding}\n\n{start}\n\n\n\nProduced by Bram Ketu and the "
        "Online Distributed\nProofreading Team\n\n\n\n"
        f"{body}\n\n\n\n{end}\n\nUpdated editions will replace the previous one.\n"
    )
