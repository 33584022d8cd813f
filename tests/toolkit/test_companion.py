"""The one name to depend on: its version, what it requires, its bytes, and what resolvers do."""

from __future__ import annotations

import ast
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.version import Version
from publishing import make_pair
from uv import find_uv_bin
from wheels import contents_of, make_wheel

from toolkit.index.metapackage import (
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

SERIES = "5e" * 32
Resolve = Callable[..., list[str] | str]


def companion(folder: Path, wheels: list[Path], release: str = "1.8.9", revision: int = 1) -> Path:
    made = make_metapackage(wheels, release=release, revision=revision, series=SERIES)
    path = folder / made.filename
    path.write_bytes(made.data)
    return path


def test_versions_stand_in_the_order_of_releases_and_revisions() -> None:
    releases = sorted(Catalogue.read(REPOSITORY / "patches/releases.toml"))
    assert len(releases) > 100
    pairs = [(release, revision) for release in releases for revision in (1, 2, 9, 10, 11)]
    versions = [metapackage_version(*pair) for pair in pairs]
    assert versions == sorted(versions)
    assert len(set(versions)) == len(pairs)
    assert [release_of(version) for version in versions] == pairs
    assert [release_of(Version(str(version))) for version in versions] == pairs


@pytest.mark.parametrize(
    ("release", "revision", "version"),
    [
        ("1.8.9", 1, "1.8.9.1"),
        ("1.8.9", 12, "1.8.9.12"),
        ("2.0.0b1", 1, "2.0.0b1.post1"),
        ("1.5.0rc1", 2, "1.5.0rc1.post2"),
        ("2.0", 3, "2.0.0.3"),
    ],
)
def test_version(release: str, revision: int, version: str) -> None:
    assert str(metapackage_version(release, revision)) == version


@pytest.mark.parametrize(
    ("release", "revision"),
    [("1.8.9.post1", 1), ("1.8.9.dev1", 1), ("1.8.9.1", 1), ("1.8.9", -1), ("1.8.9+x", 1)],
)
def test_a_scheme_that_would_break_the_order(release: str, revision: int) -> None:
    with pytest.raises(InvalidWheel, match="no version of livekit-dispatched"):
        metapackage_version(release, revision)


@pytest.mark.parametrize("version", ["1.8.9", "1.8.9.1.2", "1.8.9.1rc1", "1.8.9.post1"])
def test_a_version_that_is_no_companions(version: str) -> None:
    with pytest.raises(ValueError, match="no version of"):
        release_of(Version(version))


def test_what_it_says_of_itself(tmp_path: Path, patched: list[Path]) -> None:
    wheel = Wheel.open(companion(tmp_path, patched, revision=3))
    raw = wheel.read(f"{wheel.dist_info}/METADATA")
    metadata = Metadata.from_email(raw, validate=True)
    assert (metadata.name, str(metadata.version)) == ("livekit-dispatched", "1.8.9.3")
    assert [str(one) for one in metadata.requires_dist or ()] == [
        "livekit-agents==1.8.9+dispatched.3",
        "livekit-plugins-openai==1.8.9",
    ]
    assert str(metadata.requires_python) == "<3.15,>=3.10"
    assert f"{wheel.dist_info}/licenses/LICENSE" in wheel.members


def test_the_same_pair_gives_the_same_bytes(tmp_path: Path, patched: list[Path]) -> None:
    moved = [Path(shutil.copy(wheel, tmp_path)) for wheel in patched]
    every = [make_metapackage(w, release="1.8.9", revision=3, series=SERIES)
             for w in (patched, moved, moved[::-1])]  # fmt: skip
    assert every[0] == every[1] == every[2]
    other = make_metapackage(patched, release="1.8.9", revision=3, series="5f" * 32)
    assert other.data != every[0].data


def test_all_platforms_are_expected(tmp_path: Path) -> None:
    _, partner = make_pair(tmp_path, release="2.0.0b1")
    tags = ("py3-none-any", "py3-none-win_amd64")
    version = "2.0.0b1+dispatched.1"
    both = [make_wheel(tmp_path, "livekit-agents", version, tag=tag) for tag in tags]
    text = contents_of(companion(tmp_path, [*both, partner], "2.0.0b1"))
    expected = text["livekit_dispatched/expected.json"].decode()
    assert all(wheel.name in expected for wheel in both)


@pytest.mark.parametrize("kind", ["no-agents", "two-releases", "no-wheel"])
def test_no_pair(tmp_path: Path, patched: list[Path], kind: str) -> None:
    wheels = list(patched)
    if kind == "no-agents":
        wheels = wheels[1:]
    elif kind == "two-releases":
        wheels += make_pair(tmp_path, "+dispatched.1", "1.8.8")
    else:
        wheels[0] = tmp_path / wheels[0].name
        wheels[0].write_bytes(b"no zip")
    with pytest.raises(InvalidWheel):
        make_metapackage(wheels, release="1.8.9", revision=3, series=SERIES)


def test_its_code_runs_on_every_python_that_releases_admit() -> None:
    for path in SOURCES.glob("*.py"):
        ast.parse(path.read_text("utf-8"), feature_version=(3, 9))


@pytest.fixture
def resolve(tmp_path: Path) -> Resolve:
    """What uv would install of what is in ``tmp_path/shelf``; or, if it finds nothing, why."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    subprocess.run([find_uv_bin(), "venv", "-q", tmp_path / "env"], check=True)

    def call(*requirements: str) -> list[str] | str:
        command = [find_uv_bin(), "pip", "install", "--dry-run", "--offline", "--no-index"]
        command += ["--find-links", str(shelf), "--python", str(tmp_path / "env")]
        done = subprocess.run([*command, *requirements], capture_output=True, text=True)
        if done.returncode:
            return done.stderr
        return [line[3:] for line in done.stderr.splitlines() if line.startswith(" + ")]

    return call


def test_a_resolver_takes_both_or_fails(tmp_path: Path, resolve: Resolve) -> None:
    shelf = tmp_path / "shelf"
    ours = make_pair(shelf, "+dispatched.1")
    companion(shelf, ours)
    make_pair(shelf)
    make_pair(shelf, release="1.8.10")
    pair = ["livekit-agents==1.8.9+dispatched.1", "livekit-plugins-openai==1.8.9"]
    assert sorted(resolve("livekit-dispatched==1.8.9.*")) == [
        pair[0], "livekit-dispatched==1.8.9.1", pair[1]
    ]  # fmt: skip
    # neither a newer upstream release nor a range beside it changes anything
    assert set(pair) < set(resolve("livekit-dispatched", "livekit-agents>=1.8"))
    assert "unsatisfiable" in resolve("livekit-dispatched", "livekit-agents==1.8.10")
    # the next companion brings the next pair
    next_pair = make_pair(shelf, "+dispatched.1", "1.8.10")
    later = companion(shelf, next_pair, "1.8.10")
    assert "livekit-agents==1.8.10+dispatched.1" in resolve("livekit-dispatched")
    for wheel in (later, next_pair[0], ours[0]):
        wheel.unlink()
    said = resolve("livekit-dispatched")
    assert "livekit-agents==1.8.9+dispatched.1" in said
    assert "unsatisfiable" in said


def test_after_retirement(tmp_path: Path, resolve: Resolve) -> None:
    shelf = tmp_path / "shelf"
    companion(shelf, make_pair(shelf, "+dispatched.1"))
    last = final_metapackage(make_pair(shelf, release="1.9.0"), release="1.9.0")
    (shelf / last.filename).write_bytes(last.data)
    make_wheel(shelf, "livekit-agents", "1.9.1")
    assert sorted(resolve("livekit-dispatched")) == [
        "livekit-agents==1.9.1", "livekit-dispatched==1.9.0.0", "livekit-plugins-openai==1.9.0"
    ]  # fmt: skip
