"""Whether upstream's newest release still loses calls, and which patches it contains already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from packaging.version import Version

from toolkit.patches.notices import taken_patches
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Entry
from toolkit.releases.official import Settings, newest
from toolkit.releases.sources import touched_files
from toolkit.util.errors import ToolkitError, UnknownRelease
from toolkit.util.workspace import Workspace


@dataclass(frozen=True)
class NewestRelease:
    """The newest stable release, as upstream has it.

    ``loses``: whether it loses calls (None: not proved). ``has`` names the patches that it contains
    already, of so many as ``of``; ``unknown`` says why that cannot be told.
    """

    release: str
    loses: bool | None
    has: tuple[str, ...] = ()
    of: int = 0
    unknown: str = ""

    def __str__(self) -> str:
        words = {
            True: "still loses calls",
            False: "loses no call any more",
            None: "is not proved to lose calls, nor to keep them",
        }
        taken = f"upstream has taken {len(self.has)} of the {self.of} patches for it"
        taken += f": {', '.join(self.has)}" if self.has else ""
        return f"{self.release}, the newest, {words[self.loses]}; {self.unknown or taken}"


def newest_of(
    catalogue: Mapping[Version, Entry],
    series: Series,
    workspace: Workspace,
    loses: Callable[[Entry], bool | None],
) -> NewestRelease | None:
    """What is known of the newest stable release without a network; None if there is none.

    ``loses`` tells whether an official release loses calls.
    """
    try:
        entry = catalogue[newest(catalogue)]
    except UnknownRelease:
        return None
    lost = loses(entry)
    try:
        variants = series.variants_for(entry.version)
        official = Settings(workspace, offline=True).fetch(entry.release)
        has = taken_patches(variants, touched_files(official, series, variants))
    except ToolkitError as error:
        return NewestRelease(str(entry.version), lost, unknown=error.problem)
    names = tuple(variant.patch for variant in variants if variant.patch in has)
    return NewestRelease(str(entry.version), lost, names, len(variants))
