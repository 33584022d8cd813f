"""In what one wheel differs from another, for a reader; the second may be anything at all."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping

from toolkit.wheels.archive import Member, read_members

_SHOWN = 20


def differences(expected: bytes, found: bytes) -> Iterator[str]:
    """In which members two wheels differ, the second being ``found``; at most some twenty lines."""
    problems: list[str] = []
    ours, theirs = read_members(expected, []), _members(found, problems)
    lines = [*problems, *_compared(ours, theirs)]
    if not lines:
        lines = ["the same members, but in another order or with other headers"]
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more"


def _members(data: bytes, problems: list[str]) -> dict[str, Member]:
    try:
        return read_members(data, problems)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        problems.append(f"it is no sound zip file: {error}")
        return {}


def _compared(ours: Mapping[str, Member], theirs: Mapping[str, Member]) -> Iterator[str]:
    if not theirs:
        return
    yield from (f"{name} is missing" for name in sorted(ours.keys() - theirs.keys()))
    yield from (f"{name} was added" for name in sorted(theirs.keys() - ours.keys()))
    for name in sorted(ours.keys() & theirs.keys()):
        mine, other = ours[name], theirs[name]
        if mine.stored == other.stored and _facts(mine) == _facts(other):
            continue
        try:
            same = mine.content() == other.content()
        except zipfile.BadZipFile as error:
            yield str(error)
            continue
        yield f"{name} is packed otherwise" if same else f"{name} has another content"


def _facts(member: Member) -> tuple[object, ...]:
    info = member.info
    fixed = (info.compress_type, info.CRC, info.file_size, info.date_time, info.flag_bits)
    return (*fixed, info.external_attr, info.create_system, info.extra, member.extra)
