"""A wheel on its way into an index: what it says of itself, and whether it was proved."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import InvalidMetadata, Metadata
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .errors import InvalidWheel, NotProved
from .files import sha256
from .pages import Listed
from .verdict import Verdict

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Candidate:
    """A wheel about to be published: its bytes, its METADATA and what the list will say."""

    entry: Listed
    data: bytes
    metadata: bytes


def read_candidate(wheel: Path, moment: str, proof: str) -> Candidate:
    """Read a wheel once; what is checked is what gets published.

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
    return Candidate(entry, data, raw)


def require_proof(candidates: Sequence[Candidate], verdict: Verdict) -> None:
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


def proof_name(verdict: Verdict) -> str:
    """The file name of a verdict, such as ``1.8.9+dispatched.1.json``."""
    local = {parse_wheel_filename(wheel)[1].local for wheel in verdict.wheels} - {None}
    return plain("+".join([verdict.release, *map(str, sorted(local, key=str))]) + ".json")


def plain(name: str) -> str:
    """``name`` if it is harmless in a path, a link and a page; raises InvalidWheel if not."""
    if not _PLAIN.fullmatch(name):
        raise InvalidWheel(
            f"{name!r} is no file name for an index",
            next_step="use letters, digits and . _ + - only, as wheels do",
        )
    return name
