"""What PyPI has that the catalogue does not know yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from packaging.version import Version

from .catalogue import Catalogue, Entry, change
from .pypi import PyPI
from .release import Artefact, Release
from .workspace import Workspace


def renew(workspace: Workspace, pypi: PyPI) -> dict[Version, str]:
    """Bring the catalogue up to date; what happened to each release that changed, in a few words.

    Raises Unreachable, and then nothing was written.
    """
    said: dict[Version, str] = {}

    def changed(known: Catalogue) -> dict[Version, Entry]:
        new = updated(known, pypi)
        said.update({version: what_changed(known.get(version), new[version]) for version in new})
        return new

    change(workspace.catalogue, changed)
    return dict(sorted(said.items()))


def updated(known: Mapping[Version, Entry], pypi: PyPI) -> dict[Version, Entry]:
    """The entries that are not what PyPI says, as they should be.

    Those that were not whole at ``pypi.as_of`` stay as they are, and so do those without official
    wheels.
    """
    found = {release.version: release for release in pypi.releases()}
    entries = {}
    for version, release in found.items():
        entry = known.get(version, Entry(version))
        if entry.existed(pypi.as_of):
            entries[version] = replace(entry, official=_plain(release), gone=False)
    for version, entry in known.items():
        if version not in found and entry.official and entry.existed(pypi.as_of):
            entries[version] = replace(entry, gone=True)
    return {version: entry for version, entry in entries.items() if known.get(version) != entry}


def differs(entry: Entry | None, pypi: PyPI) -> bool:
    """Whether PyPI says something else of a release than the entry that the catalogue has."""
    if entry is None or not entry.official:
        return False
    return _plain(pypi.find(entry.version, yanked=True)) != entry.official


def additions(before: Mapping[Version, Entry], after: Mapping[Version, Entry]) -> list[Version]:
    """The releases of which there are official wheels that were not known before, sorted."""
    files = {version: {a.filename for a in entry.official} for version, entry in before.items()}
    return sorted(
        version
        for version, entry in after.items()
        if not {a.filename for a in entry.official} <= files.get(version, set())
    )


def what_changed(before: Entry | None, after: Entry) -> str:
    """What happened to a release, in a few words."""
    partner = f"with plugin {after.partner}" if after.partner else "without a plugin"
    if before is None or not before.official:
        return f"new, {partner}"
    if after.gone:
        return "gone from PyPI"
    if before.yanked is None and after.yanked is not None:
        return f"yanked: {after.yanked or 'no reason given'}"
    if before.partner != after.partner:
        return f"now {partner}"
    return "its wheels changed"


def _plain(release: Release) -> tuple[Artefact, ...]:
    """The wheels of a release without their addresses, as the catalogue has them."""
    return tuple(replace(artefact, url="") for artefact in release.artefacts)
