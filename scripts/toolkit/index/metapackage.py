"""The one name to depend on: a small wheel that requires exactly the pair that was proved.

With it a resolver takes the patched pair or fails loudly, never half of it. It is a pure function
of the pair and of ``scripts/livekit_dispatched/``, which it carries: whoever doubts it makes it
again. Once published it stays as it is; that package's later changes reach the next revision.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

from livekit_dispatched.condition import read_record, record_digest
from toolkit.index.staged_wheel import Generated
from toolkit.util.errors import InvalidWheel
from toolkit.util.files import text_of
from toolkit.util.names import MAIN
from toolkit.util.workspace import REPOSITORY
from toolkit.wheels.wheelfile import record_row

PROJECT = "livekit-dispatched"
PACKAGE = "livekit_dispatched"
SOURCES = Path(__file__).parents[2] / PACKAGE
EXPECTED = f"{PACKAGE}/expected.json"
_EPOCH = (2020, 2, 2, 0, 0, 0)
_ABOUT = """\
livekit-agents with the dispatched flag: `update_chat_ctx()` spares the function calls in flight.
This distribution requires exactly the pair of wheels that was proved, so that a resolver takes
both or fails. `python -m livekit_dispatched` says whether an environment is patched, complete and
untampered, and whether it loses tool calls; `--help` lists the exit codes.
"""
_ABOUT_FIXED = """\
livekit-agents no longer loses function calls that are in flight, so nothing is patched any more:
this distribution requires the official wheels, and you may drop it. Until then
`python -m livekit_dispatched` says whether an environment loses tool calls.
"""


@dataclass(frozen=True)
class _Part:
    """One wheel of the pair, as far as it matters here; ``record`` is its RECORD's digest."""

    filename: str
    project: str
    version: Version
    said: str
    requires_python: str
    record: str


def metapackage_version(release: Version | str, revision: int) -> Version:
    """``1.8.9.1`` for revision 1 of 1.8.9, and for a pre-release ``2.0.0b1.post1`` (PEP 440).

    Revision 0 is the official release, with nothing patched.
    Sorted, they stand in the order of (release, revision). Raises InvalidWheel for a release of
    more than three parts, a post- or development release: there it would not hold.
    """
    version = Version(str(release))
    odd = len(version.release) > 3 or version.epoch or version.local
    if odd or version.is_postrelease or version.is_devrelease or revision < 0:
        raise InvalidWheel(
            f"there is no version of {PROJECT} for revision {revision} of {version}",
            next_step="widen the rule in scripts/toolkit/index/metapackage.py: "
            "upstream has a new scheme",
        )
    if version.pre:
        return Version(f"{version}.post{revision}")
    parts = (*version.release, 0, 0)[:3]
    return Version(".".join(map(str, (*parts, revision))))


def metapackage_name(release: Version | str, revision: int) -> str:
    """The file name of a release's companion. Raises InvalidWheel, as its version does."""
    return f"{PACKAGE}-{metapackage_version(release, revision)}-py3-none-any.whl"


def release_of(version: Version) -> tuple[Version, int]:
    """The release and revision that :func:`metapackage_version` made ``version`` of; ValueError."""
    if version.post is not None and version.pre:
        return Version(str(version).partition(".post")[0]), version.post
    if len(version.release) != 4 or version != Version(".".join(map(str, version.release))):
        raise ValueError(f"{version} is no version of {PROJECT}")
    return Version(".".join(map(str, version.release[:3]))), version.release[3]


def make_metapackage(
    wheels: Sequence[Path], *, release: Version | str, revision: int, series: str
) -> Generated:
    """The companion of a pair; ``series`` is the digest of the patches that were applied.

    ``wheels`` are those that are published together: every platform's, and the official partner
    where only one of the two is patched. The same input gives the same bytes. Raises InvalidWheel.
    """
    parts = [_read(wheel) for wheel in wheels]
    pins = {part.project: f"=={part.version}" for part in parts}
    return _generate(parts, pins, Version(str(release)), revision, series)


def final_metapackage(
    wheels: Sequence[Path], *, release: Version | str, revision: int = 0
) -> Generated:
    """The last companion: it requires the official ``release`` that is fixed, or a later one."""
    parts = [_read(wheel) for wheel in wheels]
    pins = {part.project: f">={part.version}" for part in parts}
    return _generate(parts, pins, Version(str(release)), revision, None)


def _generate(
    parts: Sequence[_Part],
    pins: Mapping[str, str],
    release: Version,
    revision: int,
    series: str | None,
) -> Generated:
    version = metapackage_version(release, revision)
    main = [part for part in parts if part.project == MAIN]
    if not main or len({(p.project, p.version) for p in parts}) != len(pins):
        raise InvalidWheel(
            f"{', '.join(p.filename for p in parts) or 'nothing'} is not one release's pair",
            next_step="give every wheel of the release and of its partner, and no other",
        )
    stem = f"{PACKAGE}-{version}"
    contents = {f"{PACKAGE}/{path.name}": text_of(path) for path in sorted(SOURCES.glob("*.py"))}
    contents[EXPECTED] = _expected(parts, str(release), revision, series)
    contents[f"{stem}.dist-info/METADATA"] = _metadata(version, pins, main[0], fixed=not series)
    contents[f"{stem}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: livekit-dispatched-toolkit\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
    license_text = text_of(REPOSITORY / "LICENSE")
    contents[f"{stem}.dist-info/licenses/LICENSE"] = license_text
    return Generated(
        metapackage_name(release, revision), _archive(contents, f"{stem}.dist-info/RECORD")
    )


def _read(wheel: Path) -> _Part:
    try:
        with zipfile.ZipFile(wheel) as archive:
            folder = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
            headers = BytesHeaderParser().parsebytes(archive.read(f"{folder}/METADATA"))
            rows = read_record(archive.read(f"{folder}/RECORD").decode())
        return _Part(
            wheel.name,
            canonicalize_name(headers["Name"]),
            Version(headers["Version"]),
            headers["Version"],
            headers.get("Requires-Python", ""),
            record_digest(rows),
        )
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError) as error:
        raise InvalidWheel(
            f"{wheel} is not a wheel: {error}", next_step="give what repack.py made"
        ) from error


def _expected(parts: Sequence[_Part], release: str, revision: int, series: str | None) -> bytes:
    distributions = {}
    for part in sorted(parts, key=lambda part: part.project):
        patched = [p for p in parts if p.project == part.project and p.version.local]
        records = {p.filename: p.record for p in sorted(patched, key=lambda p: p.filename)}
        distributions[part.project] = {"version": part.said, "records": records}
    document = {
        "format": 1,
        "release": release,
        "revision": revision,
        "series": series or "",
        "fixed": series is None,
        "distributions": distributions,
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _metadata(version: Version, pins: Mapping[str, str], main: _Part, *, fixed: bool) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {PROJECT}",
        f"Version: {version}",
        "Summary: One name for the livekit-agents wheels that lose no tool call",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        *([f"Requires-Python: {main.requires_python}"] if main.requires_python else []),
        *(f"Requires-Dist: {name}{pin}" for name, pin in sorted(pins.items())),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join([*lines, "", _ABOUT_FIXED if fixed else _ABOUT]).encode()


def _archive(contents: Mapping[str, bytes], record: str) -> bytes:
    """Everything stored and with one date, so that neither zlib nor a clock decides on a byte."""
    rows = [f"{name},{','.join(record_row(data))}\n" for name, data in contents.items()]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        whole = {**contents, record: "".join([*rows, f"{record},,\n"]).encode()}
        for name, data in whole.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, data)
    return file.getvalue()
