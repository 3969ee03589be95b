"""WritingPrompts in the archive it is published in (.tar.gz), read without extracting it.

Prompts and stories are different members, so two readers go over the archive side by side. The
archive comes from elsewhere and may be hostile: nothing of it is ever written, every member's
name and kind is looked at before the first story is read, and no header is read that claims more
than a name can take.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from fabula.corpus.lines import Line, count_lines, lines_of, open_bytes
from fabula.corpus.published import wp_row
from fabula.corpus.schema import SPLITS
from fabula.corpus.source import Row
from fabula.errors import FabulaError

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
MAX_HEADER = 1 << 20
"""Longest name or other header of a member that is read, in bytes."""

_BLOCK = 1 << 18
_MEMBER = re.compile(r"(train|valid|test)\.wp_(source|target)")
_SHOWN = 80


def is_archive(path: Path) -> bool:
    """Whether a file is named as a tar archive."""
    return path.name.lower().endswith(SUFFIXES)


class _Forward(io.RawIOBase):
    """A stream that only goes on, so that no header can make it start anew or fill the memory."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._at = stream, 0
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._stream.read(size)
        self._at += len(self.last)
        return self.last

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < self._at:
            raise tarfile.ReadError("its members overlap")
        while self._at < offset and self.read(min(_BLOCK, offset - self._at)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """The archive, at its first member.

    Raises:
        FabulaError: it is no archive, or damaged or truncated.
    """
    try:
        with open_bytes(path) as (stream, _):
            forward = _Forward(stream)
            with tarfile.open(fileobj=cast(BinaryIO, forward), mode="r:") as archive:
                yield archive
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        reason = _shown(str(error)) or "it ends too early"
        raise FabulaError(
            f"{path} is a damaged or truncated archive, or none ({reason}); fetch it again."
        ) from None


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := archive.next()) is not None:
        # What is passed is not kept: an archive may have any number of members.
        archive.members.clear()  # type: ignore[attr-defined]
        yield member
    # tarfile takes a damaged header for the end; a whole archive ends in a block of zeros.
    if cast(_Forward, archive.fileobj).last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("its end is missing")


def _shown(name: str) -> str:
    """A member's name as it can stand in a sentence."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= _SHOWN else name[: _SHOWN - 1] + "…"


def _check(path: Path, member: tarfile.TarInfo) -> None:
    """Refuse a member that an archive of texts has no business to hold."""
    name, fault = member.name, None
    if member.issym() or member.islnk():
        fault = "is a link"
    elif member.ischr() or member.isblk() or member.isfifo():
        fault = "is a device"
    elif not (member.isreg() or member.isdir()) or member.issparse():
        fault = "is of an unknown kind"
    elif name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
        fault = "has an absolute path"
    elif ".." in re.split(r"[\\/]", name):
        fault = "points outside its folder"
    elif member.size < 0:
        fault = "has a size below nothing"
    if fault is not None:
        raise FabulaError(
            f"{path}: the member '{_shown(name)}' {fault}; such an archive is not to be trusted, "
            "so fetch it from where it is published."
        )


def _pairs(path: Path) -> list[tuple[str, str, str]]:
    """(split, prompts' member, stories' member) of each split, after a look at all members.

    Raises:
        FabulaError: the archive is damaged, hostile, or lacks what is wanted; or two members of
            a split have different numbers of lines.
    """
    found: dict[tuple[str, str], str] = {}
    lines: dict[str, int] = {}
    with _opened(path) as archive:
        for member in _members(archive):
            _check(path, member)
            match = _MEMBER.fullmatch(PurePosixPath(member.name).name)
            if match is None or not member.isreg():
                continue
            key = (match[1], match[2])
            if key in found:
                raise FabulaError(
                    f"{path} holds '{_shown(found[key])}' and '{_shown(member.name)}'; one "
                    f"{match[0]} is needed, so make an archive with one of them."
                )
            found[key] = member.name
            lines[member.name] = count_lines(_content(archive, member))
        # The end of a compressed stream tells whether it is whole.
        rest = cast(_Forward, archive.fileobj)
        while rest.read(_BLOCK):
            pass
    pairs = []
    for split in SPLITS:
        source, target = found.get((split, "source")), found.get((split, "target"))
        if source is not None and target is not None:
            if lines[source] != lines[target]:
                raise FabulaError(
                    f"{path}: '{_shown(source)}' has {lines[source]:,} lines and "
                    f"'{_shown(target)}' has {lines[target]:,}; each prompt needs its story on "
                    "the same line, so fetch the archive again."
                )
            pairs.append((split, source, target))
        elif source is not None or target is not None:
            half = "target" if source else "source"
            raise FabulaError(
                f"{path}: the member {split}.wp_{half} is missing, though "
                f"'{_shown(source or target or '')}' is there; fetch the archive again."
            )
    if not pairs:
        raise FabulaError(
            f"{path} has no member train, valid or test.wp_source and .wp_target; is it the "
            "WritingPrompts archive?"
        )
    return pairs


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> BinaryIO:
    file = archive.extractfile(member)
    assert file is not None  # a regular file, see _check
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, file), _BLOCK))


def _lines(path: Path, names: list[str]) -> Iterator[Line | None]:
    """The lines of some members, one after the other in this order; None after each.

    The archive is opened anew only where a member lies before the one that was read last.
    """
    todo = list(names)
    while todo:
        left = len(todo)
        with _opened(path) as archive:
            for member in _members(archive):
                if todo and member.name == todo[0]:
                    todo.pop(0)
                    content, size = _content(archive, member), max(1, member.size)
                    where = f"{path}: the member '{_shown(member.name)}'"
                    yield from lines_of(content, where, lambda c=content, s=size: c.tell() / s)  # type: ignore[misc]
                    yield None
                if not todo:
                    break
        if len(todo) == left:
            raise FabulaError(f"{path} changed while it was read; prepare it again.")


def archive_rows(path: Path) -> Iterator[Row]:
    """Prompt and story, line by line, as `published.wp_rows` has them from a folder.

    Raises:
        FabulaError: the archive is damaged, truncated, hostile or not WritingPrompts'.
    """
    pairs = _pairs(path)
    prompts = _lines(path, [source for _, source, _ in pairs])
    stories = _lines(path, [target for _, _, target in pairs])
    for number, (split, _, target) in enumerate(pairs):
        place = _shown(target)
        for prompt, story in zip(prompts, stories, strict=True):
            if prompt is None and story is None:
                break
            if prompt is None or story is None:
                raise FabulaError(f"{path} changed while it was read; prepare it again.")
            yield wp_row(split, place, prompt, story, (number + story.share) / len(pairs))
