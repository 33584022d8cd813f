"""Zip files: bytes that no header accounts for, bombs, and what readers disagree about."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from limits import little_memory
from test_wheels_wheelfile import METADATA, STEM, WHEEL, problem
from wheels import (
    AGENTS,
    ENGINE,
    add,
    change_members,
    change_wheel,
    contents_of,
    make_official,
    noise,
    with_info,
)

from toolkit.wheels.archive import Member, overrides_header, read_members, zip_bytes
from toolkit.wheels.wheelfile import Wheel

INIT = "livekit/agents/__init__.py"
NOTE = f"{STEM}.dist-info/note"
OUTSIDE = "bytes before the first member or after the last"
ENTRIES = "more or less than"
LOCAL = "has a local header, or bytes around it, that say otherwise"
LONGER = "does not unpack to what its header announces"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_official(tmp_path, AGENTS, "1.8.9")


def test_members_are_written_back_as_they_were(wheel: Path) -> None:
    data, problems = wheel.read_bytes(), list[str]()
    assert b"".join(zip_bytes(read_members(data, problems).values())) == data
    assert problems == []


def test_what_is_no_zip_file_is_not_read_further(wheel: Path) -> None:
    wheel.write_bytes(b"PK\5\6")
    assert problem(wheel).splitlines()[1:] == [
        "it is not a zip file, or there are bytes after its end",
        "there is not one .dist-info folder but 0",
    ]


def tail(data: bytes) -> tuple[bytes, bytes, int, int]:
    """The file before its end record, that record, where the directory starts, how many entries."""
    end = data[-22:]
    count, _, start = struct.unpack_from("<HLL", end, 10)
    return data[:-22], end, start, count


def ended(start: int, count: int, size: int, on_disk: int | None = None) -> bytes:
    disk = count if on_disk is None else on_disk
    return struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, disk, count, size, start, 0)


def with_a_later_directory(data: bytes) -> bytes:
    body, _, start, count = tail(data)
    return body + ended(start + 1, count, len(body) - start - 1)


def with_two_directories(data: bytes) -> bytes:
    body, end, start, count = tail(data)
    return body + end + body[start:] + ended(len(data), count, len(body) - start)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: b"<html>not found</html>" * 2, "it is not a zip file"),
        (lambda data: b"", "it is not a zip file"),
        (lambda data: data[:-500], "it is not a zip file"),
        (lambda data: data + b"\0", "it is not a zip file, or there are bytes after its end"),
        (lambda data: b"#!/bin/sh\n" + data, OUTSIDE),
        (lambda data: data + data[-22:], OUTSIDE),
        (lambda data: data[:-2] + b"\x16\0" + data[-22:], OUTSIDE),
        (lambda data: data[:-22] + b"PK" + data[-22:], OUTSIDE),
        (lambda data: data[:-22] + struct.pack("<4sLQL", b"PK\6\7", 0, 9, 1) + data[-22:], OUTSIDE),
        (lambda data: data[:-18] + b"\1" + data[-17:], OUTSIDE),
        (lambda data: data[:-16] + b"\1" + data[-15:], OUTSIDE),
        (lambda data: data[: tail(data)[2]] + b"PK" + data[tail(data)[2] :], OUTSIDE),
        (lambda data: data[:-14] + struct.pack("<HH", 9, 9) + data[-10:], ENTRIES),
        (lambda data: data[:-14] + struct.pack("<HH", 6, 9) + data[-10:], ENTRIES),
        (with_a_later_directory, ENTRIES),
        (with_two_directories, "its directory is not one that it should have"),
        (lambda data: data.replace(b"nul0.py", b"nul\0.py"), "is an unsafe name"),
    ],
)  # fmt: skip
def test_bytes_around_the_members(
    wheel: Path, change: Callable[[bytes], bytes], sentence: str
) -> None:
    data = change_wheel(wheel, add("livekit/nul0.py")).read_bytes()
    wheel.write_bytes(change(data))
    assert sentence in problem(wheel)


def write_header(wheel: Path, name: str, offset: int, value: bytes, *, central: bool) -> None:
    """Overwrite bytes of a member's local or central header."""
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start = archive.getinfo(name).header_offset
        if central:
            start = data.index(b"PK\1\2", archive.start_dir)
            while data[start + 46 : start + 46 + len(name)] != name.encode():
                start = data.index(b"PK\1\2", start + 4)
    data[start + offset : start + offset + len(value)] = value
    wheel.write_bytes(data)


