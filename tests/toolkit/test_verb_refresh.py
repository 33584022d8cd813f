"""``refresh.py`` and a human: the conflict that it leaves, and what becomes of the resolution."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from publishing import snapshot
from rebase_world import RebaseWorld
from series import engine_patch
from wheels import ENGINE_PATH, source

from toolkit.patches.git_repo import Repository
from toolkit.patches.series import Series

RESOLVED = source(line10="first = 10", line20="x = 1")
RESULT = source(line10="first = 10", line20="x = 1", line30="y = 1")


@pytest.fixture
def file(world: RebaseWorld) -> Path:
    """The file in conflict: of three patches the second needs a human."""
    world.release("1.8.8")
    world.release("1.8.9", line10="other = 10")
    world.series(
        first=engine_patch(line20="x = 1"),
        second=engine_patch(line10="first = 1"),
        third=engine_patch(line30="y = 1"),
    )
    world.refresh("1.8.9", code=16)
    return world.tree / ENGINE_PATH


def git(world: RebaseWorld, *arguments: str) -> str:
    who = ("-c", "user.name=Human", "-c", "user.email=human@example.org")
    command = ["git", "-C", str(world.tree), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_what_a_human_must_resolve(world: RebaseWorld) -> None:
    world.release("1.8.6")
    for version in ("1.8.7", "1.8.8"):
        world.release(version, line8="another = 8")
    for version in ("1.8.9", "1.8.10", "1.8.11"):
        world.release(version, line8="another = 8", line10="other = 10")
    world.series(first=engine_patch(line20="x = 1"), second=engine_patch(line10="first = 1"))
    patches = snapshot(world.patches)
    ran = world.refresh("1.8.11", code=16)
    assert snapshot(world.patches) == patches
    for words in (
        "patch second, variant 1.0.patch",
        f"{ENGINE_PATH}, hunk 1 of 1",
        "since 1.8.9\n",
        f"nox -s refresh -- --continue {world.conflict}",
    ):
        assert words in ran.err
    state = json.loads((world.conflict / "report.json").read_text())
    assert list(state) == [
        *("format", "release", "base", "folder", "patch", "variant", "trouble", "since"),
        *("verdict", "reason", "failing", "hunks", "tree", "command"),
    ]
    assert (state["patch"], state["since"], state["base"]) == ("second", "1.8.9", "1.8.6")
    (hunk,) = state["hunks"]
    assert "+first = 1" in hunk["hunk"]
    assert "+other = 10" in hunk["upstream"]
    report = (world.conflict / "report.md").read_text()
    assert "+other = 10" in report
    assert "since 1.8.9" in report
    file = world.tree / ENGINE_PATH
    assert "<<<<<<< " in file.read_text()
    assert git(world, "log", "--format=%s", "new..series") == "Guard the calls\n"

    # another attempt loses nothing of what stands there
    assert world.refresh("1.8.11", code=16) == ran
    assert "still has conflict markers" in world.resume(code=16).err
    file.write_text("syntax error(")
    assert "no valid Python" in world.resume(code=16).err
    resolved = source(line8="another = 8", line10="first = 10", line20="x = 1")
    file.write_text(resolved)
    world.resume()
    assert not world.conflict.exists()
    assert world.texts("1.8.11") == {ENGINE_PATH: resolved}
    assert world.variants == {"first/1.0.patch", "second/1.0.patch", "second/1.8.11.patch"}


def test_a_patch_of_which_nothing_is_left_ends(world: RebaseWorld, file: Path) -> None:
    file.write_text(source(line10="other = 10", line20="x = 1"))
    world.resume()
    rest = source(line10="other = 10", line20="x = 1", line30="y = 1")
    assert world.texts("1.8.9") == {ENGINE_PATH: rest}
    patches = Series.load(world.patches).patches
    assert [str(patch.releases) for patch in patches] == [">=1.0", "<1.8.9,>=1.0", ">=1.0"]
    assert world.variants == {f"{name}/1.0.patch" for name in ("first", "second", "third")}


def test_a_resolution_is_one_commit(world: RebaseWorld, file: Path) -> None:
    file.write_text(RESOLVED)
    # in conflict no more, but neither committed nor to be committed
    git(world, "reset", "--quiet")
    world.resume(code=15)
    git(world, "commit", "--quiet", "--all", "--reuse-message=idea/second")
    file.write_text(RESOLVED.replace("first = 10", "first = 11"))
    git(world, "commit", "--quiet", "--all", "--message=another")
    assert "has 3 commits on the official files" in world.resume(code=15).err
    git(world, "reset", "--quiet", "--soft", "HEAD~")
    git(world, "commit", "--quiet", "--amend", "--no-edit")
    world.resume()
    assert world.texts("1.8.9") == {ENGINE_PATH: RESULT.replace("first = 10", "first = 11")}


def test_a_resolution_that_was_thrown_away(world: RebaseWorld, file: Path) -> None:
    git(world, "reset", "--quiet", "--hard")
    assert "patch second, variant 1.0.patch" in world.resume(code=16).err
    assert "<<<<<<< " in file.read_text()


def test_what_a_merge_tool_leaves_behind(world: RebaseWorld, file: Path) -> None:
    """A new module belongs to the resolution, a copy of a file does not."""
    file.write_text(RESOLVED)
    file.with_name("engine.py.orig").write_text("<<<<<<< left over")
    file.with_name("help.py").write_text("y = 1\n")
    world.resume()
    helper = ENGINE_PATH.replace("engine", "help")
    assert world.texts("1.8.9") == {ENGINE_PATH: RESULT, helper: "y = 1\n"}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda state: state.pop("since"), "lacks since"),
        (lambda state: state.update(more=1), "unknown keys: more"),
        (lambda state: state.update(format=2), "format 2"),
        (lambda state: state["hunks"][0].update(places="x"), "places"),
    ],
)
def test_a_damaged_report_is_no_conflict(
    world: RebaseWorld, file: Path, damage: Callable[[object], object], problem: str
) -> None:
    report = world.conflict / "report.json"
    state = json.loads(report.read_text())
    damage(state)
    report.write_text(json.dumps(state))
    ran = world.resume(code=15)
    assert "holds no refresh that waits" in ran.err
    assert problem in ran.err


def test_continue_needs_a_conflict(world: RebaseWorld) -> None:
    world.release("1.8.9")
    world.series(guard=engine_patch(line10="first = 1"))
    world.release("1.8.10", line10="other = 10")
    world.conflict.mkdir()
    (world.conflict / "a-note-of-mine").touch()
    for ran in (world.resume(code=15), world.refresh("1.8.10", code=15)):
        assert "holds no refresh that waits" in ran.err


@pytest.mark.parametrize(
    ("verdict", "code"), [("regressed", 16), ("fixed", 16), ("inconclusive", 18)]
)
def test_only_what_is_proved_is_kept(world: RebaseWorld, verdict: str, code: int) -> None:
    world.release("1.8.8")
    world.release("1.8.9", line8="another = 8")
    world.series(guard=engine_patch(line10="first = 1"))
    before = world.files()
    world.prove_as(verdict)
    assert f"the proof says {verdict}: a test says so" in world.refresh("1.8.9", code=code).err
    assert world.changed(before) == set()
    if verdict == "inconclusive":
        # it will be proved again, so nothing is left
        assert not world.conflict.exists()
        world.prove_as("regressed")
        world.refresh("1.8.9", code=16)
        world.prove_as(verdict)
    else:
        assert verdict in (world.conflict / "report.md").read_text()
    # the human changes the tree until the proof is content
    better = source(line8="another = 8", line10="better = 1")
    (world.tree / ENGINE_PATH).write_text(better)
    world.resume(code=code)
    assert (world.tree / ENGINE_PATH).read_text() == better
    world.prove_as("publish")
    world.resume()
    assert world.texts("1.8.9") == {ENGINE_PATH: better}


def test_an_automatic_resolution_that_is_not_proved(world: RebaseWorld) -> None:
    """The human gets git's own merge, and reads what the proof said of the resolution."""
    world.release("1.8.8")
    world.release("1.8.9", line11="other = 11")
    world.series(guard=engine_patch(line10="first = 1"))
    world.prove_as("regressed")
    assert "patch guard, variant 1.0.patch" in world.refresh("1.8.9", code=16).err
    assert "<<<<<<< " in (world.tree / ENGINE_PATH).read_text()
    state = json.loads((world.conflict / "report.json").read_text())
    assert (state["patch"], state["verdict"]) == ("guard", "regressed")
    assert "with them the proof said regressed" in (world.conflict / "report.md").read_text()


