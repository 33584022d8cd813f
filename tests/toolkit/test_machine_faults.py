"""A fault of the machine is never a fault of the series: no room, no right, a killed child."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from making import ENGINE_PATH, engine_patch, source, write_series
from packaging.version import Version

from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.refresh.rebase import Rebase
from toolkit.util.errors import CommandFailed, InvalidSeries, NotWritable
from toolkit.util.workspace import REPOSITORY

SCRIPTS = REPOSITORY / "scripts"
MEMORY = Path("/dev/shm")  # noqa: S108

# Patches a file in a folder that scratch() chose; says what came of it, and where it was.
APPLY = f"""
import sys
from collections.abc import Callable
from pathlib import Path
from packaging.version import Version
from toolkit.cli import verb
from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.util.workspace import Workspace

def body():
    series = Series.load(patches := Path(sys.argv[1], "patches"))
    workspace = Workspace(Path(sys.argv[1], "cache"), patches)
    files = {{{ENGINE_PATH!r}: Path(sys.argv[1], "engine.py").read_bytes()}}
    with workspace.scratch(small=True) as scratch:
        make_tree(series.variants_for(Version("1.0")), files, scratch / "tree")
        print(scratch.parent)

sys.exit(verb(body)())
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


# A git whose `am` ends as it is told, after it was told of a mail.
GIT = """#!/bin/sh
if [ "$1" != am ]; then exec {git} "$@"; fi
mkdir -p .git/rebase-apply && echo 1 > .git/rebase-apply/next
{end}
"""
UNABLE = "fatal: unable to write loose object file: "
ENDS = [
    (f"echo '{UNABLE}No space left on device' >&2; exit 128", 20, "No space left on device"),
    (f"echo '{UNABLE}Permission denied' >&2; exit 128", 20, "Permission denied"),
    (f"echo '{UNABLE}Read-only file system' >&2; exit 128", 20, "Read-only file system"),
    ("echo 'error: a.py: Disk quota exceeded' >&2; exit 128", 20, "Disk quota exceeded"),
    ("kill -9 $$", 21, "was ended by signal 9, as the system does when memory is out"),
    ("echo 'error: unable to write file a.py' >&2; exit 128", 21, "unable to write file"),
    ("exit 3", 21, "ended with exit code 3"),
    ("echo 'error: patch failed: a.py:1' >&2; exit 128", 15, "git does not apply what applies"),
]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
@pytest.mark.parametrize(("end", "exit_code", "said"), ENDS)
def test_a_fault_of_the_machine_is_no_conflict(
    end: str, exit_code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = tmp_path / "bin/git"
    stand_in.parent.mkdir()
    stand_in.write_text(GIT.format(git=shutil.which("git"), end=end), "utf-8")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")
    patches = write_series(tmp_path / "patches", {"a": {"1.0": engine_patch(line9="first = 1")}})
    series = Series.load(patches)
    (variant,) = series.variants_for(Version("1.0"))
    files = {ENGINE_PATH: source().encode()}
    with pytest.raises((NotWritable, CommandFailed, InvalidSeries)) as caught:
        make_tree([variant], files, tmp_path / "tree")
    assert (caught.value.exit_code, said in str(caught.value)) == (exit_code, True), caught.value
    assert "patches/" not in caught.value.next_step
    assert not (tmp_path / "tree").exists()
    rebase = Rebase([variant], files, files, tmp_path / "carried", release=Version("1.1"))
    rebase.start()
    with pytest.raises((NotWritable, CommandFailed, InvalidSeries)) as caught:
        rebase.resume()
    assert said in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_full_disk_under_any_verb_is_one_line() -> None:
    script = "from toolkit.cli import verb\nimport errno\ndef body():\n"
    script += "    raise OSError(errno.ENOSPC, 'No space left on device', '/there/file')\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}raise SystemExit(verb(body)())"],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 20
    assert done.stderr.startswith("error: /there/file: No space left on device\n  next: make room")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"\n" * 4096, "is empty"),
        (lambda data: data[:-40] + bytes(40), "has a NUL byte"),
        (lambda data: bytes(len(data)), "has a NUL byte"),
        (lambda data: data[: len(data) * 4 // 5], "is cut off"),
        (lambda data: data[: data.index(b"+first = 1")], "is no unified diff"),
        (lambda data: data[: data.index(b"diff --git")], "is empty"),
    ],
)
def test_a_damaged_patch_file_says_so(
    damage: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    patches = write_series(tmp_path, {"a": {"1.0": engine_patch(line9="first = 1")}})
    file = patches / "a/1.0.patch"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InvalidSeries, match=rf"a/1\.0\.patch .*{said}"):
        Series.load(patches).variants_for(Version("1.0"))


def test_a_patch_file_that_cannot_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = Series.load(write_series(tmp_path, {"a": {"1.0": engine_patch(line9="first = 1")}}))

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # root may read everything
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (series.digest, series.variants_for):
        with pytest.raises(InvalidSeries, match=r"a/1\.0\.patch cannot be read: Permission denied"):
            read(Version("1.0"))
