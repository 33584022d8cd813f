"""Wheels on their way into an index: what they say of themselves, and whether they were proved."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .errors import InvalidWheel, NotProved
from .files import sha256
from .ledger import Listed, plain
from .verdict import Verdict

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
class Generated:
    """A wheel made from a proof and not judged by it; its name and its bytes."""

    filename: str
    data: bytes


@dataclass(frozen=True)
class Candidate:
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

    def stated(self, statement: bytes) -> Candidate:
        """The same with a statement to stand beside the wheel."""
        entry = replace(self.entry, provenance_sha256=sha256(statement))
        return replace(self, entry=entry, statement=statement)


@dataclass(frozen=True)
class Parcel:
    """What is published together: all wheels of a proof, and what was made from it.

    ``candidates`` are the proved wheels, those that pin others first, ``generated`` the others.
    ``picture`` is an SVG, if it exists.
    """

    candidates: tuple[Candidate, ...]
    proof: Proof
    picture: Path | None = None
    generated: tuple[Candidate, ...] = ()

    @classmethod
    def of(
        cls,
        wheels: Sequence[Path],
        proof: Proof,
        *,
        picture: Path | None = None,
        now: datetime | None = None,
        generated: Sequence[Generated] = (),
        statements: Mapping[str, bytes] | None = None,
        accepted: str = "publish",
    ) -> Parcel:
        """Check ``wheels`` and that ``proof`` speaks of all of them, and of no other.

        ``generated`` wheels are published with them; ``statements`` maps names of either to what
        is to stand beside the wheel. ``now`` (with a time zone) is the upload time of those that
        the index does not have yet, ``accepted`` the verdict that lets them in.
        Raises NotProved, InvalidWheel.
        """
        moment = moment_of(now)
        digest = sha256(proof.data)
        candidates = [read_candidate(wheel, moment, digest) for wheel in wheels]
        require_proof(candidates, proof, accepted)
        made = [read_generated(one, moment, digest) for one in generated]
        statements = statements or {}
        known = {c.entry.filename for c in (*candidates, *made)}
        if unknown := sorted(statements.keys() - known):
            raise InvalidWheel(
                f"there is a statement on {', '.join(unknown)}, and no such wheel",
                next_step="give the wheel too, or drop the statement",
            )
        sealed = [_sealed(c, statements) for c in _pinning_first(candidates)]
        return cls(tuple(sealed), proof, picture, tuple(_sealed(c, statements) for c in made))

    @property
    def everything(self) -> tuple[Candidate, ...]:
        """All wheels, in the order in which they should appear."""
        return self.candidates + self.generated


def moment_of(now: datetime | None) -> str:
    """``now`` (with a time zone; the running time if None) as the list writes it."""
    return (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sealed(candidate: Candidate, statements: Mapping[str, bytes]) -> Candidate:
    statement = statements.get(candidate.entry.filename)
    return candidate if statement is None else candidate.stated(statement)


def _pinning_first(candidates: Sequence[Candidate]) -> list[Candidate]:
    """In the order in which a client may see them one by one.

    A wheel that pins its partner cannot be taken without it; a wheel that is pinned could be
    taken with a partner from elsewhere, so it must not be seen before ours.
    """
    projects = [c.entry.project for c in candidates]
    pinned = {p: sum(p in c.requires for c in candidates) for p in projects}
    return sorted(candidates, key=lambda c: pinned[c.entry.project])


def read_candidate(wheel: Path, moment: str, proof: str) -> Candidate:
    """Check a wheel; ``moment`` is its upload time, ``proof`` its verdict's sha256.

    Raises InvalidWheel if it is none, or if its METADATA speaks of something else.
    """
    plain(wheel.name)
    try:
        data = wheel.read_bytes()
    except OSError as error:
        raise InvalidWheel(
            f"{wheel} is not a wheel: {error}", next_step="publish what repack.py made"
        ) from error
    return _checked(wheel, data, moment, proof)


def read_generated(wheel: Generated, moment: str, proof: str) -> Candidate:
    """The same for a wheel that is in no file."""
    checked = _checked(Path(plain(wheel.filename)), wheel.data, moment, proof)
    return replace(checked, content=wheel.data)


def _checked(wheel: Path, data: bytes, moment: str, proof: str) -> Candidate:
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
    return Candidate(wheel, entry, raw, requires)


def require_proof(
    candidates: Sequence[Candidate], verdict: Claim, accepted: str = "publish"
) -> None:
    """Raise NotProved unless ``verdict`` lets exactly these files be published, all of them."""
    if verdict.verdict != accepted:
        raise NotProved(
            f"the verdict on {verdict.release} is {verdict.verdict}: {verdict.reason}",
            next_step=f"only wheels with the verdict `{accepted}` go into an index",
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
