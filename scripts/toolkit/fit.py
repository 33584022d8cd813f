"""A release's Python files, and whether the series fits them, told without git."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import PatchConflict
from .fetched import Fetched
from .files import unix
from .folding import fold
from .series import Series
from .variant import Variant


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
