"""Repacking: what changes, what does not, and what cannot be repacked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from wheels import (
    AGENTS,
    ENGINE,
    PLUGIN,
    VERSION_FILES,
    Change,
    add,
    change_members,
    change_wheel,
    contents_of,
    edit,
    make_official,
    record_row,
    source,
    with_info,
)

from toolkit.util.errors import InvalidWheel, NotWritable
from toolkit.wheels import rewrite as module
from toolkit.wheels.archive import Member
from toolkit.wheels.rewrite import rewrite
from toolkit.wheels.wheelfile import Wheel

LOCAL = Version("1.8.9+dispatched.1")
PATCHED = source(line9="first = 1").encode()
OLD, NEW = "livekit_agents-1.8.9.dist-info", "livekit_agents-1.8.9+dispatched.1.dist-info"
VERSION_FILE = VERSION_FILES[AGENTS]
PINS = {PLUGIN: Version("1.8.9")}
SHARED: dict[str, Any] = {"version": LOCAL, "pins": PINS, "version_file": VERSION_FILE}


def repacked(official: Path, out: Path, changed: Mapping[str, bytes] | None = None) -> Path:
    contents = {ENGINE: PATCHED} if changed is None else changed
    return rewrite(Wheel.open(official), contents, out_dir=out, **SHARED)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "official"
    return make_official(folder, AGENTS, "1.8.9", data={"scripts/run": b"#!python\n"})


def test_only_what_must_differ_differs(official: Path, tmp_path: Path) -> None:
    path = repacked(official, tmp_path / "out")
    assert path.name == "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
    old, new = contents_of(official), contents_of(path)
    renamed = {name: name.replace("1.8.9.", "1.8.9+dispatched.1.") for name in old}
    assert list(new) == list(renamed.values())
    assert "livekit_agents-1.8.9+dispatched.1.data/scripts/run" in new
    different = {name for name in old if old[name] != new[renamed[name]]}
    assert different == {ENGINE, VERSION_FILE, f"{OLD}/METADATA", f"{OLD}/RECORD"}
    assert new[ENGINE] == PATCHED
    assert new[VERSION_FILE] == b'# comment\n__version__ = "1.8.9+dispatched.1"\n'
    assert new[f"{NEW}/METADATA"].decode() == (
        "Metadata-Version: 2.4\nName: livekit-agents\nVersion: 1.8.9+dispatched.1\n"
        "Requires-Dist: livekit-plugins-openai==1.8.9; extra == 'openai'\n\n"
        "Version: 1.8.9\nRequires-Dist: livekit-plugins-openai>=1.8.9; extra == 'openai'\n"
    )


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_record_rows_follow(official: Path, tmp_path: Path, ending: bytes) -> None:
    record = contents_of(official)[f"{OLD}/RECORD"].replace(b",2048", b",").replace(b"\n", ending)
    change_wheel(official, add(f"{OLD}/RECORD", record), record=False)
    new = contents_of(repacked(official, tmp_path, {ENGINE: PATCHED, "livekit/a.py": b""}))
    text = new.pop(f"{NEW}/RECORD")
    rows = [record_row(name, content) for name, content in new.items()]
    # a row that has no size keeps none
    expected = [(*row[:2], "") if "data.bin" in row[0] else row for row in rows]
    lines = [",".join(row).encode() for row in (*expected, (f"{NEW}/RECORD", "", ""))]
    assert text == b"".join(line + ending for line in lines)


def test_members_keep_their_metadata(official: Path, tmp_path: Path) -> None:
    contents = contents_of(official)
    with zipfile.ZipFile(official, "w") as archive:
        for number, (name, content) in enumerate(contents.items()):
            info = zipfile.ZipInfo(name, (1998, 7, 6, 5, 4, 2 * number))
            info.create_system, info.external_attr = number % 4, (0o100600 + number) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            info.comment, info.extra = b"a comment", b"\x55\x54\5\0\1" + bytes(4)
            archive.writestr(info, content)
    new_file = "livekit/agents/aaa.py"
    path = repacked(official, tmp_path, {ENGINE: PATCHED, new_file: b"NEW = 1\n"})
    old, new = Wheel.open(official), Wheel.open(path)
    fields = ("date_time", "create_system", "external_attr", "comment", "extra")
    for name, member in new.members.items():
        before = old.members.get(name.replace(NEW, OLD).replace("+dispatched.1", ""))
        assert [getattr(member.info, f) for f in fields] == [
            getattr((before or old.members[VERSION_FILE]).info, f) for f in fields
        ]
        if before and name not in (ENGINE, VERSION_FILE, f"{NEW}/METADATA", f"{NEW}/RECORD"):
            assert (member.stored, member.extra) == (before.stored, before.extra)
            assert member.info.compress_type == before.info.compress_type
        else:
            assert member.info.compress_type == zipfile.ZIP_STORED
    names = list(new.members)
    assert names[names.index(new_file) + 1] == f"{NEW}/METADATA"
    assert new.read(new_file) == b"NEW = 1\n"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_wheel_of_a_streaming_writer(official: Path, tmp_path: Path) -> None:
    change_members(official, lambda member: with_info(member, flag_bits=8))
    path = repacked(official, tmp_path)
    bits = {info.filename: info.flag_bits for info in zipfile.ZipFile(path).infolist()}
    assert (bits["livekit/agents/data.bin"], bits[ENGINE]) == (8, 0)
    assert Wheel.open(path).read("livekit/agents/data.bin") == bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("livekit-plugins-openai>=1.8.9; x", "livekit-plugins-openai==1.8.9; x"),
        ("livekit-plugins-openai (>=1.8.9) ; x", "livekit-plugins-openai==1.8.9 ; x"),
        ("Livekit_Plugins.Openai", "Livekit_Plugins.Openai==1.8.9"),
        ("livekit-plugins-openai[a,b]~=1.8", "livekit-plugins-openai[a,b]==1.8.9"),
        ("livekit-plugins-openai [a]<2,>1 ;x", "livekit-plugins-openai [a]==1.8.9 ;x"),
        ("livekit-plugins-openai-extra>=1", "livekit-plugins-openai-extra>=1"),
        ("livekit-plugins>=1", "livekit-plugins>=1"),
        (">=1", ">=1"),
    ],
)
def test_pins(tmp_path: Path, requirement: str, expected: str) -> None:
    official = make_official(tmp_path, AGENTS, "1.8.9", requires=[requirement])
    text = contents_of(repacked(official, tmp_path))[f"{NEW}/METADATA"].decode()
    assert f"\nRequires-Dist: {expected}\n" in text.partition("\n\n")[0] + "\n"


def test_metadata_without_a_description(official: Path, tmp_path: Path) -> None:
    name = f"{OLD}/METADATA"
    head = contents_of(official)[name].partition(b"\n\n")[0] + b"\n"
    new = contents_of(repacked(change_wheel(official, add(name, head)), tmp_path))
    assert new[f"{NEW}/METADATA"] == head.replace(b"1.8.9\n", b"1.8.9+dispatched.1\n").replace(
        b">=1.8.9", b"==1.8.9"
    )


HEAD = b"Version: 1.8.9\n"
REQUIRES = b"Requires-Dist: livekit-plugins-openai"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.pop(VERSION_FILE), f"it has no {VERSION_FILE}"),
        *(
            (add(VERSION_FILE, text), "it has no single line __version__ = '1.8.9'")
            for text in (
                *(b"", b"__version__ = '1.8.8'\n", b"__version__ = '1.8.9'\n" * 2),
                *(b" __version__ = '1.8.9'\n", b"__version__ = '1.8.9\"\n"),
                b'__version__ = "1.8.' + b"9" * 5000 + b'"\n',
            )
        ),
        # Python would not import the patched module
        *(
            (add(f"livekit/agents/{name}", b"\x7fELF"), f"{name} would be imported instead")
            for name in (
                "engine.abi3.so",
                "engine.cpython-311-x86_64-linux-gnu.so",
                "engine.pyd",
                "engine.pyc",
                "__pycache__/engine.cpython-311.pyc",
                "engine/__init__.py",
                "version.abi3.so",
            )
        ),
        # a partner would escape its pin
        (edit(f"{OLD}/METADATA", HEAD, HEAD + REQUIRES + b" @ https://example.org/x\n"), "pinned"),
        (edit(f"{OLD}/METADATA", HEAD, HEAD + REQUIRES + b">=1,\n <2\n"), "cannot be pinned"),
        (edit(f"{OLD}/METADATA", HEAD, HEAD + REQUIRES + b">=1,\n\t<2\n"), "cannot be pinned"),
        (edit(f"{OLD}/METADATA", HEAD, HEAD + REQUIRES + b" " * 200_000 + b"@\n"), "pinned"),
        (edit(f"{OLD}/METADATA", HEAD, HEAD + REQUIRES + b"[" + b"[a" * 100_000 + b"@\n"), "pin"),
        # the version is on another line
        (edit(f"{OLD}/METADATA", HEAD, b"Version:\n 1.8.9\n"), "has no version in it"),
        (edit(f"{OLD}/METADATA", HEAD, b"Version: 1.8.9\n \n"), "has no version in it"),
    ],
)
def test_what_cannot_be_repacked(
    official: Path, tmp_path: Path, change: Change, sentence: str
) -> None:
    started = time.process_time()
    with pytest.raises(InvalidWheel) as caught:
        repacked(change_wheel(official, change), tmp_path / "out")
    assert sentence in caught.value.problem
    assert not (tmp_path / "out").exists()
    assert time.process_time() - started < 5


@pytest.mark.parametrize("name", ["RECORD.jws", "RECORD.p7s"])
def test_signed_wheel(official: Path, tmp_path: Path, name: str) -> None:
    change_wheel(official, add(f"{OLD}/{name}"), record=False)
    with pytest.raises(InvalidWheel, match=f"{OLD}/{name} would be void"):
        repacked(official, tmp_path / "out")


def test_modules_beside_are_left_alone(official: Path, tmp_path: Path) -> None:
    names = ("engines.so", "__pycache__/engine2.pyc", "engine.pyi", "engine/x.py", "other.abi3.so")
    changes = [add(f"livekit/agents/{name}") for name in names]
    assert repacked(change_wheel(official, *changes), tmp_path / "out")


def test_same_bytes_everywhere(official: Path, tmp_path: Path) -> None:
    """Two processes that differ in folder, time zone, umask, locale and hash seed."""
    script = (
        "import os, sys; from pathlib import Path; os.umask(int(sys.argv[2], 8)); "
        "from test_wheels_rewrite import repacked; "
        "print(repacked(Path(sys.argv[1]), Path(sys.argv[3])))"
    )
    made = []
    for mask, changes in (
        ("022", {"TZ": "UTC", "PYTHONHASHSEED": "0", "LC_ALL": "C"}),
        ("077", {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77", "LC_ALL": "C.UTF-8"}),
    ):
        output = subprocess.run(
            [sys.executable, "-c", script, official, mask, tmp_path / mask],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        made.append(Path(output.strip()).read_bytes())
    assert made[0] == made[1]


def test_no_zlib_decides_over_the_bytes(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = repacked(official, tmp_path / "a").read_bytes()
    monkeypatch.setattr(zlib, "compressobj", lambda *_: pytest.fail("it compresses"))
    monkeypatch.setattr(zlib, "compress", lambda *_: pytest.fail("it compresses"))
    assert repacked(official, tmp_path / "b").read_bytes() == expected


def test_read_only_folder(official: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(NotWritable):
        repacked(official, tmp_path / "file/out")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_nothing_half_done_stays(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(members: Sequence[Member]) -> Iterator[bytes]:
        yield members[0].stored
        raise failure

    monkeypatch.setattr(module, "zip_bytes", fail)
    with pytest.raises((NotWritable, KeyboardInterrupt)):
        repacked(official, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
