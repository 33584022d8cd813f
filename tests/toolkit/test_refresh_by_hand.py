"""``refresh.py`` and a human: what they are asked, and what becomes of their answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from making import ENGINE_PATH, Index, engine_patch, source
from publishing import snapshot
from refreshing_world import House, opened
from standing_in import judged, replace_proof

import apply as applying
import refresh as verb
from toolkit.patches.git_repo import Repository
from toolkit.patches.series import Series
from toolkit.util.workspace import Workspace


@pytest.fixture
def house(
    index: Index, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> House:
    return opened(index, workspace, tmp_path, monkeypatch)


def test_what_a_human_must_decide(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.6")
    for version in ("1.8.7", "1.8.8"):
        house.release(version, line8="another = 8")
    for version in ("1.8.9", "1.8.10", "1.8.11"):
        house.release(version, line8="another = 8", line10="other = 10")
    house.series(first=engine_patch(line20="x = 1"), second=engine_patch(line10="first = 1"))
    patches = snapshot(house.workspace.patches)
    assert house.refresh("1.8.11") == 16
    first = said = capsys.readouterr().err
    assert snapshot(house.workspace.patches) == patches
    assert "patch second, variant 1.0.patch" in said
    assert f"{ENGINE_PATH}, hunk 1 of 1" in said
    assert "since 1.8.9\n" in said
    assert f"nox -s refresh -- --continue {house.tree}" in said
    state = json.loads((house.tree / "report.json").read_text())
    assert (state["patch"], state["since"], state["base"]) == ("second", "1.8.9", "1.8.6")
    (hunk,) = state["hunks"]
    assert "+first = 1" in hunk["hunk"]
    assert "+other = 10" in hunk["upstream"]
    report = (house.tree / "report.md").read_text()
    assert "+other = 10" in report
    assert "since 1.8.9" in report
    file = house.tree / "tree" / ENGINE_PATH
    assert "<<<<<<< " in file.read_text()
    git = ["git", "-C", str(house.tree / "tree"), "log", "--format=%s", "new..series"]
    done = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    assert done.splitlines() == ["Guard the calls"]

    # another attempt loses nothing of what stands there
    assert house.refresh("1.8.11") == 16
    assert capsys.readouterr().err == first
    assert house.refresh("--continue", str(house.tree)) == 16
    assert "still has conflict markers" in capsys.readouterr().err
    whole = source(line8="another = 8", line10="first = 10", line20="x = 1")
    file.write_text("syntax error(")
    assert house.refresh("--continue", str(house.tree)) == 16
    assert "no valid Python" in capsys.readouterr().err
    file.write_text(whole)
    assert house.refresh("--continue", str(house.tree)) == 0
    assert not house.tree.exists()
    assert house.texts("1.8.11") == {ENGINE_PATH: whole}
    assert house.variants == {"first/1.0.patch", "second/1.0.patch", "second/1.8.11.patch"}


def question(house: House) -> Path:
    """Of three ideas the second needs a human: the file to decide about."""
    house.release("1.8.8")
    house.release("1.8.9", line10="other = 10")
    house.series(
        first=engine_patch(line20="x = 1"),
        second=engine_patch(line10="first = 1"),
        third=engine_patch(line30="y = 1"),
    )
    assert house.refresh("1.8.9") == 16
    return house.tree / "tree" / ENGINE_PATH


def by_hand(house: House, *words: str) -> None:
    git = ["git", "-C", str(house.tree / "tree"), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, *words], check=True, capture_output=True)


def test_nothing_of_an_idea_is_to_be_taken(house: House) -> None:
    file = question(house)
    file.write_text(source(line10="other = 10", line20="x = 1"))
    assert house.refresh("--continue", str(house.tree)) == 0
    rest = source(line10="other = 10", line20="x = 1", line30="y = 1")
    assert house.texts("1.8.9") == {ENGINE_PATH: rest}
    series = Series.load(house.workspace.patches)
    assert [str(patch.releases) for patch in series.patches] == [">=1.0", "<1.8.9,>=1.0", ">=1.0"]
    assert house.variants == {f"{name}/1.0.patch" for name in ("first", "second", "third")}


def test_an_answer_is_one_commit(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    file = question(house)
    file.write_text(source(line10="first = 10", line20="x = 1"))
    # in conflict no more, but neither committed nor to be committed
    by_hand(house, "reset", "--quiet")
    assert house.refresh("--continue", str(house.tree)) == 15
    by_hand(house, "commit", "--quiet", "--all", "--reuse-message=idea/second")
    file.write_text(source(line10="first = 11", line20="x = 1"))
    by_hand(house, "commit", "--quiet", "--all", "--message=another")
    capsys.readouterr()
    assert house.refresh("--continue", str(house.tree)) == 15
    assert "has 3 commits on the official files, for 2 ideas" in capsys.readouterr().err
    by_hand(house, "reset", "--quiet", "--soft", "HEAD~")
    by_hand(house, "commit", "--quiet", "--amend", "--no-edit")
    assert house.refresh("--continue", str(house.tree)) == 0
    answer = source(line10="first = 11", line20="x = 1", line30="y = 1")
    assert house.texts("1.8.9") == {ENGINE_PATH: answer}


def test_an_answer_outlives_a_proof_that_ends_early(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    question(house).write_text(source(line10="first = 10", line20="x = 1"))
    replace_proof(monkeypatch, judged("inconclusive"))
    assert house.refresh("--continue", str(house.tree)) == 18
    replace_proof(monkeypatch, judged("publish"))
    assert house.refresh("--continue", str(house.tree)) == 0
    answer = source(line10="first = 10", line20="x = 1", line30="y = 1")
    assert house.texts("1.8.9") == {ENGINE_PATH: answer}


def test_the_same_question_if_the_answer_is_thrown_away(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    file = question(house)
    by_hand(house, "reset", "--quiet", "--hard")
    capsys.readouterr()
    assert house.refresh("--continue", str(house.tree)) == 16
    assert "patch second, variant 1.0.patch" in capsys.readouterr().err
    assert "<<<<<<< " in file.read_text()


def test_what_a_merge_tool_leaves_behind(house: House) -> None:
    """A new module belongs to the answer, a copy of a file does not."""
    file = question(house)
    file.write_text(source(line10="first = 10", line20="x = 1"))
    file.with_name("engine.py.orig").write_text("<<<<<<< left over")
    file.with_name("help.py").write_text("y = 1\n")
    assert house.refresh("--continue", str(house.tree)) == 0
    assert house.texts("1.8.9") == {
        ENGINE_PATH: source(line10="first = 10", line20="x = 1", line30="y = 1"),
        ENGINE_PATH.replace("engine", "help"): "y = 1\n",
    }


def test_continue_needs_a_question(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.9")
    house.series(guard=engine_patch(line10="first = 1"))
    assert house.refresh("--continue", str(house.root)) == 15
    assert "holds no refresh that waits" in capsys.readouterr().err
    house.tree.mkdir()
    (house.tree / "a-note-of-mine").touch()
    house.release("1.8.10", line10="other = 10")
    assert house.refresh("1.8.10") == 15


@pytest.mark.parametrize("word", ["regressed", "inconclusive", "fixed"])
def test_only_what_is_proved_is_kept(
    house: House, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house.release("1.8.8")
    house.release("1.8.9", line8="another = 8")
    house.series(guard=engine_patch(line10="first = 1"))
    before = snapshot(house.workspace.patches)
    replace_proof(monkeypatch, judged(word))
    code = 18 if word == "inconclusive" else 16
    assert house.refresh("1.8.9") == code
    assert f"the proof says {word}: a test says so" in capsys.readouterr().err
    assert snapshot(house.workspace.patches) == before
    if code == 18:
        # it will be proved again, so there is no question
        assert not house.tree.exists()
        replace_proof(monkeypatch, judged("regressed"))
        assert house.refresh("1.8.9") == 16
        replace_proof(monkeypatch, judged(word))
    else:
        assert word in (house.tree / "report.md").read_text()
    # the human changes the tree until the proof is content
    monkeypatch.chdir(house.root)
    file = house.tree / "tree" / ENGINE_PATH
    file.write_text(source(line8="another = 8", line10="better = 1"))
    assert house.refresh("--continue", house.tree.name) == code
    assert "better" in file.read_text()
    replace_proof(monkeypatch, judged("publish"))
    assert house.refresh("--continue", house.tree.name) == 0
    assert "better" in house.texts("1.8.9")[ENGINE_PATH]


def test_an_export_of_what_was_not_changed_changes_no_byte(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.release("1.8.8")
    house.release("1.8.9", line8="another = 8")
    house.series(guard=engine_patch(line10="first = 1"))
    assert house.refresh("1.8.9") == 0
    # what was written by hand becomes what git writes, once
    here = ["--patches", str(house.workspace.patches)]
    variants = house.workspace.patches / "guard"
    (variants / "1.0.patch").rename(variants / "1.8.8.patch")
    assert verb.main(["--check", *here]) == 15
    assert "guard/1.8.8.patch" in capsys.readouterr().err
    for attempt in range(2):
        for version in ("1.8.8", "1.8.9"):
            tree = house.root / f"{version}-{attempt}"
            assert applying.main([version, "--tree", str(tree), *here]) == 0
            capsys.readouterr()
            assert verb.main([version, "--export", str(tree), *here]) == 0
            written = capsys.readouterr().out
            changed = attempt == 0 and version == "1.8.8"
            assert written == ("guard/1.8.8.patch\n" if changed else "nothing changed\n")
    assert verb.main(["--check", *here]) == 0


def test_a_change_in_the_tree_becomes_a_variant(house: House) -> None:
    house.release("1.8.8")
    house.release("1.8.9")
    house.series(guard=engine_patch(line10="first = 1"))
    here = ["--patches", str(house.workspace.patches)]
    tree = house.root / "tree"
    assert applying.main(["1.8.9", "--tree", str(tree), *here]) == 0
    (tree / ENGINE_PATH).write_text(source(line10="first = 2"))
    repository = Repository(tree)
    repository.amend()
    assert verb.main(["1.8.9", "--export", str(tree), *here]) == 0
    assert house.variants == {"guard/1.0.patch", "guard/1.8.9.patch"}
    assert house.texts("1.8.9") == {ENGINE_PATH: source(line10="first = 2")}
    repository.commit_all("And one more")
    assert verb.main(["1.8.9", "--export", str(tree), *here]) == 15


@pytest.mark.parametrize("name", ["9.9.9", "nonsense"])
def test_a_check_of_no_release(house: House, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    house.release("1.8.8")
    house.series(guard=engine_patch(line10="first = 1"))
    assert verb.main(["--check", name, "--patches", str(house.workspace.patches)]) == 10
    assert f"has no livekit-agents {name}" in capsys.readouterr().err
