"""A wheel file, trusted only once every member agrees with RECORD."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from functools import cached_property
from operator import attrgetter
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit.util.errors import InvalidWheel
from toolkit.util.files import sha256
from toolkit.wheels.archive import MAX_BYTES, Member, read_members

# Raise it with any change to what is rejected.
CHECKS_VERSION = 2
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# RECORD, METADATA and WHEEL are parsed whole, so their bytes are limited.
MAX_TEXT = 4 << 20
MAX_PROBLEMS = 50
_HASHES = ("sha256", "sha384", "sha512")
_FILENAME = re.compile(r"[A-Za-z0-9_.+!-]{1,255}")
# Headers of which there is one; parsers differ in which of two they take.
_METADATA = ("Metadata-Version", "Name", "Version", "Requires-Python")
_WHEEL = ("Wheel-Version", "Root-Is-Purelib")
_LIBRARIES = {"site-packages", "dist-packages"}
_STORED = attrgetter("stored", "info.CRC", "info.file_size", "info.compress_type")
_NEXT = "do not use this file; fetch it again, or look at how it was made"


@dataclass(frozen=True)
class Wheel:
    """A wheel whose name, metadata, members and RECORD agree; made by :meth:`open`.

    ``tag`` is the file name's part after the version, verbatim (a build tag included).
    ``members`` keeps the central directory's order. ``record`` maps a member to its RECORD
    row's hash and size, as text, and keeps RECORD's order.
    """

    path: Path
    distribution: str
    version: Version
    tag: str
    dist_info: str
    members: Mapping[str, Member]
    record: Mapping[str, tuple[str, str]]
    data: bytes

    @classmethod
    def open(cls, path: Path, *, like: Wheel | None = None, sound: bool = False) -> Wheel:
        """Read and check a wheel; raise InvalidWheel once, with everything that is wrong.

        A member whose stored bytes are those of ``like``, a checked wheel, is not unpacked
        again: its RECORD row must be the same. ``sound`` says that these very bytes were checked
        before; then only the wheel's own statements are read.
        """
        # the file and its name
        problems: list[str] = []
        try:
            if not _FILENAME.fullmatch(path.name):
                raise ValueError("it is not named as a wheel is")
            name, version, _, tags = parse_wheel_filename(path.name)
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it is not a file of up to {MAX_BYTES} bytes")
            data = path.read_bytes()
        except (ValueError, OSError) as error:
            _reject(path, [str(error)])
        # its members
        members = read_members(data, problems, sound=sound)
        dist_info = _dist_info(members, name, version, problems)
        _reject(path, problems)
        # RECORD and the members it lists
        record = _record(_text(members, f"{dist_info}/RECORD", problems), problems)
        if not sound:
            problems += _clashes(members, dist_info)
            problems += _mismatches(members, dist_info, record, like)
        # its own statements
        metadata = _headers(members, f"{dist_info}/METADATA", _METADATA, problems)
        named = canonicalize_name(metadata.get("Name", "")) == name
        if not named or not is_version(metadata.get("Version", ""), version):
            problems.append("METADATA and the file name disagree about name or version")
        wheel = _headers(members, f"{dist_info}/WHEEL", _WHEEL, problems)
        if set(wheel.get_all("Tag", [])) != set(map(str, tags)):
            problems.append("WHEEL and the file name disagree about the tags")
        if not re.fullmatch(r"1\.[0-9]{1,3}", wheel.get("Wheel-Version", "")):
            problems.append("WHEEL is not of version 1")
        if wheel.get("Root-Is-Purelib", "") not in ("true", "false"):
            problems.append("WHEEL does not say whether it is pure")
        _reject(path, problems)
        tag = path.name.split("-", 2)[2].removesuffix(".whl")
        return cls(path, name, version, tag, dist_info, members, record, data)

    @cached_property
    def sha256(self) -> str:
        """The whole file's digest, in hex."""
        return sha256(self.data)

    def read(self, member: str) -> bytes:
        """Return a member's content; KeyError if there is none."""
        return self.members[member].content()


def record_row(content: bytes, algorithm: str = "sha256") -> tuple[str, str]:
    """Return a member's hash and size as RECORD has them: urlsafe base64, unpadded (PEP 376)."""
    digest = base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest())
    return f"{algorithm}={digest.rstrip(b'=').decode()}", str(len(content))


