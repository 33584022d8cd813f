"""From PyPI releases to a private index: fetch, apply, repack, prove, publish.

Without a release the newest stable one that is not yanked is taken. Only wheels whose verdict is
`publish` reach the index. Releases are independent: they are worked on side by side, one that
fails stops no other, and what was done before with the same inputs is not done again.

A release that patches/releases.toml does not know is put there first, with all else that is new
on PyPI. If the series does not fit a release that was never published, it is carried there:
patches/ then holds new variants that are proved and ready to be committed, or nothing new, and
what a human must decide is in --refresh DIR. With more than four releases in one run, their
environments are made for the proof and thrown away after it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore, Lock

from packaging.version import Version

from toolkit.candidate import Parcel, Proof
from toolkit.catalogue import Catalogue, record
from toolkit.companion import companion_name
from toolkit.errors import NotProved, PatchConflict, SomeReleasesFailed, ToolkitError, run_verb
from toolkit.exploration import TIERS
from toolkit.index import Publication, consume_lines, holds, publish_all, read_list
from toolkit.news import renew
from toolkit.outcome import LASTING, Judged, Outcomes
from toolkit.pages import Listed
from toolkit.parallel import cores, counting, side_by_side
from toolkit.proving import prove
from toolkit.pypi import PyPI
from toolkit.refreshing import Refreshed, Refresher, carry_to
from toolkit.release import Release
from toolkit.releasing import prove_release
from toolkit.repacking import RepackedRelease, repack_release
from toolkit.report import Outcome, hashes_below, show, show_changes, telling
from toolkit.retiring import FIXED, alone
from toolkit.selection import HELP, select
from toolkit.series import Series
from toolkit.shipping import parcel_of
from toolkit.upstream_proof import Asker, add_options
from toolkit.verbs import fetched, found, parser, workspace_of
from toolkit.verdict import Verdict
from toolkit.workspace import Workspace

# Environments take some hundred MB each: those of more releases at once are not kept.
KEPT_ENVIRONMENTS = 4


@dataclass(frozen=True)
class Done:
    """A release that went through: its outcome, and what is still to be published of it."""

    outcome: Outcome
    release: Release | None = None
    parcel: Parcel | None = None


@dataclass
class Run:
    """What the releases of one run have in common."""

    options: argparse.Namespace
    workspace: Workspace
    series: Series
    catalogue: Catalogue
    listed: dict[str, Listed]
    alone: bool
    keep_environments: bool
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
            prove,
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow for every release selected; return the exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=HELP)
    add(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
    add(
        "--refresh",
        metavar="DIR",
        type=Path,
        default=Path("dist/refresh"),
        help="where a release waits for a human (%(default)s)",
    )
    add("--python", help="the Python to prove on (default: the running one)")
    add("--tier", choices=TIERS, default=TIERS[0], help="how many schedules (%(default)s)")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
    add_options(arguments)
    options = arguments.parse_args(argv)

    def body() -> None:
        workspace = workspace_of(options)
        catalogue = Catalogue.read(workspace.catalogue)
        chosen = select(options.release, catalogue, yanked=options.yanked, as_of=options.as_of)
        total = len(chosen.names)
        run = Run(
            options,
            workspace,
            Series.load(workspace.patches),
            catalogue,
            read_list(options.index),
            alone=total == 1,
            keep_environments=total <= KEPT_ENVIRONMENTS,
        )
        before = hashes_below(workspace.patches)
        ended = run.work(chosen.names)
        run.carry(ended)
        outcomes = run.publish([ended[name] for name in chosen.names])
        outcomes += [Outcome(str(one.version), left_out=one.reason) for one in chosen.left_out]
        if options.json:
            print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
        elif len(outcomes) > 1 or any(outcome.judged for outcome in outcomes):
            show(outcomes)
        if not options.json:
            show_changes(before, workspace.patches)
        failed = [(outcome.release, outcome.error) for outcome in outcomes if outcome.error]
        if len(outcomes) == 1 and failed:
            raise failed[0][1]
        if failed:
            raise SomeReleasesFailed(
                "\n".join(
                    [f"{len(failed)} of {total} releases failed:"]
                    + [f"{label}: {type(error).__name__}: {error}" for label, error in failed]
                ),
                next_step="run again for one of these; the others are published",
            )

    return run_verb(body)


if __name__ == "__main__":
    sys.exit(main())
