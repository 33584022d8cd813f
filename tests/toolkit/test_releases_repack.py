"""Patched wheels of a release: their bytes, their revision, and what of them is cached."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import pytest
from packaging.version import Version
from series import diff, engine_patch, mail, write_series
from upstream_index import Upstream
from uv import find_uv_bin
from wheels import (
    AGENTS,
    ENGINE,
    PLUGIN,
    REALTIME,
    REALTIME_PATH,
    VERSION_FILES,
    contents_of,
    source,
)

from toolkit.patches.hunks import FileChange
from toolkit.patches.series import Series
from toolkit.releases import repack
from toolkit.releases.catalogue import Catalogue, Row, record
from toolkit.releases.official import Settings
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.sources import apply_series, make_series_tree
from toolkit.util.errors import InvalidSeries, InvalidWheel
from toolkit.util.files import sha256_of
from toolkit.util.workspace import Workspace
from toolkit.wheels.wheelfile import Wheel

PLATFORMS = ("cp310-abi3-win_amd64", "cp310-abi3-macosx_11_0_arm64")
BOTH = {
    "guard": {"1.0": engine_patch(line9="first = 1")},
    "mark": {"1.0": mail(diff(REALTIME_PATH, source(), source(line9="first = 1")))},
}


@pytest.fixture
def workspace(upstream: Upstream) -> Workspace:
    upstream.add_two_releases()
    return upstream.workspace


def made(
    workspace: Workspace, out: Path, version: str = "1.8.9", *, cached: bool = True
) -> RepackedRelease:
    official = Settings(workspace).fetch(version)
    return repack_release(official, Series.load(workspace.patches), workspace, out, cached=cached)


def test_patched_partners_pin_each_other(workspace: Workspace, tmp_path: Path) -> None:
    write_series(workspace.patches, BOTH)
    release = made(workspace, tmp_path / "out")
    assert release.passthrough == ()
    agents, plugin = release.wheels
    pins = [
        contents_of(path)[f"{name}-1.8.9+dispatched.1.dist-info/METADATA"].decode()
        for path, name in ((agents, "livekit_agents"), (plugin, "livekit_plugins_openai"))
    ]
    assert f"Requires-Dist: {PLUGIN}==1.8.9+dispatched.1; extra == 'openai'\n" in pins[0]
    assert f"Requires-Dist: {AGENTS}[codecs,images]==1.8.9+dispatched.1\n" in pins[1]
    assert contents_of(plugin)[REALTIME] == source(line9="first = 1").encode()


def test_every_platform_is_repacked(
    workspace: Workspace, upstream: Upstream, tmp_path: Path
) -> None:
    for tag in PLATFORMS:
        upstream.upload("2.0.0b1", names=(AGENTS,), tag=tag)
    release = made(workspace, tmp_path / "out", "2.0.0b1")
    names = sorted(path.name for path in release.wheels)
    assert names == sorted(f"livekit_agents-2.0.0b1+dispatched.1-{tag}.whl" for tag in PLATFORMS)
    assert [path.name for path in release.passthrough] == [
        "livekit_plugins_openai-1.8.9-py3-none-any.whl"
    ]


def test_platforms_that_differ_in_what_is_patched(
    workspace: Workspace, upstream: Upstream, tmp_path: Path
) -> None:
    for tag, text in zip(PLATFORMS, (source(), "x = 1"), strict=True):
        version = b'__version__ = "2.0.0b1"\n'
        members = {ENGINE: text.encode(), VERSION_FILES[AGENTS]: version}
        upstream.upload("2.0.0b1", names=(AGENTS,), tag=tag, members=members)
    with pytest.raises(InvalidWheel, match="differs between the platforms"):
        made(workspace, tmp_path / "out", "2.0.0b1")


def test_the_same_bytes_in_any_folder_from_any_cache(workspace: Workspace, tmp_path: Path) -> None:
    first = made(workspace, tmp_path / "a")
    second = made(Workspace(tmp_path / "other", workspace.patches), tmp_path / "b")
    third = made(workspace, tmp_path / "c", cached=False)
    assert first.sums == second.sums == third.sums
    assert {sha256_of(release.wheels[0]) for release in (first, second, third)} == {
        *first.sums.values()
    }


def test_no_work_is_done_twice(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(workspace, tmp_path / "out")
    stamp = first.wheels[0].stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(repack, "apply_series", lambda *_: pytest.fail("applied again"))
        assert made(workspace, tmp_path / "out") == first
        assert made(workspace, tmp_path / "else").sums == first.sums
    assert first.wheels[0].stat().st_mtime_ns == stamp
    # a damaged cache is made anew
    content = first.wheels[0].read_bytes()
    (kept,) = workspace.repacked.glob("*/*.whl")
    kept.write_bytes(b"damaged")
    first.wheels[0].unlink()
    assert made(workspace, tmp_path / "out").wheels[0].read_bytes() == content


def test_another_series_is_not_taken_from_the_cache(workspace: Workspace, tmp_path: Path) -> None:
    first = made(workspace, tmp_path / "a")
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    second = made(workspace, tmp_path / "b")
    assert first.series_digest != second.series_digest
    assert contents_of(second.wheels[0])[ENGINE] == source(line9="first = 2").encode()


def test_the_revision_grows_only_with_the_bytes(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(workspace, tmp_path / "a")
    row = Row(first.revision, first.series_digest, first.sums)
    record(workspace.catalogue, {Version("1.8.9"): row}, {})
    assert made(workspace, tmp_path / "a").revision == 1
    # another subject is another digest, and the same bytes
    patch = engine_patch(line9="first = 1").replace("Guard the calls", "Guard every call")
    write_series(workspace.patches, {"guard": {"1.0": patch}})
    same = made(workspace, tmp_path / "b")
    assert (same.revision, same.sums) == (1, first.sums)
    assert same.series_digest != first.series_digest
    write_series(workspace.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    spy = Mock(side_effect=apply_series)
    monkeypatch.setattr(repack, "apply_series", spy)
    second = made(workspace, tmp_path / "c")
    assert (second.revision, spy.call_count) == (2, 1)
    assert second.wheels[0].name == "livekit_agents-1.8.9+dispatched.2-py3-none-any.whl"
    assert made(workspace, tmp_path / "d", "1.8.8").revision == 1


def test_a_series_without_effect_on_a_release(workspace: Workspace, tmp_path: Path) -> None:
    patches = {"guard": {"1.9": engine_patch(line9="first = 1")}}
    write_series(workspace.patches, patches, releases=">=1.9")
    with pytest.raises(InvalidSeries, match="changes nothing in"):
        made(workspace, tmp_path / "out")


@pytest.mark.parametrize("line", [b"more = 1\n", b"value_1 = 1\n"])
def test_lines_that_no_patch_explains(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    really = FileChange.applied
    monkeypatch.setattr(FileChange, "applied", lambda *a: (really(*a) or b"") + line)
    with pytest.raises(InvalidWheel, match=r"engine\.py has other lines than the patches make"):
        made(workspace, tmp_path / "out")


def test_a_sound_wheel_is_checked_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(workspace, tmp_path / "a", cached=False)
    opened: list[bool] = []
    really = Wheel.open

    def spy(path: Path, *, like: Wheel | None = None, sound: bool = False) -> Wheel:
        opened.append(sound or like is not None)
        return really(path, like=like, sound=sound)

    monkeypatch.setattr(Wheel, "open", spy)
    again = made(workspace, tmp_path / "b", cached=False)
    assert opened == [True] * len(opened) != []
    assert again.sums == first.sums
    # the mark belongs to the bytes: other bytes in the cache are fetched again
    again.official[0].write_bytes(b"damaged")
    assert made(workspace, tmp_path / "c", cached=False).sums == first.sums


@pytest.mark.parametrize(
    "installer",
    [
        [sys.executable, "-m", "pip", "install", "--no-index"],
        [find_uv_bin(), "pip", "install", "--offline", "--no-index"],
    ],
    ids=["pip", "uv"],
)
def test_installers_take_the_wheels(
    workspace: Workspace, tmp_path: Path, installer: Sequence[str]
) -> None:
    write_series(workspace.patches, BOTH)
    wheels = made(workspace, tmp_path / "out").wheels
    site = tmp_path / "site"
    command = [*installer, "--target", str(site), *map(str, wheels)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    script = (
        "from importlib.metadata import version; from livekit.agents import engine, version as v; "
        f"print(version('{AGENTS}'), version('{PLUGIN}'), v.__version__, engine.first)"
    )
    seen = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert seen.stdout.split() == ["1.8.9+dispatched.1"] * 3 + ["1"]


@pytest.mark.pypi
@pytest.mark.slow
def test_every_release_as_git_am_applies_it_and_as_it_was_published(tmp_path: Path) -> None:
    """All releases of the catalogue, whose official wheels are taken from the user's cache."""
    workspace = Workspace.default()
    series = Series.load(workspace.patches)
    catalogue = Catalogue.read(workspace.catalogue)
    rows = [(entry, entry.row) for entry in catalogue.values() if entry.row]
    assert len(rows) > 100
    for entry, row in rows:
        official = Settings(workspace).fetch(entry.release)
        tree = make_series_tree(official, series, tmp_path / f"{entry.version}")
        assert tree.changed == apply_series(official, series), entry.version
        release = repack_release(official, series, workspace, tmp_path / "out", cached=False)
        assert release.sums == row.wheels, entry.version
