"""The git that is used, and clones however they were made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from upstream_repository import make_repository

from toolkit.forward.mails import Clone
from toolkit.patches.git_repo import Repository
from toolkit.upstream_tests import checkout
from toolkit.util import git
from toolkit.util.errors import CommandFailed
from toolkit.util.process import run


@pytest.mark.parametrize(
    ("output", "usable"),
    [
        ("git version 2.32.0", True),
        ("git version 2.39.5 (Apple Git-154)", True),
        ("git version 3.0.0.windows.1", True),
        ("git version 2.31.8", False),
        ("git version 1.99", False),
        ("something else", False),
    ],
)
def test_versions_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, usable: bool
) -> None:
    program = tmp_path / "git"
    program.write_text(f"#!/bin/sh\necho '{output}'\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    if usable:
        git.check_version()
        return
    with pytest.raises(CommandFailed, match=r"git 2\.32 or newer is needed, this is: ") as caught:
        git.check_version()
    assert output in str(caught.value)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "clone", {"livekit-agents@1.7.0": {"a.py": "a = 1\n"}})


def test_a_worktree_and_a_bare_clone_are_read(clone: Path, tmp_path: Path) -> None:
    tree, bare = tmp_path / "tree", tmp_path / "bare"
    run(["git", "-C", clone, "worktree", "add", "--quiet", "--detach", tree])
    run(["git", "clone", "--quiet", "--bare", clone, bare])
    for place in (clone, tree, bare):
        assert Clone(place, "HEAD").files(["a.py", "b.py"]) == {"a.py": b"a = 1\n"}
    assert Repository(tree).read("HEAD", "a.py") == b"a = 1\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root only may chown")
def test_a_clone_that_belongs_to_somebody_else(clone: Path, tmp_path: Path) -> None:
    """As in a container. No configuration of the user's says that it is safe, as none is read."""
    for path in (clone, *clone.rglob("*")):
        os.chown(path, 12345, 12345, follow_symlinks=False)
    assert Clone(clone, "HEAD").files(["a.py"]) == {"a.py": b"a = 1\n"}
    checkout._list_tags.cache_clear()
    (tag,) = checkout.tags_of(str(clone))
    files = checkout.check_out(tag, str(clone), tmp_path / "cache").files
    assert (files / "a.py").read_bytes() == b"a = 1\n"
