"""Damaged wheels: rejected, or another installer reads the same, and the copy passes the gate."""

from __future__ import annotations

import csv
import io
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from installer.sources import WheelFile
from mutations import NASTY, fuzz, rejected, scarred, shuffled, was_read
from packaging.version import Version
from series import diff, mail, write_series
from wheels import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    PLUGIN,
    REALTIME,
    REALTIME_PATH,
    VERSION_FILES,
    change_members,
    contents_of,
    make_official,
    record_row,
    source,
    with_info,
)

from toolkit.patches.series import Series
from toolkit.releases.download import fetch_wheel
from toolkit.releases.pypi import PyPI
from toolkit.releases.verify import verify_repacked
from toolkit.util.distributions import PARTNER
from toolkit.util.errors import InvalidWheel
from toolkit.util.workspace import Workspace
from toolkit.wheels.rewrite import renamed_member, rewrite
from toolkit.wheels.wheelfile import Wheel

LOCAL = Version("1.8.9+dispatched.1")
PATCHED = source(line9="first = 1")
MODULES = {AGENTS: (ENGINE, ENGINE_PATH), PLUGIN: (REALTIME, REALTIME_PATH)}
NUMBERS = (
    *(0, 1, 2, 7, 8, 0x14, 0x2D, 0x33, 0x41, 0x7FFF, 0xFFFF),
    *(0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF),
)
# The lengths of a local header, a central entry and the end (APPNOTE.TXT 4.3).
LENGTHS = {b"PK\3\4": 30, b"PK\1\2": 46, b"PK\5\6": 22}
HEADERS = (
    *("Name: other\n", "Version: 9\n", "Version: 1.8.9\n", "\n", " folded\n", "no header\n"),
    *("Requires-Dist:\n livekit-agents\n", "Requires-Dist: livekit-agents @ https://e.org/x.whl\n"),
    *("Tag: py2-none-any\n", "requires-dist: LiveKit.Agents>=0\n", "Root-Is-Purelib: false\n"),
    *("Wheel-Version: 1.9\n", "Requires-Dist: livekit_plugins_openai (>=0) ; extra == 'x'\n"),
    *("Requires-Dist: livekit-agents" + " " * 20_000 + "@\n", "Requires-Python: <3\n", "Name:\n"),
)
ROWS = (",,\n", "a,b\n", "../x.py,sha256=x,1\n", '"\n', f"{ENGINE},,\n", "a,md5=x,1\n")
MODES = (0o120777, 0o040755, 0o010644, 0o104755, 0o100755, 0)
ROOTS = ("purelib", "platlib", "data/lib/site-packages", "scripts")


@dataclass(frozen=True)
class Draft:
    """A member about to be written: its name, content, and what its header is to say."""

    name: str
    content: bytes = b"import os\n"
    changes: Mapping[str, object] = field(default_factory=dict)


