"""The statement beside a published wheel: what it was made from, and by which verdict.

The shape is in-toto's Statement (v1), unsigned: it says what `audit` finds out for itself, and so
does not replace the audit. It is no attestation in the sense of PEP 740, and no page says so.
The same wheels, series and verdict give the same bytes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.index.staged_wheel import Generated
from toolkit.patches.series import Series
from toolkit.proof.verdict import Proof
from toolkit.util.errors import InvalidWheel, PatchConflict
from toolkit.util.files import sha256, sha256_of, text_of
from toolkit.util.strict_json import Malformed, decode, encode, load
from toolkit.util.workspace import REPOSITORY
from toolkit.wheels.rewrite import FORMAT

SUFFIX = ".provenance.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:livekit-dispatched:wheel:1"


@dataclass(frozen=True)
class Applied:
    """One patch of the series, the file of its variant for this release, and that file's sha256."""

    patch: str
    variant: str
    sha256: str


@dataclass(frozen=True)
class Predicate:
    """Where a wheel comes from.

    ``kind`` is "repacked" (official plus series), "official" (carried over as it is) or
    "generated" (the metapackage). ``sources`` maps what it was made from, file name -> sha256.
    ``series`` is the digest of the patches, ``patches`` they themselves where the repository still
    had them when the statement was made. ``verdict`` is the file in the index, ``verdict_sha256``
    its digest, ``result`` and ``tier`` what it says. ``toolkit`` and ``format`` are the versions
    of the scripts and of what repack writes.
    """

    kind: Literal["repacked", "official", "generated"]
    release: str
    revision: int
    sources: Mapping[str, str]
    series: str
    patches: tuple[Applied, ...]
    verdict: str
    verdict_sha256: str
    result: str
    tier: str
    toolkit: str
    format: int


@dataclass(frozen=True)
class Statement(Predicate):
    """Where the wheel ``name`` with ``sha256`` comes from."""

    name: str
    sha256: str

    def to_json(self) -> bytes:
        """Return the statement as in-toto writes one; :meth:`parse` reads it."""
        predicate = encode(self)
        subject = {"name": predicate.pop("name"), "digest": {"sha256": predicate.pop("sha256")}}
        document = {
            "_type": STATEMENT,
            "subject": [subject],
            "predicateType": PREDICATE,
            "predicate": predicate,
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Read what :meth:`to_json` wrote; raises Malformed for anything else."""
        envelope = decode(_Envelope, load(data, "the statement"), "the statement")
        if (envelope.type, envelope.predicate_type) != (STATEMENT, PREDICATE):
            raise Malformed("the statement is of another type")
        if len(envelope.subject) != 1:
            raise Malformed("the statement does not have one subject")
        (subject,) = envelope.subject
        digest = subject.digest.sha256
        return cls(name=subject.name, sha256=digest, **vars(envelope.predicate))


@dataclass(frozen=True)
class _Digest:
    sha256: str


@dataclass(frozen=True)
class _Subject:
    name: str
    digest: _Digest


@dataclass(frozen=True)
class _Envelope:
    type: str = field(metadata={"json_name": "_type"})
    subject: tuple[_Subject, ...]
    predicate_type: str = field(metadata={"json_name": "predicateType"})
    predicate: Predicate


def statements(
    wheels: Sequence[Path],
    proof: Proof,
    *,
    official: Mapping[str, str],
    series: Series,
    generated: Sequence[Generated] = (),
) -> dict[str, bytes]:
    """Return the statements of everything that is published by a proof, by the wheel's file name.

    ``official`` maps the names of the official wheels, every platform's, to sha256; those that the
    verdict names need not be among them. Raises InvalidWheel if one is missing there.
    """
    # what all statements have in common
    verdict = json.loads(proof.data)
    originals = {**verdict["official"]["wheels"], **official}
    common: dict[str, Any] = {
        "release": proof.release,
        "revision": verdict["revision"],
        "series": verdict["series"],
        "patches": (),
        "verdict": proof.name,
        "verdict_sha256": sha256(proof.data),
        "result": proof.verdict,
        "tier": (verdict["exploration"] or {}).get("tier", ""),
        "toolkit": toolkit_version(),
        "format": FORMAT,
    }
    applied = _applied(series, proof.release, verdict["series"])

    def statement(name: str, digest: str, sources: Mapping[str, str], **rest: Any) -> bytes:
        members = {**common, **rest}
        return Statement(name=name, sha256=digest, sources=sources, **members).to_json()

    # one for each wheel, by what it was made from
    digests = {wheel.name: sha256_of(wheel) for wheel in wheels}
    texts = {}
    for name, digest in digests.items():
        if parse_wheel_filename(name)[1].local:
            source = _source(name, originals)
            texts[name] = statement(name, digest, source, kind="repacked", patches=applied)
        else:
            texts[name] = statement(name, digest, {name: digest}, kind="official")
    for made in generated:
        name, digest = made.filename, sha256(made.data)
        texts[name] = statement(name, digest, digests, kind="generated")
    return texts


@cache
def toolkit_version() -> str:
    """Return this toolkit's own version."""
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    version: str = tomllib.loads(text)["project"]["version"]
    return version


def _source(wheel: str, originals: Mapping[str, str]) -> dict[str, str]:
    # a release candidate's official file may be spelt 1.4.0.rc1, its repacked one 1.4.0rc1
    project, version, build, tags = parse_wheel_filename(wheel)
    wanted = (project, Version(version.public), build, tags)
    for name, digest in originals.items():
        if parse_wheel_filename(name) == wanted:
            return {name: digest}
    raise InvalidWheel(
        f"which official file {wheel} was made from is not known",
        next_step="run `nox -s update`, so that patches/releases.toml names it",
    )


def _applied(series: Series, release: str, digest: str) -> tuple[Applied, ...]:
    version = Version(release)
    try:
        if series.digest(version) != digest:
            return ()
    except PatchConflict:
        return ()
    chosen = [(patch.name, patch.variants[since]) for patch, since in series.chosen(version)]
    return tuple(Applied(name, path.name, sha256(text_of(path))) for name, path in chosen)
