"""Which wheel of a platform set runs here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import parse_wheel_filename

from toolkit.environments.interpreter import find_interpreter
from toolkit.util.errors import EnvironmentUnresolvable


def fitting(wheels: Sequence[Path], python: str | None = None) -> list[Path]:
    """Return of each distribution the wheel that fits ``python`` on this machine best.

    Raises EnvironmentUnresolvable if a distribution has none.
    """
    if all(path.name.endswith("-none-any.whl") for path in wheels):
        return list(wheels)
    ranks = {tag: number for number, tag in enumerate(_tags(python))}
    chosen = []
    for name, group in groupby(wheels, lambda path: path.name.partition("-")[0]):
        ranked = [(rank, path) for path in group if (rank := _rank(path, ranks)) is not None]
        if not ranked:
            raise EnvironmentUnresolvable(
                f"{name} has no wheel for this machine",
                next_step="prove this release on a platform that it has a wheel for",
            )
        chosen.append(min(ranked)[1])
    return chosen


def _tags(python: str | None) -> Iterator[Tag]:
    if python is None:
        yield from sys_tags()
        return
    version = tuple(int(part) for part in find_interpreter(python).version.split(".")[:2])
    yield from cpython_tags(version)
    yield from compatible_tags(version)


def _rank(path: Path, ranks: dict[Tag, int]) -> int | None:
    tags: Iterable[Tag] = parse_wheel_filename(path.name)[3]
    return min((ranks[tag] for tag in tags if tag in ranks), default=None)
