"""WritingPrompts in its archive: read as the folder is, and never trusted."""

from __future__ import annotations

import gzip
import io
import random
import resource
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_sources import halves, odd, published, tar

from fabula.corpus import open_source
from fabula.corpus.archives import archive_rows
from fabula.corpus.source import Row
from fabula.errors import FabulaError

Preparer = Callable[..., dict[str, Any]]


def told(row: Row) -> tuple[Any, ...]:
    return row.id, row.text, row.prompt, row.split, row.published, row.reason


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("writingPrompts.tar.gz", "w:gz"),
        ("wp.tgz", "w:gz"),
        ("wp.tar", "w"),
        ("wp.tar.xz", "w:xz"),
        ("wp.tar.bz2", "w:bz2"),
    ],
)
@pytest.mark.parametrize("order", [1, -1], ids=["sources first", "backwards"])
def test_an_archive_reads_as_its_folder(tmp_path: Path, name: str, mode: str, order: int) -> None:
    members = published(300, 5, 4)
    folder = tmp_path / "folder"
    folder.mkdir()
    for member, content in members:
        (folder / Path(member).name).write_bytes(content)
    (tmp_path / name).write_bytes(tar([("writingPrompts/README", b"Hi."), *members[::order]], mode))
    source = open_source(str(tmp_path / name), set())
    assert source.kind == "writingprompts"
    assert source.research_only
    rows = list(source.rows())
    assert [told(r) for r in rows] == [told(r) for r in open_source(str(folder), set()).rows()]
    assert rows[1].origin == "writingPrompts/train.wp_target:2"
    assert all(0 <= r.share <= 1 for r in rows)


