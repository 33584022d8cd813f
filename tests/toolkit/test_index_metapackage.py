"""The metapackage: its version, what it requires, its bytes, and what resolvers make of it."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from indexes import SERIES
from packaging.metadata import Metadata
from packaging.version import Version
from publishing import make_pair
from wheels import AGENTS, PLUGIN, make_wheel

from toolkit.environments.interpreter import uv
from toolkit.index.metapackage import (
    PROJECT,
    SOURCES,
    final_metapackage,
    make_metapackage,
    metapackage_version,
    release_of,
)
from toolkit.releases.catalogue import Catalogue
from toolkit.util.errors import InvalidWheel
from toolkit.util.workspace import REPOSITORY
from toolkit.wheels.wheelfile import Wheel

Resolve = Callable[..., list[str] | str]


def write(folder: Path, wheels: list[Path], release: str = "1.8.9", revision: int = 1) -> Path:
    """The metapackage of a pair, as a file."""
    made = make_metapackage(wheels, release=release, revision=revision, series=SERIES)
    path = folder / made.filename
    path.write_bytes(made.data)
    assert Wheel.open(path).read(f"{Wheel.open(path).dist_info}/METADATA") == made.metadata
    return path


def test_versions_stand_in_the_order_of_releases_and_revisions() -> None:
    releases = sorted(Catalogue.read(REPOSITORY / "patches/releases.toml"))
    assert len(releases) > 100
    pairs = [(release, revision) for release in releases for revision in (1, 2, 9, 10, 11)]
    versions = [metapackage_version(*pair) for pair in pairs]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(pairs)
    assert [release_of(Version(str(version))) for version in versions] == pairs


@pytest.mark.parametrize(
    ("release", "revision", "version"),
    [
        ("1.8.9", 1, "1.8.9.1"),
        ("1.8.9", 12, "1.8.9.12"),
        ("1.8.9", 0, "1.8.9.0"),
        ("2.0.0b1", 1, "2.0.0b1.post1"),
        ("1.5.0rc1", 2, "1.5.0rc1.post2"),
        ("2.0", 3, "2.0.0.3"),
        ("3", 1, "3.0.0.1"),
        *[(release, 1, None) for release in ("1.8.9.post1", "1.8.9.dev1", "1.8.9.1", "1.8.9+x")],
        ("1!1.8.9", 1, None),
        ("1.8.9", -1, None),
    ],
)
def test_version(release: str, revision: int, version: str | None) -> None:
    """None where the order would not hold."""
    if version:
        assert str(metapackage_version(release, revision)) == version
    else:
        with pytest.raises(InvalidWheel, match="no version of livekit-dispatched"):
            metapackage_version(release, revision)


@pytest.mark.parametrize("version", ["1.8.9", "1.8.9.1.2", "1.8.9.1rc1", "1.8.9.post1"])
def test_a_version_of_no_metapackage(version: str) -> None:
    with pytest.raises(ValueError, match="no version of"):
        release_of(Version(version))


def test_what_it_says_of_itself(tmp_path: Path, patched: list[Path]) -> None:
    wheel = Wheel.open(write(tmp_path, patched, revision=3))
    metadata = Metadata.from_email(wheel.read(f"{wheel.dist_info}/METADATA"), validate=True)
    assert (metadata.name, str(metadata.version)) == (PROJECT, "1.8.9.3")
    needs = [str(requirement) for requirement in metadata.requires_dist or ()]
    assert needs == [f"{AGENTS}==1.8.9+dispatched.3", f"{PLUGIN}==1.8.9"]
    assert str(metadata.requires_python) == "<3.15,>=3.10"
    assert f"{wheel.dist_info}/licenses/LICENSE" in wheel.members
    for member in wheel.members.values():
        # nothing that depends on a clock, a system or a compressor
        info = member.info
        assert info.date_time == (2020, 2, 2, 0, 0, 0)
        assert (info.create_system, info.external_attr) == (3, 0o100644 << 16)
        assert info.compress_type == zipfile.ZIP_STORED
    text = wheel.read("livekit_dispatched/expected.json").decode()
    assert text == json.dumps(json.loads(text), indent=1) + "\n"
    for path in SOURCES.glob("*.py"):
        # every Python that releases admit can run it
        ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
        assert f"livekit_dispatched/{path.name}" in wheel.members


def test_the_same_pair_gives_the_same_bytes(tmp_path: Path, patched: list[Path]) -> None:
    moved = [Path(shutil.copy(wheel, tmp_path)) for wheel in patched]
    made = [
        make_metapackage(wheels, release="1.8.9", revision=3, series=SERIES)
        for wheels in (patched, moved, moved[::-1])
    ]
    assert made[0] == made[1] == made[2]
    other = make_metapackage(patched, release="1.8.9", revision=3, series="5f" * 32)
    assert other.data != made[0].data


def test_all_platforms_are_expected(tmp_path: Path) -> None:
    _, partner = make_pair(tmp_path, release="2.0.0b1")
    tags, version = ("py3-none-any", "py3-none-win_amd64"), "2.0.0b1+dispatched.1"
    both = [make_wheel(tmp_path, AGENTS, version, tag=tag) for tag in tags]
    wheel = Wheel.open(write(tmp_path, [*both, partner], "2.0.0b1"))
    expected = json.loads(wheel.read("livekit_dispatched/expected.json"))
    assert (expected["release"], expected["revision"], expected["fixed"]) == ("2.0.0b1", 1, False)
    agents, plugin = (expected["distributions"][name] for name in (AGENTS, PLUGIN))
    assert (agents["version"], plugin["version"]) == (version, "2.0.0b1")
    assert ([*agents["records"]], plugin["records"]) == (sorted(w.name for w in both), {})


@pytest.mark.parametrize("kind", ["no-agents", "two-releases", "no-wheel", "nothing"])
def test_no_pair(tmp_path: Path, patched: list[Path], kind: str) -> None:
    broken = tmp_path / patched[0].name
    broken.write_bytes(b"no zip")
    wheels = {
        "no-agents": patched[1:],
        "two-releases": [*patched, *make_pair(tmp_path / "w", "+dispatched.1", "1.8.8")],
        "no-wheel": [broken, patched[1]],
        "nothing": [],
    }[kind]
    with pytest.raises(InvalidWheel):
        make_metapackage(wheels, release="1.8.9", revision=3, series=SERIES)


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """What uv would install of what is in ``tmp_path/links``; or, if it finds nothing, why."""
    subprocess.run([uv(), "venv", "-q", tmp_path / "env"], check=True)

    def call(*requirements: str) -> list[str] | str:
        command = [uv(), "pip", "install", "--dry-run", "--offline", "--no-index"]
        command += ["--find-links", str(tmp_path / "links"), "--python", str(tmp_path / "env")]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
        if done.returncode:
            return done.stderr
        return sorted(line[3:] for line in done.stderr.splitlines() if line.startswith(" + "))

    return call


def test_a_resolver_takes_both_or_fails(tmp_path: Path, resolve: Resolve) -> None:
    links = tmp_path / "links"
    ours = make_pair(links, "+dispatched.1")
    write(links, ours)
    make_pair(links)
    make_pair(links, release="1.8.10")
    pair = [f"{AGENTS}==1.8.9+dispatched.1", f"{PROJECT}==1.8.9.1", f"{PLUGIN}==1.8.9"]
    assert resolve(f"{PROJECT}==1.8.9.*") == pair
    # neither a newer upstream release nor a range beside it changes anything
    assert resolve(PROJECT, f"{AGENTS}>=1.8") == pair
    assert "unsatisfiable" in resolve(PROJECT, f"{AGENTS}==1.8.10")
    # the next metapackage brings the next pair
    next_pair = make_pair(links, "+dispatched.1", "1.8.10")
    later = write(links, next_pair, "1.8.10")
    assert f"{AGENTS}==1.8.10+dispatched.1" in resolve(PROJECT)
    for wheel in (later, next_pair[0], ours[0]):
        wheel.unlink()
    output = resolve(PROJECT)
    assert f"{AGENTS}==1.8.9+dispatched.1" in output
    assert "unsatisfiable" in output


def test_after_retirement(tmp_path: Path, resolve: Resolve) -> None:
    links = tmp_path / "links"
    write(links, make_pair(links, "+dispatched.1"))
    last = final_metapackage(make_pair(links, release="1.9.0"), release="1.9.0")
    (links / last.filename).write_bytes(last.data)
    make_wheel(links, AGENTS, "1.9.1")
    assert resolve(PROJECT) == [f"{AGENTS}==1.9.1", f"{PROJECT}==1.9.0.0", f"{PLUGIN}==1.9.0"]
