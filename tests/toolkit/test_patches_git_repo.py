"""A git repository that the user's own git configuration has no part in."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version
from series import engine_patch, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches.git_repo import CommitMessage, GitConflict, Repository
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


def test_a_history_and_a_conflict(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path)
    base, ours, theirs = (source(line9=f"x = {n}").encode() for n in range(3))
    author = CommitMessage(
        "A <a@example.org>", "Sun, 22 Nov 2026 12:00:00 +0000", "Change\n\nWhy.\n"
    )
    first = repository.commit_files("refs/heads/a", {"a.py": base, "gone.py": b"1\n"})
    second = repository.commit_files("refs/heads/a", {"a.py": theirs, "b.py": base}, author, first)
    assert repository.commits("", "refs/heads/a") == [first, second]
    assert repository.commits(first, second) == [second]
    assert repository.changed_paths(first, second) == ["a.py", "b.py", "gone.py"]
    assert (repository.read(first, "b.py"), repository.read(second, "b.py")) == (None, base)
    assert ("C100", "a.py", "b.py") in repository.renames(first, second)
    assert "\n-x = 0\n+x = 2\n" in repository.diff(first, second)
    assert CommitMessage.of(repository.export(second)) == author

    # picked onto something else, it stops until its conflict is resolved
    repository.checkout(repository.commit_files("refs/heads/b", {"a.py": ours, "gone.py": b"1\n"}))
    assert repository.is_clean()
    assert not repository.is_picking()
    assert repository.unmerged() == []
    with pytest.raises(GitConflict, match="could not apply"):
        repository.cherry_pick(second, "histogram")
    assert (repository.is_clean(), repository.is_picking()) == (False, True)
    assert repository.unmerged() == ["a.py"]
    (tmp_path / "a.py").write_bytes(theirs)
    (tmp_path / "a.py.orig").write_bytes(ours)
    repository.continue_pick()
    assert not repository.is_picking()
    repository.set_ref("refs/heads/done")
    assert repository.commits("refs/heads/b", "refs/heads/done") == [repository.head]
    assert repository.read("HEAD", "a.py.orig") is None
    assert repository.changed_paths("refs/heads/b", "HEAD") == ["a.py", "b.py", "gone.py"]
    assert CommitMessage.of(repository.export("HEAD")) == author
    (tmp_path / "new.py").write_text("y = 1\n", "utf-8")
    repository.amend()
    assert repository.read("HEAD", "new.py") == b"y = 1\n"
    assert len(repository.commits("refs/heads/b", "HEAD")) == 1
