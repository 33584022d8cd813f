"""A wheel as it lies on disk, trusted only after every member agrees with RECORD."""

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
from pathlib import Path
from typing import NoReturn

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import MAX_BYTES, Member, read_members

# Raise it with any change to what is refused.
CHECKS_VERSION = 2
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")
# RECORD, METADATA and WHEEL are parsed whole; of a long list of problems the first are enough.
MAX_TEXT = 4 << 20
MAX_PROBLEMS = 50

_HASHES = ("sha256", "sha384", "sha512")
_FILENAME = re.compile(r"[A-Za-z0-9_.+!-]{1,255}")
# Headers of which there is one; parsers differ in which of two they take.
_METADATA = ("Metadata-Version", "Name", "Version", "Requires-Python")
_WHEEL = ("Wheel-Version", "Root-Is-Purelib")
_LIBRARIES = {"site-packages", "dist-packages"}
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

        A member whose stored bytes are those of ``like``, which was checked, is not unpacked
        again: its RECORD row must be the one that it has there. ``sound`` says that these very
        bytes were checked before, so that only what a wheel says of itself is read.
        """
        problems: list[str] = []
        try:
            if not _FILENAME.fullmatch(path.name):
                _refuse(path, ["it is not named as a wheel is"])
            name, version, _, tags = parse_wheel_filename(path.name)
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                _refuse(path, [f"it is not a file of up to {MAX_BYTES} bytes"])
            data = path.read_bytes()
        except (ValueError, OSError) as error:
            _refuse(path, [str(error)])
        members = read_members(data, problems)
        dist_info = _dist_info(members, name, version, problems)
        if problems:
            _refuse(path, problems)
        parts = ("RECORD", "METADATA", "WHEEL")
        texts = {part: _text(members, f"{dist_info}/{part}", problems) for part in parts}
        record = _parse_record(texts["RECORD"], problems)
        if not sound:
            problems += _clashes(members, dist_info)
            known = _known(members, like) if like else {}
            problems += _unrecorded(members, dist_info, record, known)
        metadata = _headers(texts["METADATA"], "METADATA", _METADATA, problems)
        if canonicalize_name(metadata.get("Name", "")) != name or not _same(metadata, version):
            problems.append("METADATA and the file name disagree about name or version")
        wheel = _headers(texts["WHEEL"], "WHEEL", _WHEEL, problems)
        if set(wheel.get_all("Tag", [])) != {str(tag) for tag in tags}:
            problems.append("WHEEL and the file name disagree about the tags")
        if not re.fullmatch(r"1\.[0-9]{1,3}", wheel.get("Wheel-Version", "")):
            problems.append("WHEEL is not of version 1")
        if wheel.get("Root-Is-Purelib", "") not in ("true", "false"):
            problems.append("WHEEL does not say whether it is pure")
        if problems:
            _refuse(path, problems)
        tag = path.name.split("-", 2)[2].removesuffix(".whl")
        return cls(path, name, version, tag, dist_info, members, record, data)

    @cached_property
    def sha256(self) -> str:
        """The whole file's digest, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    def read(self, member: str) -> bytes:
        """A member's content; KeyError if there is none."""
        return self.members[member].content()


