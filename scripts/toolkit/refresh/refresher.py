"""Rebase the series onto a release that it does not fit; keep the result once it is proved."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from toolkit.patches.export import ExportedPatch, exported_mails, new_files, write_files
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.proof.prove import prove
from toolkit.proof.settings import ProofSettings
from toolkit.proof.verdict import Verdict
from toolkit.refresh.conflict import (
    INCONCLUSIVE,
    TREE,
    Inconclusive,
    RebaseConflict,
    conflict_hunk,
)
from toolkit.refresh.rebase import RebaseStopped
from toolkit.refresh.rebase_plan import RebasePlan, is_base
from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.releases.official import OfficialWheels, Settings
from toolkit.releases.release import Release
from toolkit.releases.repack import repack_release
from toolkit.releases.sources import make_series_tree, official_files
from toolkit.util.errors import PatchConflict
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.workspace import Workspace


@dataclass(frozen=True)
class Refreshed:
    """A series that was rebased, proved and kept. ``written`` are the files below `patches/`.

    ``taken`` are the patches that upstream's files contain already.
    """

    release: Version
    base: Version
    written: tuple[str, ...]
    taken: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Refresher:
    """What it takes to rebase: where releases come from, and how the results are proved."""

    settings: Settings
    proof: ProofSettings
    catalogue: Catalogue

    @property
    def workspace(self) -> Workspace:
        """Where everything is kept."""
        return self.settings.workspace

    def fetch(self, release: Release) -> OfficialWheels:
        """Fetch official wheels without a progress bar."""
        return self.settings.fetch(release, quiet=True)

    @property
    def series(self) -> Series:
        """The series as it is now."""
        return Series.load(self.workspace.patches)

    @property
    def entries(self) -> dict[Version, Entry]:
        """The releases that can be fetched, and existed as of the date in the settings, sorted."""
        return {
            version: entry
            for version, entry in sorted(self.catalogue.items())
            if entry.partner and not entry.gone and entry.existed(self.settings.as_of)
        }

    @property
    def plan(self) -> RebasePlan:
        """How the series, as it is now, may be rebased."""
        return RebasePlan(self.series, self.entries, self.fetch)

    def refresh(self, official: OfficialWheels, folder: Path) -> Refreshed:
        """Rebase the series onto a release, from the nearest one that it fits and others like it.

        `patches/` changes only at the very end, when the proof says `publish`. If a human must
        resolve a conflict, or if the proof speaks against the result, raises PatchConflict;
        ``folder`` then holds the unfinished tree and a report, and calling again raises the same
        error until it is resolved or removed. Raises Inconclusive, and leaves nothing, if a proof
        is inconclusive and none says `publish`.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RebaseConflict.read(folder).error()
        version, plan = official.release.version, self.plan
        bases: list[OfficialWheels] = []
        stopped: RebaseStopped | None = None
        verdicts: dict[str, tuple[Version, Verdict]] = {}
        tried = set()
        with self.workspace.scratch() as scratch:
            # Rebase from one release after the other, until a result is proved.
            for number, (base, auto) in enumerate(plan.attempts(version)):
                bases.append(base)
                rebase = plan.rebase(base, official, scratch / f"{number}", auto_resolve=auto)
                rebase.start()
                try:
                    patches = self._mark_fresh(version, rebase.resume())
                except RebaseStopped as error:
                    stopped = stopped if number else error
                    continue
                if (mails := tuple(patch.mail for patch in patches)) in tried:
                    continue
                tried.add(mails)
                print(f"{version}: rebased from {base.release.version}", file=sys.stderr)
                verdict = self._prove(official, patches)
                if verdict.verdict == "publish":
                    return self._keep(official, base, patches, verdict)
                verdicts.setdefault(verdict.verdict, (base.release.version, verdict))
            if INCONCLUSIVE in verdicts:
                raise Inconclusive(*verdicts[INCONCLUSIVE])
            # Leave the first attempt to a human.
            _, rejected = next(iter(verdicts.values()), (None, None))
            conflict = self._conflict(official, bases[0], folder, stopped, rejected)
            with not_writable_errors(folder.parent), replacing(folder.absolute()) as draft:
                shutil.copytree(scratch / "0", draft / TREE, symlinks=True)
                conflict.write(draft)
            raise conflict.error()

    def resume(self, official: OfficialWheels, base: OfficialWheels, folder: Path) -> Refreshed:
        """Continue in the tree that a human worked in; raises as :meth:`refresh` does.

        Their work stays in ``folder`` whatever the proof says. Raises InvalidSeries if it is not
        one commit a patch.
        """
        rebase = self.plan.rebase(base, official, folder / TREE)
        rebase.require_resolution(RebaseConflict.read(folder).patch)
        stopped = verdict = None
        try:
            patches = self._mark_fresh(official.release.version, rebase.resume())
        except RebaseStopped as error:
            stopped = error
        else:
            verdict = self._prove(official, patches)
            if verdict.verdict == INCONCLUSIVE:
                raise Inconclusive(base.release.version, verdict)
            if verdict.verdict == "publish":
                kept = self._keep(official, base, patches, verdict)
                shutil.rmtree(folder)
                return kept
        conflict = self._conflict(official, base, folder, stopped, verdict)
        conflict.write()
        raise conflict.error()

    def mismatched_variants(self, only: Version | None = None) -> Iterator[str]:
        """Yield the files of variants (of one release, or all) that git would export otherwise."""
        since = {since for patch in self.series.patches for since in patch.variants}
        for version in sorted(since & {only} if only else since):
            official = self.fetch(self.catalogue.require(version).release)
            for variant, mail in self._exported(official):
                if variant.since == version and mail != variant.data:
                    yield f"{variant.patch}/{variant.path.name}"

    def _mark_fresh(
        self, version: Version, patches: Sequence[ExportedPatch]
    ) -> list[ExportedPatch]:
        """Mark as fresh also what fits, but is not the variant that the series has for it."""
        since: dict[str, Version] = {}
        with suppress(PatchConflict):
            since = {patch.name: first for patch, first in self.series.chosen(version)}
        return [
            replace(p, fresh=p.fresh or since.get(p.variant.patch) != p.variant.since)
            for p in patches
        ]

    def _prove(self, official: OfficialWheels, rebased: Sequence[ExportedPatch]) -> Verdict:
        """Prove the release with the new variants, in a copy of `patches/`."""
        with self.workspace.scratch() as scratch:
            patches = scratch / "patches"
            shutil.copytree(self.workspace.patches, patches)
            write_files(patches, new_files(patches, official.release.version, rebased))
            workspace = replace(self.workspace, patches=patches)
            series = Series.load(patches)
            repacked = repack_release(official, series, workspace, catalogue=self.catalogue)
            return prove(repacked.pair(self.proof.python), self.proof)

    def _keep(
        self,
        official: OfficialWheels,
        base: OfficialWheels,
        patches: Sequence[ExportedPatch],
        verdict: Verdict,
    ) -> Refreshed:
        """Write the new variants into `patches/`: the change that is to be committed."""
        version = official.release.version
        # where an older line goes on, later releases keep the variants that they have
        later = (self.fetch(e.release) for other, e in self.entries.items() if other > version)
        after = next((release for release in later if is_base(release, self.series)), None)
        files = new_files(self.workspace.patches, version, patches, ends=after is None)
        if after:
            name = after.release.version
            fresh = {patch.variant.patch for patch in patches if patch.fresh and patch.mail}
            since = {patch.name: first for patch, first in self.series.chosen(name)}
            files |= {
                f"{variant.patch}/{name}.patch": mail
                for variant, mail in self._exported(after)
                if variant.patch in fresh and since[variant.patch] < version
            }
        written = write_files(self.workspace.patches, files)
        taken = tuple(patch.variant.patch for patch in patches if patch.mail is None)
        return Refreshed(version, base.release.version, written, taken, verdict)

    def _exported(self, official: OfficialWheels) -> list[tuple[Variant, bytes]]:
        """Return what git exports of a release that the series fits, by variant."""
        with self.workspace.scratch(small=True) as scratch:
            tree = make_series_tree(official, self.series, scratch / "tree").path
            return exported_mails(tree, self.series.variants_for(official.release.version))

    def _conflict(
        self,
        official: OfficialWheels,
        base: OfficialWheels,
        folder: Path,
        stopped: RebaseStopped | None,
        verdict: Verdict | None,
    ) -> RebaseConflict:
        version = official.release.version
        conflict = RebaseConflict.of(version, base.release.version, folder, stopped, verdict)
        if stopped and stopped.hunks:
            old, new = (official_files(release, self.series) for release in (base, official))
            hunks = tuple(conflict_hunk(hunk, old, new) for hunk in stopped.hunks)
            since = self.plan.since(stopped, base, version, self.workspace)
            conflict = replace(conflict, since=str(since), hunks=hunks)
        return conflict
