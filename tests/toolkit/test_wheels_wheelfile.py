"""Wheels: a valid one, one change to it, and the sentence that rejects it."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.version import Version
from wheels import (
    AGENTS,
    ENGINE,
    Change,
    add,
    change_wheel,
    contents_of,
    drop,
    edit,
    make_official,
    noise,
    record_row,
)

from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import Member
from toolkit.wheels.wheelfile import Wheel
from toolkit.wheels.wheelfile import record_row as row_of

STEM = "livekit_agents-1.8.9"
RECORD, METADATA, WHEEL = (f"{STEM}.dist-info/{n}" for n in ("RECORD", "METADATA", "WHEEL"))
NOT_PLACED = "may be installed at the same place"


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return make_official(tmp_path, AGENTS, "1.8.9")


def problem(path: Path) -> str:
    with pytest.raises(InvalidWheel, match="is no sound wheel") as caught:
        Wheel.open(path)
    assert all(c.isprintable() or c == "\n" for c in caught.value.problem)
    return caught.value.problem


def test_sound_wheel(wheel: Path) -> None:
    opened = Wheel.open(wheel)
    assert (opened.distribution, opened.version) == (AGENTS, Version("1.8.9"))
    assert (opened.tag, opened.dist_info) == ("py3-none-any", f"{STEM}.dist-info")
    assert {name: opened.read(name) for name in opened.members} == contents_of(wheel)
    assert list(opened.record) == list(opened.members)
    assert opened.record[RECORD] == ("", "")
    assert opened.sha256 == sha256(wheel.read_bytes()).hexdigest()
    assert opened.record[ENGINE] == record_row(ENGINE, opened.read(ENGINE))[1:]


@pytest.mark.parametrize("tag", ["1-py3-none-any", "cp310-abi3-manylinux_2_28_x86_64"])
def test_build_and_platform_tags_are_kept(tmp_path: Path, tag: str) -> None:
    path = make_official(tmp_path, AGENTS, "2.0.0b1", tag=tag.removeprefix("1-"))
    path = path.rename(path.with_name(f"livekit_agents-2.0.0b1-{tag}.whl"))
    assert Wheel.open(path).tag == tag


@pytest.mark.parametrize(
    "changes",
    [
        [add(f"{RECORD}.jws", b"{}"), edit(RECORD, b",,\n", f",,\n{RECORD}.jws,,\n".encode())],
        [add(f"{RECORD}.p7s", b"{}")],
        [edit(RECORD, b",0\n", b",\n")],
    ],
)
def test_what_record_may_leave_out(wheel: Path, changes: list[Change]) -> None:
    assert Wheel.open(change_wheel(wheel, *changes, record=False))


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_longer_hashes(wheel: Path, algorithm: str) -> None:
    content = contents_of(wheel)[ENGINE]
    old, new = record_row(ENGINE, content)[1], row_of(content, algorithm)[0]
    assert new.startswith(f"{algorithm}=")
    change_wheel(wheel, edit(RECORD, old.encode(), new.encode()), record=False)
    assert Wheel.open(wheel).record[ENGINE][0] == new


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("livekit_agents-1.8.9.zip", "wheel"),
        ("livekit_agents-1.8.9.whl", "wheel"),
        ("x.whl", "wheel"),
        ("livekit_agents-1.8.9-py3-none-any\n.whl", "it is not named as a wheel is"),
        ("livekit_agents-1.9.0-py3-none-any.whl", f"{STEM}.dist-info and the file name disagree"),
        ("livekit_other-1.8.9-py3-none-any.whl", f"{STEM}.dist-info and the file name disagree"),
        ("livekit_agents-1.8.9-py2.py3-none-any.whl", "disagree about the tags"),
    ],
)
def test_file_names(wheel: Path, name: str, sentence: str) -> None:
    path = wheel.rename(wheel.with_name(name))
    with pytest.raises(InvalidWheel) as caught:
        Wheel.open(path)
    assert sentence in caught.value.problem


def test_what_is_no_file(wheel: Path) -> None:
    wheel.unlink()
    assert "is not a file" in problem(wheel)
    wheel.mkdir()
    assert "is not a file" in problem(wheel)
    wheel.rmdir()
    os.mkfifo(wheel)
    assert "is not a file" in problem(wheel)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        # METADATA
        (edit(METADATA, b"Name: livekit-agents", b"Name: other"), "name or version"),
        (edit(METADATA, b"Name: livekit-agents", "Name: l\xefvekit".encode()), "name or version"),
        (edit(METADATA, b"Name: livekit-agents", b"Name: l\xefvekit"), "METADATA cannot be read"),
        (edit(METADATA, b"Version: 1.8.9\n", b"Version: 1.8.8\n"), "name or version"),
        (edit(METADATA, b"Version: 1.8.9\n", b"Version: " + b"9" * 5000), "name or version"),
        (edit(METADATA, b"Version: 1.8.9\n", b"Version: 1.8.9\n" * 2), "says Version twice"),
        (edit(METADATA, b"Name:", b"Name: x\nName:"), "says Name twice"),
        (edit(METADATA, b"Name:", b"metadata-version: 2\nName:"), "says Metadata-Version twice"),
        (
            edit(METADATA, b"Name:", b"Requires-Python: >3\nrequires-python: <3\nName:"),
            "says Requires-Python twice",
        ),
        (edit(METADATA, b"Name:", b"no header\nName:"), "METADATA has lines that are no header"),
        (edit(METADATA, b"Name:", b"\nName:"), "name or version"),
        (edit(METADATA, b"Name:", b"X: y\r\rName:"), "name or version"),
        (drop(METADATA), f"{METADATA} is missing"),
        (
            lambda c: c.update({METADATA: c[METADATA] + noise(4 << 20)}),
            "METADATA is longer",
        ),
        # WHEEL
        (edit(WHEEL, b"Tag: py3", b"Tag: py2"), "about the tags"),
        (edit(WHEEL, b"Tag: py3", b"Tag: py2-none-any\nTag: py3"), "about the tags"),
        (edit(WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: 2.0"), "WHEEL is not of version 1"),
        (edit(WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: 1.x"), "WHEEL is not of version 1"),
        (edit(WHEEL, b"Wheel-Version: 1.0", b"Wheel-Version: \xff"), "WHEEL cannot be read"),
        (edit(WHEEL, b"Wheel-V", b"Wheel-Version: 1.0\nWheel-V"), "says Wheel-Version twice"),
        (edit(WHEEL, b"Root-Is-Purelib: true", b"Root-Is-Purelib: maybe"), "whether it is pure"),
        (edit(WHEEL, b"Root", b"Root-Is-Purelib: false\nRoot"), "says Root-Is-Purelib twice"),
        (drop(WHEEL), f"{WHEEL} is missing"),
        # dist-info
        (add("other-1.dist-info/METADATA"), "not one .dist-info folder but 2"),
        (add(f"{STEM}.DIST-INFO/x"), "not one .dist-info folder but 2"),
        # names that are no file on some system
        *(
            (add(name), "is an unsafe name")
            for name in (
                *("", "/etc/passwd", "../out.py", "livekit/../../out.py", "a\\b.py", "C:/x.py"),
                *("a//b.py", "./a.py", "a\x1b[31m.py", "a\n.py", "a\x7f.py", "a\u202e.py"),
                *("a\u2028.py", "a\ud7ff.py", "a\xa0b.py", "a./b.py", "a /b.py", "b.py.", "b.py "),
                *("a:b.py", "a?.py", "a*.py", '"a".py', "<a>.py", "nul", "aux.py", "x/Com1.txt"),
                *("x" * 256 + ".py", "\xe9" * 128 + ".py", "/".join(["x" * 200] * 6)),
            )
        ),
        (add("livekit/hidden/", b"import os"), "is a folder with content"),
        # names that are the same file on some system
        (add("livekit/agents/Engine.py"), NOT_PLACED),
        (lambda c: c.update(dict.fromkeys(("a/\xe9.py", "a/e\u0301.py"), b"")), NOT_PLACED),
        (lambda c: c.update(dict.fromkeys(("a/\ufb01.py", "a/\ufb01.PY"), b"")), NOT_PLACED),
        (add(f"{STEM}.data/purelib/{ENGINE}"), NOT_PLACED),
        (add(f"{STEM}.data/platlib/{ENGINE}"), NOT_PLACED),
        (add(f"{ENGINE}/x.py"), "a file and a folder"),
        (add(f"{ENGINE.upper()}/x.py"), "a file and a folder"),
        (add("livekit"), "livekit is a file and a folder"),
        (add(f"{STEM}.data/data/lib/python3/site-packages/x.py"), "installed as a module"),
        (add(f"{STEM}.data/data/Dist-Packages/x.py"), "installed as a module"),
        (add("other-1.data/purelib/x.py"), "data of something else"),
        (add(f"{STEM}.DATA/purelib/x.py"), "data of something else"),
    ],
)
def test_contents(wheel: Path, change: Change, sentence: str) -> None:
    assert sentence in problem(change_wheel(wheel, change))


def test_names_that_only_look_alike(wheel: Path) -> None:
    data = f"{STEM}.data"
    names = ("livekit/data.dist-info.py", f"{data}/data/share/engine.py", f"{data}/scripts/run")
    assert Wheel.open(change_wheel(wheel, *map(add, (*names, "livekit/more/", "x" * 200))))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (add("livekit/more.py"), "livekit/more.py is not in RECORD"),
        (drop(ENGINE), f"{ENGINE} is in RECORD only"),
        (add(ENGINE, b"import os"), f"{ENGINE} is not what RECORD says"),
        (edit(RECORD, b",2048\n", b",2049\n"), "data.bin is not what RECORD says"),
        (drop(RECORD), "RECORD is missing"),
        (lambda c: c.update({RECORD: c[RECORD] * 2}), "one twice"),
        (lambda c: c.update({RECORD: c[RECORD] + b"only,two\n"}), "a bad row"),
        (edit(RECORD, b"sha256=", b"md5="), "no secure hash"),
        (add(RECORD, b"\xff\xfe"), "RECORD cannot be read"),
        (add(RECORD, b'"'), "RECORD cannot be read"),
        (edit(RECORD, f"{RECORD},,\n".encode(), b""), "RECORD does not name itself"),
        (edit(RECORD, f"{RECORD},,".encode(), f"{RECORD},,5".encode()), "a hash or a size for"),
        (
            lambda c: c.update(
                {
                    f"{RECORD}.jws": b"{}",
                    RECORD: c[RECORD] + ",".join(record_row(f"{RECORD}.jws", b"{}")).encode(),
                }
            ),
            f"RECORD has a hash or a size for {RECORD}.jws",
        ),
    ],
)
def test_members_and_record_must_agree(wheel: Path, change: Change, sentence: str) -> None:
    assert sentence in problem(change_wheel(wheel, change, record=False))


def test_every_problem_is_said_at_once(wheel: Path) -> None:
    changes = add("livekit/more.py"), add(WHEEL, b"Wheel-Version: 1.0\n")
    text = problem(change_wheel(wheel, *changes, record=False))
    assert "more.py is not in RECORD" in text
    assert "WHEEL is not what RECORD says" in text
    assert "about the tags" in text


def test_endless_problems_are_cut_short(wheel: Path) -> None:
    many = (add(f"livekit/{n}{'x' * 190}.py") for n in range(5000))
    text = problem(change_wheel(wheel, *many, record=False))
    assert "and 4950 problems more" in text
    assert len(text) < 20_000


def test_only_what_differs_from_a_checked_wheel_is_unpacked(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = Wheel.open(wheel)
    folder = tmp_path / "other"
    other = change_wheel(make_official(folder, AGENTS, "1.8.9"), edit(ENGINE, b"= 9\n", b"= 0\n"))
    unpacked, content = [], Member.content

    def spy(member: Member) -> bytes:
        unpacked.append(member.info.filename)
        return content(member)

    monkeypatch.setattr(Member, "content", spy)
    assert Wheel.open(other, like=checked).read(ENGINE) != checked.read(ENGINE)
    assert set(unpacked) == {ENGINE, RECORD, METADATA, WHEEL}
    change_wheel(other, edit(RECORD, b",2048\n", b",2049\n"), record=False)
    with pytest.raises(InvalidWheel, match=r"data\.bin is not what RECORD says"):
        Wheel.open(other, like=checked)
    change_wheel(other, add(RECORD, checked.read(RECORD)), record=False)
    with pytest.raises(InvalidWheel, match=r"engine\.py is not what RECORD says"):
        Wheel.open(other, like=checked)
    unpacked.clear()
    assert Wheel.open(wheel, sound=True)
    assert set(unpacked) == {RECORD, METADATA, WHEEL}
