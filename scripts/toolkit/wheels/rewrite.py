"""Repack a wheel: other contents in a few members, every other byte carried over."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit.util.errors import InvalidWheel
from toolkit.util.files import not_writable_errors, replacing
from toolkit.wheels.archive import UTF8, Member, zip_bytes
from toolkit.wheels.wheelfile import Wheel, is_version, record_row

# Raise it with any change to the bytes that repack writes for the same input.
FORMAT = 1

_VERSION_LINE = re.compile(rb"^(__version__\s*(?::[^=\n]+)?=\s*)([\"'])([^\"'\n]*)\2", re.M)
_VERSION = re.compile(r"([^:]+:\s*)\S+(\s*)")
# PEP 508, as far as a partner's requirement goes: a version, no URL. The marker comes after it.
_NAME = re.compile(r"[^:]+:\s*([A-Za-z0-9._-]+)")
_REQUIREMENT = re.compile(r"([^:]+:\s*[A-Za-z0-9._-]+(?:\s*\[[^]]*\])?)[^@]*")

# What Python imports instead of, or before, a module of the same name.
_COMPILED = {".pyc", ".so", ".pyd"}


def rewrite(
    official: Wheel,
    changed: Mapping[str, bytes],
    *,
    version: Version,
    pins: Mapping[str, Version],
    version_file: str,
    out_dir: Path,
) -> Path:
    """Write ``official`` as ``version`` into ``out_dir`` and return the new wheel's path.

    ``changed`` maps members to their new content; ``pins`` maps canonical names of partners to
    the one version of each that is required from now on. Besides these only ``version_file``'s
    ``__version__`` line, METADATA's ``Version:`` and partner lines, the names of dist-info and
    ``.data``, and RECORD differ. Changed members are stored, so no zlib decides over the bytes:
    the same input gives the same file everywhere.

    Raises InvalidWheel for a wheel that cannot be carried over, NotWritable.
    """
    # what cannot be repacked
    record, metadata = f"{official.dist_info}/RECORD", f"{official.dist_info}/METADATA"
    if signed := [n for n in (f"{record}.jws", f"{record}.p7s") if n in official.members]:
        raise _impossible(official, f"{signed[0]} would be void")
    if version_file not in official.members:
        raise _impossible(official, f"it has no {version_file}")
    if hidden := _hiding(official.members, {*changed, version_file}):
        raise _impossible(official, f"{hidden} would be imported instead of the patched module")

    # the members with a new content; RECORD last, as it lists the others
    contents = dict(changed)
    module = contents.get(version_file, official.read(version_file))
    contents[version_file] = _edit_version_file(official, module, version)
    contents[metadata] = _edit_metadata(official, version, pins)
    contents[record] = _edit_record(official, contents, version)

    # the wheel
    members: list[Member] = []
    for name in _order(official, official.members, contents):
        # a new file has the date and the attributes of the version file
        member = official.members.get(name, official.members[version_file])
        info = copy(member.info)
        info.orig_filename = info.filename = renamed_member(official, name, version)
        member = replace(member, info=info)
        members.append(_with_content(member, contents[name]) if name in contents else member)
    path = out_dir / f"{official.path.name.split('-')[0]}-{version}-{official.tag}.whl"
    with not_writable_errors(out_dir), replacing(path) as draft, draft.open("wb") as file:
        file.writelines(zip_bytes(members))
    return path


def renamed_member(official: Wheel, name: str, version: Version) -> str:
    """Return a member's name in the repacked wheel; dist-info and ``.data`` carry the version."""
    stem = official.dist_info.removesuffix(".dist-info")
    top, slash, rest = name.partition("/")
    if top in (f"{stem}.dist-info", f"{stem}.data"):
        return f"{stem.split('-')[0]}-{version}{top.removeprefix(stem)}{slash}{rest}"
    return name


def _impossible(official: Wheel, reason: str) -> InvalidWheel:
    return InvalidWheel(
        f"{official.path.name} cannot be repacked: {reason}", next_step="report this: a new case"
    )


