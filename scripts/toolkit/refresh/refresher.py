"""Carry the series to a release that it does not fit, prove it, and only then keep it."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from packaging.version import Version

from toolkit.patches.export import ExportedPatch, exported_mails, new_files, write_files
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.proof.verdict import Verdict
from toolkit.refresh.conflict import INCONCLUSIVE, TREE, Conflict, Inconclusive, first_that
from toolkit.refresh.rebase import Rebase, RebaseStopped
from toolkit.releases.catalogue import Catalogue, Entry
from toolkit.releases.official import Fetched, fetched
from toolkit.releases.release import Release
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.sources import apply_series, fits, official
from toolkit.util.errors import PatchConflict
from toolkit.util.files import not_writable_errors, replacing
from toolkit.util.workspace import Workspace

# From how many releases it is tried: the one before, and some with older variants.
BASES = 3


@dataclass(frozen=True)
class Refreshed:
    """A series that was carried, proved and kept. ``written`` are the files below `patches/`.

    ``taken`` are the ideas that upstream's files contain already.
    """

    release: Version
    base: Version
    written: tuple[str, ...]
    taken: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True)
class Refresher:
    """What it takes to refresh: ``fetch`` gets official wheels, ``judge`` proves repacked ones."""

    workspace: Workspace
    catalogue: Catalogue
    fetch: Callable[[Release], Fetched]
    judge: Callable[[RepackedRelease], Verdict]
    as_of: datetime | None = None
    tell: Callable[[str], None] = lambda _: None

    @classmethod
    def of(
        cls,
        options: argparse.Namespace,
        workspace: Workspace,
        catalogue: Catalogue,
        judge: Callable[[RepackedRelease], Verdict],
    ) -> Refresher:
        """What a command line says of where releases come from; it speaks on standard error."""

        def fetch(release: Release) -> Fetched:
            return fetched(release, options, workspace, quiet=True)

        def tell(line: str) -> None:
            print(line, file=sys.stderr)

        return cls(workspace, catalogue, fetch, judge, options.as_of, tell)

    @property
    def series(self) -> Series:
        """The series as it is now."""
        return Series.load(self.workspace.patches)

    @property
    def entries(self) -> dict[Version, Entry]:
        """The releases that can be fetched, and could be at ``as_of``, sorted."""
        known = sorted(self.catalogue.items())
        return {v: e for v, e in known if e.partner and not e.gone and e.existed(self.as_of)}

    def refresh(self, fetched: Fetched, folder: Path) -> Refreshed:
        """Carry the series to a release, from the nearest one that it fits and its like.

        If a human must decide, or if the proof speaks against it, PatchConflict is raised, and
        the half-done tree is in ``folder`` with a report; as long as it stands there, the same is
        raised again. If a proof is inconclusive and none says `publish`, Inconclusive is raised,
        and nothing is left. `patches/` changes only at the very end.
        """
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise Conflict.read(folder).error()
        version = fetched.release.version
        bases: list[Fetched] = []
        stuck: RebaseStopped | None = None
        verdicts: dict[str, tuple[Version, Verdict]] = {}
        seen = set()
        with self.workspace.scratch() as scratch:
            for number, (bold, base) in enumerate(self._ways(version)):
                bases.append(base)
                carrying = self._carrying(base, fetched, scratch / f"{number}", bold=bold)
                carrying.begin()
                try:
                    steps = self._named(version, carrying.go_on())
                except RebaseStopped as error:
                    stuck = stuck if number else error
                    continue
                if (made := tuple(step.mail for step in steps)) in seen:
                    continue
                seen.add(made)
                self.tell(f"{version}: carried from {base.release.version}")
                found = self.proved(fetched, steps)
                if found.verdict == "publish":
                    return self.keep(fetched, base, steps, found)
                verdicts.setdefault(found.verdict, (base.release.version, found))
            if INCONCLUSIVE in verdicts:
                raise Inconclusive(*verdicts[INCONCLUSIVE])
            _, verdict = next(iter(verdicts.values()), (None, None))
            question = self._conflict(fetched, bases[0], folder, stuck, verdict)
            with not_writable_errors(folder.parent), replacing(folder.absolute()) as draft:
                shutil.copytree(scratch / "0", draft / TREE, symlinks=True)
                question.write(draft)
            raise question.error()

    def go_on(self, fetched: Fetched, base: Fetched, folder: Path) -> Refreshed:
        """Go on in the tree that a human has worked in; what :meth:`refresh` says holds.

        But for their work, which stays whatever the proof says. Raises InvalidSeries if it is not
        one commit an idea.
        """
        carrying = self._carrying(base, fetched, folder / TREE)
        carrying.require_answer(Conflict.read(folder).patch)
        question: Conflict | None = None
        try:
            steps = self._named(fetched.release.version, carrying.go_on())
        except RebaseStopped as error:
            question = self._conflict(fetched, base, folder, error, None)
        else:
            verdict = self.proved(fetched, steps)
            if verdict.verdict == INCONCLUSIVE:
                raise Inconclusive(base.release.version, verdict)
            if verdict.verdict != "publish":
                question = self._conflict(fetched, base, folder, None, verdict)
        if question:
            question.write()
            raise question.error()
        kept = self.keep(fetched, base, steps, verdict)
        shutil.rmtree(folder)
        return kept

    def _ways(self, version: Version) -> Iterator[tuple[bool, Fetched]]:
        """From where to carry, and whether boldly."""
        bases = []
        for base in self.bases(version):
            bases.append(base)
            yield False, base
        yield from ((True, base) for base in bases)

    def bases(self, version: Version) -> Iterator[Fetched]:
        """Releases that the series fits, each with other variants: older ones first, the nearest
        of them first. Raises PatchConflict if there is none."""
        series, entries = self.series, self.entries
        older = sorted((v for v in entries if v < version), reverse=True)
        kinds: set[tuple[Version, ...]] = set()
        for one in [*older, *(v for v in entries if v > version)]:
            if len(kinds) == BASES:
                break
            kind: tuple[Version, ...] = ()
            with suppress(PatchConflict):
                kind = tuple(since for _, since in series.chosen(one))
            if kind and kind not in kinds:
                base = self.fetch(entries[one].release)
                if fits(base, series):
                    kinds.add(kind)
                    yield base
        if not kinds:
            raise PatchConflict(
                f"{version}: there is no other release that the series fits",
                next_step="run update, so that patches/releases.toml knows the releases",
            )

    def _named(self, version: Version, steps: Sequence[ExportedPatch]) -> list[ExportedPatch]:
        """The steps; a variant that is good, but not the one that is for the release, is new."""
        since: dict[str, Version] = {}
        with suppress(PatchConflict):
            since = {patch.name: first for patch, first in self.series.chosen(version)}
        return [
            replace(step, fresh=step.fresh or since.get(step.variant.patch) != step.variant.since)
            for step in steps
        ]

    def _carrying(
        self, base: Fetched, fetched: Fetched, tree: Path, *, bold: bool = False
    ) -> Rebase:
        old, new = (official(one, self.series) for one in (base, fetched))
        version = fetched.release.version
        wanted = self.wanted(base.release.version, version)
        return Rebase(wanted, old, new, tree, release=version, bold=bold)

    def wanted(self, base: Version, version: Version) -> tuple[Variant, ...]:
        """The variants to carry: the base's, but those that the release has for itself already,
        and those of ideas that begin in between."""
        series = self.series
        carried = {variant.patch: variant for variant in series.variants_for(base)}
        for patch, since in series.chosen(version):
            if since == version or patch.name not in carried:
                own = {variant.patch: variant for variant in series.variants_for(since)}
                carried[patch.name] = own[patch.name]
        patches = [p for p in series.patches if p.releases.contains(version, prereleases=True)]
        return tuple(carried[patch.name] for patch in patches if patch.name in carried)

    def proved(self, fetched: Fetched, steps: Sequence[ExportedPatch]) -> Verdict:
        """The verdict on the release with the new variants, which are nowhere else yet."""
        with self.workspace.scratch() as scratch:
            patches = scratch / "patches"
            shutil.copytree(self.workspace.patches, patches)
            write_files(patches, new_files(patches, fetched.release.version, steps))
            workspace = replace(self.workspace, patches=patches)
            series = Series.load(patches)
            return self.judge(repack_release(fetched, series, workspace, catalogue=self.catalogue))

    def keep(
        self, fetched: Fetched, base: Fetched, steps: Sequence[ExportedPatch], verdict: Verdict
    ) -> Refreshed:
        """Put the new variants into `patches/`: the change that is to be committed."""
        version = fetched.release.version
        after = self._after(version)
        files = new_files(self.workspace.patches, version, steps, ends=after is None)
        files |= self._shields(version, after, steps) if after else {}
        written = write_files(self.workspace.patches, files)
        taken = tuple(step.variant.patch for step in steps if step.mail is None)
        return Refreshed(version, base.release.version, written, taken, verdict)

    def _after(self, version: Version) -> Fetched | None:
        """The first later release that the series fits, as there is if an older line goes on."""
        found = (self.fetch(e.release) for later, e in self.entries.items() if later > version)
        return next((one for one in found if fits(one, self.series)), None)

    def _shields(
        self, version: Version, after: Fetched, steps: Sequence[ExportedPatch]
    ) -> dict[str, bytes]:
        """The old variants under the name of a later release, which the new ones are not for."""
        later = after.release.version
        fresh = {step.variant.patch for step in steps if step.fresh and step.mail}
        since = {patch.name: first for patch, first in self.series.chosen(later)}
        with self.workspace.scratch(small=True) as scratch:
            tree = apply_series(after, self.series, scratch / "tree").path
            return {
                f"{variant.patch}/{later}.patch": mail
                for variant, mail in exported_mails(tree, self.series.variants_for(later))
                if variant.patch in fresh and since[variant.patch] < version
            }

    def _conflict(
        self,
        fetched: Fetched,
        base: Fetched,
        folder: Path,
        stuck: RebaseStopped | None,
        verdict: Verdict | None,
    ) -> Conflict:
        version, old = fetched.release.version, base.release.version
        found = Conflict.of(version, old, folder, stuck, verdict)
        if stuck and stuck.changes:
            found = replace(found, since=str(self._since(stuck, base, fetched)))
            trees = [official(one, self.series) for one in (base, fetched)]
            found = found.with_upstream(stuck, *trees)
        return found

    def _since(self, stuck: RebaseStopped, base: Fetched, fetched: Fetched) -> Version:
        """The first release between the two in which the same idea is in the same trouble."""
        old, new = base.release.version, fetched.release.version
        entries = self.entries

        def breaks(version: Version) -> bool:
            other = self.fetch(entries[version].release)
            with self.workspace.scratch(small=True) as scratch:
                carrying = self._carrying(base, other, scratch / "tree")
                carrying.begin()
                try:
                    carrying.go_on()
                except RebaseStopped as error:
                    order = [variant.patch for variant in carrying.variants]
                    return order.index(error.variant.patch) <= order.index(stuck.variant.patch)
                return False

        return first_that(breaks, [v for v in entries if old < v < new]) or new


def mismatched_variants(
    series: Series,
    workspace: Workspace,
    fetch: Callable[[Version], Fetched],
    only: Version | None = None,
) -> Iterator[str]:
    """The variants that are not what git exports of the release in their name, by file."""
    named = {since for patch in series.patches for since in patch.variants}
    for version in sorted(named & {only} if only else named):
        with workspace.scratch(small=True) as scratch:
            tree = apply_series(fetch(version), series, scratch / "tree").path
            for variant, mail in exported_mails(tree, series.variants_for(version)):
                if variant.since == version and mail != variant.data:
                    yield f"{variant.patch}/{variant.path.name}"
