"""A git repository that the user's own git configuration has no part in."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version
from series import engine_patch, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches.series import Series
from toolkit.patches.tree import make_tree

CONFIGURATION = """
[core]
    hooksPath = {home}/hooks
    autocrlf = true
    attributesFile = {home}/attributes
    fsmonitor = {home}/hooks/run
    editor = {home}/hooks/run
    pager = {home}/hooks/run
[init]
    templateDir = {home}/template
    defaultObjectFormat = sha256
    defaultBranch = other
[commit]
    gpgsign = true
    template = {home}/attributes
[gpg]
    program = {home}/hooks/run
[am]
    threeWay = true
    keepcr = false
[apply]
    whitespace = fix
[mailinfo]
    scissors = true
[filter "x"]
    clean = {home}/hooks/run
    smudge = {home}/hooks/run
    required = true
[user]
    name = Somebody
    useConfigOnly = true
[safe]
    bareRepository = explicit
"""
FILES = (
    *("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "TEMPLATE_DIR"),
    *("CONFIG", "CONFIG_GLOBAL", "CONFIG_SYSTEM", "SHALLOW_FILE", "GRAFT_FILE"),
)
PROGRAMS = ("EDITOR", "SEQUENCE_EDITOR", "PAGER", "EXTERNAL_DIFF", "ASKPASS", "PROXY_COMMAND")
NAMES = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL", "NAMESPACE")
HOOKS = (
    *("pre-commit", "post-commit", "applypatch-msg", "pre-applypatch", "post-applypatch"),
    *("prepare-commit-msg", "commit-msg", "post-checkout", "post-index-change"),
)


def test_git_of_the_user_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = write_series(tmp_path / "patches", {"guard": {"1.0": engine_patch(line9="x = 1  ")}})
    series = Series.load(patches)
    variants = series.variants_for(Version("1.8.9"))
    files = {ENGINE_PATH: source().encode()}
    plain = make_tree(variants, files, tmp_path / "plain")

    home = tmp_path / "home"
    run = home / "hooks/run"
    run.parent.mkdir(parents=True)
    run.write_text(f'#!/bin/sh\ntouch "{tmp_path}/ran"\ncat\nexit 1\n', "utf-8")
    run.chmod(0o755)
    (home / "template/hooks").mkdir(parents=True)
    for hook in HOOKS:
        for folder in (home / "hooks", home / "template/hooks"):
            (folder / hook).symlink_to(run)
    (home / "attributes").write_text("* filter=x text eol=crlf ident\n", "utf-8")
    (home / ".gitconfig").write_text(CONFIGURATION.format(home=home), "utf-8")
    (home / "git").mkdir()
    (home / "git/config").write_text(CONFIGURATION.format(home=home), "utf-8")
    (home / "git/attributes").write_text("* filter=x eol=crlf\n", "utf-8")
    hostile = {
        **dict.fromkeys(FILES, home / ".gitconfig"),
        **dict.fromkeys(PROGRAMS, run),
        **dict.fromkeys(NAMES, "somebody"),
        **dict.fromkeys(("AUTHOR_DATE", "COMMITTER_DATE"), "2001-01-01T00:00:00Z"),
        "DEFAULT_HASH": "sha256",
        "CONFIG_PARAMETERS": "'core.autocrlf'='true'",
        "CONFIG_COUNT": "1",
        "CONFIG_KEY_0": "core.hooksPath",
        "CONFIG_VALUE_0": home / "hooks",
    }
    for name, value in hostile.items():
        monkeypatch.setenv(f"GIT_{name}", str(value))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))

    made = make_tree(variants, files, tmp_path / "hostile")
    assert made.commit == plain.commit
    assert made.changed == plain.changed
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "hostile" / ENGINE_PATH).read_bytes() == source(line9="x = 1  ").encode()
