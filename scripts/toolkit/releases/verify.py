"""The gate behind repack: is a wheel exactly the official one plus the series?

It takes nothing over from repack: the hunks are applied anew, the lines that they add and remove
are counted by a second reading of the patch files, and the rules for METADATA, version file and
RECORD are stated anew.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from toolkit.patches.patchfile import Variant
from toolkit.patches.series import Series
from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import Member
from toolkit.wheels.wheelfile import Wheel


def verify_repacked(
    official: Wheel,
    repacked: Path,
    *,
    series: Series,
    variants: Sequence[Variant],
    version: Version,
    pins: Mapping[str, Version],
    version_file: str,
) -> Wheel:
    """Return the repacked wheel, opened, if it is ``official`` plus ``variants`` and nothing else.

    ``version`` is the local version it must carry, ``pins`` the partners' required versions.
    Raises InvalidWheel once, with every difference that the series does not explain.
    """
    wheel = Wheel.open(repacked, like=official)
    problems: list[str] = []
    # name, version and tags
    tagged = (wheel.distribution, wheel.tag, wheel.version, wheel.dist_info)
    top = official.dist_info.partition("-")[0]
    if tagged != (official.distribution, official.tag, version, f"{top}-{version}.dist-info"):
        problems.append("its name, version or tags are not the official ones plus the local part")
    # the members, in their order
    moves = {
        name: _moved(name, f"{top}-{version}", official.dist_info.removesuffix(".dist-info"))
        for name in official.members
    }
    texts = _expected_texts(official, series, variants, version, version_file)
    added = sorted(texts.keys() - moves.keys())
    names = [*moves.values(), *added]
    if sorted(names) != sorted(wheel.members):
        different = sorted(set(names) ^ set(wheel.members))
        problems.append(f"its members are not the official ones: {', '.join(different)}")
    if [name for name in wheel.members if name not in added] != list(moves.values()):
        problems.append("its members are not in the official order")
    # what they hold
    edited = {f"{official.dist_info}/METADATA", f"{official.dist_info}/RECORD", *texts}
    for old, new in moves.items():
        if new in wheel.members:
            is_same = _same_dates if old in edited else _same_bytes
            if not is_same(official.members[old], wheel.members[new]):
                problems.append(f"{new} is not the official member, carried over verbatim")
    for name, text in texts.items():
        if name in wheel.members and wheel.read(name) != text:
            problems.append(f"{name} is not the official text plus the series")
    patched = texts.keys() & wheel.members.keys() - {version_file}
    problems += _check_lines(official, wheel, patched, series, variants)
    # METADATA and RECORD
    problems += _check_metadata(official, wheel, version, pins)
    problems += _check_requirements(wheel, pins)
    rows = {moves[name]: row for name, row in official.record.items() if name not in edited}
    if [name for name in wheel.record if name not in added] != [
        moves[name] for name in official.record
    ] or any(wheel.record.get(name) != row for name, row in rows.items()):
        problems.append("RECORD's rows are not the official ones, apart from what was edited")
    if problems:
        problem = f"{repacked.name} is not the official wheel plus the series:"
        step = "do not publish it; repack again, and report this if it happens again"
        raise InvalidWheel("\n".join([problem, *problems]), next_step=step)
    return wheel


def _check_lines(
    official: Wheel, wheel: Wheel, names: Iterable[str], series: Series, variants: Sequence[Variant]
) -> Iterator[str]:
    """Count the lines by the patch files alone, which nothing else here reads that way."""
    for name in names:
        before = official.read(name) if name in official.members else b""
        lines = _count_lines(before)
        lines.update(_line_changes(name, official.distribution, series, variants))
        if +lines != _count_lines(wheel.read(name)) or min(lines.values(), default=0) < 0:
            yield f"{name} has other lines than the patches make of the official ones"


def _moved(name: str, new: str, old: str) -> str:
    for suffix in (".dist-info/", ".data/"):
        if name.startswith(old + suffix):
            return new + name[len(old) :]
    return name


def _expected_texts(
    official: Wheel,
    series: Series,
    variants: Sequence[Variant],
    version: Version,
    version_file: str,
) -> dict[str, bytes]:
    """Return what each edited member must hold: the variants' hunks, one after the other."""
    texts = {version_file: official.read(version_file)}
    for variant in variants:
        for change in variant.changes:
            distribution, member = series.locate(change.path)
            if distribution != official.distribution:
                continue
            if member not in texts:
                texts[member] = b"" if change.is_new else official.read(member)
            # a wheel that was built on Windows may have other line ends than the patches
            lines = texts[member].splitlines(keepends=True)
            dos = bool(lines) and all(line.endswith(b"\r\n") for line in lines)
            text = change.applied(texts[member].replace(b"\r\n", b"\n") if dos else texts[member])
            if text is None:
                raise InvalidWheel(
                    f"{variant.patch}/{variant.path.name} does not fit "
                    f"{official.path.name}: {member}",
                    next_step="run scripts/apply.py for this release: it says where and why",
                )
            texts[member] = text.replace(b"\n", b"\r\n") if dos else text
    texts[version_file] = _with_version(texts[version_file], version)
    return texts


