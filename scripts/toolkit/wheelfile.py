"""A wheel as it lies on disk, trusted only after every member agrees with RECORD."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property
from pathlib import Path
from typing import NoReturn

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from .errors import InvalidWheel

# Raise it with any change to what is refused.
SOUNDNESS = 1
MAX_MEMBERS = 20_000
MAX_BYTES = 1 << 30
MAX_RATIO = 200
UNRECORDED = ("RECORD", "RECORD.jws", "RECORD.p7s")

# APPNOTE.TXT 4.3.7: a member's local header, and 4.4.4: its general purpose bits.
LOCAL_HEADER = struct.Struct("<4sHHHHHLLLHH")
ENCRYPTED, DESCRIPTOR, UTF8 = 0x2041, 0x8, 0x800
ZIP64 = 0xFFFFFFFF

# Members that need not be unpacked: the RECORD row they must have, or None for any.
Known = dict[str, tuple[str, str] | None]

_HASHES = ("sha256", "sha384", "sha512")
_NEXT = "do not use this file; fetch it again, or look at how it was made"


@dataclass(frozen=True)
class Member:
    """One zip member: its central entry, its local header's extra field, its stored bytes."""

    info: zipfile.ZipInfo
    extra: bytes
    stored: bytes


@dataclass(frozen=True)
class OfficialWheel:
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
    def open(
        cls, path: Path, *, like: OfficialWheel | None = None, sound: bool = False
    ) -> OfficialWheel:
        """Read and check a wheel; raise InvalidWheel once, with everything that is wrong.

        A member whose stored bytes are those of ``like``, which was checked, is not unpacked
        again: its RECORD row must be the one that it has there. ``sound`` says that these very
        bytes were checked before, so that only what a wheel says of itself is read.
        """
        problems: list[str] = []
        data = path.read_bytes()
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename as error:
            _refuse(path, [str(error)])
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = _members(archive, data, problems)
                if problems:
                    _refuse(path, problems)
                known = _known(members, like) if like else {}
                if sound:
                    known = dict.fromkeys(n for n in members if ".dist-info/" not in n)
                texts = {
                    name: archive.read(member.info) if name not in known else b""
                    for name, member in members.items()
                }
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            _refuse(path, [str(error) or "a member is cut off"])
        dist_info = _dist_info(texts, name, version, problems)
        if problems:
            _refuse(path, problems)
        record = _check_record(texts, dist_info, known, problems)
        metadata = _headers(texts, f"{dist_info}/METADATA", problems)
        if canonicalize_name(metadata.get("Name", "")) != name or not _same(metadata, version):
            problems.append("METADATA and the file name disagree about name or version")
        wheel = _headers(texts, f"{dist_info}/WHEEL", problems)
        if set(wheel.get_all("Tag", [])) != {str(tag) for tag in tags}:
            problems.append("WHEEL and the file name disagree about the tags")
        if not wheel.get("Wheel-Version", "").startswith("1."):
            problems.append("WHEEL is not of version 1")
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
        info, stored = self.members[member].info, self.members[member].stored
        return stored if info.compress_type == zipfile.ZIP_STORED else zlib.decompress(stored, -15)


def record_hash(content: bytes, algorithm: str = "sha256") -> str:
    """``content``'s hash in RECORD's notation: urlsafe base64 without padding."""
    digest = hashlib.new(algorithm, content).digest()
    return f"{algorithm}={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _refuse(path: Path, problems: list[str]) -> NoReturn:
    raise InvalidWheel("\n".join([f"{path.name} is no sound wheel:", *problems]), next_step=_NEXT)


