"""The differences between two wheels, as a reader sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from wheels import (
    AGENTS,
    ENGINE,
    Change,
    add,
    change_members,
    change_wheel,
    contents_of,
    drop,
    make_official,
    with_info,
    write_archive,
)

from toolkit.wheels.archive import Member
from toolkit.wheels.diff import differences

DATA = "livekit/agents/data.bin"


@pytest.fixture
def wheels(tmp_path: Path) -> tuple[bytes, Path]:
    """A wheel, and a copy of it to change."""
    path = make_official(tmp_path, AGENTS, "1.8.9")
    return path.read_bytes(), path


def reorder(contents: dict[str, bytes]) -> None:
    contents[ENGINE] = contents.pop(ENGINE)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (add("b"), ["b was added"]),
        (drop(ENGINE), [f"{ENGINE} is missing"]),
        (add(ENGINE, b"x = 1\n"), [f"{ENGINE} has another content"]),
        (add("b/c", b"x"), ["b/c was added"]),
        (reorder, ["the same members, but in another order or with other headers"]),
        (
            lambda c: c.update({ENGINE: b"", DATA: b"", "a": b""}),
            ["a was added", f"{DATA} has another content", f"{ENGINE} has another content"],
        ),
        (
            lambda c: c.update({f"{n:02}": b"" for n in range(20)}),
            [f"{n:02} was added" for n in range(20)],
        ),
        (
            lambda c: c.update({f"{n:02}": b"" for n in range(22)}),
            [*(f"{n:02} was added" for n in range(20)), "and 2 more"],
        ),
    ],
)
def test_contents(wheels: tuple[bytes, Path], change: Change, lines: list[str]) -> None:
    before, path = wheels
    change_wheel(path, change, record=False)
    assert list(differences(before, path.read_bytes())) == lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda m: with_info(m, external_attr=0o100755 << 16), f"{DATA} is packed otherwise"),
        (lambda m: replace(m, extra=b"UT\1\0\0"), f"{DATA} is packed otherwise"),
        (lambda m: replace(m, stored=b"\xff" * len(m.stored)), f"{DATA} cannot be unpacked"),
    ],
)
def test_members(wheels: tuple[bytes, Path], change: Callable[[Member], Member], line: str) -> None:
    before, path = wheels
    change_members(path, lambda m: change(m) if m.info.filename == DATA else m)
    (actual,) = differences(before, path.read_bytes())
    assert actual.startswith(line)


def test_packed_otherwise(wheels: tuple[bytes, Path]) -> None:
    before, path = wheels
    write_archive(path, contents_of(path), None)
    after = change_members(path, lambda m: with_info(m, date_time=(1999, 1, 1, 0, 0, 0)))
    assert [line.partition(" ")[2] for line in differences(before, after.read_bytes())] == [
        "is packed otherwise"
    ] * len(contents_of(path))


def test_what_is_no_wheel(wheels: tuple[bytes, Path]) -> None:
    assert [*differences(wheels[0], b"<html>")] == [
        "it is not a zip file, or there are bytes after its end"
    ]
