"""Files appear whole or not at all, and a checkout's line ends do not matter."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from toolkit.util import files
from toolkit.util.errors import InvalidWheel, NotWritable


def below(folder: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("many", [1, 100])
def test_files_are_written_together(many: int, tmp_path: Path) -> None:
    contents = {tmp_path / f"{n % 3}/{n}": str(n).encode() for n in range(many)}
    files.write_together(contents)
    assert below(tmp_path) == {f"{n % 3}/{n}": str(n).encode() for n in range(many)}
    files.write_whole(tmp_path / "0/0", b"new")
    assert (tmp_path / "0/0").read_bytes() == b"new"


@pytest.mark.parametrize("many", [2, 100])
def test_none_appears_before_all_are_on_the_disk(
    many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0").write_bytes(b"old")
    synced = []

    def sync(_: int | None = None) -> None:
        synced.append(below(tmp_path)["0"])
        # one at a time, or all at once
        if len(synced) == (2 if many == 2 else 1):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "sync", sync)
    with pytest.raises(OSError, match="No space"):
        files.write_together({tmp_path / str(n): b"new" for n in range(many)})
    assert {*synced} == {b"old"}
    assert below(tmp_path) == {"0": b"old"}


@pytest.mark.parametrize("folder", [False, True])
def test_replacing_keeps_the_old_until_the_end(folder: bool, tmp_path: Path) -> None:
    target = tmp_path / "new/target"

    def fill(draft: Path) -> Path:
        if folder:
            draft.mkdir()
            draft /= "file"
        draft.write_bytes(b"new")
        return target / "file" if folder else target

    def interrupted() -> None:
        with files.replacing(target) as draft:
            fill(draft)
            assert not target.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [*target.parent.iterdir()] == []
    with files.replacing(target) as draft:
        written = fill(draft)
    assert written.read_bytes() == b"new"
    assert [*target.parent.iterdir()] == [target]


@pytest.mark.parametrize(
    ("code", "step"),
    [
        (errno.ENOSPC, "make room there"),
        (errno.ENOTDIR, "name a folder, not a file"),
        (errno.EMFILE, "end other programs or raise the limit"),
        (errno.EACCES, "make the folder writable"),
    ],
)
def test_what_cannot_be_written_names_the_next_step(code: int, step: str, tmp_path: Path) -> None:
    with (
        pytest.raises(NotWritable, match=f"cannot write to {tmp_path}: ") as caught,
        files.not_writable_errors(tmp_path),
    ):
        raise OSError(code, os.strerror(code))
    assert caught.value.next_step.startswith(step)


def test_the_digest_of_a_tree(tmp_path: Path) -> None:
    def make(name: str, changes: dict[str, bytes]) -> str:
        texts = {"a.py": b"a\nb\n", "b/c.py": b"c", ".hidden": b"x", "b/__pycache__/c.pyc": b"x"}
        for path, text in (texts | changes).items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(text)
        return files.tree_digest(tmp_path / name)

    digest = make("first", {})
    same = {"a.py": b"a\r\nb\r\n", ".hidden": b"y", "b/__pycache__/c.pyc": b"y", "b/.d": b""}
    assert make("same", same) == digest
    others = [{"a.py": b"a\r\nb\n"}, {"b/c.py": b"C"}, {"b/d.py": b""}]
    assert len({digest, *(make(f"other{n}", change) for n, change in enumerate(others))}) == 4


@pytest.mark.parametrize("name", ["a-1.0+x.1-py3-none-any.whl", "livekit-agents", "1"])
def test_a_name_that_may_stand_in_a_path_and_a_page(name: str) -> None:
    assert files.require_plain_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".a", "a b", "a\n", 'a"', "é"])
def test_a_name_that_may_not(name: str) -> None:
    with pytest.raises(InvalidWheel, match="is no file name for an index"):
        files.require_plain_name(name)
