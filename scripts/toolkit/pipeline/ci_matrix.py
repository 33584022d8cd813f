"""CI matrices: which releases, and which Python version, each job takes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import count

from packaging.version import Version

from toolkit.releases.catalogue import Entry
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
Matrix = list[dict[str, str]]


def pythons_of(release: Release) -> tuple[str, ...]:
    """Return the Python versions that Requires-Python of all wheels admits.

    A Python that was released after the upload has no wheels among the dependencies of that day,
    so it is left out.
    """
    from packaging.specifiers import SpecifierSet

    admitted = SpecifierSet(",".join({a.requires_python or "" for a in release.artefacts} - {""}))
    return tuple(
        python
        for python, released in PYTHONS.items()
        # .99: some projects refuse the first patch releases of a Python
        if released <= release.uploaded and admitted.contains(f"{python}.99")
    )


def groups_of(releases: Iterable[Version | str | None], most: int) -> Matrix:
    """Spread releases over at most ``most`` numbered groups, as even as they can be.

    The same releases always make the same groups.
    """
    names = [str(release) for release in releases]
    batches = _batches(names, -(-len(names) // most))
    return [{"group": str(n), "releases": batch} for n, batch in enumerate(batches, 1)]


def jobs_of(entries: Iterable[Entry], most: int) -> Matrix:
    """Spread the published releases, on each Python they support, over at most ``most`` jobs.

    Each pair is in one job, each job has one Python, and no job has more releases than it must.
    Names the releases that nothing was published of on standard error. Raises ValueError if
    there are more Python versions than jobs.
    """
    supported: dict[str, list[str]] = {}
    for entry in entries:
        if entry.row is None:
            reason = "nothing was published of it" if entry.partner else "no plugin goes with it"
            print(f"{entry.version} is left out: {reason}", file=sys.stderr)
            continue
        for python in pythons_of(entry.release):
            supported.setdefault(python, []).append(str(entry.version))
    if len(supported) > most:
        raise ValueError(f"{len(supported)} versions of Python need a job each")
    releases = supported.values()
    size = next(n for n in count(1) if sum(-(-len(names) // n) for names in releases) <= most)
    return [
        {"python": python, "releases": batch}
        for python, names in supported.items()
        for batch in _batches(names, size)
    ]


def _batches(names: Sequence[str], size: int) -> list[str]:
    """``names`` in their order, ``size`` in a batch, separated by blanks."""
    return [" ".join(names[at : at + size]) for at in range(0, len(names), max(1, size))]
