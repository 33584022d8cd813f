"""A release with its official wheels at hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.releases.download import cached_path, cached_release, fetch_all, is_cached
from toolkit.releases.release import Artefact, Release
from toolkit.util.console import download_progress
from toolkit.util.errors import UnknownRelease, Unreachable
from toolkit.util.files import not_writable_errors
from toolkit.util.http import Progress
from toolkit.util.names import MAIN
from toolkit.util.workspace import Workspace
from toolkit.wheels.wheelfile import CHECKS_VERSION, Wheel

if TYPE_CHECKING:
    from toolkit.releases.pypi import PyPI


@dataclass(frozen=True)
class Settings:
    """Where releases come from, and which of them exist.

    ``pypi`` is the simple index that is asked (None: PyPI); ``offline`` asks none and takes what
    the cache and the catalogue hold. ``yanked`` allows releases that were yanked; releases later
    than ``as_of`` do not exist.
    """

    workspace: Workspace
    pypi: str | None = None
    offline: bool = False
    yanked: bool = False
    as_of: datetime | None = None

    def open(self) -> PyPI:
        """Return a connection to the index, to be used as a context manager."""
        from toolkit.releases.pypi import PyPI

        return PyPI(self.pypi, workspace=self.workspace, as_of=self.as_of)

    def find(self, release: Version | str | None, catalogue: Catalogue | None = None) -> Release:
        """Find a release as :func:`find_release` does."""
        return find_release(
            release,
            self.workspace,
            catalogue=catalogue,
            endpoint=self.pypi,
            yanked=self.yanked,
            offline=self.offline,
            as_of=self.as_of,
        )

    def fetch(self, release: Version | str | Release | None, *, quiet: bool = False) -> Fetched:
        """Fetch official wheels, with a progress bar on a terminal unless ``quiet``.

        A release that is only named is found first. Raises as :func:`fetch_release`.
        """
        if not isinstance(release, Release):
            release = self.find(release)
        with download_progress(str(release.version), quiet) as progress:
            return fetch_release(
                release,
                self.workspace,
                endpoint=self.pypi,
                offline=self.offline,
                progress=progress,
            )


@dataclass(frozen=True)
class Fetched:
    """A release whose official wheels are here, in the order of its artefacts.

    ``sound`` is a folder that remembers the sha256 of wheels that were checked.
    """

    release: Release
    paths: tuple[Path, ...]
    sound: Path

    def each(self, distribution: str) -> Iterator[Wheel]:
        """The wheels of one distribution: one, or one a platform, of which only one is held.

        They are opened and checked, each once ever, as :func:`fetch_all` vouches for the bytes.
        """
        chosen = [p for p, a in self._pairs if a.distribution == distribution]
        for path in chosen:
            yield self._alone(path) if len(chosen) == 1 else self._open(path)

    def of(self, distribution: str) -> tuple[Wheel, ...]:
        """The wheels of one distribution, all at once."""
        return tuple(self.each(distribution))

    @property
    def _pairs(self) -> list[tuple[Path, Artefact]]:
        return list(zip(self.paths, self.release.artefacts, strict=True))

    @cached_property
    def _alone(self) -> Callable[[Path], Wheel]:
        return cache(self._open)

    def _open(self, path: Path) -> Wheel:
        sha = next(artefact.sha256 for other, artefact in self._pairs if other == path)
        mark = self.sound / f"{sha}.{CHECKS_VERSION}"
        wheel = Wheel.open(path, sound=mark.is_file())
        with not_writable_errors(self.sound):
            self.sound.mkdir(parents=True, exist_ok=True)
            mark.touch()
        return wheel

    def digests(self) -> list[str]:
        """The official sha256s, which the download has held the files against."""
        return [artefact.sha256 for artefact in self.release.artefacts]


def find_release(
    release: str | Version | None,
    workspace: Workspace,
    *,
    catalogue: Catalogue | None = None,
    endpoint: str | None = None,
    yanked: bool = False,
    offline: bool = False,
    as_of: datetime | None = None,
) -> Release:
    """Find a release (None: the newest stable one that is not yanked).

    If the ``catalogue`` (None: the workspace's) has it, it is what it says there, without a
    question to PyPI. Later than ``as_of`` there is no release. ``offline`` takes what is known.

    Raises UnknownRelease, YankedRelease, Unreachable.
    """
    known = Catalogue.read(workspace.catalogue) if catalogue is None else catalogue
    with ExitStack() as stack:

        @cache
        def pypi() -> PyPI:
            from toolkit.releases.pypi import PyPI

            return stack.enter_context(PyPI(endpoint, workspace=workspace, as_of=as_of))

        if release is None:
            release = newest(known, as_of) if offline else newest_on(pypi(), known)
        entry = _entry(known, release)
        if entry:
            found = _existing(entry, as_of).release
        else:
            found = (
                cached_release(release, workspace) if offline else pypi().find(release, yanked=True)
            )
    if not yanked:
        found.refuse_yanked()
    return found


def fetch_release(
    release: Release | str | Version | None,
    workspace: Workspace,
    *,
    endpoint: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch the official wheels of a release, which is found first if it is only named.

    PyPI is asked for the addresses of those that are not in the cache. Raises UnknownRelease,
    YankedRelease, Unreachable, HashMismatch, NotWritable.
    """
    if not isinstance(release, Release):
        release = find_release(release, workspace, endpoint=endpoint, offline=offline)
    missing = [a for a in release.artefacts if not is_cached(a, workspace)]
    if missing and (offline or not all(a.url for a in missing)):
        if offline:
            raise UnknownRelease(
                f"the wheels of {MAIN} {release.version} are not in the cache",
                next_step="run once without --offline",
            )
        from toolkit.releases.pypi import PyPI

        with PyPI(endpoint, workspace=workspace) as pypi:
            release = pypi.with_addresses(release)
    if missing:
        paths = fetch_all(release, workspace, progress)
    else:
        paths = tuple(cached_path(artefact, workspace) for artefact in release.artefacts)
    return Fetched(release, paths, workspace.sound)


def newest(catalogue: Mapping[Version, Entry], as_of: datetime | None = None) -> Version:
    """The newest stable release of the catalogue that is not yanked; raises UnknownRelease."""
    for version in sorted(catalogue, reverse=True):
        entry = catalogue[version]
        here = entry.official and not entry.gone and entry.existed(as_of)
        if here and entry.yanked is None and not version.is_prerelease:
            return version
    raise UnknownRelease(
        "which release is the newest is not known offline", next_step="name a release"
    )


def newest_on(pypi: PyPI, catalogue: Mapping[Version, Entry]) -> Version:
    """The newest release that PyPI has; tells on standard error if that was yanked which was.

    Raises Unreachable if the catalogue knows a newer one that the page does not show at all.
    """
    found = pypi.newest()
    try:
        known = newest(catalogue, pypi.as_of)
    except UnknownRelease:
        return found
    if known > found:
        if not pypi.has(known):
            raise Unreachable(
                f"{pypi.endpoint} shows no {MAIN} newer than {found}, though "
                f"patches/releases.toml knows {known}: it lags behind PyPI, or holds a part of it",
                next_step="wait until it has caught up, name another index with --pypi URL, or "
                "name the release",
            )
        print(f"{MAIN} {known} was yanked: the newest is {found} now", file=sys.stderr)
    return found


def _entry(catalogue: Catalogue, release: str | Version) -> Entry | None:
    """What the catalogue says of a release, if it knows its official wheels."""
    try:
        entry = catalogue.get(Version(str(release)))
    except ValueError:
        return None
    return entry if entry and entry.official else None


def _existing(entry: Entry, as_of: datetime | None) -> Entry:
    if not entry.existed(as_of):
        raise UnknownRelease(
            f"{MAIN} {entry.version} did not exist on {as_of:%Y-%m-%d %H:%M} UTC",
            next_step="choose an earlier release, or a later --as-of",
        )
    return entry