@cache
def seeds() -> Mapping[str, tuple[bytes, ...]]:
    """Valid wheels by file name, as zipfile writes them and as a streaming writer does."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            make_official(Path(folder), AGENTS, "1.8.9", data={"scripts/run": b"#!python\n"}),
            make_official(Path(folder), PLUGIN, "1.8.9"),
        ]
        return {
            path.name: (
                path.read_bytes(),
                change_members(path, lambda m: with_info(m, flag_bits=8)).read_bytes(),
            )
            for path in paths
        }


@st.composite
def damaged_wheels(draw: st.DrawFn) -> tuple[str, bytes]:
    """The name and the bytes of a wheel that something happened to."""
    name = draw(st.sampled_from(sorted(seeds())))
    data = draw(st.sampled_from(seeds()[name]))
    if draw(st.integers(0, 20)) == 20:
        cut = draw(st.integers(0, len(name)))
        name = (name[:cut] + draw(st.sampled_from(NASTY)) + name[cut + 1 :]).replace("/", "_")
    return name, draw(damaged(data))


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """The bytes of a wheel after accidents, with false headers, hostile members or other texts."""
    return scarred(data, data) | lying(data) | lying(data) | rebuilt(data) | reworded(data)


@st.composite
def lying(draw: st.DrawFn, data: bytes) -> bytes:
    """One or two header fields that say otherwise; in both headers, or in one."""
    lies = bytearray(data)
    for _ in range(draw(st.integers(1, 2))):
        signature = draw(st.sampled_from((b"PK\1\2", *LENGTHS)))
        starts = [at for at in range(len(data)) if data.startswith(signature, at)]
        header = draw(st.sampled_from(starts))
        offset = 2 * draw(st.integers(0, LENGTHS[signature] // 2 - 2))
        field = slice(header + offset, header + offset + draw(st.sampled_from((2, 4))))
        old = int.from_bytes(lies[field], "little")
        close = (old + 1, abs(old - 1), old ^ (1 << draw(st.integers(0, 15))))
        size = field.stop - field.start
        number = draw(st.sampled_from((*NUMBERS, *close))) & ((1 << 8 * size) - 1)
        lies[field] = number.to_bytes(size, "little")
        # flags to size stand in the local header too, two bytes before
        if signature == b"PK\1\2" and 8 <= offset < 28 and draw(st.integers(0, 2)):
            local = struct.unpack_from("<L", data, header + 42)[0] + offset - 2
            lies[local : local + size] = number.to_bytes(size, "little")
    return bytes(lies)


@st.composite
def rebuilt(draw: st.DrawFn, data: bytes) -> bytes:
    """The same wheel with hostile members, mostly with a RECORD that agrees."""
    drafts = drafts_of(data)
    for _ in range(draw(st.integers(1, 2))):
        number = draw(st.integers(0, len(drafts) - 1))
        draft, nasty = drafts[number], draw(st.sampled_from(NASTY))
        name = draft.name
        stem = name.partition("/")[0].removesuffix(".dist-info")
        match draw(st.integers(0, 8)):
            case 0:
                cut = draw(st.integers(0, len(name)))
                drafts[number] = replace(draft, name=name[:cut] + nasty + name[cut:])
            case 1:
                drafts.insert(number, Draft(nasty))
            case 2:
                twins = (name.upper(), name.title(), name.swapcase(), f"{name}.", f"{name} ")
                drafts.append(Draft(draw(st.sampled_from(twins))))
            case 3:
                top = draw(st.sampled_from((f"{stem}.data", "x.data", stem.upper() + ".data")))
                drafts.append(Draft(f"{top}/{draw(st.sampled_from(ROOTS))}/{name}"))
            case 4:
                mode = draw(st.sampled_from(MODES)) << 16
                drafts[number] = replace(draft, changes={"external_attr": mode})
            case 5:
                kind = draw(st.sampled_from((1, 0x7075, 0x5455, 0x6375)))
                field = draw(st.sampled_from(("extra", "comment")))
                changes = {field: struct.pack("<HHBL", kind, 5, 1, 9)}
                drafts[number] = replace(draft, changes=changes)
            case 6:
                method = draw(st.sampled_from((0, 8, 12, 14)))
                drafts[number] = replace(draft, changes={"compress_type": method})
            case 7:
                drafts.append(draft)
            case _:
                drafts.append(Draft(f"{name}/x.py"))
    return written(drafts, honest=draw(st.integers(0, 4)) > 0)


@st.composite
def reworded(draw: st.DrawFn, data: bytes) -> bytes:
    """The same wheel with other words in METADATA, WHEEL, RECORD or a module."""
    drafts = drafts_of(data)
    ending = draw(st.sampled_from(("METADATA", "WHEEL", "RECORD", ".py")))
    number = draw(st.sampled_from([n for n, d in enumerate(drafts) if d.name.endswith(ending)]))
    text = drafts[number].content.decode() or "\n"
    new = draw(shuffled(text, ROWS if ending == "RECORD" else HEADERS))
    drafts[number] = replace(drafts[number], content=new.encode("utf-8", "surrogatepass"))
    return written(drafts, honest=ending != "RECORD")


def drafts_of(data: bytes) -> list[Draft]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [Draft(info.filename, archive.read(info)) for info in archive.infolist()]


def written(drafts: list[Draft], *, honest: bool) -> bytes:
    record = next((d.name for d in drafts if d.name.endswith(".dist-info/RECORD")), "")
    if honest and record:
        drafts = [draft for draft in drafts if draft.name != record]
        rows = [*(record_row(draft.name, draft.content) for draft in drafts), (record, "", "")]
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(dict.fromkeys(rows))
        drafts.append(Draft(record, table.getvalue().encode("utf-8", "surrogatepass")))
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for draft in drafts:
            info = zipfile.ZipInfo("x", (2020, 2, 2, 0, 0, 0))
            info.filename = info.orig_filename = draft.name.encode("utf-8", "replace").decode()
            info.external_attr, info.compress_type = 0o100644 << 16, zipfile.ZIP_DEFLATED
            for name, value in draft.changes.items():
                setattr(info, name, value)
            archive.writestr(info, draft.content)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    for name, (_, path) in MODULES.items():
        write_series(folder / name, {"a": {"1.0": mail(diff(path, source(), PATCHED))}})
    return folder


def check(folder: Path, name: str, data: bytes) -> str:
    """A wheel that is read is the one that pypa's installer reads, and its copy is right.

    Returns how far it came.
    """
    path, wheel = folder / name, None
    try:
        path.write_bytes(data)
    except (OSError, ValueError):
        return "no file"
    with rejected(InvalidWheel):
        wheel = Wheel.open(path)
    if wheel is None:
        return "rejected"
    contents = {name: wheel.read(name) for name in wheel.members if name[-1] != "/"}
    with WheelFile.open(path) as other:
        assert {str(row[0]): file.read() for row, file, _ in other.get_contents()} == contents
    was_read()
    module = MODULES.get(wheel.distribution, ("",))[0]
    if contents.get(module) != source().encode():
        return "read"
    with rejected(InvalidWheel):
        check_copy(folder, wheel, contents)
        return "repacked"
    return "not repacked"


def check_copy(folder: Path, wheel: Wheel, contents: Mapping[str, bytes]) -> None:
    """A repacked wheel passes the gate and has all that it should carry over."""
    name = wheel.distribution
    module, version_file = MODULES[name][0], VERSION_FILES[name]
    series = Series.load(folder / name)
    version = Version(f"{wheel.version.public}+dispatched.1")
    pins = {AGENTS if name == PLUGIN else PLUGIN: LOCAL}
    shared: dict[str, Any] = {"version": version, "pins": pins, "version_file": version_file}
    path = rewrite(wheel, {module: PATCHED.encode()}, out_dir=folder / "out", **shared)
    variants = series.variants_for(Version("1.8.9"))
    verify_repacked(wheel, path, series=series, variants=variants, **shared)
    with WheelFile.open(path) as other:
        other.validate_record()
    found = contents_of(path)
    expected = {renamed_member(wheel, n, version): text for n, text in contents.items()}
    edited = {module, version_file, *(n for n in found if n.endswith(("/METADATA", "/RECORD")))}
    assert found[module] == PATCHED.encode()
    assert found.keys() == expected.keys()
    assert all(found[n] == expected[n] for n in found.keys() - edited)


@fuzz(1000)
@given(damaged_wheels())
def test_damaged_wheels(folder: Path, wheel: tuple[str, bytes]) -> None:
    event(check(folder, *wheel))


@pytest.mark.parametrize("name", sorted(seeds()))
@pytest.mark.parametrize("kind", [0, 1])
def test_valid_wheels(folder: Path, name: str, kind: int) -> None:
    assert check(folder, name, seeds()[name][kind]) == "repacked"


@pytest.mark.pypi
@pytest.mark.usefixtures("some_read_some_rejected")
def test_damaged_official_wheel(folder: Path, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cache")
    with PyPI(workspace=workspace) as pypi:
        (artefact,) = pypi.find("1.8.9").of(PARTNER)
    official = fetch_wheel(artefact, workspace)

    @fuzz(200)
    @given(damaged(official.read_bytes()))
    def test(data: bytes) -> None:
        check(folder, official.name, data)

    test()
