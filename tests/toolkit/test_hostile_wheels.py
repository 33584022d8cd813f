"""Wheels that were made to harm: what readers disagree about, bombs, and names that collide."""

from __future__ import annotations

import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from making import AGENTS, contents_of, make_wheel, record_row, write_archive

from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import Member, zip_bytes
from toolkit.wheels.wheelfile import Wheel

STEM = "livekit_agents-1.8.9"
RECORD = f"{STEM}.dist-info/RECORD"
METADATA = f"{STEM}.dist-info/METADATA"
WHEEL = f"{STEM}.dist-info/WHEEL"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_wheel(tmp_path, AGENTS, "1.8.9")


def said(path: Path) -> str:
    with pytest.raises(InvalidWheel) as caught:
        Wheel.open(path)
    return str(caught.value)


def test_all_of_what_zipfile_passes_over_is_refused(wheel: Path) -> None:
    data = wheel.read_bytes()
    end, start = data[-22:], zipfile.ZipFile(wheel).start_dir
    count, size = struct.unpack_from("<H", end, 10)[0], len(data) - 22 - start
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start, 1)
    for hostile in (
        data + b"\0",
        data + end,
        data[:-2] + struct.pack("<H", 22) + end,
        data[:-22] + locator + end,
        data[:-22] + b"PK" + end,
        b"PK" + data,
        data[:start] + b"PK" + data[start:],
        data[:-14] + struct.pack("<HH", count + 1, count + 1) + data[-10:],
        data[:-14] + struct.pack("<HH", count, count + 1) + data[-10:],
        data[:-10] + struct.pack("<LL", size, start + 1) + data[-2:],
        data[:-18] + b"\1" + data[-17:],
    ):
        wheel.write_bytes(hostile)
        said(wheel)
    wheel.write_bytes(data)
    assert Wheel.open(wheel).data == data


def rebuilt(wheel: Path, name: str, change: Callable[[Member], Member]) -> None:
    """Write the wheel again with one member changed, and all headers as the member has it."""
    members = Wheel.open(wheel).members
    wheel.write_bytes(
        b"".join(zip_bytes(change(m) if n == name else m for n, m in members.items()))
    )


def with_info(member: Member, **changes: object) -> Member:
    info = copy(member.info)
    for name, value in changes.items():
        setattr(info, name, value)
    return replace(member, info=info)


def test_content_that_goes_on_after_its_announced_end(wheel: Path) -> None:
    """zipfile reads 4 bytes whose checksum and RECORD are right; an unpacker reads them all."""
    shown, whole = b"safe", b"safe = False; import os"
    contents = contents_of(wheel) | {WHEEL.replace("WHEEL", "note"): shown}
    del contents[RECORD]
    write_archive(wheel, contents, RECORD)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = deflate.compress(whole) + deflate.flush()

    def longer(member: Member) -> Member:
        return replace(with_info(member, compress_size=len(stored)), stored=stored)

    rebuilt(wheel, WHEEL.replace("WHEEL", "note"), longer)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(WHEEL.replace("WHEEL", "note")) == shown
    assert "does not unpack to what its header announces" in said(wheel)


@pytest.mark.parametrize("tail", [b"\0", b"import os"])
def test_bytes_after_a_packed_content(wheel: Path, tail: bytes) -> None:
    def tailed(member: Member) -> Member:
        stored = member.stored + tail
        return replace(with_info(member, compress_size=len(stored)), stored=stored)

    rebuilt(wheel, "livekit/agents/engine.py", tailed)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
    assert "does not unpack to what its header announces" in said(wheel)


@pytest.mark.parametrize(
    "changes",
    [
        {"extra": struct.pack("<HHBL", 0x7075, 5, 1, 0)},
        {"extra": bytes(2000)},
        {"extra": b"\1\0\xff"},
        {"flag_bits": 0x20},
        {"flag_bits": 0x2000},
    ],
)
def test_headers_that_readers_disagree_about(wheel: Path, changes: dict[str, object]) -> None:
    rebuilt(wheel, WHEEL, lambda member: with_info(member, **changes))
    said(wheel)


