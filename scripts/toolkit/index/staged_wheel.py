"""Wheels on their way into an index: what they say of themselves, and whether they were proved."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from toolkit.index.ledger import Listed
from toolkit.util.errors import InvalidWheel
from toolkit.util.files import require_plain_name, sha256

# METADATA holds a README; a larger one is a bomb
_MOST = 1 << 22
_NO_WHEEL = (
    InvalidWheelFilename,
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class Generated:
    """A wheel made from a proof and not judged by it; its name and its bytes."""

    filename: str
    data: bytes


@dataclass(frozen=True)
class StagedWheel:
    """A wheel about to be published: where it is, its METADATA and what the list will say.

    ``requires`` are the projects that it cannot do without, ``statement`` what is to stand beside
    it, and ``content`` its bytes if it is in no file.
    """

    path: Path
    entry: Listed
    metadata: bytes
    requires: frozenset[str] = frozenset()
    statement: bytes | None = None
    content: bytes | None = None

    def read(self) -> bytes:
        """The wheel's bytes; raises InvalidWheel unless they are those that were checked."""
        data = self.path.read_bytes() if self.content is None else self.content
        if sha256(data) != self.entry.sha256:
            raise InvalidWheel(f"{self.path} changes while it is read", next_step="run again")
        return data

    def stated(self, statement: bytes) -> StagedWheel:
        """The same with a statement to stand beside the wheel."""
        entry = replace(self.entry, provenance_sha256=sha256(statement))
        return replace(self, entry=entry, statement=statement)


def timestamp(now: datetime | None) -> str:
    """``now`` (with a time zone; the running time if None) as the list writes it."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stage_wheel(wheel: Path, moment: str, proof: str) -> StagedWheel:
    """Check a wheel; ``moment`` is its upload time, ``proof`` its verdict's sha256.

    Raises InvalidWheel if it is none, or if its METADATA speaks of something else.
    """
    require_plain_name(wheel.name)
    try:
        data = wheel.read_bytes()
    except OSError as error:
        raise InvalidWheel(
            f"{wheel} is not a wheel: {error}", next_step="publish what repack.py made"
        ) from error
    return _checked(wheel, data, moment, proof)


def stage_generated(wheel: Generated, moment: str, proof: str) -> StagedWheel:
    """The same for a wheel that is in no file."""
    checked = _checked(Path(require_plain_name(wheel.filename)), wheel.data, moment, proof)
    return replace(checked, content=wheel.data)


def _checked(wheel: Path, data: bytes, moment: str, proof: str) -> StagedWheel:
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            stem = "-".join(wheel.name.split("-")[:2])
            with archive.open(f"{stem}.dist-info/METADATA") as member:
                raw = member.read(_MOST)
        metadata = Metadata.from_email(raw, validate=False)
        said = (canonicalize_name(metadata.name), metadata.version)
        requires_python = str(metadata.requires_python or "")
        requires = frozenset(
            canonicalize_name(required.name)
            for required in metadata.requires_dist or ()
            if "extra" not in str(required.marker)
        )
    except _NO_WHEEL as error:
        raise InvalidWheel(
            f"{wheel} is no wheel that can be read, or its METADATA is none: {error}",
            next_step="publish what repack.py made",
        ) from error
    except (InvalidMetadata, ExceptionGroup) as error:
        raise InvalidWheel(
            f"{wheel} has invalid METADATA: {error}", next_step="publish what repack.py made"
        ) from error
    if said != (name, version):
        raise InvalidWheel(
            f"{wheel} says that it is {said[0]} {said[1]}",
            next_step="publish what repack.py made, under the name that it gave",
        )
    entry = Listed(
        filename=wheel.name,
        project=name,
        version=str(version),
        sha256=sha256(data),
        size=len(data),
        upload_time=moment,
        requires_python=requires_python,
        metadata_sha256=sha256(raw),
        verdict_sha256=proof,
    )
    return StagedWheel(wheel, entry, raw, requires)