def _hiding(members: Iterable[str], changed: Iterable[str]) -> str:
    """Return a member that Python would import instead of a changed module, or an empty string."""
    modules = {PurePosixPath(name).with_suffix("") for name in changed if name.endswith(".py")}
    for name in members:
        path = PurePosixPath(name)
        folder = path.parent.parent if path.parent.name == "__pycache__" else path.parent
        compiled = path.suffix in _COMPILED and folder / path.name.partition(".")[0] in modules
        if compiled or (path.name == "__init__.py" and path.parent in modules):
            return name
    return ""


def _order(official: Wheel, names: Iterable[str], contents: Iterable[str]) -> Iterator[str]:
    """Yield ``names``, and the new ones of ``contents`` sorted before the first of dist-info."""
    added = sorted(set(contents) - official.members.keys())
    for name in names:
        if name.startswith(f"{official.dist_info}/"):
            yield from added
            added = []
        yield name


def _edit_version_file(official: Wheel, text: bytes, version: Version) -> bytes:
    # compared as versions: a release candidate may spell itself 1.4.0.rc1
    literals = [match[3].decode("utf-8", "replace") for match in _VERSION_LINE.finditer(text)]
    if len(literals) != 1 or not is_version(literals[0], official.version):
        raise _impossible(official, f"it has no single line __version__ = '{official.version}'")
    return _VERSION_LINE.sub(rb"\g<1>\g<2>%b\g<2>" % str(version).encode(), text)


def _edit_metadata(official: Wheel, version: Version, pins: Mapping[str, Version]) -> bytes:
    """Edit header lines only: parsing and writing METADATA again would alter the rest."""
    text = official.read(f"{official.dist_info}/METADATA")
    end = re.search(rb"^\r?\n", text, re.M)
    head, body = (text[: end.start()], text[end.start() :]) if end else (text, b"")
    lines = [line.decode() for line in head.splitlines(keepends=True)]
    for number, line in enumerate(lines):
        field = line.partition(":")[0].lower()
        name = _NAME.match(line)
        pin = pins.get(canonicalize_name(name[1])) if name else None
        is_folded = lines[number + 1 : number + 2] and lines[number + 1][0] in " \t"
        if field == "version":
            parts = _VERSION.fullmatch(line)
            if parts is None or is_folded:
                raise _impossible(official, f"{line.strip()!r} has no version in it")
            lines[number] = f"{parts[1]}{version}{parts[2]}"
        elif field == "requires-dist" and pin is not None:
            required, semicolon, marker = line.partition(";")
            gap = required[len(required.rstrip()) :]
            parts = _REQUIREMENT.fullmatch(required.rstrip())
            if parts is None or is_folded:
                raise _impossible(official, f"{line.strip()!r} cannot be pinned")
            lines[number] = f"{parts[1]}=={pin}{gap}{semicolon}{marker}"
    return "".join(lines).encode() + body


def _edit_record(official: Wheel, contents: Mapping[str, bytes], version: Version) -> bytes:
    """Return RECORD for the repacked wheel: the official rows but for ``contents``."""
    table = io.StringIO(newline="")
    is_dos = b"\r\n" in official.read(f"{official.dist_info}/RECORD")
    writer = csv.writer(table, lineterminator="\r\n" if is_dos else "\n")
    for name in _order(official, official.record, contents):
        row = official.record.get(name, ("", ""))
        if name in contents:
            row = record_row(contents[name])
        writer.writerow((renamed_member(official, name, version), *row))
    return table.getvalue().encode()


def _with_content(member: Member, content: bytes) -> Member:
    """Return a stored member with ``content``, and date, attributes, extra fields of ``member``."""
    info = copy(member.info)
    info.flag_bits &= UTF8
    info.compress_type = zipfile.ZIP_STORED
    info.CRC = zlib.crc32(content)
    info.compress_size = info.file_size = len(content)
    return replace(member, info=info, stored=content)
