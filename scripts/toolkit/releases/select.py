"""Which releases a command line means: names, `all`, and ranges over the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.util.errors import SomeReleasesFailed, ToolkitError, UnknownRelease, YankedRelease
from toolkit.util.names import PARTNER

ALL, NEW = "all", "new"
HELP = (
    "such as 1.8.9; a range such as '>=1.5,<1.6'; or all. Pre-releases belong to `all`, and to "
    "the ranges that enclose them; yanked releases only with --yanked (default: the newest)"
)


@dataclass(frozen=True)
class LeftOut:
    """A release of the catalogue that is meant, though not by name, and that cannot be taken.

    ``error`` is what its name would have led to.
    """

    version: Version
    reason: str
    error: ToolkitError


@dataclass(frozen=True)
class Selection:
    """What to work on, in order, each once; a name None is the newest release."""

    names: tuple[Version | str | None, ...]
    left_out: tuple[LeftOut, ...] = ()

    def require(self) -> None:
        """Raise why releases were left out if there is none besides them."""
        if self.names or not self.left_out:
            return
        if len(self.left_out) == 1:
            raise self.left_out[0].error
        raise SomeReleasesFailed(
            "\n".join(
                [f"none of these {len(self.left_out)} releases can be taken:"]
                + [f"{one.version}: {one.reason}" for one in self.left_out]
            ),
            next_step="name others, or take yanked ones with --yanked",
        )


def select(
    words: Sequence[str], catalogue: Catalogue, *, yanked: bool, as_of: datetime | None
) -> Selection:
    """The releases that ``words`` name; without words, the newest.

    A release by name is taken as it is, whether or not the catalogue has it. `all` and ranges are
    over those releases of the catalogue that existed at ``as_of``; what cannot be taken of them is
    told with the reason. Raises UnknownRelease if a range encloses none.
    """
    if not words:
        return Selection((None,))
    names: dict[Version | str | None, None] = {}
    left_out: dict[Version, LeftOut] = {}
    for word in words:
        if (versions := _range(word)) is None:
            names[_name(word)] = None
            continue
        found = list(_within(versions, catalogue, as_of))
        if not found:
            raise UnknownRelease(
                f"no release in patches/releases.toml is in {word}",
                next_step="run update, or widen the range",
            )
        chosen = among(found, yanked=yanked)
        names.update(dict.fromkeys(chosen.names))
        left_out |= {one.version: one for one in chosen.left_out}
    return Selection(
        tuple(names), tuple(one for version, one in left_out.items() if version not in names)
    )


def among(entries: Iterable[Entry], *, yanked: bool) -> Selection:
    """Those of some releases of the catalogue that can be taken, and why the others cannot."""
    names: list[Version] = []
    left_out = []
    for entry in entries:
        if obstacle := _obstacle(entry, yanked=yanked):
            left_out.append(LeftOut(entry.version, *obstacle))
        else:
            names.append(entry.version)
    return Selection(tuple(names), tuple(left_out))


def _range(word: str) -> SpecifierSet | None:
    if word == ALL:
        return SpecifierSet()
    try:
        return SpecifierSet(word) if word[0] in "<>=!~" else None
    except InvalidSpecifier as error:
        raise UnknownRelease(
            f"{word} is no range of releases", next_step="write one such as '>=1.5,<1.6'"
        ) from error


def _name(word: str) -> Version | str:
    try:
        return Version(word)
    except InvalidVersion:
        return word


def _within(
    versions: SpecifierSet, catalogue: Catalogue, as_of: datetime | None
) -> Iterator[Entry]:
    for version, entry in catalogue.items():
        inside = versions.contains(version, prereleases=True)
        if inside and entry.official and entry.existed(as_of):
            yield entry


def _obstacle(entry: Entry, *, yanked: bool) -> tuple[str, ToolkitError] | None:
    """Why a release cannot be taken, in a few words and as the error that its name leads to."""
    try:
        release = entry.release
        if not yanked:
            release.refuse_yanked()
    except UnknownRelease as error:
        return f"there is no {PARTNER} that goes with it", error
    except YankedRelease as error:
        return f"yanked: {entry.yanked or 'no reason given'} (--yanked takes it)", error
    return None
