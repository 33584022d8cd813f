"""The verb repack: from an index on loopback to wheels in a folder, whole or none."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from upstream_index import Upstream
from verbs import Ran
from wheels import AGENTS, ENGINE, contents_of, members_of, source, write_archive

from toolkit.util.workspace import REPOSITORY

AGENTS_WHEEL = "livekit_agents-1.8.9-py3-none-any.whl"
PLUGIN_WHEEL = "livekit_plugins_openai-1.8.9-py3-none-any.whl"


@pytest.fixture
def upstream(upstream: Upstream) -> Upstream:
    upstream.add_two_releases()
    return upstream


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def repack(upstream: Upstream, out: Path, *words: object, code: int = 0) -> Ran:
    return upstream.run("repack", *words, "--out", out, code=code)


def test_the_newest(upstream: Upstream, out: Path) -> None:
    document = repack(upstream, out, "--json").json
    assert (document["release"], document["revision"]) == ("1.8.9", 1)
    (wheel,) = [Path(path) for path in document["wheels"]]
    assert list(out.iterdir()) == [wheel]
    assert [Path(path).name for path in document["passthrough"]] == [PLUGIN_WHEEL]
    assert [Path(path).name for path in document["official"]] == [AGENTS_WHEEL, PLUGIN_WHEEL]
    contents = contents_of(wheel)
    assert contents[ENGINE] == source(line9="first = 1").encode()
    assert b"openai==1.8.9;" in contents["livekit_agents-1.8.9+dispatched.1.dist-info/METADATA"]
    assert upstream.leftovers() == []


def test_a_range(upstream: Upstream, out: Path) -> None:
    upstream.run("update")
    result = repack(upstream, out, ">=1.8.8,<1.8.9")
    names = [Path(line).name for line in result.out.splitlines()]
    assert names == ["livekit_agents-1.8.8+dispatched.1-py3-none-any.whl"]
    repack(upstream, out, ">=7", code=10)


def test_offline_asks_no_index(upstream: Upstream, out: Path) -> None:
    result = repack(upstream, out, "1.8.9", "--offline", code=10)
    assert "run once without --offline" in result.err
    upstream.run("fetch", "1.8.9")
    upstream.index.asked.clear()
    repack(upstream, out, "1.8.9", "--offline")
    assert upstream.index.asked == []
    upstream.run("fetch", "--offline", code=10)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["9.9.9"], 10, "no livekit-agents 9.9.9"),
        (["1.8.8"], 11, "was yanked: broken"),
        (["1.8.9", "--pypi", "http://127.0.0.1:9/simple/"], 12, "no usable answer"),
        (["2.0.0"], 14, "no sound wheel"),
        (["1.9.0"], 16, "1.9.0: patch guard, variant 1.0.patch: does not apply"),
    ],
)
def test_each_error_has_its_code_and_leaves_nothing(
    upstream: Upstream, out: Path, words: list[str], code: int, message: str
) -> None:
    upstream.index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    (name, _) = upstream.upload("2.0.0")
    upstream.index.files[name] = b"PK not a wheel"
    drifted = members_of(AGENTS, "1.9.0") | {ENGINE: source(line8="x = 1").encode()}
    upstream.upload("1.9.0", names=(AGENTS,), members=drifted)
    result = repack(upstream, out, *words, code=code)
    assert result.out == ""
    assert message in result.err
    assert "\n  next: " in result.err
    assert not out.exists()
    assert upstream.leftovers() == []
    assert not list(upstream.workspace.repacked.glob("*/*.whl"))


def test_a_yanked_release_on_request(upstream: Upstream, out: Path) -> None:
    upstream.index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    repack(upstream, out, "1.8.8", "--yanked")


def test_several_releases_the_good_ones_to_their_end(upstream: Upstream, out: Path) -> None:
    error = repack(upstream, out, "1.8.9", "9.9.9", "1.8.8", code=22).err
    assert "1 of 3 releases failed" in error
    assert "9.9.9: UnknownRelease" in error
    assert len(list(out.iterdir())) == 2


@pytest.mark.parametrize("cache", [(), ("--no-cache",)])
@pytest.mark.parametrize("step", ["apply_series", "rewrite", "verify_repacked", "shutil.copyfile"])
def test_interrupted_at_any_step(
    upstream: Upstream, out: Path, monkeypatch: pytest.MonkeyPatch, step: str, cache: tuple[str]
) -> None:
    def interrupt(*words: object, **_: object) -> None:
        if step == "shutil.copyfile":
            Path(str(words[1])).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"toolkit.releases.repack.{step}", interrupt)
        result = repack(upstream, out, "1.8.9", *cache, code=130)
    assert result.out == ""
    assert "nothing half-done was kept" in result.err
    assert upstream.leftovers() == []
    assert not out.exists() or not list(out.iterdir())
    repack(upstream, out, "1.8.9", *cache)


def test_a_full_folder_and_none(
    upstream: Upstream, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fill)
        assert "No space left" in repack(upstream, out, "1.8.9", code=20).err
    assert list(out.iterdir()) == []
    assert upstream.leftovers() == []
    (out / "file").write_text("", "utf-8")
    repack(upstream, out / "file/out", "1.8.9", code=20)


def test_processes_that_share_a_cache(upstream: Upstream, tmp_path: Path) -> None:
    script = [sys.executable, "-W", "error", str(REPOSITORY / "scripts/repack.py"), "1.8.9"]
    script += ["--patches", str(upstream.workspace.patches), "--out"]

    def run(number: int) -> bytes:
        command = [*script, str(tmp_path / str(number))]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        assert (result.returncode, result.stderr) == (0, "")
        return Path(result.stdout.strip()).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(run, range(4)))) == 1
    assert upstream.leftovers() == []


def test_an_unsound_wheel_is_checked_every_time(
    upstream: Upstream, out: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w" / AGENTS_WHEEL
    contents = contents_of(path) | {"livekit/agents/data.bin": b"other"}
    upstream.index.files[path.name] = write_archive(path, contents, None).read_bytes()
    for _ in range(2):
        error = repack(upstream, out, "1.8.9", code=14).err
        assert "data.bin is not what RECORD says" in error
    assert not upstream.workspace.sound.exists()
