"""Repacking: what changes, what does not, and the gate that sees any other difference."""

from __future__ import annotations

import csv
import errno
import io
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from making import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    PLUGIN,
    TREES,
    VERSION_FILES,
    contents_of,
    diff,
    engine_patch,
    mail,
    make_wheel,
    record_row,
    source,
    write_archive,
    write_series,
)
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.releases.verify import verify_repacked
from toolkit.util.errors import InvalidWheel, NotWritable
from toolkit.wheels import rewrite
from toolkit.wheels.archive import Member, zip_bytes
from toolkit.wheels.rewrite import rewrite as repack
from toolkit.wheels.wheelfile import Wheel

LOCAL = Version("1.8.9+dispatched.1")
PATCHED = source(line9="first = 1").encode()
OLD, NEW = "livekit_agents-1.8.9.dist-info", "livekit_agents-1.8.9+dispatched.1.dist-info"
PINS = {PLUGIN: Version("1.8.9")}


def repacked(official: Path, out: Path, changed: Mapping[str, bytes] | None = None) -> Path:
    return repack(
        Wheel.open(official),
        {ENGINE: PATCHED} if changed is None else changed,
        version=LOCAL,
        pins=PINS,
        version_file=VERSION_FILES[AGENTS],
        out_dir=out,
    )


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return make_wheel(tmp_path / "official", AGENTS, "1.8.9", data={"scripts/run": b"#!python\n"})


def test_only_what_must_differ_differs(official: Path, tmp_path: Path) -> None:
    path = repacked(official, tmp_path / "out")
    assert path.name == "livekit_agents-1.8.9+dispatched.1-py3-none-any.whl"
    old, new = contents_of(official), contents_of(path)
    moved = {name: name.replace("1.8.9.", "1.8.9+dispatched.1.") for name in old}
    assert list(new) == list(moved.values())
    assert "livekit_agents-1.8.9+dispatched.1.data/scripts/run" in new
    differing = {name for name in old if old[name] != new[moved[name]]}
    edited = {ENGINE, VERSION_FILES[AGENTS], f"{OLD}/METADATA", f"{OLD}/RECORD"}
    assert differing == edited
    assert new[ENGINE] == PATCHED
    assert new[VERSION_FILES[AGENTS]] == b'# comment\n__version__ = "1.8.9+dispatched.1"\n'
    assert new[f"{NEW}/METADATA"].decode() == (
        "Metadata-Version: 2.4\nName: livekit-agents\nVersion: 1.8.9+dispatched.1\n"
        "Requires-Dist: livekit-plugins-openai==1.8.9; extra == 'openai'\n\n"
        "Version: 1.8.9\nRequires-Dist: livekit-plugins-openai>=1.8.9; extra == 'openai'\n"
    )


def test_record_rows_follow(official: Path, tmp_path: Path) -> None:
    new = contents_of(repacked(official, tmp_path))
    rows = list(csv.reader(io.StringIO(new[f"{NEW}/RECORD"].decode())))
    assert rows[-1] == [f"{NEW}/RECORD", "", ""]
    assert [tuple(row) for row in rows[:-1]] == [
        record_row(name, content) for name, content in list(new.items())[:-1]
    ]


