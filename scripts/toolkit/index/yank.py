"""Taking things back in an index: wheels are yanked with a reason, projects marked, never deleted.

Both are lines in the append-only list, so they can be undone, and the list tells who said what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from toolkit.index.layout import require_index
from toolkit.index.ledger import ACTIVE, STATUSES, Ledger, Listed, Mark, Yank
from toolkit.index.publish import locked_ledger
from toolkit.index.staged_wheel import timestamp
from toolkit.util.errors import IndexConflict, UnknownRelease
from toolkit.util.files import sha256
from toolkit.util.strict_json import load, value_of


@dataclass(frozen=True)
class Taken:
    """What a call changed: ``files``, by name; ``left``: versions of the same projects and
    upstream release that are still offered, so that a yank can say if nothing patched is."""

    files: tuple[str, ...]
    left: tuple[str, ...]


def yank(
    folder: Path,
    release: str,
    reason: str,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> Taken:
    """Yank the wheels of ``release`` (PEP 592); those yanked already keep their reason.

    ``release`` is one revision (``1.8.9+dispatched.1``), or all of them (``1.8.9``). Official
    wheels stay as they are: it is not ours to judge them, and other releases share them.

    Raises UnknownRelease if the index has no such release, IndexConflict for a reason that does
    not fit into a page, and as :func:`publish_all`.
    """
    return _change(folder, release, Yank("yank", "", _said(reason), timestamp(now)), dry_run)


def unyank(
    folder: Path, release: str, *, now: datetime | None = None, dry_run: bool = False
) -> Taken:
    """Undo :func:`yank`; raises as it does."""
    return _change(folder, release, Yank("unyank", "", "", timestamp(now)), dry_run)


def mark(
    folder: Path,
    projects: Sequence[str],
    status: str,
    reason: str = "",
    *,
    now: datetime | None = None,
) -> tuple[str, ...]:
    """Give ``projects`` a status (PEP 792), one of STATUSES; returns those that it changed for.

    ``active`` undoes it. An archived project takes no further files, a quarantined one offers
    none either. Raises IndexConflict for a status or a project that the index does not know.
    """
    if status not in STATUSES:
        raise IndexConflict(
            f"{status!r} is no status of a project", next_step=f"use one of {', '.join(STATUSES)}"
        )
    reason = _said(reason) if reason else ""
    require_index(folder)
    with locked_ledger(folder) as ledger:
        known = ledger.projects
        wanted = [str(canonicalize_name(project)) for project in dict.fromkeys(projects)]
        if strangers := sorted({*wanted} - known):
            raise IndexConflict(
                f"{folder} has no project {', '.join(strangers)}",
                next_step=f"it has {', '.join(sorted(known)) or 'none'}",
            )
        changed = []
        for project in wanted:
            now_is = ledger.statuses.get(project)
            if (status, reason) != ((now_is.status, now_is.reason) if now_is else (ACTIVE, "")):
                ledger.add(Mark("status", project, status, reason, timestamp(now)))
                changed.append(project)
        return tuple(changed)


def _change(folder: Path, release: str, model: Yank, dry_run: bool) -> Taken:
    require_index(folder)
    if dry_run:
        return _changed(folder, Ledger.read(folder), release, model)
    with locked_ledger(folder) as ledger:
        return _changed(folder, ledger, release, model)


def _changed(folder: Path, ledger: Ledger, release: str, model: Yank) -> Taken:
    withdrawn = model.action == "yank"
    known = ours(folder, ledger)
    wanted = [entry for entry, of in known if _is(of, release)]
    if not wanted:
        raise UnknownRelease(
            f"{folder} has no wheels of ours for {release}",
            next_step="name a release as its verdict is named, such as 1.8.9 or 1.8.9+dispatched.1",
        )
    changed = [entry for entry in wanted if (entry.filename in ledger.yanked) != withdrawn]
    for entry in changed:
        ledger.add(Yank(model.action, entry.filename, model.reason, model.time))
    public = {of.public for entry, of in known if entry in wanted}
    offered = [of for entry, of in known if entry.filename not in ledger.yanked]
    left = [of for of in offered if of.public in public]
    return Taken(
        tuple(sorted(entry.filename for entry in changed)), tuple(map(str, sorted({*left})))
    )


def ours(folder: Path, ledger: Ledger) -> list[tuple[Listed, Version]]:
    """The files that are not upstream's own, and the release and revision they belong to.

    Raises as :func:`verdicts_in`.
    """
    found = []
    verdicts = {digest: (path, said) for digest, path, said in verdicts_in(folder, wheels=dict)}
    for entry in ledger.files.values():
        if known := verdicts.get(entry.verdict_sha256):
            path, document = known
            local = parse_wheel_filename(entry.filename)[1].local
            if local or entry.filename not in document["wheels"]:
                found.append((entry, Version(path.stem)))
    return found


def verdicts_in(folder: Path, **keys: type) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Every verdict of the index at ``folder``: its sha256, its path, and what it says.

    Raises IndexConflict for one that is damaged: it must be JSON, and have ``keys`` of these types.
    """
    for path in sorted((folder / "verdicts").glob("*.json")):
        try:
            data = path.read_bytes()
            document = value_of(load(data, "it"), dict, "it")
            for key, kind in keys.items():
                value_of(document[key], kind, key)
            Version(path.stem)
        except (OSError, ValueError, KeyError) as error:
            raise IndexConflict(
                f"{path} is damaged: it is no verdict: {error}",
                next_step="see who changed it, and put the published file back",
            ) from error
        yield sha256(data), path, document


def _is(version: Version, wanted: str) -> bool:
    try:
        asked = Version(wanted)
    except InvalidVersion:
        return False
    return asked in (version, Version(version.public))


def _said(reason: str) -> str:
    if not reason.strip() or not reason.isprintable():
        raise IndexConflict(
            f"{reason!r} is no reason that users could read",
            next_step="say in one line why, in words for whoever meets the page",
        )
    return reason.strip()
