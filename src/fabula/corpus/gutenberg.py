"""Project Gutenberg's plain texts: header, licence and credits off; collections cut into stories.

The texts span five decades, so the marks around them have many forms. What follows the mark is
read as paragraphs: credits, transcribers' notes, pictures and the title page go. A collection is
cut where the titles of its table of contents come again as headings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = r"^[ \t]*\*{2,3} ?"
_START = re.compile(
    rf"{_MARK}START OF (?:TH(?:E|IS) )?(?:COPYRIGHTED )?PROJECT GUTENBERG"
    r"[^*\n]*(?:\*+[^\n]*|(?:\n[^*\n]+){1,2}\*{3}[^\n]*)?\n"
    r"|^[^\n]*\*END[ *]+THE SMALL PRINT![^\n]*\n",
    re.I | re.M,
)
_END = re.compile(
    rf"{_MARK}END OF (?:TH(?:E|IS) )?(?:COPYRIGHTED )?PROJECT GUTENBERG"
    r"|^[ \t]*\(?End of (?:the |this |)Project Gutenberg\b",
    re.I | re.M,
)
_HEADER = re.compile(r"^(Title|Author|Character set encoding): *(\S.*(?:\n {2,}\S.*)*)", re.M)
_TO_LOOK_AT = 20_000
_HEAD_PARAGRAPHS = 40
_TAIL_PARAGRAPHS = 12

_CREDITS = re.compile(
    r"(?i)\W*(?:(?:this )?e-?(?:text|book) (?:was )?(?:produced|prepared|scanned|transcribed)"
    r"|(?:produced|prepared|scanned|transcribed|proofed|digitized|html version) (?:by|from)\b"
    r"|transcriber'?s'? notes?\b|note: (?:images|project gutenberg)|updated editions will"
    r"|(?:and )?the (?:pg )?online distributed proofread|character set encoding"
    r"|this (?:e-?text|file) (?:was|is|should)\b|\[?(?:note|editor's note) by the transcriber)"
)
_NOTES = re.compile(r"(?i)\W*(?:transcriber'?s'? notes?|notes? (?:of|by) (?:the )?transcribers?)\b")
_BRACKETS = re.compile(
    r"\[ ?(?:Illustration|Transcriber'?s'? Note|Frontispiece|Decoration|Pg|Page)\b"
    r"[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]|\{ ?(?:p\.? ?)?\d{1,4} ?\}",
    re.I,
)
_CONTENTS = re.compile(
    r"(?i)^[\s_*]*(?:table of |the )?(?:contents|stories)(?: of (?:this|the) \w+)?[\s.:_*]*$"
)
_NUMBER = re.compile(
    r"(?i)^(?:(?:no|story)\.? ?)?(?:[ivxlc]{1,7}|\d{1,3})(?:[.):]+| ?[-–—]+) *(?=\S)"
)
_PAGE = re.compile(r"(?i)(?:[\s.]{2,}|\s)(?:\d{1,4}|(?<=\s\s)[ivxl]{1,6})\s*$|[\s.]{3,}$")
_CHAPTER = re.compile(
    r"(?i)^(?:chapter|chap|book|part|act|scene|canto|letter|volume|vol|section)\b\.? *"
    r"(?:[ivxlc\d]|one|the)"
)
_NO_STORY = frozenset(
    "preface introduction introductory foreword contents dedication illustrations index notes "
    "appendix glossary footnotes page bibliography acknowledgments acknowledgements".split()
)
_NO_STORIES = re.compile(
    r"(?i)^(?:list of illustrations|(?:the |a )?(?:author|editor|translator|publisher)'?s'? "
    r"(?:note|preface)|note|biographical|about the author|transcriber)"
)
_COLLECTION = re.compile(
    r"(?i)\b(?:stories|tales|fables|legends|sketches|yarns|adventures|memoirs|fairy book"
    r"|and others?|folk-?lore|myths|romances|novelettes|reprinted pieces|anthology|works)\b"
)
_BY = re.compile(r"(?i)^(?:by|told by|from the \w+ of) +(\S.{2,60})$")
_MOST_ENTRIES = 400
_MOST_WORDS = 16
_FOUND_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Story:
    """One story of a text.

    Attributes:
        text: without header, licence, title and by-line.
        title, author: if they are told.
        line: where it begins in the text, from 1.
    """

    text: str
    title: str | None = None
    author: str | None = None
    line: int = 1


@dataclass(frozen=True, slots=True)
class Header:
    """What a text's header says: title, author and encoding, where it does."""

    title: str | None = None
    author: str | None = None
    encoding: str | None = None