def _count_lines(text: bytes) -> Counter[bytes]:
    """Count equal lines, whatever their ends."""
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return Counter(line.removesuffix(b"\r") for line in lines)


def _line_changes(
    member: str, distribution: str, series: Series, variants: Sequence[Variant]
) -> Counter[bytes]:
    """Count the lines that patch files add to a member; those that they remove, below zero."""
    counts: Counter[bytes] = Counter()
    for variant in variants:
        for section in variant.data.split(b"\ndiff --git a/")[1:]:
            path, _, rest = section.partition(b" b/")
            if series.locate(path.decode()) == (distribution, member):
                for line in rest.partition(b"\n@@")[2].split(b"\n"):
                    if line[:1] in (b"+", b"-"):
                        counts[line[1:].removesuffix(b"\r")] += 1 if line[:1] == b"+" else -1
    return counts


def _with_version(text: bytes, version: Version) -> bytes:
    """Return ``text`` with another literal where Python reads what ``__version__`` is."""
    lines = text.splitlines(keepends=True)
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError):
        return text
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if [getattr(target, "id", "") for target in targets] != ["__version__"]:
            continue
        value = getattr(node, "value", None)
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            line = lines[value.lineno - 1]
            # within its quotes
            start, end = value.col_offset + 1, (value.end_col_offset or 0) - 1
            lines[value.lineno - 1] = line[:start] + str(version).encode() + line[end:]
    return b"".join(lines)


def _same_dates(official: Member, repacked: Member) -> bool:
    """A changed member keeps the official date and attributes, and is stored."""
    kept = ("date_time", "external_attr", "create_system")
    return repacked.info.compress_type == zipfile.ZIP_STORED and all(
        getattr(repacked.info, name) == getattr(official.info, name) for name in kept
    )


def _same_bytes(official: Member, repacked: Member) -> bool:
    fields = (
        *("CRC", "compress_type", "flag_bits", "date_time", "file_size", "extra", "comment"),
        *("external_attr", "internal_attr", "create_system", "create_version", "extract_version"),
    )
    return (
        repacked.stored == official.stored
        and repacked.extra == official.extra
        and all(getattr(repacked.info, name) == getattr(official.info, name) for name in fields)
    )


def _check_metadata(
    official: Wheel, wheel: Wheel, version: Version, pins: Mapping[str, Version]
) -> list[str]:
    old = official.read(f"{official.dist_info}/METADATA").splitlines(keepends=True)
    new = wheel.read(f"{wheel.dist_info}/METADATA").splitlines(keepends=True)
    if len(old) != len(new):
        return ["METADATA has lines more or less than the official one"]
    end = next((at for at, line in enumerate(old) if line in (b"\n", b"\r\n")), len(old))
    problems = []
    for at, (before, after) in enumerate(zip(old, new, strict=True)):
        field, colon, value = before.partition(b":")
        if at < end and field.lower() == b"version":
            value = value.replace(value.strip(), str(version).encode())
        elif at < end and field.lower() == b"requires-dist":
            value = _pinned(value, pins)
        expected = field + colon + value
        if after != expected:
            problems.append(f"METADATA line {at + 1} is not what it should be: {after!r}")
    return problems


def _check_requirements(wheel: Wheel, pins: Mapping[str, Version]) -> Iterator[str]:
    """Read the requirements as an installer does: a partner stands in none but its pin."""
    message = BytesHeaderParser().parsebytes(wheel.read(f"{wheel.dist_info}/METADATA"))
    for line in map(str, message.get_all("Requires-Dist", [])):
        try:
            required = Requirement(line)
        except InvalidRequirement:
            yield f"METADATA requires {line!r}, which is no requirement"
            continue
        pin = pins.get(canonicalize_name(required.name))
        if pin is not None and (required.url or str(required.specifier) != f"=={pin}"):
            yield f"METADATA requires {line!r}, not {required.name}=={pin}"


def _pinned(official: bytes, pins: Mapping[str, Version]) -> bytes:
    """Return a requirement with the pin for all that stands between extras and marker."""
    head, semicolon, marker = official.partition(b";")
    name = re.split(rb"[\s(<>=!~[]", head.strip(), maxsplit=1)[0]
    pin = pins.get(canonicalize_name(name.decode()))
    if pin is None:
        return official
    # Blanks before the marker, or the line's end where there is none.
    gap = head[len(head.rstrip()) :]
    last = b"]" if b"[" in head else name
    kept = head[: head.index(last) + len(last)]
    return kept + f"=={pin}".encode() + gap + semicolon + marker