def _reject(path: Path, problems: list[str]) -> None:
    """Raise InvalidWheel if there are problems, the first MAX_PROBLEMS of them in short."""
    if not problems:
        return
    shown = [p if len(p) < 500 else f"{p[:300]}…{p[-150:]}" for p in problems[:MAX_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} problems more")
    raise InvalidWheel("\n".join([f"{path.name} is no sound wheel:", *shown]), next_step=_NEXT)


def _dist_info(names: Iterable[str], name: str, version: Version, problems: list[str]) -> str:
    """Return the one dist-info folder, which must be the file name's."""
    tops = {top for top, slash, _ in (n.partition("/") for n in names) if slash}
    folders = [top for top in tops if top.lower().endswith(".dist-info")]
    if len(folders) != 1:
        problems.append(f"there is not one .dist-info folder but {len(folders)}")
        return ""
    (dist_info,) = folders
    stem, _, number = dist_info.removesuffix(".dist-info").partition("-")
    if canonicalize_name(stem) != name or not is_version(number, version):
        problems.append(f"{dist_info} and the file name disagree")
    data = dist_info.removesuffix(".dist-info") + ".data"
    others = [top for top in tops if top.lower().endswith(".data") and top != data]
    problems += [f"{top} is a folder for the data of something else" for top in others]
    return dist_info


def _clashes(names: Iterable[str], dist_info: str) -> Iterator[str]:
    """Yield members that some system would install at the same place as another."""
    data = f"{dist_info.removesuffix('.dist-info')}.data"
    targets: dict[str, str] = {}
    folders: set[str] = set()
    for name in names:
        if name.startswith(f"{data}/data/") and _LIBRARIES & set(name.casefold().split("/")):
            yield f"{name} is data, and would be installed as a module"
        target = name.removeprefix(f"{data}/purelib/").removeprefix(f"{data}/platlib/").rstrip("/")
        target = unicodedata.normalize("NFC", target).casefold()
        if target in targets:
            yield f"{name} and {targets[target]} may be installed at the same place"
        targets[target] = name
        if not name.endswith("/"):
            folders.update(map(str, PurePosixPath(target).parents))
    for target in sorted(folders & targets.keys()):
        if not targets[target].endswith("/"):
            yield f"{targets[target]} is a file and a folder"


def _text(members: Mapping[str, Member], name: str, problems: list[str]) -> str:
    """Return a member of dist-info as text; empty if it is missing, too long, or no UTF-8."""
    if name not in members:
        problems.append(f"{name} is missing")
    elif members[name].info.file_size > MAX_TEXT:
        problems.append(f"{name} is longer than {MAX_TEXT} bytes")
    else:
        try:
            return members[name].content().decode()
        except (zipfile.BadZipFile, UnicodeDecodeError) as error:
            problems.append(f"{name} cannot be read: {error}")
    return ""


def _headers(
    members: Mapping[str, Member], name: str, single: Iterable[str], problems: list[str]
) -> Message[str, str]:
    """Parse METADATA or WHEEL; ``single`` are the headers that may stand there only once."""
    headers = HeaderParser().parsestr(_text(members, name, problems))
    if headers.defects:
        problems.append(f"{name} has lines that are no header")
    twice = [field for field in single if len(headers.get_all(field, [])) > 1]
    problems += [f"{name} says {field} twice" for field in twice]
    return headers


def is_version(text: str, version: Version) -> bool:
    """Return whether ``text`` spells ``version``, in whatever way."""
    try:
        return Version(text) == version
    except ValueError:
        return False


def _record(text: str, problems: list[str]) -> dict[str, tuple[str, str]]:
    """Parse RECORD: a row is a path, a hash and a size (PEP 376)."""
    record: dict[str, tuple[str, str]] = {}
    try:
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            if len(row) != 3 or row[0] in record:
                problems.append(f"RECORD has a bad row, or one twice: {row}")
            else:
                record[row[0]] = (row[1], row[2])
    except csv.Error as error:
        problems.append(f"RECORD cannot be read: {error}")
    return record


def _mismatches(
    members: Mapping[str, Member],
    dist_info: str,
    record: Mapping[str, tuple[str, str]],
    like: Wheel | None,
) -> Iterator[str]:
    """Compare every member with its row (PEP 376, PEP 427), one unpacked at a time."""
    # the names; RECORD and its signatures need no row
    free = {f"{dist_info}/{name}" for name in UNRECORDED}
    files = {name for name in members if not name.endswith("/")}
    yield from (f"{name} is not in RECORD" for name in sorted(files - record.keys() - free))
    if f"{dist_info}/RECORD" not in record:
        yield "RECORD does not name itself"
    yield from (f"{name} is in RECORD only" for name in sorted(record.keys() - files))
    # the contents
    for name, member in members.items():
        row = record.get(name)
        checked = like.members[name] if row and like and like.record.get(name) == row else None
        if checked and _STORED(checked) == _STORED(member):
            continue
        try:
            content = member.content()
        except zipfile.BadZipFile as error:
            yield str(error)
            continue
        digest, size = row or ("", "")
        algorithm = digest.partition("=")[0]
        if name in free:
            if digest or size:
                yield f"RECORD has a hash or a size for {name}"
        elif row and algorithm not in _HASHES:
            yield f"RECORD has no secure hash for {name}"
        elif row and (digest, size or str(len(content))) != record_row(content, algorithm):
            yield f"{name} is not what RECORD says"