def record_hash(content: bytes, algorithm: str = "sha256") -> str:
    """``content``'s hash in RECORD's notation: urlsafe base64 without padding."""
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _refuse(path: Path, problems: list[str]) -> NoReturn:
    shown = [p if len(p) < 500 else f"{p[:300]}…{p[-150:]}" for p in problems[:MAX_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} problems more")
    raise InvalidWheel("\n".join([f"{path.name} is no sound wheel:", *shown]), next_step=_NEXT)


def _known(members: Mapping[str, Member], like: Wheel) -> dict[str, tuple[str, str]]:
    """RECORD's rows for the members that are stored the same way in a wheel already checked."""
    known = {}
    for name, row in like.record.items():
        ours, theirs = members.get(name), like.members[name]
        if ours and ours.stored == theirs.stored:
            facts = (ours.info.CRC, ours.info.file_size, ours.info.compress_type)
            if facts == (theirs.info.CRC, theirs.info.file_size, theirs.info.compress_type):
                known[name] = row
    return known


def _dist_info(names: Iterable[str], name: str, version: Version, problems: list[str]) -> str:
    tops = {top for top, slash, _ in (n.partition("/") for n in names) if slash}
    found = [top for top in tops if top.lower().endswith(".dist-info")]
    if len(found) != 1:
        problems.append(f"there is not one .dist-info folder but {len(found)}")
        return ""
    (dist_info,) = found
    stem, _, said = dist_info.removesuffix(".dist-info").partition("-")
    try:
        agrees = canonicalize_name(stem) == name and Version(said) == version
    except ValueError:
        agrees = False
    if not agrees:
        problems.append(f"{dist_info} and the file name disagree")
    data = dist_info.removesuffix(".dist-info") + ".data"
    strange = [top for top in tops if top.lower().endswith(".data") and top != data]
    problems += [f"{top} is a folder for the data of something else" for top in strange]
    return dist_info


def _clashes(names: Iterable[str], dist_info: str) -> Iterator[str]:
    """Members that some system would install at the same place as another."""
    data = f"{dist_info.removesuffix('.dist-info')}.data"
    roots = (f"{data}/purelib/", f"{data}/platlib/")
    places: dict[str, str] = {}
    folders: set[str] = set()
    for name in names:
        if name.startswith(f"{data}/data/") and _LIBRARIES & set(name.casefold().split("/")):
            yield f"{name} is data, and would be installed as a module"
        root = next((root for root in roots if name.startswith(root)), "")
        place = unicodedata.normalize("NFC", name.removeprefix(root).rstrip("/")).casefold()
        if place in places:
            yield f"{name} and {places[place]} may be installed at the same place"
        places[place] = name
        if not name.endswith("/"):
            above = place.split("/")[:-1]
            folders.update("/".join(above[: depth + 1]) for depth in range(len(above)))
    for place in sorted(folders & places.keys()):
        if not places[place].endswith("/"):
            yield f"{places[place]} is a file and a folder"


def _text(members: Mapping[str, Member], name: str, problems: list[str]) -> str:
    """A member of dist-info as text; empty if it is missing, too long, or no UTF-8."""
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
    text: str, member: str, single: Iterable[str], problems: list[str]
) -> Message[str, str]:
    message = HeaderParser().parsestr(text)
    if message.defects:
        problems.append(f"{member} has lines that are no header")
    twice = [name for name in single if len(message.get_all(name, [])) > 1]
    problems += [f"{member} says {name} twice" for name in twice]
    return message


def _same(metadata: Message[str, str], version: Version) -> bool:
    try:
        return [Version(said) for said in metadata.get_all("Version", [])] == [version]
    except ValueError:
        return False


def _parse_record(text: str, problems: list[str]) -> dict[str, tuple[str, str]]:
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


def _unrecorded(
    members: Mapping[str, Member],
    dist_info: str,
    record: Mapping[str, tuple[str, str]],
    known: Mapping[str, tuple[str, str]],
) -> Iterator[str]:
    """Hold every member against its row (PEP 376, PEP 427), one unpacked at a time."""
    free = {f"{dist_info}/{name}" for name in UNRECORDED}
    files = {name for name in members if not name.endswith("/")}
    yield from (f"{name} is not in RECORD" for name in sorted(files - record.keys() - free))
    if f"{dist_info}/RECORD" not in record:
        yield "RECORD does not name itself"
    yield from (f"{name} is in RECORD only" for name in sorted(record.keys() - files))
    for name, member in members.items():
        row = record.get(name)
        if row and known.get(name) == row:
            continue
        try:
            content = member.content()
        except zipfile.BadZipFile as error:
            yield str(error)
            continue
        if name in free and row not in (None, ("", "")):
            yield f"RECORD has a hash or a size for {name}"
        if row is None or name in free:
            continue
        said, size = row
        algorithm, _, _ = said.partition("=")
        if algorithm not in _HASHES:
            yield f"RECORD has no secure hash for {name}"
        elif said != record_hash(content, algorithm) or size not in ("", str(len(content))):
            yield f"{name} is not what RECORD says"
