"""Which releases a command line means."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.release import Artefact
from toolkit.releases.select import select
from toolkit.util.errors import SomeReleasesFailed, UnknownRelease, YankedRelease
from toolkit.util.names import MAIN, PARTNER

DAYS = {"1.0.0": 1, "1.0.2": 2, "1.5.0rc1": 3, "1.5.0": 4, "1.5.1": 5, "1.6.0": 6, "2.0.0b1": 7}
LONE, YANKED = "1.0.0", "1.5.1"


def artefact(distribution: str, version: str) -> Artefact:
    return Artefact(
        distribution=distribution,
        version=version,
        filename=f"{distribution.replace('-', '_')}-{version}-py3-none-any.whl",
        url="",
        sha256="ab" * 32,
        size=1,
        upload_time=datetime(2026, 1, DAYS[version], 12, tzinfo=UTC),
        requires_python=None,
        yanked="broken" if version == YANKED and distribution == MAIN else None,
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """One release without a plugin, one yanked, two pre-releases."""
    entries = {}
    for version in DAYS:
        names = (MAIN,) if version == LONE else (MAIN, PARTNER)
        official = tuple(artefact(name, version) for name in names)
        entries[Version(version)] = Entry(Version(version), official)
    path = tmp_path / "releases.toml"
    path.write_text(dump(entries), "utf-8")
    return Catalogue.read(path)


def names(
    catalogue: Catalogue, *words: str, yanked: bool = False, as_of: datetime | None = None
) -> list[str]:
    return [str(name) for name in select(words, catalogue, yanked=yanked, as_of=as_of).names]


def test_nothing_is_the_newest(catalogue: Catalogue) -> None:
    assert select([], catalogue, yanked=False, as_of=None).names == (None,)


def test_all_tells_what_it_leaves_out(catalogue: Catalogue) -> None:
    chosen = select(["all"], catalogue, yanked=False, as_of=None)
    assert list(map(str, chosen.names)) == ["1.0.2", "1.5.0rc1", "1.5.0", "1.6.0", "2.0.0b1"]
    assert {str(one.version): one.reason for one in chosen.left_out} == {
        LONE: f"there is no {PARTNER} that goes with it",
        YANKED: "yanked: broken (--yanked takes it)",
    }
    assert YANKED in names(catalogue, "all", yanked=True)
    assert LONE not in names(catalogue, "all", yanked=True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["1.6.0", "1.0.2", "1.6"], ["1.6.0", "1.0.2"]),
        ([">=1.5,<1.6"], ["1.5.0"]),
        (["<2"], ["1.0.2", "1.5.0rc1", "1.5.0", "1.6.0"]),
        (["==1.5.*", "7.7", "nonsense"], ["1.5.0rc1", "1.5.0", "7.7", "nonsense"]),
        ([">1.6", "1.6.0", "all"], ["2.0.0b1", "1.6.0", "1.0.2", "1.5.0rc1", "1.5.0"]),
    ],
)
def test_lists_and_ranges(catalogue: Catalogue, words: list[str], expected: list[str]) -> None:
    assert names(catalogue, *words) == expected


def test_a_name_is_taken_as_it_is(catalogue: Catalogue) -> None:
    chosen = select(["all", YANKED, LONE], catalogue, yanked=False, as_of=None)
    assert {YANKED, LONE} <= {str(name) for name in chosen.names}
    assert chosen.left_out == ()


def test_later_releases_do_not_exist_yet(catalogue: Catalogue) -> None:
    fourth = datetime(2026, 1, 4, 23, tzinfo=UTC)
    assert names(catalogue, "all", as_of=fourth) == ["1.0.2", "1.5.0rc1", "1.5.0"]


def test_why_nothing_is_taken(catalogue: Catalogue) -> None:
    """One release that is left out leads to the error of its name, if there is no other."""
    with pytest.raises(YankedRelease, match="1\\.5\\.1 was yanked: broken"):
        select([f"=={YANKED}"], catalogue, yanked=False, as_of=None).require()
    with pytest.raises(UnknownRelease, match="goes with livekit-agents 1\\.0\\.0"):
        select([f"=={LONE}"], catalogue, yanked=True, as_of=None).require()
    with pytest.raises(SomeReleasesFailed, match="1\\.0\\.0: there is no"):
        select([f"=={LONE}", f"=={YANKED}"], catalogue, yanked=False, as_of=None).require()
    select(["all"], catalogue, yanked=False, as_of=None).require()


@pytest.mark.parametrize("word", [">=3", "<1", ">=one", "~=1"])
def test_a_range_of_nothing(catalogue: Catalogue, word: str) -> None:
    with pytest.raises(UnknownRelease, match=word):
        names(catalogue, word)
