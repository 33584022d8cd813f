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

from .candidate import Parcel, Proof
from .catalogue import Catalogue, record
from .companion import companion_name
from .errors import NotProved, PatchConflict, ToolkitError
from .index import Publication, consume_lines, holds, publish_all
from .news import renew
from .outcome import LASTING, Judged, Outcomes
from .pages import Listed
from .parallel import cores, counting, side_by_side
from .pypi import PyPI
from .refreshing import Refreshed, Refresher, carry_to
from .release import Release
from .releasing import prove_release
from .repacking import RepackedRelease, repack_release
from .report import Outcome, telling
from .retiring import FIXED, alone
from .series import Series
from .shipping import parcel_of
from .upstream_proof import Asker
from .verbs import fetched, found
from .verdict import Verdict
from .workspace import Workspace


@dataclass(frozen=True)
class Done:
    """A release that went through: its outcome, and what is still to be published of it."""

    outcome: Outcome
    release: Release | None = None
    parcel: Parcel | None = None


@dataclass
class Run:
    """What the releases of one run have in common; ``prove`` is :func:`.proving.prove`."""

    options: argparse.Namespace
    workspace: Workspace
    series: Series
    catalogue: Catalogue
    listed: dict[str, Listed]
    alone: bool
    keep_environments: bool
    prove: Callable[..., Verdict]
    # each proof keeps two processors busy
    slots: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(max(1, cores() // 2)))
    renewing: Lock = field(default_factory=Lock)
    carried: dict[Version, Refreshed] = field(default_factory=dict)

    @cached_property
    def outcomes(self) -> Outcomes:
        return Outcomes.open(self.workspace.outcomes, self.options.python)

    def work(self, names: Sequence[Version | str | None]) -> dict[Version | str | None, Done]:
        """Each release as far as it goes by itself, side by side."""
        ended = {}
        with counting("releases", len(names)) as count:
            for name, done in side_by_side(self.release_one, names, jobs=self.options.jobs):
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
            # a new variant is for the later releases too
            first, self.series = min(self.carried), refresher.series
            later = [n for n, d in ended.items() if d.release and d.release.version >= first]
            ended.update(self.work(later))
        for name, done in list(ended.items()):
            error = refused.get(done.release.version) if done.release else None
            if error and done.release:
                ended[name] = replace(done, outcome=replace(done.outcome, error=error))
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
        return Outcome(label, known, error=_refused(label, known))

    def key(self, release: Release) -> str:
        series = self.series.digest(release.version)
        # with --require-upstream, an outcome without upstream's own tests is another one
        required = "+upstream" * self.options.require_upstream
        return self.outcomes.key(release, series, self.options.tier + required)

    def release_one(self, name: Version | str | None) -> Done:
        """Take one release as far as it goes without writing to the index or the catalogue."""
        label = str(name or "newest")
        release = None
        try:
            release = self.found(name)
            label = str(release.version)
            return self.worked(release, label)
        except ToolkitError as error:
            return Done(Outcome(label, error=error), release)

    def found(self, name: Version | str | None) -> Release:
        """A release; if the catalogue does not know it, it is brought up to date."""
        options = self.options
        release = found(name, options, self.workspace, self.catalogue)
        with self.renewing:
            entry = self.catalogue.get(release.version)
            if not options.offline and not (entry and entry.official):
                with PyPI(options.pypi, workspace=self.workspace, as_of=options.as_of) as pypi:
                    renew(self.workspace, pypi)
                self.catalogue = Catalogue.read(self.workspace.catalogue)
        return release

    def worked(self, release: Release, label: str) -> Done:
        key = self.key(release)
        known = self.outcomes.read(key)
        if isinstance(known, PatchConflict):
            raise known
        if known is not None and not known.fits(self.catalogue.row(release.version)):
            known = None
        if known is None or known.claim.verdict == "publish":
            if known and self.holds(known):
                return Done(Outcome(label, known), release)
            return self.made(release, label, key, known)
        return Done(Outcome(label, known, error=_refused(label, known)))

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
            return Done(replace(outcome, error=_refused(label, known)))
        wheels = [*repacked.wheels, *repacked.passthrough]
        parcel = parcel_of(
            wheels,
            proof,
            series=self.series,
            official={artefact.filename: artefact.sha256 for artefact in release.artefacts},
            picture=self.outcomes.picture(key),
        )
        return Done(outcome, release, parcel)

    def holds(self, judged: Judged) -> bool:
        companion = companion_name(judged.claim.release, judged.revision)
        return holds(self.options.index, self.listed, judged.claim, also=[companion])

    def proved(self, repacked: RepackedRelease, key: str) -> tuple[Judged, Proof]:
        verdict = self.judge(repacked, self.outcomes.picture(key))
        judged, proof = Judged.of(verdict), Proof.of(verdict)
        if verdict.verdict in LASTING:
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
            upstream=Asker.of(self.options, self.workspace),
        )

    def saying(self, step: str) -> AbstractContextManager[None]:
        return telling(step) if self.alone else nullcontext()

    def publish(self, done: Sequence[Done]) -> list[Outcome]:
        """Publish what was proved, in one go, and record it; the outcomes in the same order."""
        waiting = {number: one.parcel for number, one in enumerate(done) if one.parcel}
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


def _refused(label: str, judged: Judged) -> NotProved:
    word = judged.claim.verdict
    steps = {FIXED: "see `nox -s retire`, which asks the full tier; nothing needs publishing"}
    step = f"`nox -s prove -- {label}` shows it; nothing was published for this release"
    return NotProved(
        f"{label}: the verdict is {word}: {judged.claim.reason}", next_step=steps.get(word, step)
    )
