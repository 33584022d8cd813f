"""Rebase the series onto the releases of a run that it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from toolkit.pipeline.results import Result, refusal
from toolkit.pipeline.session import Name, Session
from toolkit.proof.store import FIXED, VerdictSummary
from toolkit.proof.unpatched import prove_unpatched
from toolkit.proof.verdict import Proof
from toolkit.refresh.conflict import Inconclusive
from toolkit.refresh.refresher import Refresher
from toolkit.releases.release import Release
from toolkit.releases.sources import series_applies
from toolkit.util.errors import PatchConflict, ToolkitError


def rebase_conflicts(
    results: Mapping[Name, Result], session: Session
) -> tuple[list[Name], dict[Name, Result]]:
    """Rebase the series onto each release that it does not fit, the oldest first.

    Releases that were published before are left out, since the series fitted them once. So are
    those that lose no call without it: their verdict is `fixed`. Returns the releases that have
    other patches now and need another run, and the final results of those that got none.
    """
    final: dict[Name, Result] = {}
    conflicts: dict[Name, Release] = {}
    for name, result in results.items():
        release = result.release if result.word == "conflict" else None
        if release and not session.catalogue.row(release.version):
            if summary := _fixed(release, session):
                error = refusal(release, summary, session.proof.tier)
                final[name] = replace(result, summary=summary, error=error)
            else:
                conflicts[name] = release
    if not conflicts:
        return [], final

    # Each from the nearest release that the series fits; a conflict is left for a human
    before = session.series
    refresher = Refresher(session.settings, session.proof, session.catalogue)
    refused: dict[Name, ToolkitError] = {}
    for name, release in sorted(conflicts.items(), key=lambda item: item[1].version):
        try:
            official = refresher.fetch(release)
            if not series_applies(official, refresher.series):
                folder = session.conflicts / str(release.version)
                session.rebased[release.version] = refresher.refresh(official, folder)
        except ToolkitError as error:
            refused[name] = error
    session.series = refresher.series
    for name, why in refused.items():
        final[name] = _refuse(results[name], conflicts[name], why, session)

    # A new variant may be for later releases too
    again = []
    for name, result in results.items() if session.rebased else ():
        version = result.release.version if result.release else None
        if version and before.digest(version) != session.series.digest(version):
            again.append(name)
    return again, final


def _refuse(result: Result, release: Release, error: ToolkitError, session: Session) -> Result:
    """Return the result of a release that no rebase reached, and remember why."""
    summary = None
    if isinstance(error, Inconclusive):
        summary = VerdictSummary.of(error.verdict)
        session.copy_verdict(release, summary, Proof.of(error.verdict))
    if isinstance(error, PatchConflict):
        with suppress(PatchConflict):
            session.verdicts.write(session.key(release), error)
    return replace(result, summary=summary, error=error)


def _fixed(release: Release, session: Session) -> VerdictSummary | None:
    """Return the verdict `fixed` if the official wheels lose no call, else None."""
    try:
        official = session.settings.fetch(release, quiet=True)
        with session.proof_slots, session.step(f"{release.version}: does it need the series?"):
            verdict = prove_unpatched(official, session.verdicts, session.proof)
    except ToolkitError:
        return None
    if verdict.verdict != FIXED:
        return None
    summary = VerdictSummary.of(verdict)
    session.copy_verdict(release, summary)
    return summary
