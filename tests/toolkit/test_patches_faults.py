"""A fault of the machine is never a fault of the series: no room, no right, a killed child."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.version import Version
from series import engine_patch, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree
from toolkit.refresh.rebase import Rebase
from toolkit.util.errors import CommandFailed, InvalidSeries, NotWritable

FILES = {ENGINE_PATH: source().encode()}


@pytest.fixture
def series(tmp_path: Path) -> Series:
    patch = engine_patch(line9="first = 1")
    return Series.load(write_series(tmp_path / "patches", {"a": {"1.0": patch}}))


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
@pytest.mark.parametrize(("end", "exit_code", "problem"), ENDS)
def test_git_that_fails(
    end: str,
    exit_code: int,
    problem: str,
    series: Series,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(GIT.format(git=shutil.which("git"), end=end), "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    variants = series.variants_for(Version("1.0"))
    with pytest.raises((NotWritable, CommandFailed, InvalidSeries)) as caught:
        make_tree(variants, FILES, tmp_path / "tree")
    assert (caught.value.exit_code, problem in str(caught.value)) == (exit_code, True)
    assert "patches/" not in caught.value.next_step
    assert not (tmp_path / "tree").exists()
    rebase = Rebase(variants, FILES, FILES, tmp_path / "rebased", release=Version("1.1"))
    rebase.start()
    with pytest.raises((NotWritable, CommandFailed, InvalidSeries)) as caught:
        rebase.resume()
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "problem"),
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
def test_a_damaged_patch_file(
    damage: Callable[[bytes], bytes], problem: str, series: Series, tmp_path: Path
) -> None:
    file = tmp_path / "patches/a/1.0.patch"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InvalidSeries, match=rf"a/1\.0\.patch .*{problem}"):
        Series.load(tmp_path / "patches").variants_for(Version("1.0"))


def test_a_patch_file_that_cannot_be_read(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    # root may read everything
    monkeypatch.setattr(Path, "read_bytes", refuse)
    for read in (series.digest, series.variants_for):
        with pytest.raises(InvalidSeries, match=r"a/1\.0\.patch cannot be read: Permission denied"):
            read(Version("1.0"))
