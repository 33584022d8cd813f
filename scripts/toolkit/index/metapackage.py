"""The metapackage: a small wheel that requires exactly the pair that was proved.

With it a resolver takes the patched pair or fails, never half of it. It is a pure function of the
pair and of ``scripts/livekit_dispatched/``, which it carries, so anyone can make it again. Once
published it stays as it is; later changes of that package reach the next revision.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.version import Version

from livekit_dispatched.condition import record_digest
from toolkit.index.staged_wheel import Generated
from toolkit.util.distributions import MAIN
from toolkit.util.errors import InvalidWheel
from toolkit.util.files import text_of
from toolkit.util.workspace import REPOSITORY
from toolkit.wheels.wheelfile import Wheel, record_row

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


def metapackage_version(release: Version | str, revision: int) -> Version:
    """Return ``1.8.9.1`` for revision 1 of 1.8.9, ``2.0.0b1.post1`` for a pre-release (PEP 440).

    Revision 0 is the official release, with nothing patched. Sorted, versions stand in the order
    of (release, revision). Raises InvalidWheel for releases for which that would not hold: of
    more than three parts, post- and development releases.
    """
    version = Version(str(release))
    unordered = len(version.release) > 3 or version.epoch or version.local
    if unordered or version.is_postrelease or version.is_devrelease or revision < 0:
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
    """Return the file name of a release's metapackage; raises as :func:`metapackage_version`."""
    return f"{PACKAGE}-{metapackage_version(release, revision)}-py3-none-any.whl"


def release_of(version: Version) -> tuple[Version, int]:
    """Return the release and revision of a metapackage's ``version``; raises ValueError."""
    if version.post is not None and version.pre:
        return Version(str(version).partition(".post")[0]), version.post
    if len(version.release) != 4 or version != Version(".".join(map(str, version.release))):
        raise ValueError(f"{version} is no version of {PROJECT}")
    return Version(".".join(map(str, version.release[:3]))), version.release[3]


def make_metapackage(
    paths: Sequence[Path], *, release: Version | str, revision: int, series: str
) -> Generated:
    """Make the metapackage of a pair; ``series`` is the digest of the patches in it.

    ``paths`` are the wheels that are published together: every platform's, and the official
    partner where only one of the two is patched. The same input gives the same bytes.
    Raises InvalidWheel.
    """
    return _generate(paths, "==", Version(str(release)), revision, series)


def final_metapackage(paths: Sequence[Path], *, release: Version | str) -> Generated:
    """Make the last metapackage: it requires the fixed official ``release`` or a later one."""
    return _generate(paths, ">=", Version(str(release)), 0, None)


def _generate(
    paths: Sequence[Path], operator: str, release: Version, revision: int, series: str | None
) -> Generated:
    version = metapackage_version(release, revision)
    wheels = [Wheel.open(path, sound=True) for path in paths]
    pins = {wheel.distribution: f"{operator}{wheel.version}" for wheel in wheels}
    main = [wheel for wheel in wheels if wheel.distribution == MAIN]
    if not main or len({(wheel.distribution, wheel.version) for wheel in wheels}) != len(pins):
        raise InvalidWheel(
            f"{', '.join(path.name for path in paths) or 'nothing'} is not one release's pair",
            next_step="give every wheel of the release and of its partner, and no other",
        )
    dist_info = f"{PACKAGE}-{version}.dist-info"
    contents = {f"{PACKAGE}/{path.name}": text_of(path) for path in sorted(SOURCES.glob("*.py"))}
    contents[EXPECTED] = _expected(wheels, str(release), revision, series)
    metadata = _metadata(version, pins, _header(main[0], "Requires-Python"), fixed=not series)
    contents[f"{dist_info}/METADATA"] = metadata
    contents[f"{dist_info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: livekit-dispatched-toolkit\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n"
    )
    contents[f"{dist_info}/licenses/LICENSE"] = text_of(REPOSITORY / "LICENSE")
    data = _archive(contents, f"{dist_info}/RECORD")
    return Generated(metapackage_name(release, revision), data, metadata)


def _header(wheel: Wheel, name: str) -> str:
    raw = wheel.read(f"{wheel.dist_info}/METADATA")
    return BytesHeaderParser().parsebytes(raw).get(name, "")


def _expected(wheels: Sequence[Wheel], release: str, revision: int, series: str | None) -> bytes:
    distributions = {}
    for wheel in sorted(wheels, key=lambda wheel: wheel.distribution):
        platforms = [w for w in wheels if w.distribution == wheel.distribution and w.version.local]
        records = {
            w.path.name: record_digest([(name, *row) for name, row in w.record.items()])
            for w in sorted(platforms, key=lambda w: w.path.name)
        }
        text = _header(wheel, "Version")
        distributions[wheel.distribution] = {"version": text, "records": records}
    document = {
        "format": 1,
        "release": release,
        "revision": revision,
        "series": series or "",
        "fixed": series is None,
        "distributions": distributions,
    }
    return (json.dumps(document, indent=1) + "\n").encode()


def _metadata(
    version: Version, pins: Mapping[str, str], requires_python: str, *, fixed: bool
) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {PROJECT}",
        f"Version: {version}",
        "Summary: One name for the livekit-agents wheels that lose no tool call",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        *([f"Requires-Python: {requires_python}"] if requires_python else []),
        *(f"Requires-Dist: {name}{pin}" for name, pin in sorted(pins.items())),
        "Description-Content-Type: text/markdown",
    ]
    return "\n".join([*lines, "", _ABOUT_FIXED if fixed else _ABOUT]).encode()


def _archive(contents: Mapping[str, bytes], record: str) -> bytes:
    """Zip ``contents`` stored and with one date: no byte depends on zlib or on a clock."""
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
