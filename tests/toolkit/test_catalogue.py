"""Revisions grow only when bytes change, and their file is stable to the byte."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Row, record, revision_for
from toolkit.util.errors import InvalidSeries, NotWritable

NAME = "livekit_agents-1.8.9+dispatched.{}-py3-none-any.whl"


def record_row(path: Path, version: Version, row: Row) -> None:
    record(path, {version: row}, {})


def rows(path: Path) -> dict[Version, Row]:
    return Catalogue.read(path).rows()


def row(revision: int, sha: str = "a" * 64) -> Row:
    return Row(revision, "d" * 64, {NAME.format(revision): sha})


def test_first_revision() -> None:
    assert revision_for(None, lambda _: pytest.fail("nothing to compare with")) == 1


def test_revision_stays_with_the_bytes() -> None:
    made = row(3)
    assert revision_for(made, lambda revision: {NAME.format(revision): "a" * 64}) == 3
    assert revision_for(made, lambda revision: {NAME.format(revision): "b" * 64}) == 4
    assert revision_for(made, lambda _: {}) == 4


def test_catalogue_is_sorted_and_stable(tmp_path: Path) -> None:
    path = tmp_path / "releases.toml"
    for version in ("1.8.10", "1.8.9", "2.0.0b1", "1.4.6"):
        record_row(path, Version(version), row(1))
    first = path.read_bytes()
    assert [str(version) for version in rows(path)] == [
        "1.4.6",
        "1.8.9",
        "1.8.10",
        "2.0.0b1",
    ]
    before = path.stat().st_mtime_ns
    record_row(path, Version("1.8.9"), row(1))
    assert path.stat().st_mtime_ns == before
    record_row(path, Version("1.8.9"), row(2))
    assert rows(path)[Version("1.8.9")] == row(2)
    record_row(path, Version("1.8.9"), row(1))
    assert path.read_bytes() == first
    assert sorted(tmp_path.iterdir()) == [path]


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "releases.toml"
    versions = [Version(f"1.0.{number}") for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda version: record_row(path, version, row(1)), versions))
    assert list(rows(path)) == versions


@pytest.mark.parametrize(
    "text",
    [
        "[release",
        "[releases]",
        '[release."1.8.9"]\nrevision = 1\n',
        '[release."1.8.9"]\nrevision = "1"\nseries = ""\nwheels = {}\n',
        '[release."1.8.9"]\nrevision = 1\nseries = ""\nwheels = {}\nmore = 1\n',
        '[release."x y"]\nrevision = 1\nseries = ""\nwheels = {}\n',
    ],
)
def test_damaged_catalogue(tmp_path: Path, text: str) -> None:
    path = tmp_path / "releases.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidSeries, match=r"releases\.toml"):
        rows(path)


def test_catalogue_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises((NotWritable, InvalidSeries)):
        record_row(tmp_path / "file/releases.toml", Version("1.0"), row(1))
