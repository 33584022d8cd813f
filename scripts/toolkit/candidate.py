"""Wheels on their way into an index: what they say of themselves, and whether they were proved."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .errors import InvalidWheel, NotProved
from .files import sha256
from .pages import Listed
from .verdict import Verdict

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Claim:
    """What a verdict says of which wheels; the whole verdict is a :class:`Proof` of it.

    ``wheels`` maps file names to sha256, ``dependencies`` projects to versions.
    """

    release: str
    verdict: str
    reason: str
    wheels: Mapping[str, str]
    dependencies: Mapping[str, str]

    @property
    def name(self) -> str:
        """The verdict's file name in an index, such as ``1.8.9+dispatched.1.json``."""
        every = (parse_wheel_filename(wheel)[1].local for wheel in self.wheels)
        # a borrowed partner's local part is longer than that of the release
        local = min(filter(None, every), key=len, default="")
        return plain("+".join(filter(None, (self.release, local))) + ".json")


@dataclass(frozen=True)
class Proof(Claim):
    """A claim with its verdict, as bytes, which go into the index."""

    data: bytes

    @classmethod
    def of(cls, verdict: Verdict) -> Proof:
        """The proof that a verdict is."""
        return cls(
            verdict.release,
            verdict.verdict,
            verdict.reason,
            verdict.wheels,
            verdict.dependencies,
            verdict.to_json().encode(),
        )


@dataclass(frozen=True)
class Candidate:
    """A wheel about to be published: where it is, its METADATA and what the list will say."""

    path: Path
    entry: Listed
    metadata: bytes

    def read(self) -> bytes:
        """The wheel's bytes; raises InvalidWheel unless they are those that were checked."""
        data = self.path.read_bytes()
        if sha256(data) != self.entry.sha256:
            raise InvalidWheel(f"{self.path} changes while it is read", next_step="run again")
        return data


@dataclass(frozen=True)
class Parcel:
    """What is published together: all wheels of a proof. ``picture`` is an SVG, if it exists."""

    candidates: tuple[Candidate, ...]
    proof: Proof
    picture: Path | None = None

    @classmethod
    def of(
        cls,
        wheels: Sequence[Path],
        proof: Proof,
        *,
        picture: Path | None = None,
        now: datetime | None = None,
    ) -> Parcel:
        """Check ``wheels`` and that ``proof`` speaks of all of them, and of no other.

        ``now`` (with a time zone) is the upload time of those that the index does not have yet.
        Raises NotProved, InvalidWheel.
        """
        moment = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = sha256(proof.data)
        candidates = tuple(read_candidate(wheel, moment, digest) for wheel in wheels)
        require_proof(candidates, proof)
        return cls(candidates, proof, picture)


def read_candidate(wheel: Path, moment: str, proof: str) -> Candidate:
    """Check a wheel; ``moment`` is its upload time, ``proof`` its verdict's sha256.

    Raises InvalidWheel if it is none, or if its METADATA speaks of something else.
    """
    plain(wheel.name)
    try:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        data = wheel.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            stem = "-".join(wheel.name.split("-")[:2])
            raw = archive.read(f"{stem}.dist-info/METADATA")
        metadata = Metadata.from_email(raw, validate=False)
        said = (canonicalize_name(metadata.name), metadata.version)
        requires = str(metadata.requires_python or "")
    except (InvalidWheelFilename, OSError, zipfile.BadZipFile, KeyError) as error:
        raise InvalidWheel(
            f"{wheel} is not a wheel: {error}", next_step="publish what repack.py made"
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
        requires_python=requires,
        metadata_sha256=sha256(raw),
        verdict_sha256=proof,
    )
    return Candidate(wheel, entry, raw)


def require_proof(candidates: Sequence[Candidate], verdict: Claim) -> None:
    """Raise NotProved unless ``verdict`` lets exactly these files be published, all of them."""
    if verdict.verdict != "publish":
        raise NotProved(
            f"the verdict on {verdict.release} is {verdict.verdict}: {verdict.reason}",
            next_step="only wheels with the verdict `publish` go into an index",
        )
    given = {c.entry.filename: c.entry.sha256 for c in candidates}
    unproved = sorted(name for name in given if given[name] != verdict.wheels.get(name))
    if unproved:
        raise NotProved(
            f"the verdict on {verdict.release} does not speak of these bytes: "
            + ", ".join(unproved),
            next_step="prove these very files, then publish them",
        )
    if absent := sorted(verdict.wheels.keys() - given.keys()):
        raise NotProved(
            f"the wheels were proved together, and {', '.join(absent)} is not among those given",
            next_step="publish every wheel that the verdict names",
        )


def plain(name: str) -> str:
    """``name`` if it is harmless in a path, a link and a page; raises InvalidWheel if not."""
    if not _PLAIN.fullmatch(name):
        raise InvalidWheel(
            f"{name!r} is no file name for an index",
            next_step="use letters, digits and . _ + - only, as wheels do",
        )
    return name
