"""From which releases a series is rebased, with which variants, and where a conflict begins."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.refresh.rebase import Rebase, RebaseStopped
from toolkit.releases.catalogue import Entry
from toolkit.releases.official import OfficialWheels
from toolkit.releases.release import Release
from toolkit.releases.sources import official_files, series_applies
from toolkit.util.errors import InvalidWheel, PatchConflict
from toolkit.util.workspace import Workspace

# From how many releases a rebase is tried: the one before, and some with older variants.
BASES = 3


@dataclass(frozen=True)
class RebasePlan:
    """Rebases of ``series``; ``entries`` are the releases that ``fetch`` can get, sorted."""

    series: Series
    entries: Mapping[Version, Entry]
    fetch: Callable[[Release], OfficialWheels]

    def attempts(self, version: Version) -> Iterator[tuple[OfficialWheels, bool]]:
        """Yield from which release to rebase, and whether to resolve conflicts automatically.

        The series fits each, with other variants. The nearest older release comes first, then
        other older ones, then later ones. Raises PatchConflict if there is none.
        """
        older = [v for v in self.entries if v < version]
        bases: dict[tuple[Version, ...], OfficialWheels] = {}
        for other in [*reversed(older), *(v for v in self.entries if v > version)]:
            variants: tuple[Version, ...] = ()
            with suppress(PatchConflict):
                variants = tuple(since for _, since in self.series.chosen(other))
            if variants and variants not in bases and len(bases) < BASES:
                base = self.fetch(self.entries[other].release)
                if is_base(base, self.series):
                    bases[variants] = base
                    yield base, False
        if not bases:
            raise PatchConflict(
                f"{version}: there is no other release that the series fits",
                next_step="run update, so that patches/releases.toml knows the releases",
            )
        yield from ((base, True) for base in bases.values())

    def rebase(
        self,
        base: OfficialWheels,
        release: OfficialWheels,
        tree: Path,
        *,
        auto_resolve: bool = False,
    ) -> Rebase:
        """Return the rebase from ``base`` to ``release`` in a folder; nothing is done yet."""
        version = release.release.version
        old, new = (official_files(wheels, self.series) for wheels in (base, release))
        variants = self.variants(base.release.version, version)
        return Rebase(variants, old, new, tree, version, auto_resolve)

    def variants(self, base: Version, version: Version) -> tuple[Variant, ...]:
        """Return the variants to rebase: the base's, and those of patches that begin in between.

        A variant that was written for the release itself takes the place of the base's.
        """
        variants = {variant.patch: variant for variant in self.series.variants_for(base)}
        for patch, since in self.series.chosen(version):
            if since == version or patch.name not in variants:
                own = {variant.patch: variant for variant in self.series.variants_for(since)}
                variants[patch.name] = own[patch.name]
        patches = [p for p in self.series.patches if p.releases.contains(version, prereleases=True)]
        return tuple(variants[patch.name] for patch in patches if patch.name in variants)

    def since(
        self, stopped: RebaseStopped, base: OfficialWheels, version: Version, workspace: Workspace
    ) -> Version:
        """Find the first release after the base at which this patch, or one before it, stops."""

        def stops(other: Version) -> bool:
            release = self.fetch(self.entries[other].release)
            with workspace.scratch(small=True) as scratch:
                rebase = self.rebase(base, release, scratch / "tree")
                rebase.start()
                try:
                    rebase.resume()
                except RebaseStopped as error:
                    order = [variant.patch for variant in rebase.variants]
                    return order.index(error.variant.patch) <= order.index(stopped.variant.patch)
                return False

        between = [other for other in self.entries if base.release.version < other < version]
        return [*between, version][bisect_left(between, True, key=stops)]


def is_base(official: OfficialWheels, series: Series) -> bool:
    """Return whether a release can be rebased from: broken wheels of one are no error."""
    with suppress(InvalidWheel):
        return series_applies(official, series)
    return False
