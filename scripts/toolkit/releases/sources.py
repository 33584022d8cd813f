"""A release's Python files, and whether the series fits them, told without git."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from toolkit.patches.apply import Changed, PatchedTree, apply
from toolkit.patches.fold import fold
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.releases.official import Fetched
from toolkit.util.errors import InvalidWheel, PatchConflict
from toolkit.util.files import unix


def fits(fetched: Fetched, series: Series) -> bool:
    """Whether the series applies to a release as it is."""
    try:
        variants = series.variants_for(fetched.release.version)
        return fold(variants, official(fetched, series, variants)) is not None
    except PatchConflict:
        return False


def official(
    fetched: Fetched, series: Series, variants: Sequence[Variant] | None = None
) -> dict[str, bytes]:
    """The Python files of a release by monorepo path: all, or those that variants touch."""
    touched = variants and {change.path for one in variants for change in one.changes}
    files = {}
    for distribution in series.distributions:
        for wheel in fetched.each(distribution.name):
            for member in wheel.members:
                path = distribution.path(member)
                if member.endswith(".py") and (not touched or path in touched):
                    files[path] = unix(wheel.read(member))
            # platforms have the same Python files, which applying the series will check
            break
    return files


def apply_series(
    fetched: Fetched,
    series: Series,
    tree: Path,
    *,
    variants: Sequence[Variant] | None = None,
    meanwhile: Callable[[Changed], object] = lambda _: None,
) -> PatchedTree:
    """Apply the series to the official files that it touches, as commits in a new ``tree``.

    ``variants`` are those for the release, if they were read already; ``meanwhile`` is
    that of ``apply``. Raises PatchConflict, InvalidSeries, InvalidWheel, NotWritable.
    """
    if variants is None:
        variants = series.variants_for(fetched.release.version)
    files: dict[str, bytes] = {}
    touched = {change.path for variant in variants for change in variant.changes}
    for distribution in series.distributions:
        members = {p: m for p in touched for d, m in [series.locate(p)] if d == distribution.name}
        for number, wheel in enumerate(fetched.each(distribution.name) if members else ()):
            found = {p: unix(wheel.read(m)) for p, m in members.items() if m in wheel.members}
            odd = [m for p, m in members.items() if number and found.get(p) != files.get(p)]
            if odd:
                raise InvalidWheel(
                    f"{min(odd)} differs between the platforms of {distribution.name}",
                    next_step="report this: one series cannot fit such a release",
                )
            files |= found
    try:
        return apply(series, variants, files, tree, meanwhile=meanwhile)
    except PatchConflict as error:
        release = str(fetched.release.version)
        raise PatchConflict(
            f"{release}: {error.problem}", next_step=error.next_step.replace("<release>", release)
        ) from error
