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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from .candidate import Parcel, Proof, moment_of
from .companion import PROJECT, retired_to
from .errors import NotFixed, ToolkitError
from .exploration import TIERS
from .fetched import Fetched
from .index import foresee, opened, publish_all
from .ledger import ACTIVE, Ledger, Mark, Yank, retired_by
from .outcome import FIXED, LASTING, Judged, Loss, Outcomes
from .provenance import statements
from .release import MAIN, Release
from .releasing import unpatched
from .series import Series
from .shelf import require_index
from .strict import Malformed
from .verdict import Verdict
from .yanking import ours, verdicts_in

FULL = TIERS[-1]
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


def remembered(outcomes: Outcomes, release: Release, tier: str = FULL) -> Verdict | None:
    """The verdict of a tier on a release's official wheels alone, judged again, if there is one."""
    key = outcomes.key(release, "", tier)
    known = outcomes.read(key)
    proof = outcomes.proof(key, known) if isinstance(known, Judged) else None
    try:
        return Verdict.parse(proof.data.decode()) if proof else None
    except (Malformed, UnicodeDecodeError):
        return None


def alone(
    fetched: Fetched, outcomes: Outcomes, judge: Callable[..., Verdict], tier: str = FULL
) -> Verdict:
    """The verdict of ``tier`` on a release's official wheels alone, or of a smaller one that is
    not ``fixed`` already; a larger one that is remembered decides before both.

    It is remembered. Otherwise ``judge`` makes it of a release with nothing repacked, and a tier.
    """

    def judged(tier: str) -> Verdict:
        verdict: Verdict = judge(unpatched(fetched), tier=tier)
        remember(outcomes, fetched.release, verdict, tier)
        return verdict

    asked = TIERS.index(tier)
    known = {one: remembered(outcomes, fetched.release, one) for one in TIERS}
    for one in reversed(TIERS):
        if (found := known[one]) and (found.verdict != FIXED or TIERS.index(one) >= asked):
            return found
    for one in TIERS[: asked + 1]:
        verdict = known[one] or judged(one)
        if verdict.verdict != FIXED:
            break
    return verdict


def remember(outcomes: Outcomes, release: Release, verdict: Verdict, tier: str = FULL) -> None:
    """Let :func:`remembered` know a verdict, if it is one that will not change."""
    if verdict.verdict in LASTING:
        key = outcomes.key(release, "", tier)
        outcomes.write(key, Judged.of(verdict), Proof.of(verdict))


def require_fixed(release: Release, verdict: Verdict | None) -> Verdict:
    """``verdict``, if it shows by the tier full that a release's official wheels lose no call.

    Raises NotFixed.
    """
    label = f"{MAIN} {release.version}"
    if verdict is None:
        raise NotFixed(
            f"{label} is not proved to lose no call, by today's tests in the tier {FULL}",
            next_step="`nox -s retire -- --prove` proves it first, which can take hours",
        )
    ran = verdict.exploration
    if verdict.official.lost or (ran and ran.loses):
        loss = Loss.of(verdict.official, ran.official if ran else None)
        raise NotFixed(
            f"{label} still loses calls: {loss}",
            next_step="go on patching it; what became of pull requests is no reason to stop",
        )
    wheels = {artefact.filename: artefact.sha256 for artefact in release.artefacts}
    if verdict.verdict != FIXED or ran is None or ran.tier != FULL or verdict.wheels != wheels:
        raise NotFixed(
            f"{label}: only `{FIXED}` in the tier {FULL} over its very wheels retires a series, "
            f"and the verdict is {verdict.verdict}: {verdict.reason}",
            next_step="remove the cause, then `nox -s retire -- --prove`",
        )
    return verdict


def last_parcel(fetched: Fetched, verdict: Verdict, series: Series) -> Parcel:
    """The official wheels of a release that is fixed, and the companion that requires them.

    Raises NotFixed unless ``verdict`` says so, and as :meth:`Parcel.of`.
    """
    proof = Proof.of(require_fixed(fetched.release, verdict))
    last = retired_to(fetched.paths, release=fetched.release.version)
    beside = statements(fetched.paths, proof, official={}, series=series, generated=[last])
    return Parcel.of(fetched.paths, proof, generated=[last], statements=beside, accepted=FIXED)


def retire(
    folder: Path, parcel: Parcel, *, now: datetime | None = None, dry_run: bool = False
) -> Retirement:
    """End the series in the index at ``folder``; ``parcel`` is :func:`last_parcel`'s.

    What others yanked or marked stays so. Raises as :func:`publish_all`, and IndexConflict if
    there is no index.
    """
    require_index(folder)
    if dry_run:
        done = foresee(parcel, folder)
        ledger = Ledger.read(folder)
        for candidate in parcel.everything:
            if candidate.entry.filename in done.new:
                ledger.take(candidate.entry)
        return _retired(folder, ledger, parcel, done.new, now)
    (answer,) = publish_all([parcel], folder)
    if isinstance(answer, ToolkitError):
        raise answer
    with opened(folder) as ledger:
        return _retired(folder, ledger, parcel, answer.new, now)


def undo(folder: Path, *, now: datetime | None = None) -> Retirement:
    """Take every retirement of the index at ``folder`` back; clients resolve as before.

    The official partner stays on offer, as later releases may share it. Raises as :func:`retire`.
    """
    require_index(folder)
    with opened(folder) as ledger:
        fixed = _fixed(folder)
        reasons = {*map(retired_by, fixed.values())}
        withdrawn = [
            name
            for name, entry in ledger.files.items()
            if entry.verdict_sha256 in fixed and entry.project in (MAIN, PROJECT)
        ]
        returned = [name for name, reason in ledger.yanked.items() if reason in reasons]
        marked = [mark.project for mark in ledger.statuses.values() if mark.reason in reasons]
        change = _Change(ledger, moment_of(now))
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
    folder: Path, ledger: Ledger, parcel: Parcel, new: tuple[str, ...], now: datetime | None
) -> Retirement:
    release = Version(parcel.proof.release)
    reason = retired_by(release)
    last = {candidate.entry.filename for candidate in parcel.everything}
    superseded, kept = [], []
    for entry, of in ours(folder, ledger):
        patched = Version(entry.version).local is not None
        base = Version(of.public)
        if base > release and patched:
            kept.append(entry.filename)
        elif (patched or base == release) and entry.filename not in last:
            superseded.append(entry.filename)
    projects = {candidate.entry.project for candidate in parcel.everything}
    earlier = {*map(retired_by, _fixed(folder).values())} - {reason}
    marked = [
        project
        for project in sorted(projects)
        if (mark := ledger.statuses.get(project)) is None or mark.reason in earlier
    ]
    returned = [name for name in last if ledger.yanked.get(name) == UNDONE]
    return _Change(ledger, moment_of(now)).done(
        superseded, returned, reason, marked, STATUS, new=new, kept=tuple(sorted(kept))
    )


def _fixed(folder: Path) -> dict[str, str]:
    """The verdicts by which the index was retired: sha256 -> release."""
    return {
        digest: document["release"]
        for digest, _, document in verdicts_in(folder, release=str, verdict=str)
        if document["verdict"] == FIXED
    }