def test_an_export_of_what_was_not_changed_changes_no_byte(world: RebaseWorld) -> None:
    world.release("1.8.8")
    world.release("1.8.9", line8="another = 8")
    world.series(guard=engine_patch(line10="first = 1"))
    world.refresh("1.8.9")
    # what was written by hand becomes what git writes, once
    (world.patches / "guard/1.0.patch").rename(world.patches / "guard/1.8.8.patch")
    assert "guard/1.8.8.patch" in world.run("refresh", "--check", code=15).err
    world.run("refresh", "--check", "1.8.9")
    for attempt in range(2):
        for version in ("1.8.8", "1.8.9"):
            tree = world.folder / f"{version}-{attempt}"
            world.run("apply", version, "--tree", tree)
            written = world.run("refresh", version, "--export", tree).out
            changed = attempt == 0 and version == "1.8.8"
            assert written == ("guard/1.8.8.patch\n" if changed else "nothing changed\n")
    world.run("refresh", "--check")


def test_a_change_in_the_tree_becomes_a_variant(world: RebaseWorld) -> None:
    world.release("1.8.8")
    world.release("1.8.9")
    world.series(guard=engine_patch(line10="first = 1"))
    tree = world.folder / "tree"
    world.run("apply", "1.8.9", "--tree", tree)
    (tree / ENGINE_PATH).write_text(source(line10="first = 2"))
    repository = Repository(tree)
    repository.amend()
    world.run("refresh", "1.8.9", "--export", tree)
    assert world.variants == {"guard/1.0.patch", "guard/1.8.9.patch"}
    assert world.texts("1.8.9") == {ENGINE_PATH: source(line10="first = 2")}
    repository.commit_all("And one more")
    world.run("refresh", "1.8.9", "--export", tree, code=15)


@pytest.mark.parametrize("name", ["9.9.9", "nonsense"])
def test_a_check_of_no_release(world: RebaseWorld, name: str) -> None:
    world.release("1.8.8")
    world.series(guard=engine_patch(line10="first = 1"))
    assert f"has no livekit-agents {name}" in world.run("refresh", "--check", name, code=10).err
