"""From PyPI releases to a private index: fetch, apply, repack, prove, publish.

Without a release the newest stable one that is not yanked is taken. Only wheels whose verdict is
`publish` reach the index. Releases are independent: they are worked on side by side, one that
fails stops no other, and what was done before with the same inputs is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore

from packaging.version import Version

from toolkit.candidate import Parcel, Proof
from toolkit.catalogue import Catalogue, record
from toolkit.errors import NotProved, PatchConflict, SomeReleasesFailed, ToolkitError, run_verb
from toolkit.exploration import TIERS
from toolkit.index import Publication, consume_lines, holds, publish_all, read_list
from toolkit.outcome import LASTING, Judged, Outcomes
from toolkit.pages import Listed
from toolkit.parallel import cores, counting, side_by_side
from toolkit.platforms import fitting
from toolkit.proving import SUBCLASSES, prove
from toolkit.release import Release
from toolkit.repacking import RepackedRelease, repack_release
from toolkit.report import Outcome, show, telling
from toolkit.selection import HELP, select
from toolkit.series import Series
from toolkit.verbs import fetched, found, parser, workspace_of
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

    @cached_property
    def outcomes(self) -> Outcomes:
        return Outcomes.open(self.workspace.outcomes, self.options.python)

    def release_one(self, name: Version | str | None) -> Done:
        """Take one release as far as it goes without writing to the index or the catalogue."""
        label = str(name or "newest")
        try:
            release = found(name, self.options, self.workspace, self.catalogue)
            label = str(release.version)
            return self.worked(release, label)
        except ToolkitError as error:
            return Done(Outcome(label, error=error))

    def worked(self, release: Release, label: str) -> Done:
        series = self.series.digest(release.version)
        key = self.outcomes.key(release, series, self.options.tier)
        known = self.outcomes.read(key)
        if isinstance(known, PatchConflict):
            raise known
        entry = self.catalogue.get(release.version)
        if known is not None and not known.fits(entry.row if entry else None):
            known = None
        if known is None or known.claim.verdict == "publish":
            if known and holds(self.options.index, self.listed, known.claim):
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
        parcel = Parcel.of(wheels, proof, picture=self.outcomes.picture(key))
        return Done(outcome, release, parcel)

    def proved(self, repacked: RepackedRelease, key: str) -> tuple[Judged, Proof]:
        release, python = repacked.release, self.options.python
        patched = fitting([*repacked.wheels, *repacked.passthrough], python)
        with ExitStack() as stack:
            root = self.workspace.environments
            if not self.keep_environments:
                root = stack.enter_context(self.workspace.scratch())
            verdict = prove(
                fitting(repacked.official, python),
                patched,
                others=[wheel for wheel in repacked.wheels if wheel not in patched],
                release=str(release.version),
                uploaded=release.uploaded,
                environments=root,
                verdicts=self.workspace.verdicts,
                series=repacked.series_digest,
                python=python,
                optional=SUBCLASSES,
                tier=self.options.tier,
                picture=self.outcomes.picture(key),
                tell=lambda line: print(f"{release.version}: {line}", file=sys.stderr),
            )
        judged, proof = Judged.of(verdict), Proof.of(verdict)
        if verdict.verdict in LASTING:
            self.outcomes.write(key, judged, proof)
        return judged, proof

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
            answer, outcome = answers[number], one.outcome
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
    return NotProved(
        f"{label}: the verdict is {judged.claim.verdict}: {judged.claim.reason}",
        next_step=f"`nox -s prove -- {label}` shows it; nothing was published for this release",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the flow for every release selected; return the exit code."""
    arguments = parser(__doc__)
    add = arguments.add_argument
    add("release", nargs="*", metavar="RELEASE", help=HELP)
    add(
        "--index", metavar="DIR", type=Path, default=Path("dist/index"), help="default: %(default)s"
    )
    add("--python", help="the Python to prove on (default: the running one)")
    add("--tier", choices=TIERS, default=TIERS[0], help="how many schedules (%(default)s)")
    add("--jobs", type=int, default=cores(), metavar="N", help="releases at a time (%(default)s)")
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
        ended: dict[Version | str | None, Done] = {}
        with counting("releases", total) as count:
            for name, done in side_by_side(run.release_one, chosen.names, jobs=options.jobs):
                ended[name] = done
                count(f"{done.outcome.release}: {done.outcome.word}")
        outcomes = run.publish([ended[name] for name in chosen.names])
        outcomes += [Outcome(str(one.version), left_out=one.reason) for one in chosen.left_out]
        if options.json:
            print(json.dumps([outcome.as_json() for outcome in outcomes], indent=2))
        elif len(outcomes) > 1 or any(outcome.judged for outcome in outcomes):
            show(outcomes)
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