def test_the_same_corpus_from_archive_and_folder(tmp_path: Path, prep: Preparer) -> None:
    members = published(30, 4, 4, folder="")
    (tmp_path / "wp").mkdir()
    for member, content in members:
        (tmp_path / "wp" / member).write_bytes(content)
    (tmp_path / "wp.tar.gz").write_bytes(tar(members))
    prep(tmp_path / "wp", out="one")
    prep(tmp_path / "wp.tar.gz", out="two")
    for split in ("train", "valid", "test"):
        one, two = (tmp_path / out / f"{split}.parquet" for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_nothing_is_written_and_little_is_held(tmp_path: Path) -> None:
    prompts, stories = halves(0, 200)
    path = tmp_path / "wp.tar.gz"
    path.write_bytes(tar([("train.wp_target", stories * 150), ("train.wp_source", prompts * 150)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in archive_rows(path)) == 30_000
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if sys.platform != "darwin":
        assert grown < 20_000, "kilobytes, of 40 MB of stories"
    assert list(tmp_path.iterdir()) == [path]


GOOD = published(20, 2)
WHOLE = tar(GOOD)
PLAIN = tar(GOOD, "w")


def damaged_header(number: int) -> bytes:
    """The plain archive, the checksum of a member's header wrong."""
    with tarfile.open(fileobj=io.BytesIO(PLAIN)) as archive:
        at = archive.getmembers()[number].offset
    return PLAIN[: at + 148] + b"0000000\0" + PLAIN[at + 156 :]


def long_header() -> bytes:
    """A member whose name claims to be 8 GB long."""
    header = odd("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 8 << 30
    return gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(10_000_000))


REFUSED: list[tuple[str, bytes, list[str]]] = [
    ("empty.tar", b"", ["empty.tar", "is empty"]),
    ("empty.tar.gz", gzip.compress(b""), ["empty.tar.gz", "damaged or truncated archive, or none"]),
    ("page.tar.gz", b"<html>Not found</html>" * 40, ["page.tar.gz", "archive, or none"]),
    ("zeros.tar", bytes(10_240), ["zeros.tar", "no member train"]),
    ("none.tar.gz", tar([("a/story.txt", b"Once.")]), ["none.tar.gz", "has no member train"]),
    ("cut.tar.gz", WHOLE[:-20], ["cut.tar.gz", "damaged or truncated"]),
    ("half.tar.gz", WHOLE[: len(WHOLE) // 2], ["half.tar.gz", "damaged or truncated"]),
    ("head.tar.gz", WHOLE[:8], ["head.tar.gz", "damaged or truncated"]),
    ("sum.tar.gz", WHOLE[:-8] + bytes(8), ["sum.tar.gz", "damaged or truncated"]),
    ("cut.tar", PLAIN[: len(PLAIN) // 2], ["cut.tar", "truncated"]),
    ("border.tar", PLAIN[: PLAIN.index(b"writingPrompts/valid.wp_source")], ["its end is missing"]),
    ("check.tar", damaged_header(2), ["check.tar", "its end is missing"]),
    ("first.tar", damaged_header(0), ["first.tar", "archive, or none"]),
    ("long.tar.gz", long_header(), ["long.tar.gz", "header of 8,589,9"]),
    ("up.tar.gz", tar(GOOD, extra=[odd("a/../../up")]), ["'a/../../up'", "outside its folder"]),
    ("root.tar.gz", tar(GOOD, extra=[odd("/etc/kite")]), ["'/etc/kite'", "absolute path"]),
    ("disk.tar.gz", tar(GOOD, extra=[odd("C:\\kite")]), ["'C:\\kite'", "absolute path"]),
    ("back.tar.gz", tar(GOOD, extra=[odd("a\\..\\b")]), ["'a\\..\\b'", "outside its folder"]),
    ("soft.tar.gz", tar(GOOD, extra=[odd("s", tarfile.SYMTYPE, "/etc")]), ["'s'", "is a link"]),
    ("hard.tar.gz", tar(GOOD, extra=[odd("h", tarfile.LNKTYPE, "x")]), ["'h'", "is a link"]),
    ("char.tar.gz", tar(GOOD, extra=[odd("c", tarfile.CHRTYPE)]), ["'c'", "is a device"]),
    ("block.tar.gz", tar(GOOD, extra=[odd("b", tarfile.BLKTYPE)]), ["'b'", "is a device"]),
    ("pipe.tar.gz", tar(GOOD, extra=[odd("p", tarfile.FIFOTYPE)]), ["'p'", "is a device"]),
    (
        "linked.tar.gz",
        tar(GOOD[:1], extra=[odd("train.wp_target", tarfile.SYMTYPE, "/etc/passwd")]),
        ["'train.wp_target'", "is a link"],
    ),
    ("line.tar.gz", tar(GOOD, extra=[odd("../a\nb")]), ["'../a�b'", "outside its folder"]),
    ("name.tar.gz", tar(GOOD, extra=[odd("../" + "k" * 500)]), ["kkk…'", "outside its folder"]),
    ("twice.tar.gz", tar([*GOOD, ("b/valid.wp_source", b"x\n")]), ["'b/valid.wp_source'", "one"]),
    ("source.tar.gz", tar(GOOD[:3]), ["valid.wp_target is missing", "'writingPrompts/valid.wp_s"]),
    ("target.tar.gz", tar(GOOD[1:]), ["train.wp_source is missing", "'writingPrompts/train.wp_t"]),
    (
        "lines.tar.gz",
        tar([("train.wp_source", b"a\n" * 1_200), ("train.wp_target", b"b\n" * 1_199)]),
        ["'train.wp_source' has 1,200 lines", "'train.wp_target' has 1,199"],
    ),
    ("void.tar.gz", tar([("test.wp_source", b""), ("test.wp_target", b"")]), ["holds no stories"]),
    (
        "binary.tar.gz",
        tar([("test.wp_source", bytes(99) + b"\n"), ("test.wp_target", b"x\n")]),
        ["member 'test.wp_source'", "binary"],
    ),
]


@pytest.mark.parametrize(("name", "content", "says"), REFUSED, ids=[r[0] for r in REFUSED])
def test_refused(
    tmp_path: Path, prep: Preparer, name: str, content: bytes, says: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FabulaError) as refusal:
        prep(tmp_path / name)
    message = str(refusal.value)
    assert all(part in message for part in says), message
    assert name in message
    assert message.endswith((".", "?"))
    assert "\n" not in message
    assert len(message) < 500
    assert [p.name for p in tmp_path.iterdir()] == [name]


LINES: list[tuple[str, bytes, str]] = [
    ("not UTF-8", b"caf\xe9", "line is not UTF-8"),
    ("NUL", b"a\0b", "NUL byte in the line"),
    ("a line of 11 MB", b"a " * 5_500_000, "line over 10 MB"),
]


@pytest.mark.parametrize(("what", "line", "reason"), LINES, ids=[x[0] for x in LINES])
def test_a_bad_line_in_a_member_is_counted(
    tmp_path: Path, prep: Preparer, what: str, line: bytes, reason: str
) -> None:
    prompts, stories = halves(0, 30)
    (tmp_path / "wp.tar.gz").write_bytes(
        tar([("train.wp_source", prompts + b"A bell .\n"), ("train.wp_target", stories + line)])
    )
    (source,) = prep(tmp_path / "wp.tar.gz")["sources"]
    assert source["dropped"] == {reason: {"stories": 1, "example": "train.wp_target:31"}}
    assert source["kept"] == 30


def read_or_refuse(path: Path) -> list[Row] | str:
    """The rows, or the sentence that refuses them."""
    try:
        return list(archive_rows(path))
    except FabulaError as error:
        return str(error)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), packed=st.booleans())
def test_no_damage_is_taken_for_a_whole_archive(tmp_path: Path, seed: int, packed: bool) -> None:
    """Bytes changed, cut out or put in: refused in a sentence, or read as something whole."""
    dice = random.Random(seed)
    raw = bytearray(WHOLE if packed else PLAIN)
    for _ in range(dice.randint(1, 3)):
        at, size = dice.randrange(len(raw)), dice.choice([1, 1, 8, 512])
        match dice.randrange(3):
            case 0:
                raw[at : at + size] = dice.randbytes(len(raw[at : at + size]))
            case 1:
                del raw[at : at + size]
            case _:
                raw[at:at] = dice.randbytes(size)
    path = tmp_path / "wp.tar.gz"
    path.write_bytes(raw)
    found = read_or_refuse(path)
    if isinstance(found, str):
        assert str(path) in found
        assert "\n" not in found
    else:
        assert {r.split for r in found} <= {"train", "valid"}
        assert len(found) > 0


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(min_size=1, max_size=60), kind=st.sampled_from(b"0123456789DKLMNSVgxX"))
def test_no_member_does_harm(tmp_path: Path, name: str, kind: int) -> None:
    """A member of any name and kind among good ones."""
    try:
        raw = tar(GOOD, "w", extra=[odd(name, bytes([kind]))])
    except (ValueError, UnicodeError):
        return  # no such name can be written
    path = tmp_path / "wp.tar"
    path.write_bytes(raw)
    found = read_or_refuse(path)
    if isinstance(found, str):
        assert "\n" not in found
        assert str(path) in found
    else:
        assert len(found) == 22
    assert list(tmp_path.iterdir()) == [path]
