"""Which Python versions a release supports, and how to spread releases over CI jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from packaging.specifiers import SpecifierSet

from toolkit.releases.release import Release

# PEPs 596, 619, 664, 693, 719 and 745: when the first final of each was released.
PYTHONS = {
    "3.9": datetime(2020, 10, 5, tzinfo=UTC),
    "3.10": datetime(2021, 10, 4, tzinfo=UTC),
    "3.11": datetime(2022, 10, 24, tzinfo=UTC),
    "3.12": datetime(2023, 10, 2, tzinfo=UTC),
    "3.13": datetime(2024, 10, 7, tzinfo=UTC),
    "3.14": datetime(2025, 10, 7, tzinfo=UTC),
}


def pythons_of(release: Release) -> tuple[str, ...]:
    """The versions that Requires-Python of all its wheels admits, as of the release's upload.

    A Python that did not exist yet has no wheels among the dependencies of that day.
    """
    admitted = SpecifierSet(",".join({a.requires_python or "" for a in release.artefacts} - {""}))
    return tuple(
        python
        for python, born in PYTHONS.items()
        # a late patch release, as some projects refuse the early ones
        if born <= release.uploaded and admitted.contains(f"{python}.99")
    )


def groups(releases: Sequence[str], most: int) -> list[dict[str, str]]:
    """At most ``most`` jobs, each a ``group`` by number with some ``releases``, parted by blanks.

    No job has more releases than it must, and the same releases always make the same groups.
    """
    size = -(-len(releases) // most)
    return [
        {"group": str(1 + number), "releases": " ".join(releases[at : at + size])}
        for number, at in enumerate(range(0, len(releases), max(1, size)))
    ]


def jobs(pythons: Mapping[str, Sequence[str]], most: int) -> list[dict[str, str]]:
    """At most ``most`` jobs, each with one ``python`` and some ``releases``, parted by blanks.

    ``pythons`` maps releases to the versions that each supports. Every pair is in one job, and
    no job has more releases than it must.
    """
    found: dict[str, list[str]] = {}
    for release, supported in pythons.items():
        for python in supported:
            found.setdefault(python, []).append(release)
    if len(found) > most:
        raise ValueError(f"{len(found)} versions of Python do not fit into {most} jobs")
    size = 1
    while sum(-(-len(releases) // size) for releases in found.values()) > most:
        size += 1
    return [
        {"python": python, "releases": " ".join(releases[at : at + size])}
        for python, releases in found.items()
        for at in range(0, len(releases), size)
    ]
