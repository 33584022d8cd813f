"""Is a wheel exactly the official one plus the series? Made again, and compared byte for byte.

Nothing that a publisher says is believed: official wheels come from PyPI by their hash, patches
from the checkout, and the repack starts from these, not from any cache of wheels that it made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from toolkit.index.metapackage import (
    PACKAGE,
    PROJECT,
    final_metapackage,
    make_metapackage,
    release_of,
)
from toolkit.index.provenance import Statement
from toolkit.patches.series import Series
from toolkit.releases.catalogue import Catalogue
from toolkit.releases.official import Fetched
from toolkit.releases.repack import repack_at
from toolkit.util.errors import ToolkitError
from toolkit.util.files import sha256
from toolkit.util.names import MAIN
from toolkit.util.strict_json import Malformed
from toolkit.util.workspace import Workspace
from toolkit.wheels.archive import read_members
from toolkit.wheels.diff import differences

OURS, OFFICIAL, DIFFERS, OTHER_REVISION, UNKNOWN = "ours", "official", "differs", "moved", "unknown"
GOOD = (OURS, OFFICIAL)
# the companion's own code may be newer in this checkout than in what was published
_OWN_CODE = re.compile(rf"(RECORD's row of )?{PACKAGE}/\w+\.py |{PACKAGE}-[^/]+/RECORD ")
_OLDER_CODE = (
    f"its code is not this checkout's scripts/{PACKAGE}: check out the commit that published it, "
    "and run again"
)


@dataclass(frozen=True)
class AuditedWheel:
    """A wheel to audit: its name and bytes, and what is said of it.

    ``where`` tells a reader which one it is. ``told`` are contradictions that were found on the
    way to it, such as a link with another hash; ``metadata`` is what an index shows as its
    METADATA (PEP 658), ``statement`` what stands beside it, each if there is one.
    """

    name: str
    data: bytes
    where: str
    told: tuple[str, ...] = ()
    metadata: bytes | None = None
    statement: bytes | None = None


@dataclass(frozen=True)
class Finding:
    """What a wheel, or an installed distribution, turned out to be; one of OURS … UNKNOWN."""

    where: str
    status: str
    details: tuple[str, ...] = ()
    next_step: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it is exactly what it should be."""
        return self.status in GOOD


@dataclass(frozen=True, order=True)
class Origin:
    """Which repack a wheel's name speaks of: ``revision`` 0 is the official release itself."""

    release: Version
    revision: int


@dataclass(frozen=True)
class Originals:
    """The wheels of a release as they must be, by name; ``official`` are PyPI's own."""

    series: str
    official: Mapping[str, bytes]
    ours: Mapping[str, bytes] = field(default_factory=dict)
    error: str = ""
    next_step: str = ""


def origin_of(name: str, series: Series) -> Origin | None:
    """What a wheel's file name says that it was made from; None if that is nothing of ours."""
    try:
        project, version, _, _ = parse_wheel_filename(name)
        if project == PROJECT:
            return Origin(*release_of(version))
        if project not in {canonicalize_name(d.name) for d in series.distributions}:
            return None
        if version.local is None:
            return Origin(version, 0)
        made = re.fullmatch(rf"{series.name}\.(\d+)(?:\.with\.(.+))?", version.local)
        return Origin(Version(made[2] or version.public), int(made[1])) if made else None
    except (InvalidWheelFilename, InvalidVersion, ValueError):
        return None