def test_members_keep_their_metadata(official: Path, tmp_path: Path) -> None:
    path = repacked(official, tmp_path)
    with zipfile.ZipFile(official) as before, zipfile.ZipFile(path) as after:
        assert after.testzip() is None
        for old, new in zip(before.infolist(), after.infolist(), strict=True):
            assert (old.date_time, old.external_attr) == (new.date_time, new.external_attr)
            stored = new.filename in (ENGINE, VERSION_FILES[AGENTS]) or new.filename[-6:] in (
                "TADATA",
                "RECORD",
            )
            assert new.compress_type == (zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
            if not stored:
                assert (old.CRC, old.compress_size) == (new.CRC, new.compress_size)


def test_unusual_members_are_carried_over_raw(official: Path, tmp_path: Path) -> None:
    contents = contents_of(official)
    with zipfile.ZipFile(official, "w") as archive:
        for number, (name, content) in enumerate(contents.items()):
            info = zipfile.ZipInfo(name, (1998, 7, 6, 5, 4, 2 * number))
            info.create_system, info.external_attr = number % 4, (0o100600 + number) << 16
            info.compress_type = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            info.comment, info.extra = b"said", b"\x55\x54\5\0\1" + bytes(4)
            archive.writestr(info, content)
    old, new = Wheel.open(official), Wheel.open(repacked(official, tmp_path))
    for name in (f"{OLD}/WHEEL", "livekit/agents/data.bin"):
        ours, theirs = new.members[name.replace(OLD, NEW)], old.members[name]
        assert (ours.stored, ours.extra) == (theirs.stored, theirs.extra)
        for field in ("date_time", "create_system", "external_attr", "comment", "extra"):
            assert getattr(ours.info, field) == getattr(theirs.info, field)


class Unseekable(io.RawIOBase):
    """A sink that zipfile must write data descriptors to."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self.data += piece
        return len(piece)


def test_data_descriptors_are_carried_over(official: Path, tmp_path: Path) -> None:
    sink = Unseekable()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents_of(official).items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    official.write_bytes(sink.data)
    path = repacked(official, tmp_path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("livekit/agents/data.bin").flag_bits & 8
        assert not archive.getinfo(ENGINE).flag_bits & 8
    # A reader that takes the file as a stream relies on the descriptors alone.
    listed = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(path)], capture_output=True, check=True
    )
    assert b"data.bin" in listed.stdout
    assert Wheel.open(path).read("livekit/agents/data.bin") == bytes(range(256)) * 8


def test_new_file_goes_before_dist_info(official: Path, tmp_path: Path) -> None:
    new = "livekit/agents/aaa.py"
    wheel = Wheel.open(repacked(official, tmp_path, {new: b"NEW = 1\n"}))
    names = list(wheel.members)
    assert names.index(new) < names.index(f"{NEW}/METADATA")
    assert names.index(new) > names.index("livekit/agents/data.bin")
    assert wheel.read(new) == b"NEW = 1\n"


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("livekit-plugins-openai>=1.8.9; extra == 'openai'", "livekit-plugins-openai==1.8.9; {}"),
        (
            "livekit-plugins-openai (>=1.8.9) ; extra == 'openai'",
            "livekit-plugins-openai==1.8.9 ; {}",
        ),
        ("Livekit_Plugins.Openai", "Livekit_Plugins.Openai==1.8.9"),
        ("livekit-plugins-openai[a,b]~=1.8", "livekit-plugins-openai[a,b]==1.8.9"),
        ("livekit-plugins-openai [a]<2,>1 ;{}", "livekit-plugins-openai [a]==1.8.9 ;{}"),
        ("livekit-plugins-openai-extra>=1", "livekit-plugins-openai-extra>=1"),
        ("livekit-plugins>=1", "livekit-plugins>=1"),
    ],
)
def test_pins(tmp_path: Path, requirement: str, expected: str) -> None:
    marker = "extra == 'openai'"
    official = make_wheel(tmp_path, AGENTS, "1.8.9", requires=[requirement.format(marker)])
    text = contents_of(repacked(official, tmp_path))[f"{NEW}/METADATA"].decode()
    assert f"\nRequires-Dist: {expected.format(marker)}\n" in text.partition("\n\n")[0] + "\n"


def test_direct_reference_cannot_be_pinned(tmp_path: Path) -> None:
    official = make_wheel(tmp_path, AGENTS, "1.8.9", requires=[f"{PLUGIN} @ https://example.org/x"])
    with pytest.raises(InvalidWheel, match="cannot be pinned"):
        repacked(official, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", [b"", b"__version__ = '1.8.8'\n", b"__version__ = '1.8.9'\n" * 2])
def test_version_line_must_be_found_once(tmp_path: Path, text: bytes) -> None:
    members = {VERSION_FILES[AGENTS]: text, ENGINE: b""}
    official = make_wheel(tmp_path, AGENTS, "1.8.9", members=members)
    with pytest.raises(InvalidWheel, match="no single line __version__"):
        repacked(official, tmp_path / "out")


def test_signed_wheel_is_refused(official: Path, tmp_path: Path) -> None:
    contents = contents_of(official) | {f"{OLD}/RECORD.jws": b"{}"}
    with pytest.raises(InvalidWheel, match="would be void"):
        repacked(write_archive(official, contents, None), tmp_path / "out")


def test_same_bytes_everywhere(official: Path, tmp_path: Path) -> None:
    """Two processes that differ in folder, time zone, umask, locale and hash seed."""
    script = (
        "import os, sys; os.umask(int(sys.argv[4], 8)); sys.path[:0] = sys.argv[2:4]; "
        "from test_transplant import *; print(repacked(Path(sys.argv[1]), Path(sys.argv[5])))"
    )
    here = Path(__file__).parent
    made = []
    for number, (zone, mask, seed) in enumerate(
        (("UTC", "022", "0"), ("Asia/Kathmandu", "077", "77"))
    ):
        done = subprocess.run(
            [
                *(sys.executable, "-c", script, str(official), str(here)),
                *(str(here.parents[1] / "scripts"), mask, str(tmp_path / str(number))),
            ],
            env={
                **os.environ,
                "TZ": zone,
                "PYTHONHASHSEED": seed,
                "LC_ALL": ("C", "C.UTF-8")[number],
            },
            check=True,
            capture_output=True,
            text=True,
        )
        made.append(Path(done.stdout.strip()).read_bytes())
    assert made[0] == made[1]


def test_no_zlib_decides_over_the_bytes(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = repacked(official, tmp_path / "a").read_bytes()
    monkeypatch.setattr(zlib, "compressobj", lambda *_: pytest.fail("it compresses"))
    monkeypatch.setattr(zlib, "compress", lambda *_: pytest.fail("it compresses"))
    assert repacked(official, tmp_path / "b").read_bytes() == expected


def test_read_only_folder(official: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(NotWritable):
        repacked(official, tmp_path / "file/out")


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_nothing_half_done_stays(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(members: Sequence[Member]) -> Iterator[bytes]:
        yield members[0].stored
        raise failure

    monkeypatch.setattr(rewrite, "zip_bytes", fail)
    with pytest.raises((NotWritable, KeyboardInterrupt)):
        repacked(official, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@dataclass(frozen=True)
class Gate:
    """A repacked wheel, and how to have it inspected after tampering."""

    official: Wheel
    path: Path
    series: Series

    def check(self) -> None:
        verify_repacked(
            self.official,
            self.path,
            series=self.series,
            variants=self.series.variants_for(Version("1.8.9")),
            version=LOCAL,
            pins=PINS,
            version_file=VERSION_FILES[AGENTS],
        )

    def tamper(self, change: Callable[[dict[str, bytes]], object], *, honest: bool = True) -> str:
        """Change contents, with a RECORD that agrees, and return what the gate says."""
        wheel = Wheel.open(self.path)
        contents = contents_of(self.path)
        change(contents)
        rows = contents.pop(f"{NEW}/RECORD")
        names = list(contents)
        write_archive(self.path, contents, f"{NEW}/RECORD")
        if not honest:
            write_archive(self.path, contents | {f"{NEW}/RECORD": rows}, None)
        elif names == list(wheel.members)[:-1]:
            self.transplant({name: contents[name] for name in names})
        with pytest.raises(InvalidWheel) as caught:
            self.check()
        return str(caught.value)

    def transplant(self, contents: Mapping[str, bytes]) -> None:
        """Make the file anew the way repack does, but with other contents."""
        rows = [record_row(name, content) for name, content in contents.items()]
        table = io.StringIO(newline="")
        csv.writer(table, lineterminator="\n").writerows([*rows, (f"{NEW}/RECORD", "", "")])
        wanted = dict(contents) | {f"{NEW}/RECORD": table.getvalue().encode()}
        names = dict(zip((n for n in wanted), self.official.members, strict=True))
        members = []
        for name, content in wanted.items():
            member = self.official.members[names[name]]
            same = self.official.read(names[name]) == content
            keep = same and name not in (f"{NEW}/METADATA", f"{NEW}/RECORD")
            info = copy(member.info)
            info.orig_filename = info.filename = name
            member = replace(member, info=info)
            members.append(member if keep else rewrite._with_content(member, content))
        self.path.write_bytes(b"".join(zip_bytes(members)))


@pytest.fixture
def gate(official: Path, tmp_path: Path) -> Gate:
    patches = {"a": {"1.0": engine_patch(line9="first = 1")}}
    series = Series.load(write_series(tmp_path / "patches", patches))
    return Gate(Wheel.open(official), repacked(official, tmp_path / "out"), series)


def test_gate_lets_the_real_one_pass(gate: Gate) -> None:
    gate.check()
    gate.transplant({n: c for n, c in contents_of(gate.path).items() if not n.endswith("RECORD")})
    gate.check()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("version: 1.8.9", "version: {}"),
        ("Version:1.8.9  ", "Version:{}  "),
        ("VERSION:\tv1.08.9.0", "VERSION:\t{}"),
        ("requires-dist: LiveKit_Plugins.OpenAI>1",
         "requires-dist: LiveKit_Plugins.OpenAI==1.8.9"),
        ("REQUIRES-DIST:livekit-plugins-openai [a] (>=1)  ",
         "REQUIRES-DIST:livekit-plugins-openai [a]==1.8.9  "),
        ("Requires-Dist:  livekit-plugins-openai>=1 ; extra == 'x'  ",
         "Requires-Dist:  livekit-plugins-openai==1.8.9 ; extra == 'x'  "),
        ("__version__ = '1.8.9'  # it's \"the\" 'version'",
         "__version__ = '{}'  # it's \"the\" 'version'"),
        ("__version__: 'str' = \"1.8.9\"  # a = \"b\"", "__version__: 'str' = \"{}\"  # a = \"b\""),
        ("__version__='v1.8.9.0'; name = 'x'", "__version__='{}'; name = 'x'"),
    ],
)  # fmt: skip
def test_gate_and_rewrite_agree_on_loose_words(theirs: str, ours: str, tmp_path: Path) -> None:
    metadata, module = f"{OLD}/METADATA", VERSION_FILES[AGENTS]
    made = make_wheel(tmp_path, AGENTS, "1.8.9", requires=[])
    contents = contents_of(made)
    del contents[f"{OLD}/RECORD"]
    name = module if theirs.startswith("__") else metadata
    plain = b'__version__ = "1.8.9"' if name == module else b"\nVersion: 1.8.9"
    new = b"\n" * (name == metadata) + theirs.encode()
    if "requires" in theirs.lower():
        new = plain + new
    contents[name] = contents[name].replace(plain, new, 1)
    made = write_archive(made, contents, f"{OLD}/RECORD")
    patches = {"a": {"1.0": engine_patch(line9="first = 1")}}
    series = Series.load(write_series(tmp_path / "patches", patches))
    gate = Gate(Wheel.open(made), repacked(made, tmp_path / "out"), series)
    gate.check()
    now = contents_of(gate.path)[name.replace(OLD, NEW)].decode()
    assert ours.format(LOCAL) in now.split("\n\n")[0].split("\n")


def test_gate_and_rewrite_agree_on_a_candidate(tmp_path: Path) -> None:
    made = make_wheel(tmp_path, AGENTS, "9.9.9rc1", requires=[])
    stem = "livekit_agents-9.9.9rc1.dist-info"
    contents = contents_of(made)
    del contents[f"{stem}/RECORD"]
    for name in (f"{stem}/METADATA", VERSION_FILES[AGENTS]):
        contents[name] = contents[name].replace(b"9.9.9rc1", b"9.9.9-rc1")
    official = Wheel.open(write_archive(made, contents, f"{stem}/RECORD"))
    patches = {"a": {"1.0": engine_patch(line9="first = 1")}}
    series = Series.load(write_series(tmp_path / "patches", patches))
    rest: dict[str, Any] = {"version": Version("9.9.9rc1+dispatched.1"), "pins": PINS}
    rest["version_file"] = VERSION_FILES[AGENTS]
    path = repack(official, {ENGINE: PATCHED}, out_dir=tmp_path / "out", **rest)
    variants = series.variants_for(Version("9.9.9rc1"))
    checked = verify_repacked(official, path, series=series, variants=variants, **rest)
    assert b"\nVersion: 9.9.9rc1+dispatched.1\n" in checked.read(f"{checked.dist_info}/METADATA")


def edit(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def change(contents: dict[str, bytes]) -> None:
        assert old in contents[name]
        contents[name] = contents[name].replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit(ENGINE, b"first = 1", b"first = 2"), f"{ENGINE} is not the official text plus"),
        (edit(ENGINE, b"value_30 = 30", b"value_30 = 31"), f"{ENGINE} is not the official text"),
        (edit(ENGINE, b"first = 1", b"value_9 = 9"), f"{ENGINE} is not the official text"),
        (edit(VERSION_FILES[AGENTS], b"# comment", b"import os"), "version.py is not the official"),
        (edit(VERSION_FILES[AGENTS], b"dispatched.1", b"dispatched.2"), "version.py is not the"),
        (edit("livekit/agents/data.bin", b"\0\1", b"\1\0"), "data.bin is not the official member"),
        (edit(f"{NEW}/WHEEL", b"tests", b"other"), "WHEEL is not the official member"),
        (edit(f"{NEW}/METADATA", b"Metadata-Version: 2.4", b"Metadata-Version: 2.3"), "line 1"),
        (edit(f"{NEW}/METADATA", b"==1.8.9;", b">=1.8.9;"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"==1.8.9;", b"==1.8.8;"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"; extra == 'openai'\n\n", b"\n\n"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"\n\nVersion: 1.8.9", b"\n\nVersion: 1.8.8"), "METADATA line 6"),
        (edit(f"{NEW}/METADATA", b"\n\n", b"\nLicense: X\n\n"), "METADATA has lines more"),
    ],
)
def test_gate_sees_any_edit(
    gate: Gate, change: Callable[[dict[str, bytes]], object], said: str
) -> None:
    assert said in gate.tamper(change)


def test_gate_sees_members_that_come_and_go(gate: Gate) -> None:
    assert "livekit/more.py" in gate.tamper(lambda c: c.update({"livekit/more.py": b""}))
    assert "data.bin" in gate.tamper(lambda c: c.pop("livekit/agents/data.bin"))


def test_gate_sees_another_order(gate: Gate) -> None:
    def turn(contents: dict[str, bytes]) -> None:
        contents["livekit/agents/__init__.py"] = contents.pop("livekit/agents/__init__.py")

    assert "not in the official order" in gate.tamper(turn)


def test_gate_sees_recompressed_members(gate: Gate) -> None:
    write_archive(gate.path, contents_of(gate.path), None)
    with pytest.raises(InvalidWheel, match=r"engine\.py is not the official member, carried over"):
        gate.check()


def test_gate_sees_a_record_that_lies(gate: Gate) -> None:
    change = edit(ENGINE, b"first = 1", b"first = 2")
    assert "is not what RECORD says" in gate.tamper(change, honest=False)


def test_gate_sees_another_name(gate: Gate) -> None:
    other = gate.path.rename(gate.path.with_name(gate.path.name.replace("-none-", "-abi3-")))
    with pytest.raises(InvalidWheel, match="about the tags"):
        Gate(gate.official, other, gate.series).check()


def test_gate_sees_a_series_that_was_not_applied(
    gate: Gate, official: Path, tmp_path: Path
) -> None:
    unpatched = repacked(official, tmp_path / "unpatched", {})
    with pytest.raises(InvalidWheel, match="not the official text plus the series"):
        Gate(gate.official, unpatched, gate.series).check()
    two = mail(
        diff(ENGINE_PATH, source(line9="first = 1"), source(line9="first = 1", line30="x = 2"))
    )
    new = mail(diff(f"{TREES[AGENTS]}/livekit/agents/new.py", "", "NEW = 1\n"))
    patches = {"a": {"1.0": engine_patch(line9="first = 1")}, "b": {"1.0": two}, "c": {"1.0": new}}
    longer = Series.load(write_series(tmp_path / "longer", patches))
    with pytest.raises(InvalidWheel) as caught:
        Gate(gate.official, gate.path, longer).check()
    assert "engine.py is not the official text" in str(caught.value)
    assert "livekit/agents/new.py" in str(caught.value)


def test_gate_refuses_a_series_that_does_not_fit(gate: Gate, tmp_path: Path) -> None:
    other = mail(diff(ENGINE_PATH, source(line8="drift = 1"), source(line9="first = 1")))
    series = Series.load(write_series(tmp_path / "other", {"a": {"1.0": other}}))
    with pytest.raises(InvalidWheel, match="does not fit"):
        Gate(gate.official, gate.path, series).check()
