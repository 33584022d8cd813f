"""A release's official source files, and the series applied to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from toolkit.patches.apply import apply_in_memory, require_python
from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.releases.official import OfficialWheels
from toolkit.util.errors import InvalidWheel, PatchConflict
from toolkit.util.files import unix_newlines

if TYPE_CHECKING:
    from toolkit.patches.tree import PatchedTree


def official_files(official: OfficialWheels, series: Series) -> dict[str, bytes]:
    """Return every Python file of a release by monorepo path, from one wheel a distribution."""
    files = {}
    for distribution in series.distributions:
        for wheel in official.each(distribution.name):
            for member in wheel.members:
                if member.endswith(".py"):
                    files[distribution.path(member)] = unix_newlines(wheel.read(member))
            # platforms have the same Python files, which applying the series will check
            break
    return files


def touched_files(
    official: OfficialWheels, series: Series, variants: Sequence[Variant]
) -> dict[str, bytes]:
    """Return the official files that variants touch by monorepo path.

    Raises InvalidWheel if they differ between the platforms' wheels.
    """
    files: dict[str, bytes] = {}
    touched = {change.path for variant in variants for change in variant.changes}
    for distribution in series.distributions:
        members = {p: m for p in touched for d, m in [series.locate(p)] if d == distribution.name}
        for number, wheel in enumerate(official.each(distribution.name) if members else ()):
            texts = {
                p: unix_newlines(wheel.read(m)) for p, m in members.items() if m in wheel.members
            }
            if number and any(texts.get(path) != files.get(path) for path in members):
                different = min(m for p, m in members.items() if texts.get(p) != files.get(p))
                raise InvalidWheel(
                    f"{different} differs between the platforms of {distribution.name}",
                    next_step="report this: one series cannot fit such a release",
                )
            files |= texts
    return files


def series_applies(official: OfficialWheels, series: Series) -> bool:
    """Tell whether the series applies to a release as it is."""
    try:
        variants = series.variants_for(official.release.version)
        apply_in_memory(variants, touched_files(official, series, variants))
    except PatchConflict:
        return False
    return True


def apply_series(
    official: OfficialWheels, series: Series, variants: Sequence[Variant] | None = None
) -> dict[str, bytes]:
    """Apply the series in memory; return the files that it changes by monorepo path.

    ``variants`` are those for the release, if they were read already. Raises PatchConflict,
    InvalidSeries, InvalidWheel.
    """
    if variants is None:
        variants = series.variants_for(official.release.version)
    files = touched_files(official, series, variants)
    with _naming(official.release.version):
        texts = apply_in_memory(variants, files)
        require_python(variants, texts)
    return {path: text for path, text in texts.items() if text != files.get(path)}


def make_series_tree(official: OfficialWheels, series: Series, path: Path) -> PatchedTree:
    """Apply the series with git, as commits at ``path`` on top of the files that it touches.

    Raises as ``toolkit.patches.tree.make_tree`` does, and InvalidWheel.
    """
    from toolkit.patches.tree import make_tree

    variants = series.variants_for(official.release.version)
    files = touched_files(official, series, variants)
    with _naming(official.release.version):
        return make_tree(variants, files, path)


def by_member(series: Series, texts: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Group files by distribution, and then by wheel member."""
    members: dict[str, dict[str, bytes]] = {}
    for path, text in sorted(texts.items()):
        distribution, member = series.locate(path)
        members.setdefault(distribution, {})[member] = text
    return members


@contextmanager
def _naming(release: Version) -> Iterator[None]:
    """Add the release to the message of a PatchConflict."""
    try:
        yield
    except PatchConflict as error:
        raise PatchConflict(
            f"{release}: {error.problem}",
            next_step=error.next_step.replace("<release>", str(release)),
        ) from error
