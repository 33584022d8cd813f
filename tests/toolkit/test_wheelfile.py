"""What is a sound wheel, and what is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from making import AGENTS, contents_of, make_wheel, write_archive
from packaging.version import Version

from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import Member, overrides_header
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


def test_sound_wheel(wheel: Path) -> None:
    opened = Wheel.open(wheel)
    assert (opened.distribution, opened.version, opened.tag) == (
        AGENTS,
        Version("1.8.9"),
        "py3-none-any",
    )
    assert opened.dist_info == f"{STEM}.dist-info"
    assert {name: opened.read(name) for name in opened.members} == contents_of(wheel)


@pytest.mark.parametrize("tag", ["1-py3-none-any", "cp310-abi3-manylinux_2_28_x86_64"])
def test_build_and_platform_tags_are_kept(tmp_path: Path, tag: str) -> None:
    path = make_wheel(tmp_path, AGENTS, "2.0.0b1", tag=tag.removeprefix("1-"))
    path = path.rename(path.with_name(f"livekit_agents-2.0.0b1-{tag}.whl"))
    assert Wheel.open(path).tag == tag


def test_not_a_zip(wheel: Path) -> None:
    wheel.write_bytes(b"<html>not found</html>")
    assert "not a zip file" in said(wheel)


def test_cut_off(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-500])
    assert "no sound wheel" in said(wheel)


def test_damaged_member(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo(WHEEL)
    data = bytearray(wheel.read_bytes())
    data[info.header_offset + 30 + len(WHEEL) + 5] ^= 0xFF
    wheel.write_bytes(data)
    assert "no sound wheel" in said(wheel)


@pytest.mark.parametrize("name", ["livekit_agents-1.8.9.zip", "livekit_agents-1.8.9.whl", "x.whl"])
def test_bad_file_name(wheel: Path, name: str) -> None:
    assert "wheel" in said(wheel.rename(wheel.with_name(name)))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("livekit_agents-1.9.0-py3-none-any.whl", "disagree"),
        ("livekit_other-1.8.9-py3-none-any.whl", "disagree"),
        ("livekit_agents-1.8.9-py2.py3-none-any.whl", "about the tags"),
    ],
)
def test_file_name_that_says_otherwise(wheel: Path, name: str, problem: str) -> None:
    assert problem in said(wheel.rename(wheel.with_name(name)))


@pytest.mark.parametrize(
    ("member", "old", "new", "problem"),
    [
        (METADATA, b"Name: livekit-agents", b"Name: other", "name or version"),
        (METADATA, b"Version: 1.8.9\n", b"Version: 1.8.8\n", "name or version"),
        (METADATA, b"Version: 1.8.9\n", b"Version: 1.8.9\nVersion: 1.8.9\n", "says Version twice"),
        (WHEEL, b"Tag: py3", b"Tag: py2", "about the tags"),
        (WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: 2.0", "version 1"),
    ],
)
def test_dist_info_that_says_otherwise(
    wheel: Path, member: str, old: bytes, new: bytes, problem: str
) -> None:
    contents = contents_of(wheel)
    del contents[RECORD]
    contents[member] = contents[member].replace(old, new, 1)
    assert problem in said(write_archive(wheel, contents, RECORD))


@pytest.mark.parametrize("member", [METADATA, WHEEL])
def test_missing_dist_info(wheel: Path, member: str) -> None:
    contents = contents_of(wheel)
    del contents[RECORD], contents[member]
    assert f"{member} is missing" in said(write_archive(wheel, contents, RECORD))


def test_two_dist_infos(wheel: Path) -> None:
    contents = contents_of(wheel) | {"other-1.dist-info/METADATA": b""}
    del contents[RECORD]
    assert "not one .dist-info folder but 2" in said(write_archive(wheel, contents, RECORD))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.update({"livekit/more.py": b""}), "livekit/more.py is not in RECORD"),
        (lambda c: c.pop("livekit/agents/engine.py"), "engine.py is in RECORD only"),
        (
            lambda c: c.update({"livekit/agents/engine.py": b"import os"}),
            "engine.py is not what RECORD says",
        ),
        (lambda c: c.pop(RECORD), "RECORD is missing"),
        (lambda c: c.update({RECORD: c[RECORD] + c[RECORD]}), "one twice"),
        (lambda c: c.update({RECORD: c[RECORD] + b"only,two\n"}), "a bad row"),
        (lambda c: c.update({RECORD: c[RECORD].replace(b"sha256=", b"md5=", 1)}), "no secure hash"),
        (lambda c: c.update({RECORD: b"\xff\xfe"}), "RECORD cannot be read"),
    ],
)
def test_members_and_record_must_agree(
    wheel: Path, change: Callable[[dict[str, bytes]], object], problem: str
) -> None:
    contents = contents_of(wheel)
    change(contents)
    assert problem in said(write_archive(wheel, contents, None))


def test_every_problem_is_said_at_once(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/more.py": b"", WHEEL: b"Wheel-Version: 1.0\n"}
    text = said(write_archive(wheel, contents, None))
    assert "more.py is not in RECORD" in text
    assert "WHEEL is not what RECORD says" in text
    assert "about the tags" in text


def test_signatures_need_no_row(wheel: Path) -> None:
    contents = contents_of(wheel) | {f"{RECORD}.jws": b"{}"}
    assert f"{RECORD}.jws" in Wheel.open(write_archive(wheel, contents, None)).members


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../out.py", "livekit/../../out.py", "a\\b.py", "C:/x.py", "a//b.py", "./a.py"],
)
def test_unsafe_names(wheel: Path, name: str) -> None:
    contents = contents_of(wheel) | {name: b""}
    del contents[RECORD]
    assert "is an unsafe name" in said(write_archive(wheel, contents, RECORD))


def test_nul_in_a_name(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/nul0.py": b""}
    write_archive(wheel, contents, None)
    wheel.write_bytes(wheel.read_bytes().replace(b"livekit/nul0.py", b"livekit/nul\0.py"))
    assert "is an unsafe name" in said(wheel)


def test_duplicate_member(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("livekit/agents/engine.py", "import os")
    assert "livekit/agents/engine.py stands twice" in said(wheel)


@pytest.mark.parametrize("mode", [0o120777, 0o010644])
def test_links_and_pipes(wheel: Path, mode: int) -> None:
    with zipfile.ZipFile(wheel, "a") as archive:
        info = zipfile.ZipInfo("livekit/link.py")
        info.external_attr = mode << 16
        archive.writestr(info, "/etc/passwd")
    assert "is a link or another special file" in said(wheel)


def patched_header(wheel: Path, name: str, offset: int, value: bytes, *, central: bool) -> None:
    """Overwrite bytes of a member's local or central header."""
    data = bytearray(wheel.read_bytes())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.getinfo(name).header_offset
        if central:
            at = data.index(b"PK\1\2", archive.start_dir)
            while data[at + 46 : at + 46 + len(name)] != name.encode():
                at = data.index(b"PK\1\2", at + 4)
    data[at + offset : at + offset + len(value)] = value
    wheel.write_bytes(data)