def _members(archive: zipfile.ZipFile, data: bytes, problems: list[str]) -> dict[str, Member]:
    """Slice the file into members, and refuse what an honest build backend never writes."""
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    if len(infos) > MAX_MEMBERS or total > MAX_BYTES or total > MAX_RATIO * len(data):
        problems.append(f"{len(infos)} members of {total} bytes in a file of {len(data)}: a bomb")
    if archive.comment or min((info.header_offset for info in infos), default=0) != 0:
        problems.append("there are bytes before the first member or after the last")
    members: dict[str, Member] = {}
    spans = []
    for info in infos:
        name = info.orig_filename
        mode = info.external_attr >> 16
        if not _is_safe(name):
            problems.append(f"{name!r} is an unsafe name")
        if name in members:
            problems.append(f"{name} stands twice")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR if info.is_dir() else 0):
            problems.append(f"{name} is a link or another special file")
        if info.flag_bits & ENCRYPTED:
            problems.append(f"{name} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problems.append(f"{name} is compressed by method {info.compress_type}")
        start, extra = _local(info, data, problems)
        end = start + info.compress_size
        spans.append((info.header_offset, end, name))
        members[name] = Member(info, extra, data[start:end])
        if ZIP64 in (info.compress_size, info.file_size) or has_zip64(info.extra + extra):
            problems.append(f"{name} needs zip64")
    spans.sort()
    for (_, end, name), (start, _, _) in zip(
        spans, [*spans[1:], (archive.start_dir, 0, "")], strict=True
    ):
        gap = start - end
        if not (gap == 0 or (members[name].info.flag_bits & DESCRIPTOR and gap in (12, 16))):
            problems.append(f"{name} overlaps what follows, or {gap} bytes lie hidden after it")
    return members


def _local(info: zipfile.ZipInfo, data: bytes, problems: list[str]) -> tuple[int, bytes]:
    """Where a member's bytes start, and its local extra field; its header must agree."""
    at = info.header_offset
    try:
        header = LOCAL_HEADER.unpack_from(data, at)
    except struct.error:
        header = (b"",) * 11
    if header[0] != b"PK\3\4":
        problems.append(f"{info.orig_filename} has no local header")
        return at, b""
    names, extras = at + LOCAL_HEADER.size, at + LOCAL_HEADER.size + header[9]
    start = extras + header[10]
    same = data[names:extras] == name_bytes(info) and header[3] == info.compress_type
    sizes = header[6:9] == (info.CRC, info.compress_size, info.file_size)
    if not same or header[2] != info.flag_bits or not (sizes or info.flag_bits & DESCRIPTOR):
        problems.append(f"{info.orig_filename} has a local header that says otherwise")
    return start, data[extras:start]


def name_bytes(info: zipfile.ZipInfo) -> bytes:
    """A member's name as the archive spells it."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")


def has_zip64(extra: bytes) -> bool:
    """Whether an extra field holds block 0x0001, or is too damaged to tell."""
    while extra:
        if len(extra) < 4:
            return True
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1 or len(extra) < 4 + size:
            return True
        extra = extra[4 + size :]
    return False


def _is_safe(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return not (
        set(parts) & {"", ".", ".."}
        or set(name) & {"\\", "\0", "\n", "\r"}
        or re.match(r"[A-Za-z]:", name)
    )


def _known(members: Mapping[str, Member], like: OfficialWheel) -> Known:
    """RECORD's rows for the members that are stored the same way in a wheel already checked."""
    known: Known = {}
    for name, row in like.record.items():
        ours, theirs = members.get(name), like.members[name]
        if ours and ours.stored == theirs.stored:
            facts = (ours.info.CRC, ours.info.file_size, ours.info.compress_type)
            if facts == (theirs.info.CRC, theirs.info.file_size, theirs.info.compress_type):
                known[name] = row
    return known


def _dist_info(texts: Mapping[str, bytes], name: str, version: Version, problems: list[str]) -> str:
    found = {top for top in (t.split("/")[0] for t in texts) if top.endswith(".dist-info")}
    if len(found) != 1:
        problems.append(f"there is not one .dist-info folder but {len(found)}")
        return ""
    (dist_info,) = found
    stem, _, said = dist_info.removesuffix(".dist-info").partition("-")
    try:
        agrees = canonicalize_name(stem) == name and Version(said) == version
    except InvalidVersion:
        agrees = False
    if not agrees:
        problems.append(f"{dist_info} and the file name disagree")
    return dist_info


def _headers(texts: Mapping[str, bytes], member: str, problems: list[str]) -> Message[str, str]:
    if member not in texts:
        problems.append(f"{member} is missing")
    return BytesHeaderParser().parsebytes(texts.get(member, b""))


def _same(metadata: Message[str, str], version: Version) -> bool:
    try:
        return [Version(said) for said in metadata.get_all("Version", [])] == [version]
    except InvalidVersion:
        return False


def _check_record(
    texts: Mapping[str, bytes],
    dist_info: str,
    known: Known,
    problems: list[str],
) -> dict[str, tuple[str, str]]:
    """Parse RECORD and hold every member against it (PEP 376, PEP 427)."""
    record: dict[str, tuple[str, str]] = {}
    try:
        rows = list(csv.reader(io.StringIO(texts[f"{dist_info}/RECORD"].decode(), newline="")))
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        problems.append(f"RECORD cannot be read: {error!r}")
        return record
    for row in rows:
        if len(row) != 3 or row[0] in record:
            problems.append(f"RECORD has a bad row, or one twice: {row}")
        else:
            record[row[0]] = (row[1], row[2])
    free = {f"{dist_info}/{name}" for name in UNRECORDED}
    files = {name for name in texts if not name.endswith("/")}
    problems += [f"{name} is not in RECORD" for name in sorted(files - record.keys() - free)]
    problems += [f"{name} is in RECORD only" for name in sorted(record.keys() - files)]
    for name in files & record.keys() - free:
        said, size = record[name]
        if name in known and known[name] in (None, record[name]):
            continue
        algorithm, _, _ = said.partition("=")
        if algorithm not in _HASHES:
            problems.append(f"RECORD has no secure hash for {name}")
        elif said != record_hash(texts[name], algorithm) or size not in ("", str(len(texts[name]))):
            problems.append(f"{name} is not what RECORD says")
    return record
