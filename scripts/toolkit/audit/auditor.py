"""Audit wheels and environments: each must be exactly the official wheel plus the series."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from pathlib import Path
from typing import TypeVar

from toolkit.audit.installed import (
    claimed_series,
    compare_installed,
    find_installed,
    installed_wheel,
    likely_name,
    site_packages,
)
from toolkit.audit.originals import Origin, Originals, Remaker
from toolkit.audit.targets import AuditedWheel, find_wheels, is_url
from toolkit.index.metapackage import PACKAGE, PROJECT
from toolkit.index.provenance import Statement
from toolkit.util.console import progress_bar
from toolkit.util.distributions import MAIN
from toolkit.util.errors import AuditFailed
from toolkit.util.files import sha256
from toolkit.util.parallel import map_parallel
from toolkit.util.strict_json import Malformed, encode
from toolkit.wheels.archive import read_members
from toolkit.wheels.diff import differences

OURS, OFFICIAL, DIFFERS, OTHER_REVISION, UNKNOWN = "ours", "official", "differs", "moved", "unknown"
GOOD = (OURS, OFFICIAL)
# the metapackage's own code may be newer in this checkout than in what was published
_OWN_CODE = re.compile(rf"(RECORD's row of )?{PACKAGE}/\w+\.py |{PACKAGE}-[^/]+/RECORD ")
_OLDER_CODE = (
    f"its code is not this checkout's scripts/{PACKAGE}: check out the commit that published it, "
    "and run again"
)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Finding:
    """What a wheel or an installed distribution is; ``status`` is one of OURS … UNKNOWN."""

    label: str = field(metadata={"json_name": "where"})
    status: str
    details: tuple[str, ...] = ()
    next_step: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it is exactly what it should be."""
        return self.status in GOOD


def to_json(findings: Iterable[Finding]) -> str:
    """Return the findings as a JSON document."""
    return json.dumps({"format": 1, "findings": [*map(encode, findings)]}, indent=1)


@dataclass(frozen=True)
class Auditor:
    """Compares targets with originals that ``remaker`` makes, ``jobs`` releases at a time."""

    remaker: Remaker
    jobs: int

    def audit(self, target: str) -> list[Finding]:
        """Audit everything in a target, in its order.

        Raises AuditFailed if there is nothing of ours in it, Unreachable.
        """
        projects = sorted([PROJECT, *(d.name for d in self.remaker.series.distributions)])
        site = None if is_url(target) else site_packages(Path(target))
        if site:
            return self._audit_environment(site, projects)
        result = find_wheels(target, projects)
        if result.others:
            print(f"{target}: {result.others} other projects are not looked at", file=sys.stderr)
        wheels = [(wheel, self.remaker.origin(wheel.name)) for wheel in result.wheels]
        return self._by_origin(wheels, self.audit_wheel)

    def _audit_environment(self, site: Path, projects: Sequence[str]) -> list[Finding]:
        items = [(d, self.remaker.origin(likely_name(d))) for d in find_installed(site, projects)]
        if not items:
            raise AuditFailed(
                f"{site} has none of {', '.join(projects)}", next_step="name another environment"
            )
        series = claimed_series(site)

        def audit(distribution: Distribution, origin: Origin | None, wheels: Originals) -> Finding:
            return self._audit_installed(distribution, origin, wheels, series)

        return self._by_origin(items, audit)

    def _by_origin(
        self,
        items: Sequence[tuple[Item, Origin | None]],
        audit: Callable[[Item, Origin | None, Originals], Finding],
    ) -> list[Finding]:
        """Audit each item against the originals of its origin, which are made once; in order."""
        origins = list(dict.fromkeys(origin for _, origin in items))

        def work(origin: Origin | None) -> dict[int, Finding]:
            originals = self.remaker.originals(origin) if origin else Originals()
            return {
                number: audit(item, origin, originals)
                for number, (item, own) in enumerate(items)
                if own == origin
            }

        findings: dict[int, Finding] = {}
        with progress_bar("releases", len(origins)) as update:
            for origin, audited in map_parallel(work, origins, jobs=self.jobs):
                findings |= audited
                update(str(origin.release) if origin else "others")
        return [findings[number] for number in range(len(items))]

    def audit_wheel(
        self, wheel: AuditedWheel, origin: Origin | None, originals: Originals
    ) -> Finding:
        """Compare a wheel, and what is published beside it, with the originals of its origin."""
        if origin is None:
            reason = "its name is of no distribution, label or version of this series"
            return Finding(wheel.label, UNKNOWN, (*wheel.problems, reason))
        details = (*wheel.problems, *_check_statement(wheel, origin, originals))
        expected = originals.wheels.get(wheel.name)
        if expected is None:
            reason = originals.error or f"{MAIN} {origin.release} has no such wheel"
            return Finding(wheel.label, UNKNOWN, (*details, reason), originals.next_step)
        if wheel.data == expected:
            details += tuple(_check_metadata(wheel))
            status = OFFICIAL if wheel.name in originals.official else OURS
            return Finding(wheel.label, DIFFERS if details else status, details)
        details += tuple(differences(expected, wheel.data))
        series = _series_of(wheel.statement)
        status, next_step = self._explain(wheel.name, details, origin, originals, series)
        return Finding(wheel.label, status, details, next_step)

    def _audit_installed(
        self,
        distribution: Distribution,
        origin: Origin | None,
        originals: Originals,
        series: str,
    ) -> Finding:
        label = f"{distribution.name} {distribution.version}"
        name = installed_wheel(distribution, originals.wheels)
        if origin is None or name is None:
            reason = originals.error or "no wheel of ours or of PyPI has this version"
            return Finding(label, UNKNOWN, (reason,), originals.next_step)
        details = tuple(compare_installed(distribution, originals.wheels[name]))
        if not details:
            return Finding(label, OFFICIAL if name in originals.official else OURS)
        status, next_step = self._explain(name, details, origin, originals, series)
        return Finding(label, status, details, next_step)

    def _explain(
        self,
        name: str,
        details: Sequence[str],
        origin: Origin,
        originals: Originals,
        claimed: str,
    ) -> tuple[str, str]:
        """Return the status and the next step of a wheel that is not as it should be.

        ``claimed`` is the digest of the series that it claims to be made with, or empty. A wheel
        that was made with another state of the series is OTHER_REVISION.
        """
        row = self.remaker.catalogue.row(origin.release)
        series = row.series if row and row.revision == origin.revision else claimed
        is_other = series != originals.series if series else row is not None
        if name in originals.patched and is_other:
            return OTHER_REVISION, _step_to_revision(series, origin)
        if name.startswith(f"{PACKAGE}-") and all(map(_OWN_CODE.match, details)):
            return OTHER_REVISION, _OLDER_CODE
        return DIFFERS, "do not use it: nobody proved these bytes"


