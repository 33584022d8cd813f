"""Releases on their way to an index: each as far as it goes by itself, then all that was proved."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore, Lock

from packaging.version import Version

from toolkit.index.bundle import VERDICT, Bundle, make_bundle
from toolkit.index.metapackage import metapackage_name
from toolkit.index.pages import Listed
from toolkit.index.publish import Publication, consume_lines, holds, publish_all
from toolkit.patches.series import Series
from toolkit.pipeline.results import Outcome, refusal, telling
from toolkit.proof.exploration import TIERS
from toolkit.proof.prove import prove_release
from toolkit.proof.store import FIXED, Judged, Outcomes
from toolkit.proof.unpatched import FULL, alone
from toolkit.proof.upstream_tests import Asker
from toolkit.proof.verdict import Proof, Verdict
from toolkit.refresh.conflict import Inconclusive
from toolkit.refresh.refresher import Refreshed, Refresher
from toolkit.releases.catalogue import Catalogue, record
from toolkit.releases.official import fetched, found, newest_on
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.sources import series_applies
from toolkit.releases.update import differs, renew
from toolkit.util.console import progress_bar
from toolkit.util.errors import PatchConflict, ToolkitError, machine_fault
from toolkit.util.files import not_writable_errors, write_whole
from toolkit.util.parallel import cores, map_parallel
from toolkit.util.workspace import Workspace


@dataclass(frozen=True)
class Done:
    """A release that went through: its outcome, and what is still to be published of it."""

    outcome: Outcome
    release: Release | None = None
    bundle: Bundle | None = None


@dataclass
class Run:
    """What the releases of one run have in common; ``prove`` is that of toolkit.proof."""

    options: argparse.Namespace
    workspace: Workspace
    series: Series
    catalogue: Catalogue
    listed: dict[str, Listed]
    alone: bool
    keep_environments: bool
    prove: Callable[..., Verdict]
    # each proof keeps two processors busy; one more makes its environments meanwhile
    slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(1 + cores() // 2))
    renewing: Lock = field(default_factory=Lock)
    carried: dict[Version, Refreshed] = field(default_factory=dict)

    @cached_property
    def outcomes(self) -> Outcomes:
        return Outcomes.open(self.workspace.outcomes, self.options.python)

    def work(self, names: Sequence[Version | str | None]) -> dict[Version | str | None, Done]:
        """Each release as far as it goes by itself, side by side."""
        ended = {}
        with progress_bar("releases", len(names)) as count:
            for name, done in map_parallel(self.release_one, names, jobs=self.options.jobs):
                ended[name] = done
                count(f"{done.outcome.release}: {done.outcome.word}")
        return ended

    def carry(self, ended: dict[Version | str | None, Done]) -> None:
        """Carry the series to releases that it does not fit, and take these as far as they go.

        Those that were published before are left; the series fitted them once. So are those that
        need none: their verdict is `fixed`.
        """
        conflicts = []
        for name, done in list(ended.items()):
            release = done.release if done.outcome.word == "conflict" else None
            if release and not self.catalogue.row(release.version):
                if fixed := self.fixed(release, done.outcome.release):
                    ended[name] = replace(done, outcome=fixed)
                else:
                    conflicts.append(release)
        if not conflicts:
            return
        refresher = Refresher.of(self.options, self.workspace, self.catalogue, self.judge)
        self.carried, refused = carry_to(refresher, conflicts, self.options.refresh)
        if self.carried:
            # a new variant may be for later releases too
            before, self.series = self.series, refresher.series

            def anew(version: Version) -> bool:
                return before.digest(version) != self.series.digest(version)

            ended.update(
                self.work([n for n, d in ended.items() if d.release and anew(d.release.version)])
            )
        for name, done in list(ended.items()):
            error = refused.get(done.release.version) if done.release else None
            if error and done.release:
                judged = None
                if isinstance(error, Inconclusive):
                    judged = Judged.of(error.verdict)
                    self.keep(done.release, judged, Proof.of(error.verdict))
                outcome = replace(done.outcome, judged=judged, error=error)
                ended[name] = replace(done, outcome=outcome)
                with suppress(PatchConflict):
                    if isinstance(error, PatchConflict):
                        self.outcomes.write(self.key(done.release), error)

    def fixed(self, release: Release, label: str) -> Outcome | None:
        """The outcome of a release whose official wheels lose no call, or None if they do."""
        try:
            official = fetched(release, self.options, self.workspace, quiet=True)
            with self.slots, self.saying(f"{label}: does it need the series?"):
                verdict = alone(official, self.outcomes, self.judge, self.options.tier)
        except ToolkitError:
            return None
        if verdict.verdict != FIXED:
            return None
        known = Judged.of(verdict)
        self.keep(release, known)
        return Outcome(label, known, error=refusal(label, known, self.options.tier))

    def keep(self, release: Release, judged: Judged | None, proof: Proof | None = None) -> None:
        """Write a verdict, and its picture, into the folder that --verdicts names, if one is.

        Where ``proof`` is not at hand, it is what is remembered of ``judged``.
        """
        folder = self.options.verdicts
        if not folder or not judged:
            return
        # the official wheels alone, or the series
        keys = [self.outcomes.key(release, "", tier) for tier in TIERS]
        with suppress(PatchConflict):
            keys += [self.key(release, tier) for tier in TIERS]
        found = ((key, known) for key in keys if (known := self.outcomes.proof(key, judged)))
        key, proof = ("", proof) if proof else next(found, ("", None))
        path = folder / f"{release.version}{VERDICT}"
        if proof:
            with not_writable_errors(folder):
                write_whole(path, proof.data)
                if key and (picture := self.outcomes.picture(key)).is_file():
                    write_whole(path.with_suffix(".svg"), picture.read_bytes())

    def key(self, release: Release, tier: str | None = None) -> str:
        series = self.series.digest(release.version)
        return self.outcomes.key(release, series, tier or self.options.tier)

    @cached_property
    def asker(self) -> Asker | None:
        return Asker.of(self.options, self.workspace)

    def release_one(self, name: Version | str | None) -> Done:
        """Take one release as far as it goes without writing to the index or the catalogue."""
        label = str(name or "newest")
        release = None
        try:
            release = self.found(name)
            label = str(release.version)
            done = self.worked(release, label)
            self.keep(release, done.outcome.judged)
            return done
        except ToolkitError as error:
            return Done(Outcome(label, error=error), release)
        except OSError as error:
            return Done(Outcome(label, error=machine_fault(error)), release)

    def found(self, name: Version | str | None) -> Release:
        """A release; if the catalogue does not know it, it is brought up to date.

        It is too if PyPI, where it must be asked which release is the newest, says more of that
        one: an upload of many wheels takes its time.
        """
        options = self.options
        if name is None and not options.offline:
            with self.asking() as pypi:
                name = newest_on(pypi, self.catalogue)
                if differs(self.catalogue.get(name), pypi):
                    self.renew(pypi)
        release = found(name, options, self.workspace, self.catalogue)
        with self.renewing:
            entry = self.catalogue.get(release.version)
            if not options.offline and not (entry and entry.official):
                with self.asking() as pypi:
                    self.renew(pypi)
        return release

    def asking(self) -> PyPI:
        return PyPI(self.options.pypi, workspace=self.workspace, as_of=self.options.as_of)

    def renew(self, pypi: PyPI) -> None:
        renew(self.workspace, pypi)
        self.catalogue = Catalogue.read(self.workspace.catalogue)

    def worked(self, release: Release, label: str) -> Done:
        key = self.key(release)
        known = self.outcomes.read(key)
        if isinstance(known, PatchConflict):
            raise known
        full = self.outcomes.read(self.key(release, FULL))
        if isinstance(full, Judged) and full.claim.verdict == "regressed":
            # nothing smaller outweighs that
            known = full
        if known is not None and not known.fits(self.catalogue.row(release.version)):
            known = None
        if known and self.asker and known.claim.verdict == "publish":
            # what is still to be asked belongs to the proof
            known = None if self.asker.misses(known.upstream) else known
        if known is None or known.claim.verdict == "publish":
            if known and self.holds(known):
                return Done(Outcome(label, known), release)
            return self.made(release, label, key, known)
        return Done(Outcome(label, known, error=refusal(label, known, self.options.tier)), release)

    def made(self, release: Release, label: str, key: str, known: Judged | None) -> Done:
        with self.saying(f"{label}: apply and repack"):
            official = fetched(release, self.options, self.workspace, quiet=not self.alone)
            try:
                repacked = repack_release(
                    official, self.series, self.workspace, catalogue=self.catalogue
                )
            except PatchConflict as error:
                self.outcomes.write(key, error)
                raise
        proof = self.outcomes.proof(key, known) if known else None
        if known is None or proof is None:
            with self.slots, self.saying(f"{label}: prove"):
                known, proof = self.proved(repacked, key)
        outcome = Outcome(label, known)
        if known.claim.verdict != "publish":
            return Done(replace(outcome, error=refusal(label, known, self.options.tier)), release)
        wheels = [*repacked.wheels, *repacked.passthrough]
        bundle = make_bundle(
            wheels,
            proof,
            series=self.series,
            official={artefact.filename: artefact.sha256 for artefact in release.artefacts},
            picture=self.outcomes.picture(key),
        )
        return Done(outcome, release, bundle)

    def holds(self, judged: Judged) -> bool:
        companion = metapackage_name(judged.claim.release, judged.revision)
        return holds(self.options.index, self.listed, judged.claim, also=[companion])

    def proved(self, repacked: RepackedRelease, key: str) -> tuple[Judged, Proof]:
        verdict = self.judge(repacked, self.outcomes.picture(key))
        judged, proof = Judged.of(verdict), Proof.of(verdict)
        self.outcomes.write(key, judged, proof)
        return judged, proof

    def judge(
        self, repacked: RepackedRelease, picture: Path | None = None, tier: str | None = None
    ) -> Verdict:
        return prove_release(
            repacked,
            self.workspace,
            self.prove,
            tier=tier or self.options.tier,
            python=self.options.python,
            keep_environments=self.keep_environments,
            picture=picture,
            upstream=self.asker,
            timeout=self.options.timeout,
        )

    def saying(self, step: str) -> AbstractContextManager[None]:
        return telling(step) if self.alone else nullcontext()

    def publish(self, done: Sequence[Done]) -> list[Outcome]:
        """Publish what was proved, in one go, and record it; the outcomes in the same order."""
        waiting = {number: one.bundle for number, one in enumerate(done) if one.bundle}
        nothing: Publication | ToolkitError = Publication((), ())
        answers = dict.fromkeys(range(len(done)), nothing)
        if waiting or self.listed:
            said = publish_all(list(waiting.values()), self.options.index)
            answers.update(zip(waiting, said, strict=True))
        outcomes = []
        for number, one in enumerate(done):
            answer = answers[number]
            carried = self.carried.get(one.release.version) if one.release else None
            outcome = replace(one.outcome, carried=carried)
            if isinstance(answer, ToolkitError):
                outcome = replace(outcome, error=answer)
            elif outcome.judged and not outcome.error:
                lines = consume_lines(self.options.index, outcome.judged.claim)
                outcome = replace(outcome, new=answer.new, lines=lines)
            outcomes.append(outcome)
        good = [(o.judged, d.release) for o, d in zip(outcomes, done, strict=True) if o.lines]
        rows = {r.version: j.row for j, r in good if j and r}
        record(self.workspace.catalogue, rows, {r.version: r for _, r in good if r})
        return outcomes


def carry_to(
    refresher: Refresher, releases: Sequence[Release], folder: Path
) -> tuple[dict[Version, Refreshed], dict[Version | str | None, ToolkitError]]:
    """Carry the series to those releases that it does not fit, the oldest first.

    A question for a human goes into ``folder``, below the release's name. Returns what was
    carried, and why others were not.
    """
    carried: dict[Version, Refreshed] = {}
    refused: dict[Version | str | None, ToolkitError] = {}
    for release in sorted(releases, key=lambda release: release.version):
        version = release.version
        try:
            official = refresher.fetch(release)
            if not series_applies(official, refresher.series):
                carried[version] = refresher.refresh(official, folder / str(version))
        except ToolkitError as error:
            refused[version] = error
    return carried, refused
