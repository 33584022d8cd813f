"""Applying a series: git am without fuzz, whole trees or none."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from making import (
    AGENTS,
    ENGINE_PATH,
    TREES,
    diff,
    engine_patch,
    mail,
    source,
    write_series,
)
from packaging.version import Version

from toolkit.patches import tree
from toolkit.patches.series import Series
from toolkit.patches.tree import PatchedTree, make_tree
from toolkit.util.errors import CommandFailed, NotWritable, PatchConflict
from toolkit.util.files import replacing
from toolkit.util.workspace import Workspace

OFFICIAL = source().encode()


def apply_to(tmp_path: Path, official: bytes, patches: Mapping[str, str]) -> PatchedTree:
    folder = write_series(tmp_path / "patches", {n: {"1.0": text} for n, text in patches.items()})
    series = Series.load(folder)
    variants = series.variants_for(Version("1.0"))
    return make_tree(variants, {ENGINE_PATH: official}, tmp_path / "tree")


def git(tree: Path, *words: str) -> str:
    command = ["git", "-C", str(tree), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_one_commit_a_patch(tmp_path: Path) -> None:
    second = mail(
        diff(ENGINE_PATH, source(line9="first = 1"), source(line9="first = 2")), subject="And then"
    )
    tree = apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="first = 1"), "b": second})
    assert tree.changed == {ENGINE_PATH: source(line9="first = 2").encode()}
    assert (tree.path / ENGINE_PATH).read_bytes() == tree.changed[ENGINE_PATH]
    subjects = git(tree.path, "log", "--format=%s").splitlines()
    assert subjects == ["And then", "Guard the calls", "Official files"]
    assert git(tree.path, "rev-parse", "HEAD") == tree.commit
    assert git(tree.path, "status", "--porcelain") == ""


def test_commit_ids_depend_on_input_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patches = {"a": engine_patch(line9="first = 1")}
    first = apply_to(tmp_path / "here", OFFICIAL, patches)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\nname = Somebody\n[core]\nautocrlf = true\nhooksPath = /nowhere\n"
        "[apply]\nwhitespace = fix\n[commit]\ngpgSign = true\n[am]\nthreeWay = true\n"
        "[init]\ndefaultObjectFormat = sha256\n",
        "utf-8",
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'apply.whitespace'='error-all'")
    second = apply_to(tmp_path / "there", OFFICIAL, patches)
    assert second.commit == first.commit
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "index").exists()


def test_offset_is_accepted(tmp_path: Path) -> None:
    moved = b"# new\n" * 12 + OFFICIAL
    tree = apply_to(tmp_path, moved, {"a": engine_patch(line9="first = 1")})
    assert tree.changed[ENGINE_PATH] == b"# new\n" * 12 + source(line9="first = 1").encode()


def test_fuzz_is_refused(tmp_path: Path) -> None:
    drifted = source(line7="value_7 = 'drifted'").encode()
    series = Series.load(
        write_series(
            tmp_path / "patches", {"a": {"1.0": engine_patch(line9="first = 1", line30="")}}
        )
    )
    target = tmp_path / "gnu/engine.py"
    target.parent.mkdir()
    target.write_bytes(drifted)
    with pytest.raises(PatchConflict) as caught:
        make_tree(
            series.variants_for(Version("1.2")),
            {ENGINE_PATH: drifted},
            tmp_path / "tree",
        )
    said = str(caught.value)
    assert "patch a, variant 1.0.patch: does not apply" in said
    assert f"{ENGINE_PATH}, hunk 1 of 2 (@@ -6,7 +6,7 @@)" in said
    assert "patches/a/" in caught.value.next_step
    assert not (tmp_path / "tree").exists()
    assert not list(tmp_path.glob(".tree*"))


def test_conflict_names_the_variant_that_failed(tmp_path: Path) -> None:
    good, bad = engine_patch(line9="first = 1"), engine_patch(line9="first = 2")
    with pytest.raises(PatchConflict, match="patch b, variant"):
        apply_to(tmp_path, OFFICIAL, {"a": good, "b": bad, "c": good})


def test_second_hunk_is_named(tmp_path: Path) -> None:
    patch = engine_patch(line9="first = 1", line30="last = 1")
    with pytest.raises(PatchConflict, match="hunk 2 of 2"):
        apply_to(tmp_path, source(line31="other = 1").encode(), {"a": patch})


@pytest.mark.parametrize("series", [{"a": "first = 1"}, {"a": "first = 1", "b": "first = 1"}])
def test_what_is_contained_already_has_no_effect(tmp_path: Path, series: dict[str, str]) -> None:
    patches = {name: engine_patch(line9=line) for name, line in series.items()}
    official = OFFICIAL if len(series) > 1 else source(line9="first = 1").encode()
    last = list(series)[-1]
    with pytest.raises(PatchConflict, match=f"patch {last}, .*no effect.*upstream may have taken"):
        apply_to(tmp_path, official, patches)


def test_contained_insertion_that_would_apply_again(tmp_path: Path) -> None:
    # At the file's end an insertion still finds its context after it was made once.
    patch = mail(diff(ENGINE_PATH, "x = 1\n", "y = 2\nx = 1\n"))
    with pytest.raises(PatchConflict, match="no effect"):
        apply_to(tmp_path, b"y = 2\nx = 1\n", {"a": patch})


def test_hunk_that_changes_nothing(tmp_path: Path) -> None:
    patch = engine_patch(line9="value_9 = 0").replace("+value_9 = 0", "+value_9 = 9")
    with pytest.raises(PatchConflict, match="no effect"):
        apply_to(tmp_path, OFFICIAL, {"a": patch})


def test_missing_file_is_named(tmp_path: Path) -> None:
    path = f"{TREES[AGENTS]}/livekit/agents/gone.py"
    with pytest.raises(PatchConflict, match=f"the release has no {path}"):
        apply_to(tmp_path, OFFICIAL, {"a": mail(diff(path, "x\n", "y\n"))})


def test_new_python_file(tmp_path: Path) -> None:
    path = f"{TREES[AGENTS]}/livekit/agents/guard.py"
    patch = mail(diff(path, "", "GUARD = True\n"))
    tree = apply_to(tmp_path, OFFICIAL, {"a": patch})
    assert tree.changed == {path: b"GUARD = True\n"}
    with pytest.raises(PatchConflict, match=f"has a {path}"):
        apply_to(tmp_path / "again", OFFICIAL, {"a": patch, "b": patch})


def test_result_must_be_python(tmp_path: Path) -> None:
    with pytest.raises(PatchConflict, match="no valid Python afterwards"):
        apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="return 1")})
    assert not (tmp_path / "tree").exists()


def test_bytes_survive(tmp_path: Path) -> None:
    odd = "# caf\xe9 \x0c\x85\u2028\r\n"
    old, new = f"{odd}{source()}", f"{odd}{source(line2='first = 1')}# end"
    patch = mail(git_diff(tmp_path, old, new))
    assert "\\ No newline at end of file" in patch
    tree = apply_to(tmp_path, old.encode(), {"a": patch})
    assert tree.changed[ENGINE_PATH] == new.encode()


def git_diff(tmp_path: Path, old: str, new: str) -> str:
    """git's own diff: difflib splits lines at more than line feeds."""
    for name, text in (("old", old), ("new", new)):
        (tmp_path / name).write_bytes(text.encode())
    command = ["git", "diff", "--no-index", str(tmp_path / "old"), str(tmp_path / "new")]
    # elsewhere than in the checkout, whose .gitattributes would drop the CR
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    hunks = done.stdout.decode()
    path = ENGINE_PATH
    hunks = hunks[hunks.index("@@") :]
    return f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{hunks}"


