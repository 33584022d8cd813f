"""A zip file of which every byte is told: what is read from it writes the same file again.

zipfile reads the central directory alone, other installers the local headers, and both pass over
what neither names. Here the two must agree, and leave nothing between, before or after.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_MEMBERS = 20_000
# of a file, and of what it holds once unpacked, in bytes
MAX_BYTES = 1 << 30
MAX_RATIO = 200
# APPNOTE.TXT 4.3.7, 4.3.9, 4.3.12 and 4.3.16, and 4.4.4: the general purpose bits.
LOCAL_HEADER = struct.Struct("<4sHHHHHLLLHH")
_DESCRIPTOR = struct.Struct("<4sLLL")
_CENTRAL = struct.Struct("<4sBBBBHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
ENCRYPTED, DESCRIPTOR, UTF8 = 0x2041, 0x8, 0x800
# Deflate's own two bits say how hard it tried.
_PLAIN_BITS = DESCRIPTOR | UTF8 | 0x6
ZIP64 = 0xFFFFFFFF
# APPNOTE.TXT 4.5 and 4.6: sizes, a name or a comment told once more, where not all look.
_SECOND_OPINIONS = (0x0001, 0x7075, 0x6375)
_LONGEST_EXTRA = 1024

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)


@dataclass(frozen=True)
class Member:
    """One zip member: its central entry, its local header's extra field, its stored bytes."""

    info: zipfile.ZipInfo
    extra: bytes
    stored: bytes

    def content(self) -> bytes:
        """The unpacked bytes; BadZipFile unless they are as long as announced, and all there is.

        No more is unpacked than was announced, whatever the stored bytes would grow to.
        """
        size, name = self.info.file_size, self.info.orig_filename
        text, whole = self.stored, True
        if self.info.compress_type != zipfile.ZIP_STORED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                text = inflate.decompress(self.stored, size + 1)
            except zlib.error as error:
                raise zipfile.BadZipFile(f"{name} cannot be unpacked: {error}") from error
            whole = inflate.eof and not inflate.unused_data
        if not whole or len(text) != size or zlib.crc32(text) != self.info.CRC:
            raise zipfile.BadZipFile(f"{name} does not unpack to what its header announces")
        return text


def read_members(data: bytes, problems: list[str]) -> dict[str, Member]:
    """The members of a zip file, by name and in its order; what is wrong goes to ``problems``.

    Nothing is unpacked. At most MAX_MEMBERS entries are looked at.
    """
    infos = _entries(data, problems)
    total = sum(info.file_size for info in infos)
    stored = sum(info.compress_size for info in infos)
    if total > min(MAX_BYTES, MAX_RATIO * len(data)) or stored > len(data):
        problems.append(f"{len(infos)} members of {total} bytes in a file of {len(data)}: a bomb")
        return {}
    members: dict[str, Member] = {}
    for info in infos:
        name = info.orig_filename
        if name in members:
            problems.append(f"{name} stands twice")
        problems += [f"{name} {problem}" for problem in _oddities(info)]
        start, extra = _local(info, data)
        if overrides_header(info.extra) or overrides_header(extra):
            problems.append(f"{name} needs zip64, or has a second name or size")
        members[name] = Member(info, extra, data[start : start + info.compress_size])
    if not problems:
        problems += _untold(data, list(members.values()))
    return members


def _entries(data: bytes, problems: list[str]) -> list[zipfile.ZipInfo]:
    """The central directory, if it stands where the end of the file says, and is not too long."""
    tail = data[-_END.size :]
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        problems.append("it is not a zip file, or there are bytes after its end")
        return []
    _, *disks, here, count, size, at, comment = _END.unpack(tail)
    if any(disks) or comment or at + size + _END.size != len(data):
        problems.append("there are bytes before the first member or after the last")
        return []
    # A signature is no text, so that no honest name or comment holds one.
    if not here == count == data.count(b"PK\1\2", at) <= MAX_MEMBERS:
        problems.append(f"its directory has more or less than {count} entries, or it is a bomb")
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        problems.append(f"its directory cannot be read: {error}")
        return []