def test_encrypted_member(wheel: Path) -> None:
    patched_header(wheel, METADATA, 8, b"\1\0", central=True)
    assert f"{METADATA} is encrypted" in said(wheel)


def test_unknown_compression(wheel: Path) -> None:
    patched_header(wheel, METADATA, 10, b"\x0e\0", central=True)
    assert "is compressed by method 14" in said(wheel)


@pytest.mark.parametrize(
    ("offset", "value"), [(0, b"XX"), (8, b"\1\0"), (14, b"\0\0\0\0"), (30, b"X")]
)
def test_local_header_that_says_otherwise(wheel: Path, offset: int, value: bytes) -> None:
    patched_header(wheel, METADATA, offset, value, central=False)
    assert "local header" in said(wheel)


def test_overlapping_members(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        target = archive.getinfo("livekit/agents/__init__.py").header_offset
    patched_header(wheel, WHEEL, 42, struct.pack("<L", target), central=True)
    assert "no sound wheel" in said(wheel)


def test_hidden_bytes(wheel: Path) -> None:
    wheel.write_bytes(b"#!/bin/sh\n" + wheel.read_bytes())
    assert "bytes before the first member" in said(wheel)


def test_bomb_is_refused_before_it_is_read(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = contents_of(wheel) | {"livekit/zeros.bin": bytes(40 << 20)}
    del contents[RECORD]
    write_archive(wheel, contents, RECORD)
    monkeypatch.setattr(Member, "content", lambda _: pytest.fail("it was unpacked"))
    assert "a bomb" in said(wheel)


def test_bomb_that_lies_about_its_size(wheel: Path) -> None:
    contents = contents_of(wheel) | {"livekit/zeros.bin": bytes(40 << 20)}
    del contents[RECORD]
    write_archive(wheel, contents, RECORD)
    for central, offset in ((True, 24), (False, 22)):
        patched_header(wheel, "livekit/zeros.bin", offset, b"\x10\0\0\0", central=central)
    assert "no sound wheel" in said(wheel)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (b"", False),
        (struct.pack("<HHL", 0x5455, 4, 0), False),
        (struct.pack("<HHQ", 1, 8, 0), True),
        (struct.pack("<HHLHHQ", 0x5455, 4, 0, 1, 8, 0), True),
        (b"\1", True),
        (struct.pack("<HH", 0x5455, 9), True),
    ],
)
def test_zip64_is_recognised(extra: bytes, expected: bool) -> None:
    assert overrides_header(extra) is expected


def test_zip64_member_is_refused(wheel: Path) -> None:
    contents = contents_of(wheel)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in contents.items():
            with archive.open(name, "w", force_zip64=name == WHEEL) as member:
                member.write(content)
    assert f"{WHEEL} needs zip64" in said(wheel)
