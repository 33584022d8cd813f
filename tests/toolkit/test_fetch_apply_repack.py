"""The three verbs, from an index on loopback to wheels that pip and uv install."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from making import (
    AGENTS,
    ENGINE,
    PLUGIN,
    REALTIME,
    REALTIME_PATH,
    VERSION_FILES,
    Index,
    contents_of,
    diff,
    engine_patch,
    mail,
    make_wheel,
    source,
    write_archive,
    write_series,
)
from packaging.version import Version
from uv import find_uv_bin

import apply as apply_verb
import fetch as fetch_verb
import repack as repack_verb
import update as update_verb
from toolkit.patches.series import Series
from toolkit.releases import repack
from toolkit.releases.catalogue import Row, record
from toolkit.releases.official import fetch_release
from toolkit.releases.repack import RepackedRelease, repack_release
from toolkit.releases.sources import apply_series
from toolkit.util.errors import InvalidSeries, InvalidWheel
from toolkit.util.files import sha256_of
from toolkit.util.workspace import CACHE_VARIABLE, Workspace
from toolkit.wheels.wheelfile import Wheel

SCRIPTS = Path(repack_verb.__file__).parent
ONE = engine_patch(line9="first = 1")
BOTH = mail(diff(REALTIME_PATH, source(), source(line9="first = 1")))

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """Two releases on the index, a series for the agents alone, and a cache for the verbs."""
    for version in ("1.8.9", "1.8.8"):
        for name in (AGENTS, PLUGIN):
            index.add(make_wheel(tmp_path / "w", name, version))
    monkeypatch.setenv("LIVEKIT_DISPATCHED_PYPI", index.url)
    monkeypatch.setenv(CACHE_VARIABLE, str(workspace.root))
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("toolkit.util.workspace.MEMORY", tmp_path / "memory")
    write_series(workspace.patches, {"guard": {"1.0": ONE}})
    return workspace


@pytest.fixture
def run(here: Workspace, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(verb: Callable[[list[str]], int], *words: object) -> tuple[int, str, str]:
        code = verb([*(str(word) for word in words), "--patches", str(here.patches)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def leftovers(workspace: Workspace) -> list[Path]:
    """Drafts and scratch folders that somebody forgot."""
    below = workspace.root.parent
    return [*below.rglob(".*.tmp"), *below.rglob("livekit-dispatched-*")]


def made(
    workspace: Workspace, out: Path, version: str = "1.8.9", *, cached: bool = True
) -> RepackedRelease:
    found = fetch_release(version, workspace)
    return repack_release(found, Series.load(workspace.patches), workspace, out, cached=cached)


def test_fetch_prints_paths(run: Run, index: Index) -> None:
    code, out, _ = run(fetch_verb.main)
    assert code == 0
    assert [Path(line).read_bytes() for line in out.splitlines()] == [
        index.files[f"{name}-1.8.9-py3-none-any.whl"]
        for name in ("livekit_agents", "livekit_plugins_openai")
    ]


def test_fetch_json(run: Run) -> None:
    code, out, _ = run(fetch_verb.main, "1.8.8", "1.8.9", "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["release"] for row in rows] == ["1.8.8", "1.8.9"]
    assert rows[0]["uploaded"] == "2026-01-02T00:00:00+00:00"


def test_ranges_and_all(run: Run, index: Index, here: Workspace, tmp_path: Path) -> None:
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    assert update_verb.main(["--patches", str(here.patches)]) == 0
    code, out, err = run(fetch_verb.main, "all")
    assert code == 0
    assert [Path(line).name.partition("-py3")[0] for line in out.splitlines()[-2:]] == [
        f"{name}-1.8.9" for name in ("livekit_agents", "livekit_plugins_openai")
    ]
    assert "1.8.8 is left out: yanked: broken" in err
    code, out, err = run(repack_verb.main, ">=1.8.8,<1.8.9", "--yanked", "--out", tmp_path / "o")
    assert (code, err) == (0, "")
    assert [Path(line).name for line in out.splitlines()] == [
        "livekit_agents-1.8.8+dispatched.1-py3-none-any.whl"
    ]
    assert run(repack_verb.main, ">=7")[0] == 10


def test_apply_makes_a_tree(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(apply_verb.main, "1.8.9", "--tree", tmp_path / "tree", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["changed"] == {AGENTS: [ENGINE]}
    log = ["git", "-C", str(tmp_path / "tree"), "log", "--format=%H"]
    commits = subprocess.run(log, check=True, capture_output=True, text=True).stdout.split()
    assert len(commits) == 2
    assert commits[0] == said["commit"]


def test_repack_of_the_newest(run: Run, here: Workspace, tmp_path: Path) -> None:
    code, out, _ = run(repack_verb.main, "--out", tmp_path / "out", "--json")
    assert code == 0
    said = json.loads(out)
    assert (said["release"], said["revision"]) == ("1.8.9", 1)
    (wheel,) = [Path(path) for path in said["wheels"]]
    assert list((tmp_path / "out").iterdir()) == [wheel]
    assert [Path(path).name for path in said["passthrough"]] == [
        "livekit_plugins_openai-1.8.9-py3-none-any.whl"
    ]
    assert [Path(path).name for path in said["official"]] == [
        "livekit_agents-1.8.9-py3-none-any.whl",
        "livekit_plugins_openai-1.8.9-py3-none-any.whl",
    ]
    contents = contents_of(wheel)
    assert contents[ENGINE] == source(line9="first = 1").encode()
    assert b"openai==1.8.9;" in contents["livekit_agents-1.8.9+dispatched.1.dist-info/METADATA"]
    assert leftovers(here) == []


def test_patched_partners_pin_each_other(here: Workspace, tmp_path: Path) -> None:
    write_series(here.patches, {"guard": {"1.0": ONE}, "mark": {"1.0": BOTH}})
    done = made(here, tmp_path / "out")
    assert done.passthrough == ()
    agents, plugin = done.wheels
    pins = [
        contents_of(path)[f"{name}-1.8.9+dispatched.1.dist-info/METADATA"].decode()
        for path, name in ((agents, "livekit_agents"), (plugin, "livekit_plugins_openai"))
    ]
    assert f"Requires-Dist: {PLUGIN}==1.8.9+dispatched.1; extra == 'openai'\n" in pins[0]
    assert f"Requires-Dist: {AGENTS}[codecs,images]==1.8.9+dispatched.1\n" in pins[1]
    assert contents_of(plugin)[REALTIME] == source(line9="first = 1").encode()


def test_every_platform_is_repacked(here: Workspace, index: Index, tmp_path: Path) -> None:
    tags = ("cp310-abi3-win_amd64", "cp310-abi3-macosx_11_0_arm64")
    for tag in tags:
        index.add(make_wheel(tmp_path / "w", AGENTS, "2.0.0b1", tag=tag))
    done = made(here, tmp_path / "out", "2.0.0b1")
    names = sorted(path.name for path in done.wheels)
    assert names == sorted(f"livekit_agents-2.0.0b1+dispatched.1-{tag}.whl" for tag in tags)
    assert [path.name for path in done.passthrough] == [
        "livekit_plugins_openai-1.8.9-py3-none-any.whl"
    ]


def test_two_folders_two_caches_same_bytes(here: Workspace, tmp_path: Path) -> None:
    first = made(here, tmp_path / "a")
    second = made(Workspace(tmp_path / "other", here.patches), tmp_path / "b")
    third = made(here, tmp_path / "c", cached=False)
    assert len({sha256_of(done.wheels[0]) for done in (first, second, third)}) == 1


def test_no_work_is_done_twice(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(here, tmp_path / "out")
    stamp = first.wheels[0].stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr(repack, "apply_series", lambda *_: pytest.fail("applied again"))
        again = made(here, tmp_path / "out")
        assert made(here, tmp_path / "else").wheels[0].name == first.wheels[0].name
    assert again == first
    assert first.wheels[0].stat().st_mtime_ns == stamp
    content = first.wheels[0].read_bytes()
    (kept,) = here.repacked.glob("*/*.whl")
    kept.write_bytes(b"damaged")
    first.wheels[0].unlink()
    assert made(here, tmp_path / "out").wheels[0].read_bytes() == content


def test_another_series_is_not_taken_from_the_cache(here: Workspace, tmp_path: Path) -> None:
    first = made(here, tmp_path / "a")
    write_series(here.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    second = made(here, tmp_path / "b")
    assert first.series_digest != second.series_digest
    assert contents_of(second.wheels[0])[ENGINE] == source(line9="first = 2").encode()


def test_revision_grows_only_with_the_bytes(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(here, tmp_path / "a")
    sums = {path.name: sha256_of(path) for path in first.wheels}
    version = Version("1.8.9")
    record(here.catalogue, {version: Row(first.revision, first.series_digest, sums)}, {})
    assert made(here, tmp_path / "a").revision == 1
    # Another subject is another digest, and the same bytes.
    patch = ONE.replace("Guard the calls", "Guard every call")
    write_series(here.patches, {"guard": {"1.0": patch}})
    same = made(here, tmp_path / "b")
    assert same.revision == 1
    assert same.series_digest != first.series_digest
    write_series(here.patches, {"guard": {"1.0": engine_patch(line9="first = 2")}})
    applied: list[Path] = []

    def spy(*words: Any) -> dict[str, bytes]:
        applied.append(words[-1])
        return apply_series(*words)

    monkeypatch.setattr(repack, "apply_series", spy)
    second = made(here, tmp_path / "c")
    assert second.revision == 2
    assert len(applied) == 1
    assert second.wheels[0].name == "livekit_agents-1.8.9+dispatched.2-py3-none-any.whl"
    assert made(here, tmp_path / "d", "1.8.8").revision == 1


def test_offline_asks_nobody(run: Run, index: Index, tmp_path: Path) -> None:
    words = ("1.8.9", "--out", tmp_path / "out", "--offline")
    code, _, err = run(repack_verb.main, *words)
    assert code == 10
    assert "run once without --offline" in err
    assert run(fetch_verb.main, "1.8.9")[0] == 0
    index.asked.clear()
    assert run(repack_verb.main, *words)[0] == 0
    assert index.asked == []
    assert run(fetch_verb.main, "--offline")[0] == 10


def test_conflict_keeps_nothing(run: Run, here: Workspace, tmp_path: Path) -> None:
    drifted = mail(diff(REALTIME_PATH, source(line8="x = 1"), source(line9="first = 1")))
    write_series(here.patches, {"guard": {"1.0": ONE}, "mark": {"1.0": drifted}})
    code, out, err = run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")
    assert (code, out) == (16, "")
    assert "1.8.9: patch mark, variant 1.0.patch: does not apply" in err
    assert "add patches/mark/1.8.9.patch" in err
    assert not (tmp_path / "out").exists()
    assert leftovers(here) == []
    assert not list(here.repacked.glob("*/*.whl"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["9.9.9"], 10, "no livekit-agents 9.9.9"),
        (["1.8.8"], 11, "was yanked: broken"),
        (["1.8.9", "--pypi", "http://127.0.0.1:9/simple/"], 12, "no usable answer"),
    ],
)
def test_each_error_has_its_code(
    run: Run, index: Index, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    found, out, err = run(repack_verb.main, *words, "--out", tmp_path / "out")
    assert (found, out) == (code, "")
    assert said in err
    assert "\n  next: " in err
    assert not (tmp_path / "out").exists()


def test_yanked_on_request(run: Run, index: Index, tmp_path: Path) -> None:
    index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    assert run(repack_verb.main, "1.8.8", "--yanked", "--out", tmp_path / "out")[0] == 0


def test_file_that_is_no_wheel(run: Run, index: Index, tmp_path: Path) -> None:
    index.files["livekit_agents-1.8.9-py3-none-any.whl"] = b"PK not a wheel"
    code, _, err = run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")
    assert code == 14
    assert "no sound wheel" in err


def test_several_releases_the_good_ones_to_their_end(run: Run, tmp_path: Path) -> None:
    code, _, err = run(repack_verb.main, "1.8.9", "9.9.9", "1.8.8", "--out", tmp_path / "out")
    assert code == 22
    assert "1 of 3 releases failed" in err
    assert "9.9.9: UnknownRelease" in err
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_series_without_effect_on_a_release(here: Workspace, tmp_path: Path) -> None:
    write_series(here.patches, {"guard": {"1.9": ONE}}, releases=">=1.9")
    with pytest.raises(InvalidSeries, match="changes nothing in"):
        made(here, tmp_path / "out")


def test_platforms_that_differ_in_what_is_patched(
    here: Workspace, index: Index, tmp_path: Path
) -> None:
    for tag, text in (
        ("cp310-abi3-win_amd64", source()),
        ("cp310-abi3-macosx_11_0_arm64", "x = 1"),
    ):
        members = {
            ENGINE: text.encode(),
            VERSION_FILES[AGENTS]: b'__version__ = "2.0.0b1"\n',
        }
        index.add(make_wheel(tmp_path / "w", AGENTS, "2.0.0b1", tag=tag, members=members))
    with pytest.raises(InvalidWheel, match="differs between the platforms"):
        made(here, tmp_path / "out", "2.0.0b1")


@pytest.mark.parametrize("step", ["apply_series", "rewrite", "verify_repacked", "shutil.copyfile"])
def test_interrupted_at_any_step(
    run: Run, here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupt(*words: object, **_: object) -> None:
        if step == "shutil.copyfile":
            Path(str(words[1])).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"toolkit.releases.repack.{step}", interrupt)
        code, out, err = run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert "nothing half-done was kept" in err
    assert leftovers(here) == []
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")[0] == 0


def test_full_folder(
    run: Run, here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", fill)
    code, _, err = run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")
    assert code == 20
    assert "No space left" in err
    assert list((tmp_path / "out").iterdir()) == []
    assert leftovers(here) == []


def test_folder_that_cannot_be(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    assert run(repack_verb.main, "1.8.9", "--out", tmp_path / "file/out")[0] == 20
    assert run(apply_verb.main, "1.8.9", "--tree", tmp_path / "file/tree")[0] == 20


def test_processes_that_share_a_cache(here: Workspace, tmp_path: Path) -> None:
    def one(number: int) -> bytes:
        out = tmp_path / str(number)
        script = [sys.executable, "-W", "error", str(SCRIPTS / "repack.py")]
        command = [*script, "1.8.9", "--out", str(out), "--patches", str(here.patches)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return Path(done.stdout.strip()).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(one, range(4)))) == 1
    assert leftovers(here) == []


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_installers_take_the_wheels(here: Workspace, tmp_path: Path, tool: str) -> None:
    write_series(here.patches, {"guard": {"1.0": ONE}, "mark": {"1.0": BOTH}})
    wheels = made(here, tmp_path / "out").wheels
    site = tmp_path / "site"
    program = {"pip": [sys.executable, "-m", "pip"], "uv": [find_uv_bin(), "pip"]}[tool]
    options = {"pip": ["--no-index"], "uv": ["--offline", "--no-index"]}[tool]
    command = [*program, "install", *options, "--target", str(site), *map(str, wheels)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
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
@pytest.mark.parametrize(("version", "patched"), [("1.4.6", 2), ("1.8.9", 1)])
def test_the_real_series_on_real_wheels(tmp_path: Path, version: str, patched: int) -> None:
    sums = []
    for name in ("a", "b"):
        workspace = Workspace(tmp_path / name)
        done = made(workspace, tmp_path / f"{name}-out", version, cached=name == "a")
        assert len(done.wheels) == patched
        assert len(done.passthrough) == 2 - patched
        sums.append([(path.name, sha256_of(path)) for path in done.wheels])
    assert sums[0] == sums[1]


def test_a_sound_wheel_is_checked_once(
    here: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(here, tmp_path / "a", cached=False)
    opened: list[bool] = []
    really = Wheel.open

    def spy(path: Path, *, like: Wheel | None = None, sound: bool = False) -> Wheel:
        opened.append(sound or like is not None)
        return really(path, like=like, sound=sound)

    monkeypatch.setattr(Wheel, "open", spy)
    again = made(here, tmp_path / "b", cached=False)
    assert opened == [True] * len(opened) != []
    assert sha256_of(again.wheels[0]) == sha256_of(first.wheels[0])
    # The mark belongs to the bytes: other bytes in the cache are fetched again.
    again.official[0].write_bytes(b"damaged")
    assert sha256_of(made(here, tmp_path / "c", cached=False).wheels[0]) == sha256_of(
        first.wheels[0]
    )


def test_an_unsound_wheel_is_never_marked(
    run: Run, here: Workspace, index: Index, tmp_path: Path
) -> None:
    path = tmp_path / "w/livekit_agents-1.8.9-py3-none-any.whl"
    index.files[path.name] = write_archive(
        path, contents_of(path) | {"livekit/agents/data.bin": b"other"}, None
    ).read_bytes()
    for _ in range(2):
        code, _, err = run(repack_verb.main, "1.8.9", "--out", tmp_path / "out")
        assert code == 14
        assert "data.bin is not what RECORD says" in err
    assert not here.sound.exists()
