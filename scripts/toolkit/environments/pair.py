"""The environments of official and of patched wheels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit.environments import environment
from toolkit.environments.environment import Environment, Environments
from toolkit.util.errors import EnvironmentUnresolvable, InvalidWheel

if TYPE_CHECKING:
    pass


def prepare(
    official: Sequence[Path],
    patched: Sequence[Path],
    *,
    uploaded: datetime,
    environments: Path,
    python: str | None = None,
    extra: Sequence[str] = ("pytest",),
    optional: Sequence[str] = (),
) -> tuple[Environment, Environment]:
    """The environments of the official and of the patched wheels; see :func:`prove`."""
    ours = _both_versions(official, patched)[0]
    cache = Environments(environments)

    def both(extra: Sequence[str]) -> tuple[Environment, Environment]:
        here, there = (
            cache.prepare(wheels, uploaded=uploaded, python=python, extra=extra)
            for wheels in (official, patched)
        )
        return here, there

    try:
        pair = both([*extra, *optional])
        # official wheels that contradict each other allow another version than the patched ones
        unlike = {*_differing(pair, ours)}.intersection(map(canonicalize_name, optional))
    except EnvironmentUnresolvable:
        if not optional:
            raise
        unlike = {*optional}
    if unlike:
        pair = both(extra)
    for place in pair:
        environment.verify_installed(place, ours)
    return pair


def _both_versions(
    official: Sequence[Path], patched: Sequence[Path]
) -> tuple[dict[str, Version], dict[str, Version]]:
    here, there = _versions(official), _versions(patched)
    if here.keys() != there.keys():
        raise InvalidWheel(
            f"the official wheels are of {', '.join(here)}, the patched ones of {', '.join(there)}",
            next_step="hand in both distributions on both sides",
        )
    return here, there


def _versions(wheels: Sequence[Path]) -> dict[str, Version]:
    found: dict[str, Version] = {}
    for wheel in wheels:
        try:
            name, version, _, _ = parse_wheel_filename(wheel.name)
        except InvalidWheelFilename as error:
            raise InvalidWheel(str(error), next_step="name wheel files only") from error
        if name in found:
            raise InvalidWheel(
                f"two wheels of {name} on one side", next_step="name one wheel a distribution"
            )
        if not wheel.is_file():
            raise InvalidWheel(f"{wheel} is no file", next_step="repack the release, then prove")
        found[name] = version
    return dict(sorted(found.items()))


def _differing(pair: Sequence[Environment], ours: Mapping[str, Version]) -> list[str]:
    here, there = (place.distributions() for place in pair)
    every = sorted(here.keys() | there.keys())
    return [name for name in every if name not in ours and here.get(name) != there.get(name)]