@pytest.mark.parametrize(
    ("offset", "value", "central", "sentence"),
    [
        (8, b"\1\0", True, f"{METADATA} is encrypted"),
        (8, b"\x40\0", True, f"{METADATA} is encrypted"),
        (8, b"\0\x20", True, f"{METADATA} is encrypted"),
        (8, b"\x10\0", True, f"{METADATA} has unknown flags 0x10"),
        (10, b"\x0e\0", True, f"{METADATA} is compressed by method 14"),
        (20, b"\xff" * 4, True, "a bomb"),
        (34, b"\1\0", True, "its directory is not one"),
        (36, b"\1\0", True, ""),
        (38, b"\0\0\xff\xa1", True, f"{METADATA} is a link or another special file"),
        (42, b"\xff" * 4, True, f"{METADATA} needs zip64"),
        (0, b"XX", False, LOCAL),
        (8, b"\1\0", False, LOCAL),
        (10, b"\1\0", False, LOCAL),
        (14, b"\0\0\0\0", False, LOCAL),
        (30, b"X", False, LOCAL),
    ],
)
def test_headers_of_a_member(
    wheel: Path, offset: int, value: bytes, central: bool, sentence: str
) -> None:
    write_header(wheel, METADATA, offset, value, central=central)
    if sentence:
        assert sentence in problem(wheel)
    else:
        assert Wheel.open(wheel)


def only(name: str, change: Callable[[Member], Member]) -> Callable[[Member], Member]:
    return lambda member: change(member) if member.info.filename == name else member


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"extra": struct.pack("<HHBL", 0x7075, 5, 1, 0)}, "has a second name or size"),
        ({"extra": bytes(2000)}, "has a second name or size"),
        ({"extra": b"\1\0\xff"}, "has a second name or size"),
        ({"flag_bits": 0x20}, "unknown flags 0x20|cannot be read"),
        ({"flag_bits": 0x2000}, "is encrypted"),
        ({"external_attr": 0o120777 << 16}, "is a link or another special file"),
        ({"external_attr": 0o010644 << 16}, "is a link or another special file"),
        ({"external_attr": 0o040755 << 16}, "is a link or another special file"),
        ({"file_size": 0x1_0000}, LONGER),
        ({"CRC": 7}, LONGER),
        ({"compress_type": 0}, LONGER),
    ],
)
def test_members_that_lie(wheel: Path, changes: dict[str, object], sentence: str) -> None:
    change_members(wheel, only(WHEEL, lambda member: with_info(member, **changes)))
    assert any(part in problem(wheel) for part in sentence.split("|"))


@pytest.mark.parametrize("mode", [0o100644, 0o100755, 0o104755, 0])
def test_plain_files_of_any_mode(wheel: Path, mode: int) -> None:
    change_members(wheel, only(WHEEL, lambda member: with_info(member, external_attr=mode << 16)))
    assert Wheel.open(wheel)


def test_local_extra_field_that_lies(wheel: Path) -> None:
    extra = struct.pack("<HHQ", 1, 8, 0)
    change_members(wheel, only(WHEEL, lambda member: replace(member, extra=extra)))
    assert "has a second name or size" in problem(wheel)


def longer(stored: bytes) -> Callable[[Member], Member]:
    return lambda member: replace(with_info(member, compress_size=len(stored)), stored=stored)


def test_content_that_goes_on_after_its_announced_end(wheel: Path) -> None:
    """zipfile reads 4 bytes whose checksum and RECORD are right; an unpacker reads them all."""
    change_wheel(wheel, add(NOTE, b"safe"))
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = deflate.compress(b"safe = False; import os") + deflate.flush()
    change_members(wheel, only(NOTE, longer(stored)))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read(NOTE) == b"safe"
    assert LONGER in problem(wheel)


@pytest.mark.parametrize("more", [b"\0", b"import os"])
def test_bytes_after_a_packed_content(wheel: Path, more: bytes) -> None:
    change_members(wheel, only(ENGINE, lambda member: longer(member.stored + more)(member)))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
    assert LONGER in problem(wheel)


def test_damaged_members(wheel: Path) -> None:
    for name in (INIT, ENGINE):
        change_members(wheel, only(name, longer(b"\xff" * 9)))
    text = problem(wheel)
    assert f"{INIT} cannot be unpacked" in text
    assert f"{ENGINE} cannot be unpacked" in text


