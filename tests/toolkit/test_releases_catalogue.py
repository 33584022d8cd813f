"""``patches/releases.toml``: read as it was written, whoever writes, and stable to the byte."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from packaging.version import Version
from upstream_index import artefact, entry
from wheels import AGENTS

from toolkit.releases.catalogue import Catalogue, Entry, Row, dump, record, revision_for
from toolkit.util.errors import InvalidSeries, NotWritable, UnknownRelease

NAME = "livekit_agents-1.8.9+dispatched.{}-py3-none-any.whl"
TEXT = st.none() | st.text()
ROWS = st.none() | st.builds(
    Row, st.integers(1, 9), st.just("5e" * 32), st.just({NAME.format(1): "a" * 64})
)


def row(revision: int, sha: str = "a" * 64) -> Row:
    return Row(revision, "d" * 64, {NAME.format(revision): sha})


def record_row(path: Path, version: str, published: Row) -> None:
    record(path, {Version(version): published}, {})


def parse(text: str) -> dict[Version, Entry]:
    return dict(Catalogue.parse(text.encode(), Path("releases.toml")))


@settings(derandomize=True, deadline=None)
@given(TEXT, TEXT, ROWS, st.booleans(), st.permutations(range(3)))
@example('broken 🙂 "quoted" \\ \x7f\x00', ">=3.10", None, True, [2, 1, 0])
def test_entries_are_read_as_written(
    yanked: str | None, requires: str | None, row: Row | None, gone: bool, order: list[int]
) -> None:
    official = (artefact(AGENTS, "1.8.9", yanked=yanked, requires_python=requires),)
    entries = [
        Entry(Version("1.8.9"), official, row, gone),
        replace(entry("1.8.10"), row=row),
        Entry(Version("2.0.0b1"), row=row),
    ]
    text = dump({entries[number].version: entries[number] for number in order})
    assert [*parse(text).values()] == [*parse(text.replace("\n", "\r\n")).values()] == entries
    assert dump(parse(text)) == text


def test_what_is_recorded_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "releases.toml"
    record_row(path, "1.8.9", row(1))
    first, written = path.read_bytes(), path.stat().st_mtime_ns
    record_row(path, "1.8.9", row(1))
    assert path.stat().st_mtime_ns == written
    record_row(path, "1.8.9", row(2))
    assert Catalogue.read(path).row(Version("1.8.9")) == row(2)
    record_row(path, "1.8.9", row(1))
    assert path.read_bytes() == first
    assert [*tmp_path.iterdir()] == [path]


def test_a_release_is_recorded_with_its_wheels_once(tmp_path: Path) -> None:
    path, version = tmp_path / "releases.toml", Version("1.8.9")
    for url, sha in (("https://example.org/x.whl", "ab" * 32), ("", "cd" * 32)):
        release = entry("1.8.9", url=url, sha256=sha).release
        record(path, {version: row(1)}, {version: release})
    assert Catalogue.read(path)[version] == replace(entry("1.8.9"), row=row(1))


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "releases.toml"
    versions = [f"1.0.{number}" for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda version: record_row(path, version, row(1)), versions))
    assert {str(v): e.row for v, e in Catalogue.read(path).items()} == dict.fromkeys(
        versions, row(1)
    )


def test_known_and_required_releases(tmp_path: Path) -> None:
    catalogue = Catalogue.parse(
        dump({Version("1.8.9"): entry("1.8.9"), Version("1.9"): Entry(Version("1.9"))}).encode(),
        tmp_path,
    )
    assert catalogue.require("1.8.9") == catalogue.known(Version("1.8.9")) == entry("1.8.9")
    for name in ("1.9", "7.7.7", "nonsense", None):
        assert catalogue.known(name) is None
        with pytest.raises(UnknownRelease, match=f"has no livekit-agents {name}"):
            catalogue.require(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[release", "[releases"),
        ("[release.", "more = 1\n[release."),
        ("1.8.9", "x y"),
        ("1.8.9", "9" * 5000),
        ("revision = 1\n", ""),
        ("revision = 1\n", 'revision = "1"\n'),
        ("revision = 1\n", "revision = 1\nmore = 1\n"),
        ('partner = "1.8.9"', 'partner = "1.8.8"'),
        ("size = 1,", "size = -1,"),
        ("size = 1,", f"size = {'[' * 5000},"),
        ("size = 1,", f"size = {'9' * 5000},"),
        ("size = 1,", "size = 1, more = 1,"),
        ("size = 1,", 'size = 1, url = "https://example.org/x.whl",'),
        ("livekit_agents-1.8.9-py3", "livekit_agents-py3"),
        ("T12:00:00Z", "T12:00:00"),
        ("2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00"),
        ("ab" * 32, "../../x"),
        ("ab" * 32, "AB" * 32),
    ],
)
def test_damaged(old: str, new: str) -> None:
    good = dump({Version("1.8.9"): replace(entry("1.8.9"), row=row(1))})
    assert old in good
    with pytest.raises(InvalidSeries, match=r"releases\.toml is damaged"):
        parse(good.replace(old, new))
    with pytest.raises(InvalidSeries, match="names a release twice"):
        parse(good * 2)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((NotWritable, InvalidSeries)):
        record_row(tmp_path / "file/releases.toml", "1.0", row(1))


def test_revisions_grow_with_the_bytes() -> None:
    assert revision_for(None, lambda _: pytest.fail("nothing to compare with")) == 1
    assert revision_for(row(3), lambda revision: {NAME.format(revision): "a" * 64}) == 3
    assert revision_for(row(3), lambda revision: {NAME.format(revision): "b" * 64}) == 4
    assert revision_for(row(3), lambda _: {}) == 4
