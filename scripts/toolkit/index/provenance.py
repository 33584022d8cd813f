"""Where a published wheel comes from: a statement that stands beside it, for whoever checks.

The shape is in-toto's Statement (v1), unsigned: it says what `audit` finds out for itself, and so
spares nobody the audit. It is no attestation in the sense of PEP 740, and no page says it is one.
The same wheels, series and verdict give the same bytes.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename
from packaging.version import Version

from toolkit.index.staged_wheel import Generated
from toolkit.patches.series import Series
from toolkit.proof.verdict import Proof
from toolkit.util.errors import InvalidWheel, PatchConflict
from toolkit.util.files import sha256, sha256_of, text_of
from toolkit.util.strict_json import Malformed, mapping_of, members
from toolkit.util.workspace import REPOSITORY
from toolkit.wheels.rewrite import FORMAT

SUFFIX = ".provenance.json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:livekit-dispatched:wheel:1"
KINDS = ("repacked", "official", "generated")


@dataclass(frozen=True)
class Applied:
    """One idea of the series, the file that carries it for this release, and that file's sha256."""

    patch: str
    variant: str
    sha256: str


@dataclass(frozen=True)
class Statement:
    """Where the wheel ``name`` with ``sha256`` comes from.

    ``kind`` is "repacked" (official plus series), "official" (carried over as it is) or
    "generated" (the companion). ``sources`` maps what it was made from, file name -> sha256.
    ``series`` is the digest of the patches, ``patches`` they themselves where the repository still
    had them when the statement was made. ``verdict`` is the file in the index, ``verdict_sha256``
    its digest, ``result`` and ``tier`` what it says. ``toolkit`` and ``format`` are the versions
    of the scripts and of what repack writes.
    """

    name: str
    sha256: str
    kind: str
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

    def to_json(self) -> bytes:
        """The statement as in-toto writes one; :meth:`parse` reads it."""
        predicate = asdict(self)
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
        try:
            raw = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise Malformed(f"the statement is not JSON: {error}") from error
        outer = {"_type": str, "subject": list, "predicateType": str, "predicate": dict}
        found = members(raw, "statement", outer, {})
        if (found["_type"], found["predicateType"]) != (STATEMENT, PREDICATE):
            raise Malformed("the statement is of another type")
        if len(found["subject"]) != 1:
            raise Malformed("the statement does not have one subject")
        subject = members(found["subject"][0], "subject", {"name": str, "digest": dict}, {})
        digest = members(subject["digest"], "digest", {"sha256": str}, {})
        keys: dict[str, type] = dict.fromkeys(cls.__dataclass_fields__, str)
        keys |= {"revision": int, "format": int, "sources": dict, "patches": list}
        inner = {key: kind for key, kind in keys.items() if key not in ("name", "sha256")}
        predicate: dict[str, Any] = members(found["predicate"], "predicate", inner, {})
        if predicate["kind"] not in KINDS:
            raise Malformed(f"the statement's kind is {predicate['kind']!r}")
        predicate["sources"] = mapping_of(predicate["sources"], str, "sources")
        texts = dict.fromkeys(Applied.__dataclass_fields__, str)
        rows = [members(row, "patches", texts, {}) for row in predicate["patches"]]
        predicate["patches"] = tuple(Applied(**row) for row in rows)
        return cls(subject["name"], digest["sha256"], **predicate)


def statements(
    wheels: Sequence[Path],
    proof: Proof,
    *,
    official: Mapping[str, str],
    series: Series,
    generated: Sequence[Generated] = (),
) -> dict[str, bytes]:
    """The statements of everything that is published by a proof, by the wheel's file name.

    ``official`` maps the names of the official wheels, every platform's, to sha256; those that the
    verdict names need not be among them. Raises InvalidWheel if one is missing there.
    """
    verdict = json.loads(proof.data)
    known = {**verdict["official"]["wheels"], **official}
    explored = verdict["exploration"] or {}
    common: dict[str, Any] = {
        "release": proof.release,
        "revision": verdict["revision"],
        "series": verdict["series"],
        "patches": _applied(series, proof.release, verdict["series"]),
        "verdict": proof.name,
        "verdict_sha256": sha256(proof.data),
        "result": proof.verdict,
        "tier": explored.get("tier", ""),
        "toolkit": toolkit_version(),
        "format": FORMAT,
    }
    made = {}
    sums = {wheel.name: sha256_of(wheel) for wheel in wheels}
    for name, digest in sums.items():
        if parse_wheel_filename(name)[1].local:
            kind, sources = "repacked", _source(name, known)
        else:
            kind, sources = "official", {name: digest}
        of = common if kind == "repacked" else {**common, "patches": ()}
        made[name] = Statement(name, digest, kind, sources=sources, **of).to_json()
    for one in generated:
        of = {**common, "patches": ()}
        statement = Statement(one.filename, sha256(one.data), "generated", sources=sums, **of)
        made[one.filename] = statement.to_json()
    return made


def official_name(wheel: str) -> str:
    """The official file that a repacked wheel's name tells of: without the local part."""
    name, version, tag = wheel.split("-", 2)
    return f"{name}-{version.partition('+')[0]}-{tag}"


@cache
def toolkit_version() -> str:
    """This toolkit's own version."""
    text = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    version: str = tomllib.loads(text)["project"]["version"]
    return version


def _source(wheel: str, known: Mapping[str, str]) -> dict[str, str]:
    name = official_name(wheel)
    # a release candidate's file may be spelt 1.4.0.rc1, where ours is spelt 1.4.0rc1
    ours = parse_wheel_filename(name)
    for other, digest in known.items():
        if parse_wheel_filename(other) == ours:
            return {other: digest}
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
