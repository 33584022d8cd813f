"""Where the toolkit keeps things."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from children import ENV, call, command

from toolkit.util.workspace import CACHE_VARIABLE, MEMORY, Workspace


def test_the_environment_names_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "named"))
    assert Workspace.default().root == tmp_path / "named"
    assert Workspace.default().patches.name == "patches"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Workspace.default().root.name == "livekit-dispatched"


@pytest.mark.parametrize("small", [False, True])
def test_scratch_is_gone_however_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr("toolkit.util.workspace.MEMORY", tmp_path / "memory")
    workspace = Workspace(tmp_path / "cache")
    home = tmp_path / ("memory" if small else "cache/scratch")
    with suppress(KeyboardInterrupt), workspace.scratch(small=small) as folder:
        assert folder.parent == home
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "file").write_text("x", "utf-8")
        raise KeyboardInterrupt
    assert list(home.iterdir()) == []


SCRATCH = """
import sys
from pathlib import Path
from toolkit.util.workspace import Workspace

with Workspace(Path(sys.argv[1])).scratch(small=True) as folder:
    for number in range(200):
        (folder / str(number)).write_bytes(b"x" * 4096)
    print(folder.parent)
"""


@pytest.mark.skipif(not MEMORY.is_dir(), reason="there is no /dev/shm")
@pytest.mark.parametrize(
    ("mount", "has_room"),
    [
        ("-o size=100m", True),
        ("-o size=1m", False),
        ("-o nr_inodes=100", False),
        ("-o ro", False),
        ("-o size=65m", False),
    ],
)
def test_memory_without_room_is_done_without(mount: str, has_room: bool, tmp_path: Path) -> None:
    """As root or with user namespaces, which allow mounts of one's own."""
    script = f"mount -t tmpfs {mount} none {MEMORY}"
    if "65m" in mount:
        script += f" && head -c 60M /dev/zero > {MEMORY}/full"
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "-m"]
    if call(*unshare, "sh", "-c", f"mount -t tmpfs none {MEMORY}").returncode:
        pytest.skip("this machine lets us mount nothing")
    args = (*unshare, "sh", "-c", f'{script} && exec "$0" "$@"', *command(SCRATCH, tmp_path))
    result = call(*args, env=ENV)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(MEMORY if has_room else tmp_path / "scratch")