def test_tree_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/mine.txt").write_text("mine", "utf-8")
    with pytest.raises(NotWritable, match="not an empty folder"):
        apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="first = 1")})
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["mine.txt"]


def test_tree_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    folder = write_series(tmp_path / "patches", {"a": {"1.0": engine_patch(line9="first = 1")}})
    series = Series.load(folder)
    variants = series.variants_for(Version("1.0"))
    with pytest.raises(NotWritable):
        make_tree(variants, {ENGINE_PATH: OFFICIAL}, tmp_path / "file/tree")


def test_interrupted_apply_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "am", interrupt)
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="first = 1")})
    assert set(tmp_path.iterdir()) - before == {tmp_path / "patches"}


def test_missing_git_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match="git"):
        apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="first = 1")})


def test_git_and_unidiff_must_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "apply_in_memory", lambda variants, files: dict(files))
    with pytest.raises(PatchConflict, match="other files"):
        apply_to(tmp_path, OFFICIAL, {"a": engine_patch(line9="first = 1")})


def test_replacing_keeps_the_old_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old", "utf-8")

    def fail() -> None:
        with replacing(target) as draft:
            draft.write_text("new", "utf-8")
            assert target.read_text("utf-8") == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.read_text("utf-8") for path in tmp_path.iterdir()] == ["old"]


def test_cache_folder_is_named_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_DISPATCHED_CACHE", str(tmp_path / "named"))
    named = Workspace.default()
    assert named.root == tmp_path / "named"
    assert named.patches.name == "patches"
    monkeypatch.delenv("LIVEKIT_DISPATCHED_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert Workspace.default().root.name == "livekit-dispatched"
