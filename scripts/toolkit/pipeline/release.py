"""Releases from a name to an index."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace

from packaging.version import Version

from toolkit.index.bundle import VERDICT, Bundle, make_bundle
from toolkit.index.metapackage import metapackage_name
from toolkit.index.publish import Publication, consume_lines, holds, publish_all
from toolkit.pipeline.results import Result, refusal
from toolkit.pipeline.session import Session
from toolkit.proof.exploration import TIERS
from toolkit.proof.prove import prove
from toolkit.proof.store import FIXED, VerdictSummary
from toolkit.proof.unpatched import FULL, alone
from toolkit.proof.verdict import Proof
from toolkit.refresh.conflict import Inconclusive
from toolkit.refresh.refresher import Refresher
from toolkit.releases.catalogue import Catalogue, record
from toolkit.releases.official import Fetched, newest_on
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.sources import series_applies
from toolkit.releases.update import differs, renew
from toolkit.util.console import progress_bar, step_status
from toolkit.util.errors import PatchConflict, ToolkitError, machine_fault
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.parallel import map_parallel

Name = Version | str | None


def release_all(names: Sequence[Name], session: Session) -> list[Result]:
    """Take every release through the flow, then publish those whose proof passed, in one go."""
    results = attempt_all(names, session)
    rebase_conflicts(results, session)
    return publish([results[name] for name in names], session)


def release_one(name: Name, session: Session) -> Result:
    """Take one release up to the bundle that may be published; an error becomes its result."""
    result = Result(str(name or "newest"))
    try:
        release = find(name, session)
        result = Result(str(release.version), release)
        summary = cached_verdict(release, session)
        if summary is None or (summary.word == "publish" and not is_published(summary, session)):
            official = fetch(release, session)
            repacked = repack(official, session)
            summary, proof = prove_release(repacked, summary, session)
            result = replace(result, bundle=bundle_of(repacked, summary, proof, session))
        copy_verdict(release, summary, session)
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
                update_catalogue(pypi, session)
    release = settings.find(name, session.catalogue)
    with session.updating:
        entry = session.catalogue.get(release.version)
        if not settings.offline and not (entry and entry.official):
            with settings.open() as pypi:
                update_catalogue(pypi, session)
    return release


def update_catalogue(pypi: PyPI, session: Session) -> None:
    """Bring the catalogue up to date with PyPI."""
    renew(session.workspace, pypi)
    session.catalogue = Catalogue.read(session.workspace.catalogue)


def cached_verdict(release: Release, session: Session) -> VerdictSummary | None:
    """Return the verdict of an earlier run with the same inputs, if it still counts.

    Raises PatchConflict if the series did not fit then.
    """
    store, upstream = session.verdicts, session.proof.upstream
    summary = store.read(session.key(release))
    if isinstance(summary, PatchConflict):
        raise summary
    full = store.read(session.key(release, FULL))
    if isinstance(full, VerdictSummary) and full.word == "regressed":
        # no smaller tier outweighs that
        summary = full
    if summary is None or not summary.fits(session.catalogue.row(release.version)):
        return None
    if summary.word == "publish" and upstream and upstream.misses(summary.upstream):
        return None
    return summary


def is_published(summary: VerdictSummary, session: Session) -> bool:
    """Whether the index holds everything that the verdict lets it publish."""
    metapackage = metapackage_name(summary.claim.release, summary.revision)
    return holds(session.index, session.listed, summary.claim, also=[metapackage])


def fetch(release: Release, session: Session) -> Fetched:
    """Fetch the official wheels."""
    return session.settings.fetch(release, quiet=not session.single)


def repack(official: Fetched, session: Session) -> RepackedRelease:
    """Apply the series and repack; a conflict is remembered, then raised."""
    with step(f"{official.release.version}: apply and repack", session):
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
    with session.proof_slots, step(f"{repacked.release.version}: prove", session):
        pair = repacked.pair(session.proof.python)
        verdict = prove(pair, session.proof, picture=session.verdicts.picture(key))
    summary, proof = VerdictSummary.of(verdict), Proof.of(verdict)
    session.verdicts.write(key, summary, proof)
    return summary, proof


def bundle_of(
    repacked: RepackedRelease, summary: VerdictSummary, proof: Proof, session: Session
) -> Bundle | None:
    """Return the wheels with their proof, as the index takes them; None without `publish`."""
    if summary.word != "publish":
        return None
    return make_bundle(
        [*repacked.wheels, *repacked.passthrough],
        proof,
        series=session.series,
        official=repacked.release.digests,
        picture=session.verdicts.picture(session.key(repacked.release)),
    )


def rebase_conflicts(results: dict[Name, Result], session: Session) -> None:
    """Rebase the series onto the releases that it does not fit, then take these through the flow.

    Releases that were published before are left out, since the series fitted them once. So are
    those that lose no call without it: their verdict is `fixed`. The oldest goes first.
    """
    conflicts: dict[Name, Release] = {}
    for name, result in results.items():
        release = result.release if result.word == "conflict" else None
        if release and not session.catalogue.row(release.version):
            if summary := without_series(release, session):
                needless = refusal(release, summary, session.proof.tier)
                results[name] = replace(result, summary=summary, error=needless)
            else:
                conflicts[name] = release
    if not conflicts:
        return

    # Each release from the nearest that the series fits; a conflict is left for a human
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

    # Once more what has other patches now: a new variant may be for later releases too
    def changed(version: Version) -> bool:
        return before.digest(version) != session.series.digest(version)

    if session.rebased:
        again = [n for n, r in results.items() if r.release and changed(r.release.version)]
        results.update(attempt_all(again, session))
    for name, why in refused.items():
        results[name] = refuse_rebase(results[name], conflicts[name], why, session)


def refuse_rebase(
    result: Result, release: Release, error: ToolkitError, session: Session
) -> Result:
    """Return the result of a release that no rebase reached, and remember why."""
    summary = None
    if isinstance(error, Inconclusive):
        summary = VerdictSummary.of(error.verdict)
        copy_verdict(release, summary, session, Proof.of(error.verdict))
    if isinstance(error, PatchConflict):
        with suppress(PatchConflict):
            session.verdicts.write(session.key(release), error)
    return replace(result, summary=summary, error=error)


def without_series(release: Release, session: Session) -> VerdictSummary | None:
    """Return the verdict `fixed` if the official wheels lose no call, else None."""
    try:
        official = session.settings.fetch(release, quiet=True)
        with session.proof_slots, step(f"{release.version}: does it need the series?", session):
            verdict = alone(official, session.verdicts, session.proof)
    except ToolkitError:
        return None
    if verdict.verdict != FIXED:
        return None
    summary = VerdictSummary.of(verdict)
    copy_verdict(release, summary, session)
    return summary


def copy_verdict(
    release: Release, summary: VerdictSummary, session: Session, proof: Proof | None = None
) -> None:
    """Copy a verdict, with its picture, into the folder of ``--verdicts``, if one was named.

    Without ``proof`` it is the stored one of ``summary``.
    """
    folder = session.verdicts_out
    if not folder:
        return
    # the official wheels alone, or the series
    store, key = session.verdicts, ""
    keys = [store.key(release, "", tier) for tier in TIERS]
    with suppress(PatchConflict):
        keys += [session.key(release, tier) for tier in TIERS]
    for key in [] if proof else keys:
        if proof := store.proof(key, summary):
            break
    if proof:
        path = folder / f"{release.version}{VERDICT}"
        with not_writable_errors(folder):
            write_whole(path, proof.data)
            if key and (picture := store.picture(key)).is_file():
                write_whole(path.with_suffix(".svg"), picture.read_bytes())


def publish(results: Sequence[Result], session: Session) -> list[Result]:
    """Publish the bundles in one go and record them; return the results in the same order."""
    index = session.index
    bundles = [result.bundle for result in results if result.bundle]
    answers = iter(publish_all(bundles, index) if bundles or session.listed else [])
    published = []
    for result in results:
        answer = next(answers) if result.bundle else Publication((), ())
        if result.release:
            result = replace(result, rebased=session.rebased.get(result.release.version))
        if isinstance(answer, ToolkitError):
            result = replace(result, error=answer)
        elif result.summary and not result.error:
            lines = consume_lines(index, result.summary.claim)
            result = replace(result, new=answer.new, lines=lines)
        published.append(result)
    good = [(r.release, r.summary) for r in published if r.lines and r.release and r.summary]
    record(
        session.workspace.catalogue,
        {release.version: summary.row for release, summary in good},
        {release.version: release for release, _ in good},
    )
    return published


def step(text: str, session: Session) -> AbstractContextManager[None]:
    """Show a step on a terminal, if there is only one release to show."""
    return step_status(text) if session.single else nullcontext()
