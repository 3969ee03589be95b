"""Lines of files that may be compressed, damaged or not text: every fault found has a place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fabula.errors import FabulaError

MAX_LINE = 10_000_000
"""Longest line that is read, in bytes (a story of a million words has about 6 million)."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file: its number from 1, and its text or what is wrong with it."""

    number: int
    text: str
    fault: str | None = None


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a plain, gzip, xz or bzip2 file for reading; told apart by content, not by name.

    Raises:
        FabulaError: cannot be read, is empty, or its compressed stream is damaged or truncated.
    """
    try:
        if path.is_dir():
            raise FabulaError(f"{path} is a folder; name a file.")
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            if not magic:
                raise FabulaError(f"{path} is empty; there are no stories in it.")
            stream: object = raw
            if magic[:2] == b"\x1f\x8b":
                stream = io.BufferedReader(gzip.GzipFile(fileobj=raw))  # type: ignore[type-var]
            elif magic == b"\xfd7zXZ\x00":
                stream = io.BufferedReader(lzma.LZMAFile(raw))  # type: ignore[type-var]
            elif magic[:3] == b"BZh":
                stream = io.BufferedReader(bz2.BZ2File(raw))  # type: ignore[type-var]
            yield stream  # type: ignore[misc]
    except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
        raise FabulaError(
            f"{path}: the compressed file is damaged or truncated ({error}); fetch it again."
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise FabulaError(f"{path}: {reason[:1].lower()}{reason[1:]}.") from None


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, without their ends. Only "\\n" and "\\r\\n" part lines.

    A line that is not UTF-8, holds a NUL or is over `MAX_LINE` bytes comes with its fault and
    without text, so that the caller can count it and go on.

    Raises:
        FabulaError: see `open_bytes`; or the file is binary (a NUL in the first block).
    """
    with open_bytes(path) as stream:
        number = 0
        while raw := stream.readline(MAX_LINE):
            number += 1
            if number == 1:
                raw = raw.removeprefix(b"\xef\xbb\xbf")
                head = raw[:4096]
                if head[:4] == b"PAR1" or head.count(b"\0") * 20 > len(head):
                    raise FabulaError(f"{path} is a binary file, not text; is it the right file?")
            if len(raw) >= MAX_LINE and not raw.endswith(b"\n"):
                size = len(raw)
                while raw and not raw.endswith(b"\n"):
                    raw = stream.readline(MAX_LINE)
                    size += len(raw)
                if size > MAX_LINE + 1:
                    fault = f"line over {MAX_LINE // 1_000_000} MB"
                    yield Line(number, "", fault)
                    continue
            yield decode(number, raw.rstrip(b"\r\n"))


def decode(number: int, raw: bytes) -> Line:
    """One line's text, or its fault."""
    if b"\0" in raw:
        return Line(number, "", "NUL byte in the line")
    try:
        return Line(number, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Line(number, "", "line is not UTF-8")
