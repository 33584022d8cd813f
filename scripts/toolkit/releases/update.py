"""Bring the catalogue up to date with PyPI."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Entry, change
from toolkit.releases.pypi import USE_ANOTHER_INDEX, PyPI
from toolkit.releases.release import Artefact
from toolkit.util.distributions import MAIN, PARTNER
from toolkit.util.errors import Unreachable
from toolkit.util.workspace import Workspace


def update_catalogue(
    workspace: Workspace, pypi: PyPI, gone: Collection[Version] = ()
) -> dict[Version, str]:
    """Bring the catalogue up to date; return what happened to each release that changed.

    ``gone`` are releases of which PyPI is known to have removed wheels. Raises Unreachable for
    pages that lack files or change what never changes on PyPI, and HashMismatch; then nothing is
    written.
    """
    changes: dict[Version, str] = {}

    def update(catalogue: Catalogue) -> dict[Version, Entry]:
        entries = _changed_entries(catalogue, pypi, gone)
        changes.update({v: what_changed(catalogue.get(v), entry) for v, entry in entries.items()})
        return entries

    change(workspace.catalogue, update)
    return dict(sorted(changes.items()))


def _changed_entries(
    catalogue: Mapping[Version, Entry], pypi: PyPI, gone: Collection[Version]
) -> dict[Version, Entry]:
    """Return the entries that PyPI changes.

    Entries stay as they are if their wheels were not all uploaded by ``pypi.as_of``, or if they
    have no official wheels.
    """
    # only pages that agree with the recorded wheels are used
    recorded = {
        artefact.filename: artefact
        for entry in catalogue.values()
        if not entry.gone and entry.existed(pypi.as_of)
        for artefact in entry.official
    }
    pages = _Pages(pypi.endpoint, recorded, {**pypi.files(MAIN), **pypi.files(PARTNER)})
    pages.require_same()
    pages.require_yanks()
    pages.require_all(gone)
    # new releases, and what changed of the others: whether a file is yanked, and more files
    releases = {release.version: release for release in pypi.releases()}
    entries = {}
    for version, release in releases.items():
        entry = catalogue.get(version, Entry(version))
        if entry.existed(pypi.as_of):
            official = tuple(
                replace(recorded.get(listed.filename, listed), yanked=listed.yanked)
                for listed in release.without_addresses()
            )
            entries[version] = replace(entry, official=official, gone=False)
    # releases that are not listed any more
    for version, entry in catalogue.items():
        if version not in releases and entry.official and entry.existed(pypi.as_of):
            entries[version] = replace(entry, gone=True)
    return {version: entry for version, entry in entries.items() if catalogue.get(version) != entry}


def differs(entry: Entry | None, pypi: PyPI) -> bool:
    """Return whether PyPI lists other official wheels than the catalogue's entry."""
    if entry is None or not entry.official:
        return False
    return pypi.find(entry.version, yanked=True).without_addresses() != entry.official


def additions(before: Mapping[Version, Entry], after: Mapping[Version, Entry]) -> list[Version]:
    """Return the releases that have new official wheels, sorted."""
    files = {version: {a.filename for a in entry.official} for version, entry in before.items()}
    return sorted(
        version
        for version, entry in after.items()
        if not {a.filename for a in entry.official} <= files.get(version, set())
    )


def what_changed(before: Entry | None, after: Entry) -> str:
    """Describe what happened to a release."""
    partner = f"with plugin {after.partner}" if after.partner else "without a plugin"
    if before is None or not before.official:
        return f"new, {partner}"
    if after.gone:
        return "gone from PyPI"
    if before.yanked is None and after.yanked is not None:
        return f"yanked: {after.yanked or 'no reason given'}"
    if before.yanked is not None and after.yanked is None:
        return "not yanked any more"
    if before.partner != after.partner:
        return f"now {partner}"
    return "its wheels changed"


@dataclass(frozen=True)
class _Pages:
    """The wheels that an index lists, held against the recorded ones; both by file name."""

    endpoint: str
    recorded: Mapping[str, Artefact]
    listed: Mapping[str, Artefact]

    def require_same(self) -> None:
        """Raise if a recorded file is listed with another hash, size or upload time."""
        for name in self.recorded.keys() & self.listed.keys():
            old, new = self.recorded[name], self.listed[name]
            old.require_sha256(new.sha256, self.endpoint)
            # some indexes leave out the fractions of a second
            later = abs(old.upload_time - new.upload_time) >= timedelta(seconds=1)
            if old.size != new.size or later:
                raise Unreachable(
                    f"{self.endpoint} says of {name}: {new.size} bytes, uploaded "
                    f"{new.upload_time.isoformat()}; patches/releases.toml says {old.size} bytes, "
                    f"{old.upload_time.isoformat()}: it does not tell what PyPI tells",
                    next_step=USE_ANOTHER_INDEX,
                )

    def require_yanks(self) -> None:
        """Raise if a page lists several files that were yanked, and none as yanked."""
        for project in (MAIN, PARTNER):
            page = [a for a in self.listed.values() if a.distribution == project]
            yanked = {
                a.version
                for a in page
                if a.filename in self.recorded and self.recorded[a.filename].yanked is not None
            }
            if len(yanked) > 1 and all(a.yanked is None for a in page):
                raise Unreachable(
                    f"{self.endpoint} shows nothing of {project} as yanked, though {len(yanked)} "
                    f"releases were, {', '.join(sorted(yanked, key=Version))}: it drops yanks",
                    next_step=USE_ANOTHER_INDEX,
                )

    def require_all(self, gone: Collection[Version]) -> None:
        """Raise if files are missing that PyPI need not have removed.

        A mirror may lag behind PyPI, or hold a part of it. Pages that have all other releases, and
        a file uploaded later than what is missing, do neither: PyPI removed that release.
        """
        missing = {
            name: artefact
            for name, artefact in self.recorded.items()
            if name not in self.listed and Version(artefact.version) not in gone
        }
        versions = sorted({Version(artefact.version) for artefact in missing.values()})
        if (len(versions) == 1 and all(map(self._removed, missing.values()))) or not missing:
            return
        names = [str(version) for version in versions]
        raise Unreachable(
            f"{self.endpoint} has not all that patches/releases.toml knows: {len(missing)} wheels "
            f"of {', '.join(names[:5])}{' ...' * (len(names) > 5)} are missing, such as "
            f"{min(missing)}; it lags behind PyPI, or holds a part of it",
            next_step="wait until it has caught up, or name another index with --pypi URL; if PyPI "
            f"has removed them, say so: update --gone {names[0]}",
        )

    def _removed(self, missing: Artefact) -> bool:
        """Return whether only PyPI itself can have removed the only release that is missing."""
        project, version = missing.distribution, Version(missing.version)
        recorded = [a for a in self.recorded.values() if a.distribution == project]
        listed = [a for a in self.listed.values() if a.distribution == project]
        return (
            version not in {Version(a.version) for a in listed}
            and version != max(Version(a.version) for a in recorded)
            and any(a.upload_time > missing.upload_time for a in listed)
        )
