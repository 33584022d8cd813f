"""The differences between two wheels, for a reader; the second may be any bytes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping

from toolkit.wheels.archive import Member, read_members

_SHOWN = 20


def differences(expected: bytes, actual: bytes) -> Iterator[str]:
    """Yield the differences between two wheels' members, one a line; at most _SHOWN and a sum."""
    problems: list[str] = []
    before, after = read_members(expected, []), read_members(actual, problems)
    lines = [*problems, *(_compared(before, after) if after else ())]
    if not lines:
        lines = ["the same members, but in another order or with other headers"]
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more"


def _compared(before: Mapping[str, Member], after: Mapping[str, Member]) -> Iterator[str]:
    yield from (f"{name} is missing" for name in sorted(before.keys() - after.keys()))
    yield from (f"{name} was added" for name in sorted(after.keys() - before.keys()))
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old.stored == new.stored and _headers(old) == _headers(new):
            continue
        try:
            same = old.content() == new.content()
        except zipfile.BadZipFile as error:
            yield str(error)
        else:
            yield f"{name} is packed otherwise" if same else f"{name} has another content"


def _headers(member: Member) -> tuple[object, ...]:
    info = member.info
    fixed = (info.compress_type, info.CRC, info.file_size, info.date_time, info.flag_bits)
    return (*fixed, info.external_attr, info.create_system, info.extra, member.extra)
