"""Releases from a name to an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.index.bundle import Bundle, make_bundle
from toolkit.index.metapackage import metapackage_name
from toolkit.index.publish import holds_all_of
from toolkit.pipeline.publish import publish_results
from toolkit.pipeline.rebase import rebase_conflicts
from toolkit.pipeline.results import Result, refusal
from toolkit.pipeline.session import Name, Session
from toolkit.proof.prove import prove
from toolkit.proof.store import VerdictSummary
from toolkit.proof.unpatched import FULL
from toolkit.proof.verdict import Proof
from toolkit.releases.catalogue import record
from toolkit.releases.official import OfficialWheels, newest_on
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.update import differs
from toolkit.util.console import progress_bar
from toolkit.util.errors import PatchConflict, ToolkitError, machine_fault
from toolkit.util.parallel import map_parallel


def release_all(names: Sequence[Name], session: Session) -> list[Result]:
    """Take every release through the flow, then publish those whose proof passed, in one go."""
    results = attempt_all(names, session)
    again, refused = rebase_conflicts(results, session)
    results |= attempt_all(again, session) | refused
    return publish_and_record([results[name] for name in names], session)


def release_one(name: Name, session: Session) -> Result:
    """Take one release up to the bundle that may be published; an error becomes its result."""
    result = Result(str(name or "newest"))
    try:
        release = find(name, session)
        result = Result(str(release.version), release)
        summary = cached_verdict(release, session)
        if summary is None or (summary.verdict == "publish" and not is_published(summary, session)):
            official = fetch(release, session)
            repacked = repack(official, session)
            summary, proof = prove_release(repacked, summary, session)
            result = replace(result, bundle=bundle_of(repacked, summary, proof, session))
        session.copy_verdict(release, summary)
        return replace(result, summary=summary, error=refusal(release, summary, session.proof.tier))
    except ToolkitError as error:
        return replace(result, error=error)
    except OSError as error:
        return replace(result, error=machine_fault(error))


def attempt_all(names: Sequence[Name], session: Session) -> dict[Name, Result]:
    """Take each release as far as it goes by itself, side by side."""
    results = {}
    with progress_bar("releases", len(names)) as count:
        work = map_parallel(lambda name: release_one(name, session), names, jobs=session.jobs)
        for name, result in work:
            results[name] = result
            count(f"{result.label}: {result.word}")
    return results


def find(name: Name, session: Session) -> Release:
    """Find a release; the catalogue is updated first if it does not know it.

    It is too if PyPI, asked which release is the newest, has more files of that one: the upload of
    many wheels takes its time.
    """
    settings = session.settings
    if name is None and not settings.offline:
        with settings.open() as pypi:
            name = newest_on(pypi, session.catalogue)
            if differs(session.catalogue.get(name), pypi):
                session.update_catalogue(pypi)
    release = settings.find(name, session.catalogue)
    with session.updating:
        entry = session.catalogue.get(release.version)
        if not settings.offline and not (entry and entry.official):
            with settings.open() as pypi:
                session.update_catalogue(pypi)
    return release


def cached_verdict(release: Release, session: Session) -> VerdictSummary | None:
    """Return the verdict of an earlier run with the same inputs, if it still counts.

    Raises PatchConflict if the series did not fit then.
    """
    store, upstream = session.verdicts, session.proof.upstream
    summary = store.read(session.key(release))
    if isinstance(summary, PatchConflict):
        raise summary
    full = store.read(session.key(release, FULL))
    if isinstance(full, VerdictSummary) and full.verdict == "regressed":
        # no smaller tier outweighs that
        summary = full
    if summary is None or not summary.fits(session.catalogue.row(release.version)):
        return None
    if summary.verdict == "publish" and upstream and upstream.misses(summary.upstream):
        return None
    return summary


def is_published(summary: VerdictSummary, session: Session) -> bool:
    """Whether the index holds everything that the verdict lets it publish."""
    metapackage = metapackage_name(summary.release, summary.revision)
    return holds_all_of(session.index, session.listed, summary, also=[metapackage])


def fetch(release: Release, session: Session) -> OfficialWheels:
    """Fetch the official wheels."""
    return session.settings.fetch(release, quiet=not session.single)


def repack(official: OfficialWheels, session: Session) -> RepackedRelease:
    """Apply the series and repack; a conflict is remembered, then raised."""
    with session.step(f"{official.release.version}: apply and repack"):
        try:
            return repack_release(
                official, session.series, session.workspace, catalogue=session.catalogue
            )
        except PatchConflict as error:
            session.verdicts.write(session.key(official.release), error)
            raise


def prove_release(
    repacked: RepackedRelease, cached: VerdictSummary | None, session: Session
) -> tuple[VerdictSummary, Proof]:
    """Return the verdict on repacked wheels, from the store or from a new proof."""
    key = session.key(repacked.release)
    if cached and (proof := session.verdicts.proof(key, cached)):
        return cached, proof
    with session.proof_slots, session.step(f"{repacked.release.version}: prove"):
        pair = repacked.pair(session.proof.python)
        verdict = prove(pair, session.proof, picture=session.verdicts.picture(key))
    summary, proof = VerdictSummary.of(verdict), Proof.of(verdict)
    session.verdicts.write(key, summary, proof)
    return summary, proof


def bundle_of(
    repacked: RepackedRelease, summary: VerdictSummary, proof: Proof, session: Session
) -> Bundle | None:
    """Return the wheels with their proof, as the index takes them; None without `publish`."""
    if summary.verdict != "publish":
        return None
    return make_bundle(
        [*repacked.wheels, *repacked.passthrough],
        proof,
        series=session.series,
        official=repacked.release.digests,
        picture=session.verdicts.picture(session.key(repacked.release)),
    )


def publish_and_record(results: Sequence[Result], session: Session) -> list[Result]:
    """Publish the bundles and record them in the catalogue; return the results in order."""
    if session.listed or any(result.bundle for result in results):
        results = publish_results(results, session.index)
    good = [(r.release, r.summary) for r in results if r.lines and r.release and r.summary]
    record(
        session.workspace.catalogue,
        {release.version: summary.row for release, summary in good},
        {release.version: release for release, _ in good},
    )
    rebased = session.rebased
    return [replace(r, rebased=rebased.get(r.release.version)) if r.release else r for r in results]
