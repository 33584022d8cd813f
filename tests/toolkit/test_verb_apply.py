"""The verb apply: a git tree for whoever wants to look at it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from series import diff, engine_patch, mail, write_series
from upstream_index import Upstream
from wheels import AGENTS, ENGINE, REALTIME_PATH, source


def test_a_tree_with_a_commit_a_patch(upstream: Upstream, tmp_path: Path) -> None:
    upstream.add_two_releases()
    document = upstream.run("apply", "1.8.9", "--tree", tmp_path / "tree", "--json").json
    assert document["changed"] == {AGENTS: [ENGINE]}
    log = ["git", "-C", str(tmp_path / "tree"), "log", "--format=%H"]
    commits = subprocess.run(log, check=True, capture_output=True, text=True).stdout.split()
    assert len(commits) == 2
    assert commits[0] == document["commit"]
    text = upstream.run("apply", "1.8.9", "--tree", tmp_path / "again").out
    assert text == f"{tmp_path / 'again'} at {commits[0]}\n  {AGENTS}: {ENGINE}\n"


def test_what_cannot_be_made_leaves_nothing(upstream: Upstream, tmp_path: Path) -> None:
    upstream.add_two_releases()
    (tmp_path / "file").write_text("", "utf-8")
    upstream.run("apply", "1.8.9", "--tree", tmp_path / "file/tree", code=20)
    drifted = mail(diff(REALTIME_PATH, source(line8="x = 1"), source(line9="first = 1")))
    patches = {"guard": {"1.0": engine_patch(line9="first = 1")}, "mark": {"1.0": drifted}}
    write_series(upstream.workspace.patches, patches)
    error = upstream.run("apply", "1.8.9", "--tree", tmp_path / "tree", code=16).err
    assert "1.8.9: patch mark, variant 1.0.patch: does not apply" in error
    assert "add patches/mark/1.8.9.patch" in error
    assert not (tmp_path / "tree").exists()
    assert upstream.leftovers() == []
