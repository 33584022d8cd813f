"""What PyPI has that the catalogue does not know yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from packaging.version import Version

from toolkit.releases.catalogue import Catalogue, Entry, change
from toolkit.releases.pypi import ANOTHER, PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import HashMismatch, Unreachable
from toolkit.util.names import MAIN, PARTNER
from toolkit.util.workspace import Workspace


def renew(workspace: Workspace, pypi: PyPI, gone: Collection[Version] = ()) -> dict[Version, str]:
    """Bring the catalogue up to date; what happened to each release that changed, in a few words.

    Raises what :func:`updated` raises, and then nothing was written.
    """
    said: dict[Version, str] = {}

    def changed(known: Catalogue) -> dict[Version, Entry]:
        new = updated(known, pypi, gone)
        said.update({version: what_changed(known.get(version), new[version]) for version in new})
        return new

    change(workspace.catalogue, changed)
    return dict(sorted(said.items()))


def updated(
    known: Mapping[Version, Entry], pypi: PyPI, gone: Collection[Version] = ()
) -> dict[Version, Entry]:
    """The entries that are not what PyPI says, as they should be.

    Those that were not whole at ``pypi.as_of`` stay as they are, and so do those without official
    wheels. ``gone`` are releases of which it is known that PyPI has removed wheels.

    Raises Unreachable for pages that are not whole or that change what never changes on PyPI,
    and HashMismatch.
    """
    before = {
        artefact.filename: artefact
        for entry in known.values()
        if not entry.gone and entry.existed(pypi.as_of)
        for artefact in entry.official
    }
    shown = {**pypi.files(MAIN), **pypi.files(PARTNER)}
    _require_same(before, shown, pypi)
    _require_yanks(before, shown, pypi)
    _require_whole(before, shown, pypi, gone)
    found = {release.version: release for release in pypi.releases()}
    entries = {}
    for version, release in found.items():
        entry = known.get(version, Entry(version))
        if entry.existed(pypi.as_of):
            official = tuple(_settled(a, before.get(a.filename)) for a in _plain(release))
            entries[version] = replace(entry, official=official, gone=False)
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
    if before.yanked is not None and after.yanked is None:
        return "not yanked any more"
    if before.partner != after.partner:
        return f"now {partner}"
    return "its wheels changed"


def _plain(release: Release) -> tuple[Artefact, ...]:
    """The wheels of a release without their addresses, as the catalogue has them."""
    return tuple(replace(artefact, url="") for artefact in release.artefacts)


def _settled(artefact: Artefact, before: Artefact | None) -> Artefact:
    """What is known of a file, whose bytes never change; whether it is yanked does."""
    return replace(before, yanked=artefact.yanked) if before else artefact


def _require_same(
    before: Mapping[str, Artefact], shown: Mapping[str, Artefact], pypi: PyPI
) -> None:
    """Raise if a file that is known has another hash, size or upload time on its page."""
    for name in before.keys() & shown.keys():
        old, new = before[name], shown[name]
        if old.sha256 != new.sha256:
            raise HashMismatch(
                f"{pypi.endpoint} has another {name} than patches/releases.toml: "
                f"its sha256 is {new.sha256}, not {old.sha256}",
                next_step="do not use this index; files on PyPI never change",
            )
        # some leave out the fractions of a second
        if old.size != new.size or abs(old.upload_time - new.upload_time) >= timedelta(seconds=1):
            raise Unreachable(
                f"{pypi.endpoint} says of {name}: {new.size} bytes, uploaded "
                f"{new.upload_time.isoformat()}; patches/releases.toml says {old.size} bytes, "
                f"{old.upload_time.isoformat()}: it does not tell what PyPI tells",
                next_step=ANOTHER,
            )


def _require_yanks(
    before: Mapping[str, Artefact], shown: Mapping[str, Artefact], pypi: PyPI
) -> None:
    """Raise if a page with several files that were yanked tells of no yank at all."""
    for project in (MAIN, PARTNER):
        page = [a for a in shown.values() if a.distribution == project]
        known = {
            a.version
            for a in page
            if a.filename in before and before[a.filename].yanked is not None
        }
        if len(known) > 1 and all(a.yanked is None for a in page):
            raise Unreachable(
                f"{pypi.endpoint} shows nothing of {project} as yanked, though {len(known)} "
                f"releases were, {', '.join(sorted(known, key=Version))}: it drops yanks",
                next_step=ANOTHER,
            )


def _require_whole(
    before: Mapping[str, Artefact],
    shown: Mapping[str, Artefact],
    pypi: PyPI,
    gone: Collection[Version],
) -> None:
    """Raise if files are missing that PyPI need not have removed.

    A mirror may lag behind it, or hold a part of it. Pages that have all other releases, and
    something that was uploaded later than what is missing, are neither: that release is gone.
    """
    lost = {
        name: artefact
        for name, artefact in before.items()
        if name not in shown and Version(artefact.version) not in gone
    }
    if not lost:
        return
    versions = {Version(artefact.version) for artefact in lost.values()}
    of_known = {(a.distribution, Version(a.version)) for a in shown.values()}
    newest = {
        project: max(Version(a.version) for a in before.values() if a.distribution == project)
        for project in {a.distribution for a in lost.values()}
    }
    latest = {
        project: max(
            (a.upload_time for a in shown.values() if a.distribution == project),
            default=datetime.min.replace(tzinfo=UTC),
        )
        for project in newest
    }
    removed = len(versions) == 1 and all(
        (a.distribution, Version(a.version)) not in of_known
        and Version(a.version) != newest[a.distribution]
        and a.upload_time < latest[a.distribution]
        for a in lost.values()
    )
    if not removed:
        names = [str(version) for version in sorted(versions)]
        raise Unreachable(
            f"{pypi.endpoint} has not all that patches/releases.toml knows: {len(lost)} wheels of "
            f"{', '.join(names[:5])}{' ...' * (len(names) > 5)} are missing, such as "
            f"{min(lost)}; it lags behind PyPI, or holds a part of it",
            next_step="wait until it has caught up, or name another index with --pypi URL; if PyPI "
            f"has removed them, say so: update --gone {names[0]}",
        )
