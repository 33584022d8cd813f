"""The wheels of a release that run on this machine, and the environments of both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit.environments.environment import Environment, Environments
from toolkit.environments.verify import verify_installed
from toolkit.util.distributions import SUBCLASSES
from toolkit.util.errors import EnvironmentUnresolvable, InvalidWheel


@dataclass(frozen=True)
class WheelPair:
    """The official and the patched wheels of a release that this machine can run.

    Each side holds every distribution; ``patched`` has the official partner where that needs no
    patch. ``uploaded`` dates the dependencies, ``series`` is the digest of what was applied, and
    ``others`` are patched wheels for other platforms, which share the code of one that runs here.
    """

    official: tuple[Path, ...]
    patched: tuple[Path, ...]
    release: str
    uploaded: datetime
    series: str = ""
    others: tuple[Path, ...] = ()

    def versions(self) -> tuple[dict[str, Version], dict[str, Version]]:
        """Return the version of each distribution, official and patched, sorted by name.

        Raises InvalidWheel if the sides hold other distributions, or one of them twice.
        """
        official, patched = _versions(self.official), _versions(self.patched)
        if official.keys() != patched.keys():
            raise InvalidWheel(
                f"the official wheels are of {', '.join(official)}, "
                f"the patched ones of {', '.join(patched)}",
                next_step="hand in both distributions on both sides",
            )
        return official, patched


def prepare(
    pair: WheelPair,
    environments: Path,
    *,
    python: str | None = None,
    extra: Sequence[str] = ("pytest",),
    optional: Sequence[str] = SUBCLASSES,
) -> tuple[Environment, Environment]:
    """Make or find the environments of the official and of the patched wheels.

    ``extra`` is installed beside the wheels, and ``optional`` too if a version of it fits both
    sides alike. Raises InvalidWheel, HashMismatch if an environment is not what its wheels say,
    and what Environments.prepare raises.
    """
    versions = pair.versions()[0]
    cache = Environments(environments)

    def both(extra: Sequence[str]) -> tuple[Environment, Environment]:
        official, patched = (
            cache.prepare(wheels, uploaded=pair.uploaded, python=python, extra=extra)
            for wheels in (pair.official, pair.patched)
        )
        return official, patched

    try:
        sides = both([*extra, *optional])
        # official wheels that contradict each other allow another version than the patched ones
        unfit = {*differing(sides, versions)}.intersection(map(canonicalize_name, optional))
    except EnvironmentUnresolvable:
        if not optional:
            raise
        unfit = {*optional}
    if unfit:
        sides = both(extra)
    for side in sides:
        verify_installed(side, versions)
    return sides


def differing(sides: Sequence[Environment], wheels: Mapping[str, Version]) -> list[str]:
    """List the dependencies, other than ``wheels``, whose versions differ between the sides."""
    official, patched = (side.distributions() for side in sides)
    names = sorted(official.keys() | patched.keys())
    return [n for n in names if n not in wheels and official.get(n) != patched.get(n)]


def _versions(wheels: Sequence[Path]) -> dict[str, Version]:
    versions: dict[str, Version] = {}
    for wheel in wheels:
        try:
            name, version, _, _ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise InvalidWheel(str(error), next_step="name wheel files only") from error
        if name in versions:
            raise InvalidWheel(
                f"two wheels of {name} on one side", next_step="name one wheel a distribution"
            )
        if not wheel.is_file():
            raise InvalidWheel(f"{wheel} is no file", next_step="repack the release, then prove")
        versions[name] = version
    return dict(sorted(versions.items()))
