"""Are the distributions in this environment, file by file, those that were proved?

``expected.json`` beside this module says which: for each distribution the version, and where it is
a patched one, the digest of its wheel's RECORD for each platform. RECORD in turn says what every
file must be (PEP 376), but no installer ever looks.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.machinery
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

UNPATCHED, INCOMPLETE, TAMPERED = "unpatched", "incomplete", "tampered"
# what installers take over from a wheel's own folder; the rest of it is theirs
_CARRIED = ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt")
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Problem:
    """``kind`` is UNPATCHED, INCOMPLETE or TAMPERED; ``text`` says what, where."""

    kind: str
    text: str


@dataclass(frozen=True)
class Wanted:
    """A distribution as it must be. ``records`` are the digests that its RECORD may have, one a
    platform; without any it is an official one, whose own RECORD is all there is to go by.
    ``exact`` is false where a later version is welcome.
    """

    name: str
    version: str
    records: tuple[str, ...]
    exact: bool = True


@dataclass(frozen=True)
class Expected:
    """What ``expected.json`` says. ``fixed``: upstream needs no patches from ``release`` on."""

    release: str
    revision: int
    series: str
    fixed: bool
    distributions: tuple[Wanted, ...]


def read_expected(path: Path | None = None) -> Expected:
    """Read the file beside this module, or another; KeyError or ValueError if it is damaged."""
    path = path or Path(__file__).with_name("expected.json")
    raw: dict[str, Any] = json.loads(path.read_text("utf-8"))
    wanted = tuple(
        Wanted(name, row["version"], tuple(sorted(row["records"].values())), not raw["fixed"])
        for name, row in raw["distributions"].items()
    )
    return Expected(raw["release"], raw["revision"], raw["series"], raw["fixed"], wanted)


def examine(expected: Expected) -> list[Problem]:
    """Everything that is not as ``expected`` in this environment."""
    return [problem for wanted in expected.distributions for problem in _examine(wanted)]


def shadows(expected: Expected) -> list[Problem]:
    """Modules of the expected distributions that were imported from another place."""
    found = []
    for wanted in expected.distributions:
        try:
            there = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        for name, _, _ in _record_of(there):
            module = sys.modules.get(name[: -len("/__init__.py")].replace("/", "."))
            origin = getattr(module, "__file__", None)
            if name.endswith("/__init__.py") and origin:
                place = Path(str(there.locate_file(name)))
                if Path(origin).resolve() != place.resolve():
                    found.append(Problem(TAMPERED, f"{origin} is imported, not {place}"))
    return found


def installed(name: str) -> str | None:
    """The version of a distribution here, or None."""
    try:
        return distribution(name).version
    except PackageNotFoundError:
        return None


def _examine(wanted: Wanted) -> Iterator[Problem]:
    try:
        found = distribution(wanted.name)
    except PackageNotFoundError:
        yield Problem(INCOMPLETE, f"{wanted.name} is not installed; {wanted.version} was proved")
        return
    version = found.version or ""
    patched = bool(wanted.records)
    if wanted.exact and (version if patched else version.partition("+")[0]) != wanted.version:
        yield Problem(UNPATCHED, f"{wanted.name} is {version}, not {wanted.version}")
        return
    rows = _record_of(found)
    if not rows:
        yield Problem(INCOMPLETE, f"{wanted.name} {version} has no RECORD that can be read")
        return
    if patched and record_digest(rows) not in wanted.records:
        yield Problem(TAMPERED, f"the RECORD of {wanted.name} {version} is not its wheel's")
    yield from _differences(found, rows)
    for stranger in strangers(Path(str(found.locate_file(""))), [row[0] for row in rows]):
        yield Problem(TAMPERED, f"{stranger} belongs to no wheel")


def _differences(found: Distribution, rows: Iterable[Row]) -> Iterator[Problem]:
    for name, said, _ in carried(rows):
        algorithm, _, value = said.partition("=")
        try:
            data = Path(str(found.locate_file(name))).read_bytes()
        except OSError:
            yield Problem(INCOMPLETE, f"{name} is missing")
            continue
        if algorithm not in ("sha256", "sha384", "sha512"):
            yield Problem(TAMPERED, f"{name} has no secure hash in RECORD")
            continue
        digest = hashlib.new(algorithm, data).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != value:
            yield Problem(TAMPERED, f"{name} was altered")


def read_record(text: str) -> list[Row]:
    """The rows of a RECORD, those of three fields: path, hash, size."""
    rows = csv.reader(text.splitlines())
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def _record_of(found: Distribution) -> list[Row]:
    try:
        return read_record(found.read_text("RECORD") or "")
    except (OSError, ValueError, csv.Error):
        return []


def record_digest(rows: Iterable[Row]) -> str:
    """One sha256 (hex) over the rows that every installer takes over from the wheel."""
    text = "\n".join(",".join(row) for row in sorted(carried(rows)))
    return hashlib.sha256(text.encode()).hexdigest()


def carried(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of a wheel's own files: none that an installer adds, such as scripts or .pyc."""
    for row in rows:
        top, _, rest = row[0].partition("/")
        own = not top.endswith(".dist-info") or "/" in rest or rest in _CARRIED
        if own and top != ".." and not row[0].endswith(".pyc"):
            yield row


def strangers(site: Path, listed: Iterable[str]) -> list[str]:
    """Modules that lie inside the packages of ``listed`` (paths below ``site``) and are not
    among them: one that shadows another needs no change to any file.
    """
    known = set(listed)
    homes = {name.rpartition("/")[0] for name in known if name.endswith("/__init__.py")}
    roots = [h for h in homes if not any(h.startswith(f"{other}/") for other in homes)]
    suffixes = tuple(importlib.machinery.all_suffixes())
    found = []
    for root in sorted(roots):
        for path in sorted((site / root).rglob("*")):
            name = path.relative_to(site).as_posix()
            if name.endswith(suffixes) and name not in known and path.parent.name != "__pycache__":
                found.append(name)
    return found
