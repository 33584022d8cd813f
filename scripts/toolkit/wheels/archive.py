"""Strict zip reader: rejects any byte that the headers do not account for.

zipfile reads the central directory alone, other installers the local headers, and both skip what
neither names. Here the two must agree and leave nothing between, before or after, so that members
can be written back unchanged.
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
# Of a file, and of its unpacked content, in bytes.
MAX_BYTES = 1 << 30
MAX_RATIO = 200
# APPNOTE.TXT 4.3.7, 4.3.9, 4.3.12 and 4.3.16, and 4.4.4: the general purpose bits.
_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_DESCRIPTOR = struct.Struct("<4sLLL")
_CENTRAL = struct.Struct("<4sBBBBHHHHLLLHHHHHLL")
_END = struct.Struct("<4sHHHHLLH")
ENCRYPTED, DESCRIPTOR, UTF8 = 0x2041, 0x8, 0x800
# Deflate's own two bits give its level.
_PLAIN_BITS = DESCRIPTOR | UTF8 | 0x6
ZIP64 = 0xFFFFFFFF
# APPNOTE.TXT 4.5 and 4.6: other sizes, another name or comment, which not every reader obeys.
_OVERRIDES = (0x0001, 0x7075, 0x6375)
_LONGEST_EXTRA = 1024

_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)


@dataclass(frozen=True)
class Member:
    """One zip member: its central entry, its local header's extra field, its stored bytes."""

    info: zipfile.ZipInfo
    extra: bytes
    stored: bytes

    def content(self) -> bytes:
        """Return the unpacked bytes; never unpack more than the headers announce.

        Raises BadZipFile unless length and checksum are as announced and nothing follows.
        """
        size, name = self.info.file_size, self.info.orig_filename
        content, complete = self.stored, True
        if self.info.compress_type != zipfile.ZIP_STORED:
            inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            try:
                content = inflate.decompress(self.stored, size + 1)
            except zlib.error as error:
                raise zipfile.BadZipFile(f"{name} cannot be unpacked: {error}") from error
            complete = inflate.eof and not inflate.unused_data
        if not complete or len(content) != size or zlib.crc32(content) != self.info.CRC:
            raise zipfile.BadZipFile(f"{name} does not unpack to what its header announces")
        return content


def read_members(data: bytes, problems: list[str], *, sound: bool = False) -> dict[str, Member]:
    """Return the members of a zip file, by name and in its order; add faults to ``problems``.

    Nothing is unpacked. At most MAX_MEMBERS entries are read. ``sound`` says that these bytes
    were checked before, so that only the directory is read.
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
        if not sound:
            problems += [f"{name} {fault}" for fault in _faults(info)]
        # the local header's name is as long as the entry's, or the check below fails
        start = info.header_offset + _LOCAL.size + len(name_bytes(info))
        size = int.from_bytes(data[info.header_offset + 28 : info.header_offset + 30], "little")
        extra, rest = data[start : start + size], start + size
        if overrides_header(info.extra) or overrides_header(extra):
            problems.append(f"{name} needs zip64, or has a second name or size")
        members[name] = Member(info, extra, data[rest : rest + info.compress_size])
    if not problems and not sound:
        problems += _unaccounted_bytes(data, members.values())
    return members


def _entries(data: bytes, problems: list[str]) -> list[zipfile.ZipInfo]:
    """Read the central directory, if it is where the file's end says and not too long."""
    tail = data[-_END.size :]
    if len(tail) < _END.size or not tail.startswith(b"PK\5\6"):
        problems.append("it is not a zip file, or there are bytes after its end")
        return []
    _, *disks, on_disk, count, size, start, comment = _END.unpack(tail)
    if any(disks) or comment or start + size + _END.size != len(data):
        problems.append("there are bytes before the first member or after the last")
        return []
    # A signature is no text, so no honest name or comment holds one.
    if not on_disk == count == data.count(b"PK\1\2", start) <= MAX_MEMBERS:
        problems.append(f"its directory has more or less than {count} entries, or it is a bomb")
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        problems.append(f"its directory cannot be read: {error}")
        return []


def _faults(info: zipfile.ZipInfo) -> Iterator[str]:
    """Yield what no honest build backend writes into an entry."""
    kind, is_folder = stat.S_IFMT(info.external_attr >> 16), info.orig_filename.endswith("/")
    is_encoded = info.flag_bits & UTF8 or info.orig_filename.isascii()
    if not is_encoded or not is_safe_name(info.orig_filename):
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


def _unaccounted_bytes(data: bytes, members: Iterable[Member]) -> list[str]:
    """Return where the file first differs from :func:`zip_bytes` of its members, if it does."""
    offset = 0
    for name, piece in _pieces(members):
        if name and not data.startswith(piece, offset):
            return [f"{name} has a local header, or bytes around it, that say otherwise"]
        if not name and data[offset:] != piece:
            return ["its directory is not one that it should have"]
        offset += len(piece)
    return []


def zip_bytes(members: Iterable[Member]) -> Iterator[bytes]:
    """Yield a zip file of the members, piece by piece, their stored bytes as they are.

    zipfile cannot write a member that is compressed already.
    """
    return (piece for _, piece in _pieces(members))


def _pieces(members: Iterable[Member]) -> Iterator[tuple[str, bytes]]:
    """Yield the pieces of a zip file with their members' names; the last is the directory's, ""."""
    offset = count = 0
    directory = bytearray()
    for member in members:
        info, name = member.info, name_bytes(member.info)
        year, month, day, hour, minute, second = info.date_time
        time, date = hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day
        sizes = (info.CRC, info.compress_size, info.file_size)
        has_descriptor = bool(info.flag_bits & DESCRIPTOR)
        # the entry in the directory
        directory += _CENTRAL.pack(
            *(b"PK\1\2", info.create_version, info.create_system),
            *(info.extract_version, info.reserved),
            *(info.flag_bits, info.compress_type, time, date, *sizes),
            *(len(name), len(info.extra), len(info.comment)),
            *(0, info.internal_attr, info.external_attr, offset),
        )
        directory += name + info.extra + info.comment
        # local header, name, extra field, content, and the descriptor that a streaming writer adds
        header = _LOCAL.pack(
            *(b"PK\3\4", info.extract_version | info.reserved << 8),
            *(info.flag_bits, info.compress_type, time, date),
            *((0, 0, 0) if has_descriptor else sizes),
            *(len(name), len(member.extra)),
        )
        descriptor = _DESCRIPTOR.pack(b"PK\x07\x08", *sizes) if has_descriptor else b""
        for piece in (header, name, member.extra, member.stored, descriptor):
            yield info.orig_filename, piece
            offset += len(piece)
        count += 1
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), offset, 0)
    yield "", bytes(directory) + end


def name_bytes(info: zipfile.ZipInfo) -> bytes:
    """Return a member's name as the archive spells it."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & UTF8 else "cp437")


def overrides_header(extra: bytes) -> bool:
    """Return whether an extra field repeats sizes or a name, or is damaged or too long."""
    offset = 0
    while offset < len(extra) <= _LONGEST_EXTRA:
        if len(extra) < offset + 4:
            return True
        kind, size = struct.unpack_from("<HH", extra, offset)
        offset += 4 + size
        if kind in _OVERRIDES:
            return True
    return offset != len(extra)


def is_safe_name(name: str) -> bool:
    """Return whether a member's name is relative, plain, and the same file on every system."""
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