def is_gutenberg(text: str) -> bool:
    """Whether a text has one of Project Gutenberg's marks near its beginning."""
    return "gutenberg" in text[:_TO_LOOK_AT].lower() and _START.search(text) is not None


def read_header(text: str) -> Header:
    """Title, author and encoding, as the lines before the text say them."""
    start = _START.search(text)
    head = text[: start.start() if start else _TO_LOOK_AT][:_TO_LOOK_AT]
    said = {key.lower(): " ".join(value.split()) for key, value in reversed(_HEADER.findall(head))}
    return Header(said.get("title"), said.get("author"), said.get("character set encoding"))


def strip_gutenberg(text: str) -> str:
    """A text without what Project Gutenberg put around it; other texts as they are."""
    first, last = _bounds(text)
    if (first, last) == (0, len(text)):
        return text
    return "\n".join(_body(text[first:last].split("\n"), read_header(text))[1])


def _bounds(text: str) -> tuple[int, int]:
    """Where the book begins and ends between its marks."""
    head = max(_TO_LOOK_AT, len(text) // 2)
    start = None
    for start in _START.finditer(text, 0, head):
        if "SMALL PRINT" not in start[0].upper():
            break
    if start is None:
        return 0, len(text)
    for end in _END.finditer(text, start.end()):
        # "End of Project Gutenberg's hopes" in the first half is the book's own.
        if "*" in end[0] or end.start() > (start.end() + len(text)) // 2:
            return start.end(), end.start()
    return start.end(), len(text)


def _plain(line: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", line.casefold().replace("'", "").replace("’", "")))


def _paragraphs(lines: Sequence[str]) -> list[tuple[int, int]]:
    """(first, last + 1) of each run of lines that are not blank."""
    found: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


def _body(lines: list[str], header: Header) -> tuple[int, list[str]]:
    """The lines of the book without credits, notes, pictures and title page.

    Returns:
        How many lines were taken off before it, and the lines (as many as there were, if blank).
    """
    text = "\n".join(lines)
    if "[" in text or "{" in text:
        text = _BRACKETS.sub(lambda m: "\n" * m[0].count("\n"), text)
    lines = text.split("\n")
    paragraphs = _paragraphs(lines)
    first, last = 0, len(lines)
    title_page = {_plain(t) for t in (header.title, header.author) if t}
    title_page |= {"by", f"by {_plain(header.author or '')}"}
    if header.title and ":" in header.title:
        title_page |= {_plain(part) for part in header.title.split(":")}
    for a, b in paragraphs[:_HEAD_PARAGRAPHS]:
        whole = " ".join(lines[a:b])
        words = _plain(whole)
        page = words in title_page or all(_plain(x) in title_page for x in lines[a:b])
        if words and not page and not _CREDITS.match(whole):
            break
        first = b
    for a, _ in paragraphs[-_TAIL_PARAGRAPHS:]:
        if a > first and _NOTES.match(lines[a]):
            last = a
            break
    for a, b in reversed(paragraphs[-_TAIL_PARAGRAPHS:]):
        if a < first or b > last:
            continue
        words = _plain(" ".join(lines[a:b]))
        if words and words not in ("the end", "end", "finis"):
            break
        last = a
    return first, lines[first:last]


@dataclass(frozen=True, slots=True)
class _Entry:
    title: str
    plain: str
    numbered: bool


def _entry(line: str) -> _Entry | None:
    """A line of a table of contents as a title; None where it is none."""
    line = _PAGE.sub("", line.strip().strip("_*").rstrip())
    numbered = _NUMBER.match(line) is not None or _CHAPTER.match(line) is not None
    title = _NUMBER.sub("", line).strip(" ._*")
    plain = _plain(title)
    if not plain or plain.isdecimal() or plain.count(" ") >= _MOST_WORDS:
        return None
    return _Entry(title, plain, numbered)


def _contents(lines: Sequence[str]) -> tuple[list[_Entry], int]:
    """The titles of the table of contents, and the line after it; none where there is none."""
    for number, line in enumerate(lines[: max(1000, len(lines) // 4)]):
        if not _CONTENTS.match(line):
            continue
        entries: dict[str, _Entry] = {}
        for at in range(number + 1, min(len(lines), number + _MOST_ENTRIES)):
            entry = _entry(lines[at])
            if entry is None:
                continue
            # The first title that comes again, alone, is the first heading.
            if entry.plain in entries and _stands_alone(lines, at, at + 1):
                return list(entries.values()), at
            entries.setdefault(entry.plain, entry)
    return [], 0


def _stands_alone(lines: Sequence[str], first: int, last: int) -> bool:
    before = lines[first - 1] if first else ""
    after = lines[last] if last < len(lines) else ""
    return not before.strip() and not after.strip()


def _is_novel(entries: Sequence[_Entry], title: str | None) -> bool:
    """Whether these are the chapters of one book."""
    if sum(_CHAPTER.match(e.title) is not None for e in entries) * 2 > len(entries):
        return True
    numbered = sum(e.numbered for e in entries) * 2 > len(entries)
    return numbered and not _COLLECTION.search(title or "")


def cut_collection(lines: Sequence[str], title: str | None) -> list[Story]:
    """The stories of a collection, by its table of contents.

    Args:
        lines: of the book.
        title: of the book; numbered chapters are stories only if it says so ("... and Other
            Stories").

    Returns:
        The stories, their lines counted from 1; none where the book is no collection.
    """
    entries, start = _contents(lines)
    if len(entries) < 2 or _is_novel(entries, title):
        return []
    at: list[tuple[int, int, _Entry]] = []
    wanted = {e.plain: n for n, e in enumerate(entries)}
    number, reached = start, -1
    while number < len(lines):
        size = 0
        for size in (2, 1):
            joined = " ".join(lines[number : number + size]).strip()
            entry = _entry(joined) if joined and len(joined) < 160 else None
            if (
                entry is not None
                and wanted.get(entry.plain, -1) > reached
                and lines[number].strip()
                and not (number and lines[number - 1].strip())
                and not (number + size < len(lines) and lines[number + size].strip())
            ):
                reached = wanted[entry.plain]
                at.append((number, number + size, entries[reached]))
                break
        number += 1
    stories = [e for e in entries if not _is_matter(e)]
    found = [e for _, _, e in at if not _is_matter(e)]
    if len(found) < 2 or len(found) < _FOUND_SHARE * len(stories):
        return []
    result = []
    ends = [first for first, _, _ in at[1:]] + [len(lines)]
    for (first, after, entry), end in zip(at, ends, strict=True):
        if not _is_matter(entry):
            result.append(_story(lines, first, after, end, entry))
    return result


def _is_matter(entry: _Entry) -> bool:
    """Preface, notes and the like, which are no stories."""
    return entry.plain in _NO_STORY or _NO_STORIES.match(entry.title) is not None


def _story(lines: Sequence[str], first: int, after: int, end: int, entry: _Entry) -> Story:
    author = None
    for a, b in _paragraphs(lines[after : min(end, after + 12)])[:2]:
        if b - a == 1 and (match := _BY.match(lines[after + a].strip(" _*"))):
            author, after = match[1].strip(" .,_*"), after + b
            break
    body = list(lines[after:end])
    # A story's number may stand above its heading.
    while body and (not body[-1].strip() or re.fullmatch(r"(?i)\s*[ivxlc\d]+\.?\s*", body[-1])):
        body.pop()
    title = entry.title.lower() if entry.title.isupper() else entry.title
    return Story("\n".join(body).strip("\n"), title, author, first + 1)


def stories_of(text: str) -> list[Story]:
    """The stories of a Project Gutenberg text: those of a collection, or the book as one."""
    header = read_header(text)
    first, last = _bounds(text)
    skipped, lines = _body(text[first:last].split("\n"), header)
    offset = text.count("\n", 0, first) + skipped
    found = cut_collection(lines, header.title)
    if not found:
        return [Story("\n".join(lines).strip("\n"), header.title, header.author, offset + 1)]
    return [Story(s.text, s.title, s.author or header.author, s.line + offset) for s in found]
