"""A release with its official wheels at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from packaging.version import Version

from .errors import UnknownRelease
from .files import writing
from .release import Progress, Release, fetch_all, remembered
from .wheelfile import SOUNDNESS, OfficialWheel
from .workspace import Workspace


@dataclass(frozen=True)
class Fetched:
    """A release whose official wheels are here, in the order of its artefacts.

    ``sound`` is a folder that remembers the sha256 of wheels that were checked.
    """

    release: Release
    paths: tuple[Path, ...]
    sound: Path

    @cached_property
    def wheels(self) -> tuple[OfficialWheel, ...]:
        """The wheels, opened and checked: each once, as :func:`fetch_all` vouches for the bytes."""
        found = []
        for path, sha in zip(self.paths, self.digests(), strict=True):
            mark = self.sound / f"{sha}.{SOUNDNESS}"
            found.append(OfficialWheel.open(path, sound=mark.is_file()))
            with writing(self.sound):
                self.sound.mkdir(parents=True, exist_ok=True)
                mark.touch()
        return tuple(found)

    def of(self, distribution: str) -> tuple[OfficialWheel, ...]:
        """The wheels of one distribution: one, or one a platform."""
        return tuple(wheel for wheel in self.wheels if wheel.distribution == distribution)

    def digests(self) -> list[str]:
        """The official sha256s, which :func:`.release.fetch` has held the files against."""
        return [artefact.sha256 for artefact in self.release.artefacts]


def fetch_release(
    release: str | Version | None,
    workspace: Workspace,
    *,
    endpoint: str | None = None,
    yanked: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Find a release (None: the newest stable one, not yanked) and fetch its official wheels.

    ``offline`` takes what PyPI said the last time, and needs a release by name. Raises
    UnknownRelease, YankedRelease, Unreachable, HashMismatch, NotWritable.
    """
    if offline:
        if release is None:
            raise UnknownRelease(
                "which release is the newest is not known offline", next_step="name a release"
            )
        found = remembered(release, workspace)
        if not yanked:
            found.refuse_yanked()
    else:
        from .pypi import PyPI

        with PyPI(endpoint, workspace=workspace) as pypi:
            found = pypi.find(release if release is not None else pypi.newest(), yanked=yanked)
    return Fetched(found, fetch_all(found, workspace, progress), workspace.sound)
