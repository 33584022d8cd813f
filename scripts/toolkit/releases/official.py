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
from toolkit.releases.download import cached_path, cached_release, fetch_wheels, is_cached
from toolkit.releases.release import Artefact, Release
from toolkit.util.console import download_progress
from toolkit.util.distributions import MAIN
from toolkit.util.errors import UnknownRelease, Unreachable
from toolkit.util.files import not_writable_errors
from toolkit.util.workspace import Workspace

if TYPE_CHECKING:
    from toolkit.releases.pypi import PyPI
    from toolkit.wheels.wheelfile import Wheel


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

    def find(self, name: Version | str | None, catalogue: Catalogue | None = None) -> Release:
        """Find a release (None: the newest stable one that is not yanked).

        PyPI is not asked about a release of ``catalogue`` (None: the workspace's). Raises
        UnknownRelease, YankedRelease, Unreachable.
        """
        if catalogue is None:
            catalogue = Catalogue.read(self.workspace.catalogue)
        with ExitStack() as stack:
            pypi = cache(lambda: stack.enter_context(self.open()))
            if name is None and self.offline:
                name = newest(catalogue, self.as_of)
            elif name is None:
                name = newest_on(pypi(), catalogue)
            if entry := catalogue.known(name):
                release = _existing(entry, self.as_of).release
            elif self.offline:
                release = cached_release(name, self.workspace)
            else:
                release = pypi().find(name, yanked=True)
        if not self.yanked:
            release.refuse_yanked()
        return release

    def fetch(
        self, release: Version | str | Release | None, *, quiet: bool = False
    ) -> OfficialWheels:
        """Fetch official wheels, with a progress bar on a terminal unless ``quiet``.

        A release that is only named is found first. PyPI is asked for the addresses of wheels that
        are not in the cache. Raises UnknownRelease, YankedRelease, Unreachable, HashMismatch,
        NotWritable.
        """
        if not isinstance(release, Release):
            release = self.find(release)
        missing = [a for a in release.artefacts if not is_cached(a, self.workspace)]
        if missing and self.offline:
            raise UnknownRelease(
                f"the wheels of {MAIN} {release.version} are not in the cache",
                next_step="run once without --offline",
            )
        if not all(a.url for a in missing):
            with self.open() as pypi:
                release = pypi.with_addresses(release)
        if missing:
            with download_progress(str(release.version), quiet) as progress:
                fetch_wheels(release, self.workspace, progress)
        paths = tuple(cached_path(artefact, self.workspace) for artefact in release.artefacts)
        return OfficialWheels(release, paths, self.workspace.sound)


@dataclass(frozen=True)
class OfficialWheels:
    """A release and the paths of its official wheels, in the order of its artefacts.

    ``sound`` is a folder whose file names are the sha256 of wheels that were checked.
    """

    release: Release
    paths: tuple[Path, ...]
    sound: Path

    def each(self, distribution: str) -> Iterator[Wheel]:
        """Yield the wheels of one distribution: one, or one for each platform.

        Each is opened, and checked once ever, as its sha256 is. Of several, none is kept in memory.
        """
        chosen = [p for p, a in self._pairs if a.distribution == distribution]
        for path in chosen:
            yield self._open_once(path) if len(chosen) == 1 else self._open(path)

    def of(self, distribution: str) -> tuple[Wheel, ...]:
        """Return the wheels of one distribution."""
        return tuple(self.each(distribution))

    @property
    def _pairs(self) -> list[tuple[Path, Artefact]]:
        return list(zip(self.paths, self.release.artefacts, strict=True))

    @cached_property
    def _open_once(self) -> Callable[[Path], Wheel]:
        return cache(self._open)

    def _open(self, path: Path) -> Wheel:
        from toolkit.wheels.wheelfile import CHECKS_VERSION, Wheel

        sha = next(artefact.sha256 for other, artefact in self._pairs if other == path)
        mark = self.sound / f"{sha}.{CHECKS_VERSION}"
        wheel = Wheel.open(path, sound=mark.is_file())
        with not_writable_errors(self.sound):
            self.sound.mkdir(parents=True, exist_ok=True)
            mark.touch()
        return wheel


def newest(catalogue: Mapping[Version, Entry], as_of: datetime | None = None) -> Version:
    """Return the catalogue's newest stable release that is not yanked; raises UnknownRelease."""
    for version in sorted(catalogue, reverse=True):
        entry = catalogue[version]
        exists = entry.official and not entry.gone and entry.existed(as_of)
        if exists and entry.yanked is None and not version.is_prerelease:
            return version
    raise UnknownRelease(
        "which release is the newest is not known offline", next_step="name a release"
    )


def newest_on(pypi: PyPI, catalogue: Mapping[Version, Entry]) -> Version:
    """Return PyPI's newest release; print on standard error if the one before it was yanked.

    Raises Unreachable if the catalogue has a newer one that PyPI does not list at all.
    """
    listed = pypi.newest()
    try:
        recorded = newest(catalogue, pypi.as_of)
    except UnknownRelease:
        return listed
    if recorded > listed:
        if not pypi.has(recorded):
            raise Unreachable(
                f"{pypi.endpoint} shows no {MAIN} newer than {listed}, though "
                f"patches/releases.toml knows {recorded}: it lags behind PyPI, or holds a "
                "part of it",
                next_step="wait until it has caught up, name another index with --pypi URL, or "
                "name the release",
            )
        print(f"{MAIN} {recorded} was yanked: the newest is {listed} now", file=sys.stderr)
    return listed


def _existing(entry: Entry, as_of: datetime | None) -> Entry:
    if not entry.existed(as_of):
        raise UnknownRelease(
            f"{MAIN} {entry.version} did not exist on {as_of:%Y-%m-%d %H:%M} UTC",
            next_step="choose an earlier release, or a later --as-of",
        )
    return entry
