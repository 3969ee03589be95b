"""Lines of files that may be compressed, damaged or not text: every fault found has a place."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from fabula.errors import FabulaError

MAX_LINE = 10_000_000
"""Longest line that is read, in bytes (a story of a million words has about 6 million)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        number: from 1.
        text: without the line's end; empty where there is a fault.
        fault: what is wrong with it.
        share: how much of the file was read by then, 0 to 1 (now and then brought up to date).
    """

    number: int
    text: str
    fault: str | None = None
    share: float = 0.0


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Open a plain, gzip, xz or bzip2 file; told apart by content, not by name.

    Yields:
        The stream of its bytes, decompressed, and the file underneath.

    Raises:
        FabulaError: cannot be read, is empty, or its compressed stream is damaged or truncated.
    """
    try:
        if path.is_dir():
            raise FabulaError(f"{path} is a folder; name a file.")
        with ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(6)
            raw.seek(0)
            if not magic:
                raise FabulaError(f"{path} is empty; there are no stories in it.")
            if magic[:2] == b"\x1f\x8b":
                stream: BinaryIO = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=raw)))
            elif magic == b"\xfd7zXZ\x00":
                stream = cast(BinaryIO, stack.enter_context(lzma.LZMAFile(raw)))
            elif magic[:3] == b"BZh":
                stream = cast(BinaryIO, stack.enter_context(bz2.BZ2File(raw)))
            else:
                stream = raw
            yield stream, raw
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise FabulaError(
            f"{path}: the compressed file is damaged or truncated ({error}); fetch it again."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise FabulaError(f"{path}: {reason[:1].lower()}{reason[1:]}.") from None


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[Line]:
    """The lines of a file, without their ends. Only "\\n" and "\\r\\n" part lines.

    A line that is not in the encoding, holds a NUL or is over `MAX_LINE` bytes comes with its
    fault and without text, so that the caller can count it and go on.

    Raises:
        FabulaError: see `open_bytes`; or the file is binary (many NULs in its first block).
    """
    with open_bytes(path) as (stream, raw):
        size = max(1, path.stat().st_size)
        yield from lines_of(stream, str(path), lambda: raw.tell() / size, encoding)


def lines_of(
    stream: BinaryIO, where: str, share: Callable[[], float], encoding: str = "utf-8"
) -> Iterator[Line]:
    """The lines of a stream of bytes; see `read_lines`.

    Args:
        stream: of bytes, decompressed.
        where: what it is called where it is at fault.
        share: how much of it was read by now, 0 to 1.
        encoding: of its text.

    Raises:
        FabulaError: it is binary.
    """
    number, done = 0, 0.0
    while line := stream.readline(MAX_LINE):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            head = line[:4096]
            if head[:4] == b"PAR1" or head.count(b"\0") * 20 > len(head):
                raise FabulaError(f"{where} is a binary file, not text; is it the right file?")
        if len(line) >= MAX_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_LINE)
            yield Line(number, "", f"line over {MAX_LINE // 1_000_000} MB", done)
            continue
        if number % 256 == 0:
            done = min(1.0, share())
        text, fault = decode(line.rstrip(b"\r\n"), encoding)
        yield Line(number, text, fault, done)


def count_lines(stream: BinaryIO) -> int:
    """How many lines are left in a stream of bytes; the last one may lack its end."""
    count, last = 0, b"\n"
    while block := stream.read(1 << 18):
        count += block.count(b"\n")
        last = block[-1:]
    return count + (last != b"\n")


def decode(raw: bytes, encoding: str = "utf-8") -> tuple[str, str | None]:
    """A line's text, or "" and its fault."""
    if b"\0" in raw:
        return "", "NUL byte in the line"
    try:
        return raw.decode(encoding), None
    except UnicodeDecodeError:
        return "", f"line is not {encoding.upper()}"