def _step_to_revision(series: str, origin: Origin) -> str:
    """Say how to audit what another state of the series made."""
    if not series:
        return (
            f"patches/releases.toml knows no revision {origin.revision} of {origin.release}: "
            "check out the commit that published it, and run again"
        )
    return (
        f"this checkout's series is another than {series[:12]}: check out the commit that "
        f"`git log -S {series} -- patches/releases.toml` names, or give that commit's "
        "patches with --patches DIR, and run again"
    )


def _check_metadata(wheel: AuditedWheel) -> Iterator[str]:
    """Compare what an index shows as METADATA, which resolvers believe, with the wheel's."""
    if wheel.metadata is not None:
        members = read_members(wheel.data, [])
        name = next(n for n in members if n.endswith(".dist-info/METADATA"))
        if members[name].content() != wheel.metadata:
            yield f"{wheel.name}.metadata is not the wheel's METADATA"


def _check_statement(wheel: AuditedWheel, origin: Origin, originals: Originals) -> Iterator[str]:
    """Compare the statement beside a wheel with everything that is known of the wheel."""
    if wheel.statement is None:
        return
    try:
        statement = Statement.parse(wheel.statement)
    except Malformed as error:
        yield f"its statement cannot be read: {error}"
        return
    if (statement.name, statement.sha256) != (wheel.name, sha256(wheel.data)):
        file = f"{statement.name} with sha256 {statement.sha256}"
        yield f"its statement speaks of another file: {file}"
    claimed = (statement.release, statement.revision)
    if origin.revision and claimed != (str(origin.release), origin.revision):
        yield f"its statement speaks of revision {statement.revision} of {statement.release}"
    wheels = originals.wheels
    for name, digest in statement.sources.items() if wheels else ():
        if name not in wheels or sha256(wheels[name]) != digest:
            yield f"its statement names a source that is not ours: {name} with sha256 {digest}"


def _series_of(statement: bytes | None) -> str:
    try:
        return Statement.parse(statement or b"").series
    except Malformed:
        return ""