def test_descriptor_that_lies(wheel: Path) -> None:
    rebuilt(wheel, WHEEL, lambda member: with_info(member, flag_bits=8))
    assert Wheel.open(wheel)
    data = wheel.read_bytes()
    at = data.index(b"PK\7\x08")
    for hostile in (data[: at + 4] + b"\0" + data[at + 5 :], data.replace(b"PK\7\x08", b"", 1)):
        wheel.write_bytes(hostile)
        said(wheel)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "a\x1b[31m.py",
            "a\n.py",
            "a\x7f.py",
            "a\u202e.py",
            "a\u2028.py",
            "a\ud7ff.py",
            "a\xa0b.py",
        ),
        *("a./b.py", "a /b.py", "b.py.", "b.py ", "a:b.py", "a?.py", "a*.py", '"a".py', "<a>.py"),
        *("nul", "aux.py", "livekit/Com1.txt", "x" * 256 + ".py", "é" * 128 + ".py"),
        "/".join(["x" * 200] * 6),
    ],
)
def test_names_that_are_no_file_everywhere(wheel: Path, name: str) -> None:
    contents = contents_of(wheel) | {name: b""}
    del contents[RECORD]
    text = said(write_archive(wheel, contents, RECORD))
    assert "is an unsafe name" in text
    assert all(c.isprintable() or c == "\n" for c in text)


def test_name_without_an_encoding(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/é.py": b""}
    del contents[RECORD]
    write_archive(wheel, contents, RECORD)
    assert Wheel.open(wheel)

    def as_cp437(member: Member) -> Member:
        return with_info(member, flag_bits=0)

    rebuilt(wheel, "livekit/é.py", as_cp437)
    assert "is an unsafe name" in said(wheel)
    data = wheel.read_bytes().replace("livekit/é.py".encode("cp437"), b"livekit/\xff.py")
    at = data.rindex(b"PK\1\2", 0, data.rindex(b"livekit/\xff.py"))
    wheel.write_bytes(data[: at + 9] + b"\x08" + data[at + 10 :])
    assert "cannot be read" in said(wheel)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["livekit/agents/Engine.py"], "same place"),
        (["livekit/\xe9.py", "livekit/e\u0301.py"], "same place"),
        (["livekit/ﬁ.py", "livekit/ﬁ.PY"], "same place"),
        (["livekit/agents/engine.py/x.py"], "a file and a folder"),
        (["LIVEKIT/agents/engine.py/x.py"], "a file and a folder"),
        ([f"{STEM}.data/purelib/livekit/agents/engine.py"], "same place"),
        ([f"{STEM}.data/platlib/livekit/agents/engine.py"], "same place"),
        ([f"{STEM}.data/data/lib/python3/site-packages/x.py"], "installed as a module"),
        (["other-1.data/purelib/x.py"], "data of something else"),
        ([f"{STEM}.DATA/purelib/x.py"], "data of something else"),
        ([f"{STEM}.DIST-INFO/x"], "not one .dist-info folder but 2"),
        ([""], "unsafe name"),
    ],
)
def test_members_that_meet_when_installed(wheel: Path, names: list[str], problem: str) -> None:
    contents = contents_of(wheel) | dict.fromkeys(names, b"import os")
    del contents[RECORD]
    assert problem in said(write_archive(wheel, contents, RECORD))