@dataclass
class Auditor:
    """Makes originals as they are asked for. ``fetch`` gives a release's official wheels."""

    series: Series
    workspace: Workspace
    catalogue: Catalogue
    fetch: Callable[[Version], Fetched]

    @cached_property
    def homes(self) -> dict[str, Version]:
        """The release of each official wheel in the catalogue; of a shared partner, the first."""
        later_first = sorted(self.catalogue, reverse=True)
        return {a.filename: v for v in later_first for a in self.catalogue[v].official}

    def origin(self, name: str) -> Origin | None:
        """As :func:`origin_of`; an official partner is looked up where its release has it."""
        origin = origin_of(name, self.series)
        if origin and not origin.revision:
            return Origin(self.homes.get(name, origin.release), 0)
        return origin

    def originals(self, origin: Origin) -> Originals:
        """The wheels of ``origin``, made anew; if that cannot be, the error that says why."""
        try:
            fetched = self.fetch(origin.release)
            official = {path.name: path.read_bytes() for path in fetched.paths}
            if not origin.revision:
                last = final_metapackage(fetched.paths, release=origin.release)
                return Originals("", official, {last.filename: last.data})
            series = self.series.digest(origin.release)
            return Originals(series, official, self.made(fetched, series, origin))
        except ToolkitError as error:
            said = f"{type(error).__name__}: {error.problem}"
            return Originals("", {}, error=said, next_step=error.next_step)

    def made(self, fetched: Fetched, series: str, origin: Origin) -> dict[str, bytes]:
        """Everything of ours at a revision, by file name."""
        with self.workspace.scratch() as folder:
            made = repack_at(fetched, self.series, origin.revision, folder)
            patched = {canonicalize_name(path.name.partition("-")[0]) for path in made}
            pairs = zip(fetched.paths, fetched.release.artefacts, strict=True)
            partners = [path for path, a in pairs if a.distribution not in patched]
            companion = make_metapackage(
                [*made, *partners],
                release=origin.release,
                revision=origin.revision,
                series=series,
            )
            ours = {path.name: path.read_bytes() for path in made}
        return {**ours, companion.filename: companion.data}

    def audit(self, subject: AuditedWheel, origin: Origin | None, originals: Originals) -> Finding:
        """What a wheel is, held against the ``originals`` of its ``origin``."""
        if origin is None:
            why = "its name is of no distribution, label or version of this series"
            return Finding(subject.where, UNKNOWN, (*subject.told, why))
        known = {**originals.official, **originals.ours}
        expected = known.get(subject.name)
        details = (*subject.told, *_statement(subject, origin, originals))
        if expected is None:
            why = originals.error or f"{MAIN} {origin.release} has no such wheel"
            return Finding(subject.where, UNKNOWN, (*details, why), originals.next_step)
        if subject.data == expected:
            details += tuple(_metadata(subject))
            status = OFFICIAL if subject.name in originals.official else OURS
            return Finding(subject.where, DIFFERS if details else status, details)
        said = _series_of(subject.statement)
        details += tuple(differences(expected, subject.data))
        return self.differing(subject.where, subject.name, details, origin, originals, said)

    def differing(
        self,
        where: str,
        name: str,
        details: tuple[str, ...],
        origin: Origin,
        originals: Originals,
        said: str,
    ) -> Finding:
        """What to say of a wheel ``name`` that is not what it should be.

        ``said`` is the digest of the series that it claims to be made with, or nothing.
        """
        claimed = self.claimed(origin, said)
        if name in originals.ours and self.is_older(claimed, origin, originals):
            return Finding(where, OTHER_REVISION, details, self.way_back(claimed, origin))
        if name.startswith(f"{PACKAGE}-") and all(map(_OWN_CODE.match, details)):
            return Finding(where, OTHER_REVISION, details, _OLDER_CODE)
        return Finding(where, DIFFERS, details, "do not use it: nobody proved these bytes")

    def is_older(self, claimed: str, origin: Origin, originals: Originals) -> bool:
        """Whether a wheel is said to be made with another state of the series."""
        if claimed:
            return claimed != originals.series
        entry = self.catalogue.get(origin.release)
        return bool(entry and entry.row and entry.row.revision != origin.revision)

    def claimed(self, origin: Origin, said: str) -> str:
        """The digest of the series that made ``origin``: as was recorded, or else as is said."""
        entry = self.catalogue.get(origin.release)
        if entry and entry.row and entry.row.revision == origin.revision:
            return entry.row.series
        return said

    def way_back(self, claimed: str, origin: Origin) -> str:
        """How to audit what another state of the series made."""
        if not claimed:
            return (
                f"patches/releases.toml knows no revision {origin.revision} of {origin.release}: "
                "check out the commit that published it, and run again"
            )
        return (
            f"this checkout's series is another than {claimed[:12]}: check out the commit that "
            f"`git log -S {claimed} -- patches/releases.toml` names, or give that commit's "
            "patches with --patches DIR, and run again"
        )


def _metadata(subject: AuditedWheel) -> Iterator[str]:
    """Whether what an index shows as METADATA, which resolvers believe, is the wheel's."""
    if subject.metadata is None:
        return
    members = read_members(subject.data, [])
    name = next(n for n in members if n.endswith(".dist-info/METADATA"))
    if members[name].content() != subject.metadata:
        yield f"{subject.name}.metadata is not the wheel's METADATA"


def _statement(subject: AuditedWheel, origin: Origin, originals: Originals) -> Iterator[str]:
    """Whether the statement beside a wheel is true, as far as this can be told from here."""
    if subject.statement is None:
        return
    try:
        said = Statement.parse(subject.statement)
    except Malformed as error:
        yield f"its statement cannot be read: {error}"
        return
    if (said.name, said.sha256) != (subject.name, sha256(subject.data)):
        yield f"its statement speaks of another file: {said.name} with sha256 {said.sha256}"
    if origin.revision and (said.release, said.revision) != (str(origin.release), origin.revision):
        yield f"its statement speaks of revision {said.revision} of {said.release}"
    known = {**originals.official, **originals.ours}
    for name, digest in said.sources.items() if known else ():
        if name not in known or sha256(known[name]) != digest:
            yield f"its statement names a source that is not ours: {name} with sha256 {digest}"


def _series_of(statement: bytes | None) -> str:
    try:
        return Statement.parse(statement or b"").series
    except Malformed:
        return ""


def to_json(findings: Iterable[Finding]) -> str:
    """The findings as a JSON document."""
    rows = [{**vars(finding), "details": list(finding.details)} for finding in findings]
    return json.dumps({"format": 1, "findings": rows}, indent=1)


def read_wheel(path: Path) -> AuditedWheel:
    """A wheel in a file, with the statement beside it."""
    beside = path.with_name(f"{path.name}.provenance.json")
    statement = beside.read_bytes() if beside.is_file() else None
    return AuditedWheel(path.name, path.read_bytes(), str(path), statement=statement)
