"""A series as commits in a git repository: whole trees or none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from packaging.version import Version
from series import diff, engine_patch, mail, write_series
from wheels import ENGINE_PATH, source

from toolkit.patches import tree
from toolkit.patches.series import Series
from toolkit.patches.tree import PatchedTree, make_tree
from toolkit.util.errors import CommandFailed, InvalidSeries, NotWritable, PatchConflict

OFFICIAL = {ENGINE_PATH: source().encode()}
FIRST = engine_patch(line9="first = 1")
SECOND = mail(
    diff(ENGINE_PATH, source(line9="first = 1"), source(line9="first = 2")), subject="And then"
)


def tree_of(tmp_path: Path, *patches: str, path: str = "tree") -> PatchedTree:
    folder = tmp_path / "patches"
    write_series(folder, {name: {"1.0": text} for name, text in zip("ab", patches, strict=False)})
    variants = Series.load(folder).variants_for(Version("1.0"))
    return make_tree(variants, OFFICIAL, tmp_path / path)


def git(path: Path, *words: str) -> str:
    command = ["git", "-C", str(path), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_one_commit_a_patch(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    made = tree_of(tmp_path, FIRST, SECOND)
    assert made.changed == {ENGINE_PATH: source(line9="first = 2").encode()}
    assert (made.path / ENGINE_PATH).read_bytes() == made.changed[ENGINE_PATH]
    subjects = git(made.path, "log", "--format=%s").splitlines()
    assert subjects == ["And then", "Guard the calls", "Official files"]
    assert git(made.path, "rev-parse", "HEAD") == made.commit
    assert git(made.path, "status", "--porcelain") == ""


def test_commit_ids_depend_on_input_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tree_of(tmp_path, FIRST)
    (tmp_path / ".gitconfig").write_text(
        "[user]\nname = Somebody\n[core]\nautocrlf = true\nhooksPath = /nowhere\n"
        "[apply]\nwhitespace = fix\n[commit]\ngpgSign = true\n[am]\nthreeWay = true\n"
        "[init]\ndefaultObjectFormat = sha256\n",
        "utf-8",
    )
    for name, value in {
        "HOME": tmp_path,
        "TZ": "Asia/Kathmandu",
        "GIT_DIR": tmp_path / "elsewhere",
        "GIT_INDEX_FILE": tmp_path / "index",
        "GIT_AUTHOR_DATE": "2001-01-01T00:00:00Z",
        "GIT_CONFIG_PARAMETERS": "'apply.whitespace'='error-all'",
    }.items():
        monkeypatch.setenv(name, str(value))
    assert tree_of(tmp_path, FIRST, path="again").commit == first.commit
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("patches", "problem"),
    [
        ([FIRST, FIRST.replace("value_8", "drifted")], "patch b, variant 1.0.patch: does not app"),
        ([FIRST, FIRST], "no effect"),
        ([engine_patch(line9="return 1")], "no valid Python afterwards"),
    ],
)
def test_a_conflict_leaves_nothing(tmp_path: Path, patches: list[str], problem: str) -> None:
    with pytest.raises(PatchConflict, match=problem):
        tree_of(tmp_path, *patches)
    assert [path.name for path in tmp_path.iterdir()] == ["patches"]


def test_a_folder_in_use_and_one_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/mine.txt").write_text("mine", "utf-8")
    with pytest.raises(NotWritable, match="not an empty folder"):
        tree_of(tmp_path, FIRST)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["mine.txt"]
    with pytest.raises(NotWritable):
        tree_of(tmp_path, FIRST, path="tree/mine.txt/tree")


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tree, "am", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tree_of(tmp_path, FIRST)
    assert [path.name for path in tmp_path.iterdir()] == ["patches"]


def test_a_missing_git_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandFailed, match="git"):
        tree_of(tmp_path, FIRST)


@pytest.mark.parametrize(
    ("patch", "error", "problem"),
    [
        (FIRST, PatchConflict, "git makes other files of it"),
        (FIRST.replace("value_8", "drifted"), InvalidSeries, "git does not apply what applies"),
    ],
)
def test_git_and_the_application_in_memory_must_agree(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patch: str,
    error: type[Exception],
    problem: str,
) -> None:
    monkeypatch.setattr(tree, "apply_in_memory", lambda variants, files: dict(files))
    with pytest.raises(error, match=problem):
        tree_of(tmp_path, patch)