@pytest.mark.parametrize(
    ("member", "old", "new", "problem"),
    [
        (METADATA, b"Name:", b"Name: x\nName:", "says Name twice"),
        (METADATA, b"Name:", b"Requires-Python: >3\nrequires-python: <3\nName:", "twice"),
        (METADATA, b"Name: livekit-agents", b"Name: l\xefvekit", "cannot be read"),
        (METADATA, b"Name: livekit-agents", "Name: lïvekit".encode(), "name or version"),
        (METADATA, b"Version: 1.8.9\n", b"Version: " + b"9" * 5000 + b"\n", "name or version"),
        (METADATA, b"Name:", b"no header\nName:", "lines that are no header"),
        (METADATA, b"Name:", b"\nName:", "name or version"),
        (METADATA, b"Name:", b"X: y\r\rName:", "name or version"),
        (WHEEL, b"Wheel-Version:", b"Wheel-Version: 1.0\nWheel-Version:", "Wheel-Version twice"),
        (WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: 1.x", "version 1"),
        (WHEEL, b"Root-Is-Purelib: true", b"Root-Is-Purelib: maybe", "whether it is pure"),
        (WHEEL, b"Root-Is", b"Root-Is-Purelib: false\nRoot-Is", "Root-Is-Purelib twice"),
        (WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: \xff", "cannot be read"),
    ],
)
def test_headers_that_parsers_read_differently(
    wheel: Path, member: str, old: bytes, new: bytes, problem: str
) -> None:
    contents = contents_of(wheel)
    del contents[RECORD]
    contents[member] = contents[member].replace(old, new, 1)
    assert problem in said(write_archive(wheel, contents, RECORD))


@pytest.mark.parametrize("row", [record_row(RECORD, b""), record_row(f"{RECORD}.jws", b"{}")])
def test_record_that_speaks_of_itself(wheel: Path, row: tuple[str, str, str]) -> None:
    contents = contents_of(wheel) | {f"{RECORD}.jws": b"{}"}
    lines = [line for line in contents[RECORD].decode().splitlines() if row[0] not in line]
    contents[RECORD] = "\n".join([*lines, ",".join(row), ""]).encode()
    assert "RECORD has a hash or a size for" in said(write_archive(wheel, contents, None))


def test_record_that_does_not_name_itself(wheel: Path) -> None:
    contents = contents_of(wheel)
    contents[RECORD] = contents[RECORD].replace(f"{RECORD},,\n".encode(), b"")
    assert "RECORD does not name itself" in said(write_archive(wheel, contents, None))


def test_folder_with_content(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/hidden/": b"import os"}
    assert "is a folder with content" in said(write_archive(wheel, contents, None))


def test_bomb_of_overlapping_members_costs_no_memory(wheel: Path) -> None:
    """2,000 directory entries share one member of a million bytes (Fifield's quoted overlap)."""
    content = os.urandom(1 << 20)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("livekit/x.bin", content)
    data = wheel.read_bytes()
    at = data.rindex(b"PK\1\2")
    entries = b"".join(data[at:-22].replace(b"x.bin", b"%05d" % n) for n in range(2000))
    end = struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 2000, 2000, len(entries), at, 0)
    wheel.write_bytes(data[:at] + entries + end)
    tracemalloc.start()
    try:
        assert "a bomb" in said(wheel)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_bomb_of_entries_costs_no_memory(wheel: Path) -> None:
    entry = struct.pack("<4sBBBBHHHHLLLHHHHHLL", b"PK\1\2", *[0] * 18)
    data = entry * 200_000
    end = struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 3, 3, len(data), 0, 0)
    wheel.write_bytes(data + end)
    tracemalloc.start()
    try:
        assert "it is a bomb" in said(wheel)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_what_is_no_file_at_all(wheel: Path) -> None:
    wheel.unlink()
    assert "is not a file" in said(wheel)
    wheel.mkdir()
    assert "is not a file" in said(wheel)
    wheel.rmdir()
    os.mkfifo(wheel)
    assert "is not a file" in said(wheel)


def test_endless_problems_are_cut_short(wheel: Path) -> None:
    contents = contents_of(wheel) | {f"livekit/{n}{'x' * 190}.py": b"" for n in range(5000)}
    text = said(write_archive(wheel, contents, None))
    assert "and 4950 problems more" in text
    assert len(text) < 20_000


def test_metadata_of_endless_length(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/random.bin": os.urandom(50_000)}
    contents[METADATA] += b"a\n" * (4 << 19)
    del contents[RECORD]
    assert "METADATA is longer than" in said(write_archive(wheel, contents, RECORD))
