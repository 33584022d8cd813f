"""A wheel about to be published: its bytes, its METADATA, and its entry in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.utils import canonicalize_name, parse_wheel_filename

from toolkit.index.ledger import Listed
from toolkit.util.errors import InvalidWheel
from toolkit.util.files import require_plain_name, sha256
from toolkit.wheels.wheelfile import Wheel


@dataclass(frozen=True)
class Generated:
    """A wheel generated from a proof, which does not speak of it; ``data`` are its bytes."""

    filename: str
    data: bytes
    metadata: bytes


@dataclass(frozen=True)
class StagedWheel:
    """A wheel about to be published: where it is, its METADATA and its entry in the ledger.

    ``requires`` are the projects that it cannot be installed without, ``statement`` is the
    provenance to publish beside it, ``content`` its bytes if it was generated.
    """

    path: Path
    entry: Listed
    metadata: bytes
    requires: frozenset[str] = frozenset()
    statement: bytes | None = None
    content: bytes | None = None

    def read(self) -> bytes:
        """Return the wheel's bytes; raise InvalidWheel if they changed since they were checked."""
        data = self.path.read_bytes() if self.content is None else self.content
        if sha256(data) != self.entry.sha256:
            raise InvalidWheel(f"{self.path} changes while it is read", next_step="run again")
        return data

    def with_statement(self, statement: bytes | None) -> StagedWheel:
        """Return the same wheel with a statement, if there is one, to publish beside it."""
        if statement is None:
            return self
        entry = replace(self.entry, provenance_sha256=sha256(statement))
        return replace(self, entry=entry, statement=statement)


def timestamp(now: datetime | None) -> str:
    """Return ``now`` (with a time zone; the current time if None) as the ledger writes it."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stage_wheel(path: Path, upload_time: str, verdict_sha256: str) -> StagedWheel:
    """Check the wheel at ``path`` and stage it; raise InvalidWheel."""
    wheel = Wheel.open(path, sound=True)
    metadata = wheel.read(f"{wheel.dist_info}/METADATA")
    return _stage(path, wheel.data, metadata, upload_time, verdict_sha256)


def stage_generated(wheel: Generated, upload_time: str, verdict_sha256: str) -> StagedWheel:
    """Stage a wheel that is in no file; raise InvalidWheel."""
    path = Path(require_plain_name(wheel.filename))
    staged = _stage(path, wheel.data, wheel.metadata, upload_time, verdict_sha256)
    return replace(staged, content=wheel.data)


def _stage(
    path: Path, data: bytes, raw: bytes, upload_time: str, verdict_sha256: str
) -> StagedWheel:
    # what the file name and METADATA say
    name, version, _, _ = parse_wheel_filename(require_plain_name(path.name))
    try:
        metadata = Metadata.from_email(raw, validate=False)
        project = (canonicalize_name(metadata.name), metadata.version)
        requires_python = str(metadata.requires_python or "")
        requires = frozenset(
            canonicalize_name(requirement.name)
            for requirement in metadata.requires_dist or ()
            if "extra" not in str(requirement.marker)
        )
    except (InvalidMetadata, ExceptionGroup) as error:
        raise InvalidWheel(
            f"{path} has invalid METADATA: {error}", next_step="publish what repack.py made"
        ) from error
    if project != (name, version):
        raise InvalidWheel(
            f"{path} says that it is {project[0]} {project[1]}",
            next_step="publish what repack.py made, under the name that it gave",
        )
    # the line for the ledger
    entry = Listed(
        filename=path.name,
        project=name,
        version=str(version),
        sha256=sha256(data),
        size=len(data),
        upload_time=upload_time,
        requires_python=requires_python,
        metadata_sha256=sha256(raw),
        verdict_sha256=verdict_sha256,
    )
    return StagedWheel(path, entry, raw, requires)
