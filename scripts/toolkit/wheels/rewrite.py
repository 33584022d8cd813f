"""Repacking: a wheel with other contents in a few members, and every other byte carried over."""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from copy import copy
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit.util.errors import InvalidWheel
from toolkit.util.files import not_writable_errors, replacing
from toolkit.wheels.archive import UTF8, Member, zip_bytes
from toolkit.wheels.wheelfile import Wheel, record_hash

# Raise it with any change to the bytes that repack writes for the same input.
FORMAT = 1

_VERSION = re.compile(r"([^:]+:\s*)\S+(\s*)")
# PEP 508, as far as a partner's requirement goes: a version, no URL. The marker comes after it.
_REQUIRED = re.compile(r"[^:]+:\s*([A-Za-z0-9._-]+)")
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
    record_name = f"{official.dist_info}/RECORD"
    if signed := [n for n in (f"{record_name}.jws", f"{record_name}.p7s") if n in official.members]:
        raise _impossible(official, f"{signed[0]} would be void")
    if version_file not in official.members:
        raise _impossible(official, f"it has no {version_file}")
    if hidden := _hiding(official.members, {*changed, version_file}):
        raise _impossible(official, f"{hidden} would be imported instead of the patched module")
    metadata = f"{official.dist_info}/METADATA"
    contents = dict(changed)
    source = contents.get(version_file, official.read(version_file))
    contents[version_file] = _edit_version_file(official, source, version)
    contents[metadata] = _edit_metadata(official, official.read(metadata), version, pins)
    contents[record_name] = _edit_record(official, contents, version)
    added = sorted(contents.keys() - official.members.keys())
    model = official.members[version_file]
    members: list[Member] = []
    for name, member in official.members.items():
        if added and name.startswith(f"{official.dist_info}/"):
            members += [_replaced(model, new, contents[new]) for new in added]
            added = []
        target = renamed_member(official, name, version)
        if name in contents:
            members.append(_replaced(member, target, contents[name]))
        else:
            members.append(Member(_named(member.info, target), member.extra, member.stored))
    target_path = out_dir / wheel_name(official, version)
    with not_writable_errors(out_dir), replacing(target_path) as draft, draft.open("wb") as file:
        file.writelines(zip_bytes(members))
    return target_path


def wheel_name(official: Wheel, version: Version) -> str:
    """The repacked wheel's file name: the official tag part kept verbatim."""
    return f"{official.path.name.split('-')[0]}-{version}-{official.tag}.whl"


def renamed_member(official: Wheel, name: str, version: Version) -> str:
    """A member's name in the repacked wheel: only dist-info and ``.data`` carry the version."""
    stem = official.dist_info.removesuffix(".dist-info")
    top, slash, rest = name.partition("/")
    if top in (f"{stem}.dist-info", f"{stem}.data"):
        return f"{stem.split('-')[0]}-{version}{top.removeprefix(stem)}{slash}{rest}"
    return name


def _impossible(official: Wheel, why: str) -> InvalidWheel:
    return InvalidWheel(
        f"{official.path.name} cannot be repacked: {why}", next_step="report this: a new case"
    )


def _hiding(members: Iterable[str], changed: Iterable[str]) -> str:
    """A member that Python would take for, or before, one of the changed modules; or nothing."""
    modules = {PurePosixPath(name).with_suffix("") for name in changed if name.endswith(".py")}
    for name in members:
        path = PurePosixPath(name)
        folder = path.parent.parent if path.parent.name == "__pycache__" else path.parent
        compiled = path.suffix in _COMPILED and folder / path.name.partition(".")[0] in modules
        if compiled or (path.name == "__init__.py" and path.parent in modules):
            return name
    return ""


def _edit_version_file(official: Wheel, text: bytes, version: Version) -> bytes:
    line = re.compile(rb"^(__version__\s*(?::[^=\n]+)?=\s*)([\"'])([^\"'\n]*)\2", re.M)
    found = line.findall(text)
    # compared as versions: a release candidate may spell itself 1.4.0.rc1
    said = [_version(literal.decode("utf-8", "replace")) for _, _, literal in found]
    if said != [official.version]:
        raise _impossible(official, f"it has no single line __version__ = '{official.version}'")
    return line.sub(lambda match: match[1] + match[2] + str(version).encode() + match[2], text)


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except ValueError:
        return None


def _edit_metadata(
    official: Wheel, text: bytes, version: Version, pins: Mapping[str, Version]
) -> bytes:
    """Edit header lines only: parsing and writing METADATA again would alter the rest."""
    end = re.search(rb"^\r?\n", text, re.M)
    head, body = (text[: end.start()], text[end.start() :]) if end else (text, b"")
    lines = [line.decode() for line in head.splitlines(keepends=True)]
    for number, line in enumerate(lines):
        field = line.partition(":")[0].lower()
        folded = lines[number + 1 : number + 2] and lines[number + 1][0] in " \t"
        if field == "version":
            said = _VERSION.fullmatch(line)
            if said is None or folded:
                raise _impossible(official, f"{line.strip()!r} has no version in it")
            lines[number] = f"{said[1]}{version}{said[2]}"
        elif field == "requires-dist":
            name = _REQUIRED.match(line)
            pin = pins.get(canonicalize_name(name[1])) if name else None
            if pin is None:
                continue
            required, semicolon, marker = line.partition(";")
            gap = required[len(required.rstrip()) :]
            plain = _REQUIREMENT.fullmatch(required.rstrip())
            if plain is None or folded:
                raise _impossible(official, f"{line.strip()!r} cannot be pinned")
            lines[number] = f"{plain[1]}=={pin}{gap}{semicolon}{marker}"
    return "".join(lines).encode() + body


def _edit_record(official: Wheel, contents: Mapping[str, bytes], version: Version) -> bytes:
    old = official.read(f"{official.dist_info}/RECORD")
    rows = {name: row for name, row in official.record.items() if name not in contents}
    table = io.StringIO(newline="")
    ending = "\r\n" if b"\r\n" in old else "\n"
    writer = csv.writer(table, lineterminator=ending)
    added = sorted(contents.keys() - official.members.keys())
    for name in official.record:
        if added and name.startswith(f"{official.dist_info}/"):
            writer.writerows(_row(new, contents[new]) for new in added)
            added = []
        target = renamed_member(official, name, version)
        writer.writerow((target, *rows[name]) if name in rows else _row(target, contents.get(name)))
    return table.getvalue().encode()


def _row(name: str, content: bytes | None) -> tuple[str, str, str]:
    return (name, "", "") if content is None else (name, record_hash(content), str(len(content)))


def _named(info: zipfile.ZipInfo, name: str) -> zipfile.ZipInfo:
    info = copy(info)
    info.orig_filename = info.filename = name
    return info


def _replaced(model: Member, name: str, content: bytes) -> Member:
    """A stored member with ``content``, and date, attributes and extra fields of ``model``."""
    info = _named(model.info, name)
    info.flag_bits &= UTF8
    info.compress_type = zipfile.ZIP_STORED
    info.CRC = zlib.crc32(content)
    info.compress_size = info.file_size = len(content)
    return Member(info, model.extra, content)
