"""One builder of wheels, for all tests of the toolkit, and the two distributions it knows."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from random import Random

from toolkit.wheels.archive import Member, read_members, zip_bytes

Change = Callable[[dict[str, bytes]], object]

AGENTS, PLUGIN = "livekit-agents", "livekit-plugins-openai"
TREES = {AGENTS: "livekit-agents", PLUGIN: f"livekit-plugins/{PLUGIN}"}
VERSION_FILES = {
    AGENTS: "livekit/agents/version.py",
    PLUGIN: "livekit/plugins/openai/version.py",
}
ENGINE = "livekit/agents/engine.py"
REALTIME = "livekit/plugins/openai/realtime.py"
ENGINE_PATH = f"{TREES[AGENTS]}/{ENGINE}"
REALTIME_PATH = f"{TREES[PLUGIN]}/{REALTIME}"


def source(**changes: str) -> str:
    """A module of 40 assignments; ``line7="…"`` replaces the seventh."""
    text = [changes.get(f"line{number}", f"value_{number} = {number}") for number in range(1, 41)]
    return "\n".join(text) + "\n"


def noise(size: int) -> bytes:
    """Bytes that cannot be compressed, always the same."""
    return Random(1).randbytes(size)  # noqa: S311


def members_of(name: str, version: str) -> dict[str, bytes]:
    """A distribution's files: a version file, a module to patch, and one to leave alone."""
    package = VERSION_FILES[name].rpartition("/")[0]
    return {
        f"{package}/__init__.py": b"",
        VERSION_FILES[name]: f'# comment\n__version__ = "{version}"\n'.encode(),
        ENGINE if name == AGENTS else REALTIME: source().encode(),
        f"{package}/data.bin": bytes(range(256)) * 8,
    }


def requirement_of(name: str, version: str) -> str:
    """The partner that each of the two requires, as the official wheels spell it."""
    if name == AGENTS:
        return f"{PLUGIN}>={version}; extra == 'openai'"
    return f"{AGENTS}[codecs,images]>={version}"


def record_row(path: str, content: bytes) -> tuple[str, str, str]:
    """A row of RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return path, f"sha256={digest}", str(len(content))


def make_official(
    folder: Path,
    name: str,
    version: str,
    *,
    members: Mapping[str, bytes] | None = None,
    requires: Sequence[str] | None = None,
    tag: str = "py3-none-any",
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """One of the two official wheels, by default with its own members and its partner."""
    return make_wheel(
        folder,
        name,
        version,
        members_of(name, version) if members is None else members,
        requires=[requirement_of(name, version)] if requires is None else requires,
        requires_python="",
        tag=tag,
        data=data,
    )


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    members: Mapping[str, str | bytes] | Mapping[str, bytes] | Mapping[str, str] | None = None,
    *,
    requires: Sequence[str] = (),
    requires_python: str = "<3.15,>=3.10",
    tag: str = "py3-none-any",
    data: Mapping[str, bytes] | None = None,
) -> Path:
    """A valid wheel as hatchling would write it; the same input gives the same bytes.

    ``members`` is by default one module; ``data`` goes below its ``.data`` folder. The
    description repeats headers, which are none there.
    """
    escaped = name.replace("-", "_")
    stem = f"{escaped}-{version}"
    if members is None:
        members = {f"{escaped}_marker.py": f"VERSION = {version!r}\n"}
    contents = {path: t.encode() if isinstance(t, str) else t for path, t in members.items()}
    contents |= {f"{stem}.data/{path}": content for path, content in (data or {}).items()}
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Python: {requires_python}\n" if requires_python else ""
    metadata += "".join(f"Requires-Dist: {need}\n" for need in requires)
    metadata += f"\nVersion: {version}\nRequires-Dist: {requires[0] if requires else '-'}\n"
    wheel = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
    wheel += "".join(f"Tag: {single}\n" for single in expand(tag))
    contents[f"{stem}.dist-info/METADATA"] = metadata.encode()
    contents[f"{stem}.dist-info/WHEEL"] = wheel.encode()
    return write_archive(folder / f"{stem}-{tag}.whl", contents, f"{stem}.dist-info/RECORD")


def expand(tag: str) -> list[str]:
    """The single tags of a compressed set."""
    python, abi, platform = (part.split(".") for part in tag.split("-"))
    return [f"{p}-{a}-{f}" for p in python for a in abi for f in platform]


def write_archive(path: Path, contents: Mapping[str, bytes], record: str | None) -> Path:
    """Zip ``contents`` with fixed dates, deflated, and a RECORD of them if one is named."""
    contents = dict(contents)
    if record is not None:
        table = io.StringIO(newline="")
        rows = [record_row(name, contents[name]) for name in contents if name[-1:] != "/"]
        csv.writer(table, lineterminator="\n").writerows([*rows, (record, "", "")])
        contents[record] = table.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            info = zipfile.ZipInfo(name, (2020, 2, 2, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def contents_of(path: Path) -> dict[str, bytes]:
    """What a wheel holds, by member."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def change_wheel(path: Path, *changes: Change, record: bool = True) -> Path:
    """Write a wheel again with other contents, and with a RECORD of them or the old one."""
    contents = contents_of(path)
    (name,) = (member for member in contents if member.endswith(".dist-info/RECORD"))
    if record:
        del contents[name]
    for change in changes:
        change(contents)
    return write_archive(path, contents, name if record else None)


def add(name: str, content: bytes = b"") -> Change:
    """A change for :func:`change_wheel`: one more member, or another content."""
    return lambda contents: contents.update({name: content})


def drop(name: str) -> Change:
    """A change: one member less."""
    return lambda contents: contents.pop(name)


def edit(name: str, old: bytes, new: bytes) -> Change:
    """A change: the first ``old`` in a member becomes ``new``."""

    def change(contents: dict[str, bytes]) -> None:
        assert old in contents[name]
        contents[name] = contents[name].replace(old, new, 1)

    return change


def change_members(path: Path, change: Callable[[Member], Member]) -> Path:
    """Write a wheel again with other zip members; their headers say what the members say."""
    members = read_members(path.read_bytes(), []).values()
    path.write_bytes(b"".join(zip_bytes(map(change, members))))
    return path


def with_info(member: Member, **changes: object) -> Member:
    """A member whose headers say something else."""
    info = copy(member.info)
    for name, value in changes.items():
        setattr(info, name, value)
    return replace(member, info=info)
