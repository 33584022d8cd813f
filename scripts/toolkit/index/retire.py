"""The end of a series: what an index says once the newest official release loses no call.

Only behaviour retires: a verdict ``fixed`` of the tier full over the official wheels alone. They go
into the index with a companion that requires them, since uv takes a project from the first index
that has it; the patched wheels are yanked (PEP 592), the projects deprecated (PEP 792). They are
not archived: those take no files, and the next release may lose calls again. Nothing is deleted.
All of it are lines of the list, so it can be cut anywhere, run again, and undone.

Companions of earlier releases stay as they are. Who names one of them, even by ``==1.8.9.*``, gets
the yanked pair that it pins; uv wants the pair named too, as the release's constraints do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from toolkit.index.bundle import Bundle
from toolkit.index.layout import require_index
from toolkit.index.ledger import ACTIVE, Ledger, Mark, Yank, retired_by
from toolkit.index.metapackage import PROJECT, final_metapackage
from toolkit.index.provenance import statements
from toolkit.index.publish import locked_ledger, preview, publish_all
from toolkit.index.staged_wheel import timestamp
from toolkit.index.yank import ours, verdicts_in
from toolkit.patches.series import Series
from toolkit.proof.store import FIXED
from toolkit.proof.unpatched import require_fixed
from toolkit.proof.verdict import Proof, Verdict
from toolkit.releases.official import Fetched
from toolkit.util.errors import ToolkitError
from toolkit.util.names import MAIN

STATUS = "deprecated"
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


def last_bundle(fetched: Fetched, verdict: Verdict, series: Series) -> Bundle:
    """The official wheels of a release that is fixed, and the companion that requires them.

    Raises NotFixed unless ``verdict`` says so, and as :meth:`Bundle.of`.
    """
    proof = Proof.of(require_fixed(fetched.release, verdict))
    last = final_metapackage(fetched.paths, release=fetched.release.version)
    beside = statements(fetched.paths, proof, official={}, series=series, generated=[last])
    return Bundle.of(fetched.paths, proof, generated=[last], statements=beside, accepted=FIXED)


def retire(
    folder: Path, bundle: Bundle, *, now: datetime | None = None, dry_run: bool = False
) -> Retirement:
    """End the series in the index at ``folder``; ``bundle`` is :func:`last_bundle`'s.

    What others yanked or marked stays so. Raises as :func:`publish_all`, and IndexConflict if
    there is no index.
    """
    require_index(folder)
    if dry_run:
        done = preview(bundle, folder)
        ledger = Ledger.read(folder)
        for candidate in bundle.everything:
            if candidate.entry.filename in done.new:
                ledger.take(candidate.entry)
        return _retired(folder, ledger, bundle, done.new, now)
    (answer,) = publish_all([bundle], folder)
    if isinstance(answer, ToolkitError):
        raise answer
    with locked_ledger(folder) as ledger:
        return _retired(folder, ledger, bundle, answer.new, now)


def undo(folder: Path, *, now: datetime | None = None) -> Retirement:
    """Take every retirement of the index at ``folder`` back; clients resolve as before.

    The official partner stays on offer, as later releases may share it. Raises as :func:`retire`.
    """
    require_index(folder)
    with locked_ledger(folder) as ledger:
        fixed = _fixed(folder)
        reasons = {*map(retired_by, fixed.values())}
        withdrawn = [
            name
            for name, entry in ledger.files.items()
            if entry.verdict_sha256 in fixed and entry.project in (MAIN, PROJECT)
        ]
        returned = [name for name, reason in ledger.yanked.items() if reason in reasons]
        marked = [mark.project for mark in ledger.statuses.values() if mark.reason in reasons]
        change = _Change(ledger, timestamp(now))
        return change.done(withdrawn, returned, UNDONE, marked, ACTIVE)


@dataclass
class _Change:
    ledger: Ledger
    time: str

    def done(
        self,
        yanked: list[str],
        unyanked: list[str],
        reason: str,
        marked: list[str],
        status: str,
        **other: tuple[str, ...],
    ) -> Retirement:
        """Add the lines; who was yanked before keeps the reason."""
        yanked = [name for name in yanked if name not in self.ledger.yanked]
        for name in yanked:
            self.ledger.add(Yank("yank", name, reason, self.time))
        for name in unyanked:
            self.ledger.add(Yank("unyank", name, "", self.time))
        said = "" if status == ACTIVE else reason
        for project in marked:
            self.ledger.add(Mark("status", project, status, said, self.time))
        marks = dict.fromkeys(sorted(marked), status)
        return Retirement(
            yanked=tuple(sorted(yanked)), unyanked=tuple(sorted(unyanked)), marked=marks, **other
        )


def _retired(
    folder: Path, ledger: Ledger, bundle: Bundle, new: tuple[str, ...], now: datetime | None
) -> Retirement:
    release = Version(bundle.proof.release)
    reason = retired_by(release)
    last = {candidate.entry.filename for candidate in bundle.everything}
    superseded, kept = [], []
    for entry, of in ours(folder, ledger):
        patched = Version(entry.version).local is not None
        base = Version(of.public)
        if base > release and patched:
            kept.append(entry.filename)
        elif (patched or base == release) and entry.filename not in last:
            superseded.append(entry.filename)
    projects = {candidate.entry.project for candidate in bundle.everything}
    earlier = {*map(retired_by, _fixed(folder).values())} - {reason}
    marked = [
        project
        for project in sorted(projects)
        if (mark := ledger.statuses.get(project)) is None or mark.reason in earlier
    ]
    returned = [name for name in last if ledger.yanked.get(name) == UNDONE]
    return _Change(ledger, timestamp(now)).done(
        superseded, returned, reason, marked, STATUS, new=new, kept=tuple(sorted(kept))
    )


def _fixed(folder: Path) -> dict[str, str]:
    """The verdicts by which the index was retired: sha256 -> release."""
    return {
        digest: document["release"]
        for digest, _, document in verdicts_in(folder, release=str, verdict=str)
        if document["verdict"] == FIXED
    }
