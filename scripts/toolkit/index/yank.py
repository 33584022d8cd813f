"""Yank the wheels of a release with a reason, or undo that; nothing is ever deleted.

Both append lines to the ledger, which keeps who said what and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version

from toolkit.index.layout import own_files, require_index
from toolkit.index.ledger import Ledger, Yank
from toolkit.index.staged_wheel import timestamp
from toolkit.index.transaction import locked_ledger
from toolkit.util.errors import IndexConflict, UnknownRelease


@dataclass(frozen=True)
class YankResult:
    """What a yank, or undoing one, changed.

    ``files`` are their names. ``left`` are the versions of the same upstream release that are
    still offered: without any, nothing patched is left of it.
    """

    files: tuple[str, ...]
    left: tuple[str, ...]


def yank(
    folder: Path,
    release: str,
    reason: str,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
) -> YankResult:
    """Yank the wheels of ``release`` (PEP 592); those that are yanked already keep their reason.

    ``release`` is one revision (``1.8.9+dispatched.1``), or all of them (``1.8.9``). Official
    wheels stay as they are: other releases may share them.

    Raises UnknownRelease if the index has no such release, IndexConflict for a reason that does
    not fit into a page, and as :func:`toolkit.index.publish.publish_all`.
    """
    if not reason.strip() or not reason.isprintable():
        raise IndexConflict(
            f"{reason!r} is no reason that users could read",
            next_step="say in one line why, in words for whoever meets the page",
        )
    template = Yank("yank", "", reason.strip(), timestamp(now))
    return _change(folder, release, template, dry_run)


def unyank(
    folder: Path, release: str, *, now: datetime | None = None, dry_run: bool = False
) -> YankResult:
    """Undo :func:`yank`; raises as it does."""
    return _change(folder, release, Yank("unyank", "", "", timestamp(now)), dry_run)


def _change(folder: Path, release: str, template: Yank, dry_run: bool) -> YankResult:
    require_index(folder)
    if dry_run:
        return _apply(folder, Ledger.read(folder), release, template)
    with locked_ledger(folder) as ledger:
        return _apply(folder, ledger, release, template)


def _apply(folder: Path, ledger: Ledger, release: str, template: Yank) -> YankResult:
    own = own_files(folder, ledger)
    named = [(entry, version) for entry, version in own if _is_named(version, release)]
    if not named:
        raise UnknownRelease(
            f"{folder} has no wheels of ours for {release}",
            next_step="name a release as its verdict is named, such as 1.8.9 or 1.8.9+dispatched.1",
        )
    yanking = template.action == "yank"
    changed = [e.filename for e, _ in named if (e.filename in ledger.yanked) != yanking]
    for filename in changed:
        ledger.append(Yank(template.action, filename, template.reason, template.time))
    public = {version.public for _, version in named}
    left = {v for e, v in own if v.public in public and e.filename not in ledger.yanked}
    return YankResult(tuple(sorted(changed)), tuple(map(str, sorted(left))))


def _is_named(version: Version, release: str) -> bool:
    try:
        return Version(release) in (version, Version(version.public))
    except InvalidVersion:
        return False
