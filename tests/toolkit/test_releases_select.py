"""Which releases a command line selects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.version import Version
from upstream_index import entry

from toolkit.releases.catalogue import Catalogue, Entry, dump
from toolkit.releases.select import Selection, select
from toolkit.util.distributions import PARTNER
from toolkit.util.errors import SomeReleasesFailed, UnknownRelease, YankedRelease

# a day each; the first has no plugin, and the fifth is yanked
VERSIONS = ("1.0.0", "1.0.2", "1.5.0rc1", "1.5.0", "1.5.1", "1.6.0", "2.0.0b1")
LONE, YANKED = "1.0.0", "1.5.1"


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2026, 1, number, hour, tzinfo=UTC)


def catalogue() -> Catalogue:
    entries: dict[Version, Entry] = {}
    for number, name in enumerate(VERSIONS, 1):
        added = entry(name, day(number), yanked="broken" if name == YANKED else None)
        official = added.official[: 1 if name == LONE else 2]
        entries[added.version] = replace(added, official=official)
    entries[Version("1.5.2")] = Entry(Version("1.5.2"))
    return Catalogue.parse(dump(entries).encode(), Path("releases.toml"))


def chosen(*names: str, yanked: bool = False, as_of: datetime | None = None) -> Selection:
    return select(names, catalogue(), yanked=yanked, as_of=as_of)


ALL = "1.0.2 1.5.0rc1 1.5.0 1.6.0 2.0.0b1"


@pytest.mark.parametrize(
    ("names", "yanked", "selected"),
    [
        ("", False, "None"),
        ("all", False, ALL),
        ("all", True, "1.0.2 1.5.0rc1 1.5.0 1.5.1 1.6.0 2.0.0b1"),
        ("1.6.0 1.0.2 1.6", False, "1.6.0 1.0.2"),
        (">=1.5,<1.6", False, "1.5.0"),
        ("<2", False, "1.0.2 1.5.0rc1 1.5.0 1.6.0"),
        ("==1.5.* 7.7 nonsense", False, "1.5.0rc1 1.5.0 7.7 nonsense"),
        (">1.6 1.6.0 all", False, "2.0.0b1 1.6.0 1.0.2 1.5.0rc1 1.5.0"),
        ("all 1.5.1 1.0.0", False, f"{ALL} 1.5.1 1.0.0"),
    ],
)
def test_names_and_ranges(names: str, yanked: bool, selected: str) -> None:
    selection = chosen(*names.split(), yanked=yanked)
    assert " ".join(map(str, selection.names)) == selected
    selection.require()


def test_left_out_with_a_reason() -> None:
    assert {str(release.version): release.reason for release in chosen("all").left_out} == {
        LONE: f"there is no {PARTNER} that goes with it",
        YANKED: "yanked: broken (--yanked takes it)",
    }
    assert chosen("all", YANKED, LONE).left_out == ()


def test_later_releases_do_not_exist_yet() -> None:
    selection = chosen("all", as_of=day(4, 23))
    assert [*map(str, selection.names)] == ["1.0.2", "1.5.0rc1", "1.5.0"]
    assert [str(release.version) for release in selection.left_out] == [LONE]


@pytest.mark.parametrize(
    ("names", "yanked", "error", "message"),
    [
        ([f"=={YANKED}"], False, YankedRelease, r"1\.5\.1 was yanked: broken"),
        ([f"=={LONE}"], True, UnknownRelease, r"goes with livekit-agents 1\.0\.0"),
        ([f"=={LONE}", f"=={YANKED}"], False, SomeReleasesFailed, r"1\.0\.0: there is no"),
        *(([name], False, UnknownRelease, name) for name in (">=3", "<1", ">=one", "~=1")),
    ],
)
def test_nothing_selected(
    names: list[str], yanked: bool, error: type[Exception], message: str
) -> None:
    """One release that is left out leads to the error of its name, if there is no other."""
    with pytest.raises(error, match=message):
        chosen(*names, yanked=yanked).require()
