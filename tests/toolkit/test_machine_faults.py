"""A fault of the machine is never a fault of the series: no room, no right, a killed child."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from making import ENGINE_PATH, engine_patch, source, write_series

import toolkit.workspace

SCRIPTS = Path(toolkit.workspace.__file__).parents[1]
MEMORY = Path("/dev/shm")  # noqa: S108

# Patches a file in a folder that scratch() chose; says what came of it, and where it was.
APPLY = f"""
import sys
from pathlib import Path
from packaging.version import Version
from toolkit.errors import run_verb
from toolkit.series import Series
from toolkit.workspace import Workspace, apply

def body():
    series = Series.load(patches := Path(sys.argv[1], "patches"))
    workspace = Workspace(Path(sys.argv[1], "cache"), patches)
    files = {{{ENGINE_PATH!r}: Path(sys.argv[1], "engine.py").read_bytes()}}
    with workspace.scratch(small=True) as scratch:
        apply(series, series.variants_for(Version("1.0")), files, scratch / "tree")
        print(scratch.parent)

sys.exit(run_verb(body))
"""


def private() -> list[str]:
    """What to put before a command for mounts of its own; skips where that is not allowed."""
    words = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "-m"]
    tried = "mount -t tmpfs none /dev/shm"
    if not shutil.which("unshare") or subprocess.run([*words, "sh", "-c", tried]).returncode:
        pytest.skip("this machine lets us mount nothing")
    return words


def applied(folder: Path, mount: str) -> subprocess.CompletedProcess[str]:
    """Apply a patch after the shell line ``mount``, which has private mounts."""
    write_series(folder / "patches", {"a": {"1.0": engine_patch(line9="first = 1")}})
    (folder / "engine.py").write_text(source(), "utf-8")
    (folder / "cache").mkdir()
    line = f'{mount} && exec "$0" -c "$1" "$2"'
    return subprocess.run(
        [*private(), "sh", "-c", line, sys.executable, APPLY, str(folder)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(not MEMORY.is_dir(), reason="there is no /dev/shm")
@pytest.mark.parametrize(
    "mount",
    [
        "mount -t tmpfs -o size=1m none /dev/shm",
        "mount -t tmpfs -o nr_inodes=100 none /dev/shm",
        "mount -t tmpfs -o ro none /dev/shm",
        "mount -t tmpfs -o size=65m none /dev/shm && head -c 60M /dev/zero > /dev/shm/full",
    ],
)
def test_memory_without_room_is_done_without(mount: str, tmp_path: Path) -> None:
    done = applied(tmp_path, mount)
    assert (done.returncode, done.stdout.strip()) == (0, f"{tmp_path}/cache/scratch"), done.stderr
    with_room = "mount -t tmpfs -o size=100m none /dev/shm"
    (tmp_path / "again").mkdir()
    assert applied(tmp_path / "again", with_room).stdout.strip() == str(MEMORY)
