"""Which releases a command line selects: names, `all`, and ranges over the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from packaging.version import InvalidVersion, Version

from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.util.distributions import PARTNER
from toolkit.util.errors import SomeReleasesFailed, ToolkitError, UnknownRelease, YankedRelease

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

Result = TypeVar("Result")
Name = TypeVar("Name")

ALL, NEW = "all", "new"
HELP = (
    "such as 1.8.9; a range such as '>=1.5,<1.6'; or all. Pre-releases belong to `all`, and to "
    "the ranges that enclose them; yanked releases only with --yanked (default: the newest)"
)


@dataclass(frozen=True)
class LeftOut:
    """A release matched by a range or `all` that cannot be used.

    ``error`` is what naming the release would raise.
    """

    version: Version
    reason: str
    error: ToolkitError


@dataclass(frozen=True)
class Selection:
    """Releases to work on, in order, each once; a name None is the newest release."""

    names: tuple[Version | str | None, ...]
    left_out: tuple[LeftOut, ...] = ()

    def require(self) -> None:
        """Raise the reasons why releases were left out if no other release is selected."""
        if self.names or not self.left_out:
            return
        if len(self.left_out) == 1:
            raise self.left_out[0].error
        reasons = [f"{release.version}: {release.reason}" for release in self.left_out]
        raise SomeReleasesFailed(
            "\n".join([f"none of these {len(reasons)} releases can be taken:", *reasons]),
            next_step="name others, or take yanked ones with --yanked",
        )


def select(
    names: Sequence[str], catalogue: Catalogue, *, yanked: bool, as_of: datetime | None
) -> Selection:
    """Select releases by name, range or `all`; without names, the newest.

    A named release is selected whether or not the catalogue has it. `all` and ranges cover the
    releases of the catalogue that existed at ``as_of``. Raises UnknownRelease if a range encloses
    none.
    """
    if not names:
        return Selection((None,))
    # in the order of the command line, each once
    selected: dict[Version | str | None, None] = {}
    left_out: dict[Version, LeftOut] = {}
    for name in names:
        versions = _range(name)
        if versions is None:
            selected[_version(name)] = None
            continue
        entries = [
            entry
            for version, entry in catalogue.items()
            if versions.contains(version, prereleases=True)
            and entry.official
            and entry.existed(as_of)
        ]
        if not entries:
            raise UnknownRelease(
                f"no release in patches/releases.toml is in {name}",
                next_step="run update, or widen the range",
            )
        usable = takeable(entries, yanked=yanked)
        selected.update(dict.fromkeys(usable.names))
        left_out |= {release.version: release for release in usable.left_out}
    # a release that is named besides is selected after all
    rest = tuple(release for version, release in left_out.items() if version not in selected)
    return Selection(tuple(selected), rest)


def entries_of(names: Sequence[str], catalogue: Catalogue, as_of: datetime | None) -> list[Entry]:
    """Return the entries of named releases, also of those that cannot be patched, oldest first.

    Raises UnknownRelease.
    """
    selection = select(names, catalogue, yanked=True, as_of=as_of)
    versions = (*selection.names, *(each.version for each in selection.left_out))
    return sorted(map(catalogue.require, versions), key=lambda entry: entry.version)


def takeable(entries: Iterable[Entry], *, yanked: bool) -> Selection:
    """Select the entries that can be used; the others are left out with the reason."""
    names: list[Version] = []
    left_out = []
    for entry in entries:
        try:
            release = entry.release
            if not yanked:
                release.refuse_yanked()
            names.append(entry.version)
        except UnknownRelease as error:
            reason = f"there is no {PARTNER} that goes with it"
            left_out.append(LeftOut(entry.version, reason, error))
        except YankedRelease as error:
            reason = f"yanked: {entry.yanked or 'no reason given'} (--yanked takes it)"
            left_out.append(LeftOut(entry.version, reason, error))
    return Selection(tuple(names), tuple(left_out))


def _range(name: str) -> SpecifierSet | None:
    """Return the range that ``name`` is, or None for a name; raises UnknownRelease."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if name == ALL:
        return SpecifierSet()
    try:
        return SpecifierSet(name) if name[0] in "<>=!~" else None
    except InvalidSpecifier as error:
        raise UnknownRelease(
            f"{name} is no range of releases", next_step="write one such as '>=1.5,<1.6'"
        ) from error


def _version(name: str) -> Version | str:
    try:
        return Version(name)
    except InvalidVersion:
        return name


def for_each_release(
    releases: Sequence[Name], work: Callable[[Name | None], Result]
) -> list[Result]:
    """Call ``work`` for each release (default: the newest); failures do not stop the others.

    Raises the failure of a single release as it is, else SomeReleasesFailed, which names all.
    """
    if len(releases) <= 1:
        return [work(releases[0] if releases else None)]
    results: list[Result] = []
    failures: list[str] = []
    for release in dict.fromkeys(releases):
        try:
            results.append(work(release))
        except ToolkitError as error:
            failures.append(f"{release}: {type(error).__name__}: {error}")
    if failures:
        problem = f"{len(failures)} of {len(releases)} releases failed:"
        step = "run again for one of these; the others are done"
        raise SomeReleasesFailed("\n".join([problem, *failures]), next_step=step)
    return results
