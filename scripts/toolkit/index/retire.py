"""End a series in an index, once the newest official release loses no call.

Only behaviour retires: a verdict ``fixed`` of the tier full over the official wheels alone. They
are published with a metapackage that requires them, since uv takes a project from the first index
that has it; the patched wheels are yanked (PEP 592), the projects deprecated (PEP 792). They are
not archived: archived projects take no files, and the next release may lose calls again. Nothing
is deleted. All changes are lines of the ledger, so a retirement can be cut anywhere, run again,
and undone.

Metapackages of earlier releases stay as they are: naming one, even by ``==1.8.9.*``, installs the
yanked pair that it pins; uv wants the pair named too, as the release's constraints do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from toolkit.index.bundle import Bundle
from toolkit.index.layout import own_files, require_index, stored_verdicts
from toolkit.index.ledger import Ledger, Status, StatusChange, Yank, retirement_reason
from toolkit.index.metapackage import PROJECT, final_metapackage
from toolkit.index.provenance import statements
from toolkit.index.publish import publish
from toolkit.index.staged_wheel import timestamp
from toolkit.index.transaction import locked_ledger
from toolkit.patches.series import Series
from toolkit.proof.store import FIXED
from toolkit.proof.unpatched import require_fixed
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import OfficialWheels
from toolkit.util.distributions import MAIN

UNDONE = "the series is not retired any more"


@dataclass(frozen=True)
class Retirement:
    """What was changed in an index, or would be.

    ``new``, ``yanked`` and ``unyanked`` are file names, ``marked`` maps projects to their new
    status; ``kept`` are patched files of later releases, which nothing shows to be fixed.
    """

    new: tuple[str, ...] = ()
    yanked: tuple[str, ...] = ()
    unyanked: tuple[str, ...] = ()
    marked: Mapping[str, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.yanked or self.unyanked or self.marked)


def last_bundle(official: OfficialWheels, verdict: Verdict, series: Series) -> Bundle:
    """Make the bundle of a fixed release: its official wheels and a metapackage requiring them.

    Raises NotFixed unless ``verdict`` says that it is fixed, and as :meth:`Bundle.of`.
    """
    proof = Proof.of(require_fixed(official.release, verdict))
    last = final_metapackage(official.paths, release=official.release.version)
    texts = statements(official.paths, proof, official={}, series=series, generated=[last])
    return Bundle.of(official.paths, proof, generated=[last], statements=texts, accepted=FIXED)


def retire(
    folder: Path, bundle: Bundle, *, now: datetime | None = None, dry_run: bool = False
) -> Retirement:
    """End the series in the index at ``folder``; ``bundle`` is :func:`last_bundle`'s.

    What others yanked or marked stays so. Raises as :func:`publish`, and IndexConflict if there
    is no index.
    """
    require_index(folder)
    new = publish(bundle, folder, dry_run=dry_run).new
    if dry_run:
        ledger = Ledger.read(folder)
        for wheel in bundle.wheels:
            if wheel.entry.filename in new:
                ledger.apply(wheel.entry)
        return _retire(folder, ledger, bundle, new, timestamp(now))
    with locked_ledger(folder) as ledger:
        return _retire(folder, ledger, bundle, new, timestamp(now))


def undo(folder: Path, *, now: datetime | None = None) -> Retirement:
    """Take every retirement of the index at ``folder`` back; clients resolve as before.

    The official partner stays on offer, as later releases may share it. Raises as :func:`retire`.
    """
    require_index(folder)
    with locked_ledger(folder) as ledger:
        fixed = _fixed_releases(folder)
        reasons = {*map(retirement_reason, fixed.values())}
        # what a retirement published is yanked, what it yanked comes back
        published = [
            name
            for name, entry in ledger.files.items()
            if entry.verdict_sha256 in fixed and entry.project in (MAIN, PROJECT)
        ]
        returned = [name for name, reason in ledger.yanked.items() if reason in reasons]
        marked = [mark.project for mark in ledger.statuses.values() if mark.reason in reasons]
        time = timestamp(now)
        return Retirement(
            yanked=_yank(ledger, published, UNDONE, time),
            unyanked=_unyank(ledger, returned, time),
            marked=_mark(ledger, marked, "active", "", time),
        )


def _retire(
    folder: Path, ledger: Ledger, bundle: Bundle, new: tuple[str, ...], time: str
) -> Retirement:
    release = Version(bundle.proof.release)
    reason = retirement_reason(release)
    last = {wheel.entry.filename: wheel.entry.project for wheel in bundle.wheels}
    # patched wheels up to the fixed release are superseded, later ones stay
    superseded, kept = [], []
    for entry, version in own_files(folder, ledger):
        patched = Version(entry.version).local is not None
        base = Version(version.public)
        if base > release and patched:
            kept.append(entry.filename)
        elif (patched or base == release) and entry.filename not in last:
            superseded.append(entry.filename)
    # a mark of somebody else stays, that of an earlier retirement is renewed
    earlier = {*map(retirement_reason, _fixed_releases(folder).values())} - {reason}
    marked = [
        project
        for project in sorted({*last.values()})
        if (mark := ledger.statuses.get(project)) is None or mark.reason in earlier
    ]
    returned = [name for name in last if ledger.yanked.get(name) == UNDONE]
    return Retirement(
        new=new,
        yanked=_yank(ledger, superseded, reason, time),
        unyanked=_unyank(ledger, returned, time),
        marked=_mark(ledger, marked, "deprecated", reason, time),
        kept=tuple(sorted(kept)),
    )


def _yank(ledger: Ledger, names: Sequence[str], reason: str, time: str) -> tuple[str, ...]:
    """Yank files; those that are yanked already keep their reason."""
    names = [name for name in names if name not in ledger.yanked]
    for name in names:
        ledger.append(Yank("yank", name, reason, time))
    return tuple(sorted(names))


def _unyank(ledger: Ledger, names: Sequence[str], time: str) -> tuple[str, ...]:
    for name in names:
        ledger.append(Yank("unyank", name, "", time))
    return tuple(sorted(names))


def _mark(
    ledger: Ledger, projects: Sequence[str], status: Status, reason: str, time: str
) -> dict[str, str]:
    for project in projects:
        ledger.append(StatusChange("status", project, status, reason, time))
    return dict.fromkeys(sorted(projects), status)


def _fixed_releases(folder: Path) -> dict[str, str]:
    """Return the verdicts by which the index was retired: sha256 -> release."""
    verdicts = stored_verdicts(folder).items()
    return {digest: v.release for digest, v in verdicts if v.verdict == FIXED}
