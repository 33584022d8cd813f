"""The gate behind repack: it sees any difference that the series does not explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from packaging.version import Version
from series import diff, engine_patch, mail, write_series
from test_wheels_rewrite import LOCAL, NEW, OLD, PATCHED, SHARED, VERSION_FILE
from wheels import (
    AGENTS,
    ENGINE,
    ENGINE_PATH,
    TREES,
    Change,
    add,
    change_wheel,
    contents_of,
    drop,
    edit,
    make_official,
    source,
    write_archive,
)

from toolkit.patches.series import Series
from toolkit.releases.verify import verify_repacked
from toolkit.util.errors import InvalidWheel
from toolkit.wheels.archive import zip_bytes
from toolkit.wheels.rewrite import _with_content, rewrite
from toolkit.wheels.wheelfile import Wheel

DATA = "livekit/agents/data.bin"
ONE = engine_patch(line9="first = 1")


@dataclass(frozen=True)
class Gate:
    """An official wheel, a repacked one, and the series between them."""

    official: Wheel
    path: Path
    series: Series
    version: Version = LOCAL

    @classmethod
    def of(cls, official: Path, folder: Path, version: Version = LOCAL) -> Gate:
        wheel = Wheel.open(official)
        shared = {**SHARED, "version": version}
        path = rewrite(wheel, {ENGINE: PATCHED}, out_dir=folder / "out", **shared)
        series = Series.load(write_series(folder / "patches", {"a": {"1.0": ONE}}))
        return cls(wheel, path, series, version)

    def check(self) -> Wheel:
        variants = self.series.variants_for(Version("1.8.9"))
        shared = {**SHARED, "version": self.version}
        return verify_repacked(
            self.official, self.path, series=self.series, variants=variants, **shared
        )

    def problem(self) -> str:
        with pytest.raises(InvalidWheel) as caught:
            self.check()
        return caught.value.problem

    def tamper(self, change: Change) -> None:
        """Change contents, and write what did not change as repack does."""
        wheel = Wheel.open(self.path)
        changed = Wheel.open(change_wheel(self.path, change))
        members = []
        for name, other in changed.members.items():
            member = wheel.members.get(name, other)
            same = member.content() == other.content()
            members.append(member if same else _with_content(member, other.content()))
        self.path.write_bytes(b"".join(zip_bytes(members)))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    folder = tmp_path / "official"
    return make_official(folder, AGENTS, "1.8.9", data={"scripts/run": b"#!python\n"})


@pytest.fixture
def gate(official: Path, tmp_path: Path) -> Gate:
    return Gate.of(official, tmp_path)


def test_the_real_one_passes(gate: Gate) -> None:
    assert gate.check().version == LOCAL
    gate.tamper(lambda contents: None)
    gate.check()


@pytest.mark.parametrize(
    ("old", "new"),
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
def test_gate_and_rewrite_agree_on_loose_words(old: str, new: str, tmp_path: Path) -> None:
    made = make_official(tmp_path, AGENTS, "1.8.9", requires=[])
    if old.startswith("__"):
        name, plain, text = VERSION_FILE, b'__version__ = "1.8.9"', old.encode()
    else:
        name, plain, text = f"{OLD}/METADATA", b"\nVersion: 1.8.9", f"\n{old}".encode()
    if "requires" in old.lower():
        text = plain + text
    gate = Gate.of(change_wheel(made, edit(name, plain, text)), tmp_path)
    gate.check()
    head = contents_of(gate.path)[name.replace(OLD, NEW)].decode().split("\n\n")[0]
    assert new.format(LOCAL) in head.split("\n")


def test_gate_and_rewrite_agree_on_a_candidate(tmp_path: Path) -> None:
    made = make_official(tmp_path, AGENTS, "9.9.9rc1", requires=[])
    names = ("livekit_agents-9.9.9rc1.dist-info/METADATA", VERSION_FILE)
    change_wheel(made, *(edit(name, b"9.9.9rc1", b"9.9.9-rc1") for name in names))
    checked = Gate.of(made, tmp_path, Version("9.9.9rc1+dispatched.1")).check()
    assert b"\nVersion: 9.9.9rc1+dispatched.1\n" in checked.read(f"{checked.dist_info}/METADATA")


def reorder(contents: dict[str, bytes]) -> None:
    contents["livekit/agents/__init__.py"] = contents.pop("livekit/agents/__init__.py")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edit(ENGINE, b"first = 1", b"first = 2"), f"{ENGINE} is not the official text plus"),
        (edit(ENGINE, b"value_30 = 30", b"value_30 = 31"), f"{ENGINE} is not the official text"),
        (edit(ENGINE, b"first = 1", b"value_9 = 9"), f"{ENGINE} is not the official text"),
        (edit(VERSION_FILE, b"# comment", b"import os"), "version.py is not the official"),
        (edit(VERSION_FILE, b"dispatched.1", b"dispatched.2"), "version.py is not the"),
        (edit(DATA, b"\0\1", b"\1\0"), f"{DATA} is not the official member"),
        (edit(f"{NEW}/WHEEL", b"tests", b"other"), "WHEEL is not the official member"),
        (edit(f"{NEW}/METADATA", b"Metadata-Version: 2.4", b"Metadata-Version: 2.3"), "line 1"),
        (edit(f"{NEW}/METADATA", b"==1.8.9;", b">=1.8.9;"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"==1.8.9;", b"==1.8.8;"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"; extra == 'openai'\n\n", b"\n\n"), "METADATA line 4"),
        (edit(f"{NEW}/METADATA", b"\n\nVersion: 1.8.9", b"\n\nVersion: 1.8.8"), "METADATA line 6"),
        (edit(f"{NEW}/METADATA", b"\n\n", b"\nLicense: X\n\n"), "METADATA has lines more"),
        (add("livekit/more.py"), "its members are not the official ones: livekit/more.py"),
        (drop(DATA), f"its members are not the official ones: {DATA}"),
        (reorder, "not in the official order"),
    ],
)
def test_any_edit_is_seen(gate: Gate, change: Change, sentence: str) -> None:
    gate.tamper(change)
    assert sentence in gate.problem()


def test_recompressed_members_are_seen(gate: Gate) -> None:
    write_archive(gate.path, contents_of(gate.path), None)
    assert f"{ENGINE} is not the official member, carried over verbatim" in gate.problem()


def test_record_that_lies_is_seen(gate: Gate) -> None:
    change_wheel(gate.path, edit(ENGINE, b"first = 1", b"first = 2"), record=False)
    assert "is not what RECORD says" in gate.problem()


def test_another_name_is_seen(gate: Gate) -> None:
    other = gate.path.rename(gate.path.with_name(gate.path.name.replace("-none-", "-abi3-")))
    assert "about the tags" in replace(gate, path=other).problem()


def test_series_that_was_not_applied_is_seen(gate: Gate, tmp_path: Path) -> None:
    two = diff(ENGINE_PATH, source(line9="first = 1"), source(line9="first = 1", line30="x = 2"))
    new = mail(diff(f"{TREES[AGENTS]}/livekit/agents/new.py", "", "NEW = 1\n"))
    patches = {"a": {"1.0": ONE}, "b": {"1.0": mail(two)}, "c": {"1.0": new}}
    longer = Series.load(write_series(tmp_path / "longer", patches))
    text = replace(gate, series=longer).problem()
    assert f"{ENGINE} is not the official text plus the series" in text
    assert "livekit/agents/new.py" in text


def test_series_that_does_not_fit(gate: Gate, tmp_path: Path) -> None:
    other = mail(diff(ENGINE_PATH, source(line8="drift = 1"), source(line9="first = 1")))
    series = Series.load(write_series(tmp_path / "other", {"a": {"1.0": other}}))
    assert "does not fit" in replace(gate, series=series).problem()


@pytest.mark.parametrize(
    "lines",
    [b"Requires-Dist:\n livekit-plugins-openai>=1\n", b"Requires-Dist: >=1\n"],
)
def test_partner_that_would_escape_its_pin(official: Path, tmp_path: Path, lines: bytes) -> None:
    change_wheel(official, edit(f"{OLD}/METADATA", b"\n\n", b"\n" + lines + b"\n"))
    assert "METADATA requires" in Gate.of(official, tmp_path).problem()