def _oddities(info: zipfile.ZipInfo) -> Iterator[str]:
    """What an honest build backend never writes."""
    kind, is_folder = stat.S_IFMT(info.external_attr >> 16), info.orig_filename.endswith("/")
    if not is_safe_name(info.orig_filename) or not (
        info.flag_bits & UTF8 or info.orig_filename.isascii()
    ):
        yield "is an unsafe name"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR if is_folder else 0):
        yield "is a link or another special file"
    if is_folder and info.file_size:
        yield "is a folder with content"
    if info.flag_bits & ENCRYPTED:
        yield "is encrypted"
    elif info.flag_bits & ~_PLAIN_BITS:
        yield f"has unknown flags {info.flag_bits:#x}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        yield f"is compressed by method {info.compress_type}"
    if ZIP64 in (info.compress_size, info.file_size, info.header_offset):
        yield "needs zip64"


def _local(info: zipfile.ZipInfo, data: bytes) -> tuple[int, bytes]:
    """Where a member's bytes start, and its local extra field, if its local header is there."""
    at = info.header_offset
    if len(data) < at + LOCAL_HEADER.size:
        return len(data), b""
    *_, name, extra = LOCAL_HEADER.unpack_from(data, at)
    names = at + LOCAL_HEADER.size + name
    return names + extra, data[names : names + extra]


def _untold(data: bytes, members: list[Member]) -> list[str]:
    """Say where the file first differs from what :func:`zip_bytes` makes of its members."""
    at = 0
    for member in members:
        for piece in _told(member):
            if not data.startswith(piece, at):
                name = member.info.orig_filename
                return [f"{name} has a local header, or bytes around it, that say otherwise"]
            at += len(piece)
    directory = b"".join(_directory(members))
    return [] if data[at:] == directory else ["its directory is not one that it should have"]


def zip_bytes(members: Iterable[Member]) -> Iterator[bytes]:
    """The zip file, piece by piece. zipfile cannot write a member that is compressed already."""
    kept = list(members)
    for member in kept:
        yield from _told(member)
    yield from _directory(kept)


def _told(member: Member) -> Iterator[bytes]:
    """A member's local header, name, extra field and bytes, and its descriptor if it has one."""
    info, name = member.info, name_bytes(member.info)
    sizes = (info.CRC, info.compress_size, info.file_size)
    later = bool(info.flag_bits & DESCRIPTOR)
    yield LOCAL_HEADER.pack(
        b"PK\3\4",
        info.extract_version | info.reserved << 8,
        *_how_and_when(info),
        *((0, 0, 0) if later else sizes),
        len(name),
        len(member.extra),
    )
    yield from (name, member.extra, member.stored)
    if later:
        yield _DESCRIPTOR.pack(b"PK\x07\x08", *sizes)


def _directory(members: Iterable[Member]) -> Iterator[bytes]:
    at = count = length = 0
    for member in members:
        info, name = member.info, name_bytes(member.info)
        entry = _CENTRAL.pack(
            b"PK\1\2",
            info.create_version,
            info.create_system,
            info.extract_version,
            info.reserved,
            *_how_and_when(info),
            *(info.CRC, info.compress_size, info.file_size),
            len(name),
            len(info.extra),
            len(info.comment),
            0,
            info.internal_attr,
            info.external_attr,
            at,
        )
        yield from (entry, name, info.extra, info.comment)
        at += sum(map(len, _told(member)))
        count, length = count + 1, length + sum(map(len, (entry, name, info.extra, info.comment)))
    yield _END.pack(b"PK\5\6", 0, 0, count, count, length, at, 0)


def _how_and_when(info: zipfile.ZipInfo) -> tuple[int, int, int, int]:
    year, month, day, hour, minute, second = info.date_time
    when = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day)
    return (info.flag_bits, info.compress_type, *when)


def name_bytes(info: zipfile.ZipInfo) -> bytes:
    """A member's name as the archive spells it."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")


def overrides_header(extra: bytes) -> bool:
    """Whether an extra field tells sizes or a name once more, or is too damaged or long to tell."""
    at = 0
    while at < len(extra) <= _LONGEST_EXTRA:
        if len(extra) < at + 4:
            return True
        kind, size = struct.unpack_from("<HH", extra, at)
        at += 4 + size
        if kind in _SECOND_OPINIONS:
            return True
    return at != len(extra)


def is_safe_name(name: str) -> bool:
    """Whether a member's name is relative, plain, and the same file on every system."""
    parts = name.removesuffix("/").split("/")
    return (
        name.isprintable()
        and len(name) <= 1024
        and not set(name) & set('\\:*?"<>|')
        and not any(
            part in ("", ".", "..")
            or part.endswith((".", " "))
            or len(part.encode()) > 255
            or _DEVICES.fullmatch(part)
            for part in parts
        )
    )