def test_descriptor(wheel: Path) -> None:
    change_members(wheel, only(WHEEL, lambda member: with_info(member, flag_bits=8)))
    assert Wheel.open(wheel)
    data = wheel.read_bytes()
    start = data.index(b"PK\7\x08")
    for other in (data[: start + 4] + b"\0" + data[start + 5 :], data.replace(b"PK\7\x08", b"", 1)):
        wheel.write_bytes(other)
        problem(wheel)


def test_duplicate_member(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(ENGINE, "import os")
    assert f"{ENGINE} stands twice" in problem(wheel)


def test_overlapping_members(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        target = archive.getinfo(INIT).header_offset
    write_header(wheel, WHEEL, 42, struct.pack("<L", target), central=True)
    assert LOCAL in problem(wheel)


def test_name_without_an_encoding(wheel: Path) -> None:
    name = "livekit/\xe9.py"
    assert Wheel.open(change_wheel(wheel, add(name)))
    change_members(wheel, only(name, lambda member: with_info(member, flag_bits=0)))
    assert "is an unsafe name" in problem(wheel)
    data = wheel.read_bytes().replace(name.encode("cp437"), b"livekit/\xff.py")
    entry = data.rindex(b"PK\1\2", 0, data.rindex(b"livekit/\xff.py"))
    wheel.write_bytes(data[: entry + 9] + b"\x08" + data[entry + 10 :])
    assert "its directory cannot be read" in problem(wheel)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (b"", False),
        (struct.pack("<HHL", 0x5455, 4, 1), False),
        (struct.pack("<HH", 0x5455, 1020) + bytes(1020), False),
        (struct.pack("<HH", 0x5455, 1021) + bytes(1021), True),
        (struct.pack("<HHQ", 1, 8, 0), True),
        (struct.pack("<HH", 0x6375, 0), True),
        (struct.pack("<HHLHHQ", 0x5455, 4, 0, 1, 8, 0), True),
        (b"\1", True),
        (b"\1\2\0", True),
        (struct.pack("<HH", 0x5455, 9), True),
    ],
)
def test_extra_fields(extra: bytes, expected: bool) -> None:
    assert overrides_header(extra) is expected


def test_zip64_member(wheel: Path) -> None:
    contents = contents_of(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            with archive.open(name, "w", force_zip64=name == WHEEL) as member:
                member.write(content)
    assert f"{WHEEL} needs zip64" in problem(wheel)


# -- bombs --------------------------------------------------------------------------------------


def test_bomb_is_refused_before_it_is_read(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_wheel(wheel, add("livekit/zeros.bin", bytes(40 << 20)))
    monkeypatch.setattr(Member, "content", lambda _: pytest.fail("it was unpacked"))
    assert "a bomb" in problem(wheel)


def test_bomb_that_lies_about_its_size(wheel: Path) -> None:
    change_wheel(wheel, add("livekit/zeros.bin", bytes(40 << 20)))
    for central, offset in ((True, 24), (False, 22)):
        write_header(wheel, "livekit/zeros.bin", offset, b"\x10\0\0\0", central=central)
    with little_memory(16 << 20):
        assert LONGER in problem(wheel)


def test_bomb_of_overlapping_members_costs_no_memory(wheel: Path) -> None:
    """2,000 directory entries share one member of a million bytes (Fifield's quoted overlap)."""
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("livekit/x.bin", noise(1 << 20))
    body, _, start, _ = tail(wheel.read_bytes())
    entries = b"".join(body[start:].replace(b"x.bin", b"%05d" % n) for n in range(2000))
    wheel.write_bytes(body[:start] + entries + ended(start, 2000, len(entries)))
    with little_memory(16 << 20):
        assert "a bomb" in problem(wheel)


def test_bomb_of_entries_costs_no_memory(wheel: Path) -> None:
    entry = struct.pack("<4sBBBBHHHHLLLHHHHHLL", b"PK\1\2", *[0] * 18)
    wheel.write_bytes(entry * 200_000 + ended(0, 3, 200_000 * len(entry)))
    with little_memory(40 << 20):
        assert "it is a bomb" in problem(wheel)


def test_many_entries(wheel: Path) -> None:
    entry = struct.pack("<4sBBBBHHHHLLLHHHHHLL", b"PK\1\2", *[0] * 18)
    wheel.write_bytes(entry * 20_001 + ended(0, 20_001, 20_001 * len(entry)))
    assert "it is a bomb" in problem(wheel)
