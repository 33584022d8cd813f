"""Which of upstream's tags is a release's, its checkout, and what an unreachable server means."""

from __future__ import annotations

import socket
from pathlib import Path

import git
import pytest
from packaging.version import Version
from upstream_repository import make_repository
from wheels import make_wheel

from toolkit.upstream_tests.checkout import (
    Tag,
    _list_tags,
    check_out,
    count_differing,
    nearest_tag,
    tags_of,
)
from toolkit.util.errors import CommandFailed, Unreachable

TREE = "livekit-agents"
MODULE = f"{TREE}/livekit/agents/__init__.py"


@pytest.fixture(autouse=True)
def forgetful() -> None:
    _list_tags.cache_clear()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    files = {"tests/test_a.py": "", "pyproject.toml": "", MODULE: "", "docs/large.txt": "x"}
    return make_repository(
        tmp_path / "repo",
        {
            "livekit-agents@1.4.0": files,
            "livekit-agents@1.10.1": {**files, "tests/test_b.py": "", MODULE: "one = 1\n"},
            "livekit-agents@next": files,
            "other@2.0": files,
        },
    )


@pytest.fixture
def newest(repository: Path) -> Tag:
    return tags_of(str(repository))[-1]


def test_the_tags_of_releases_with_their_commits(repository: Path) -> None:
    with git.Repo(repository) as repo:
        assert [(str(tag.version), tag.commit) for tag in tags_of(str(repository))] == [
            ("1.4.0", repo.commit("livekit-agents@1.4.0").hexsha),
            ("1.10.1", repo.commit("livekit-agents@1.10.1").hexsha),
        ]


@pytest.mark.parametrize(
    ("release", "expected", "between"),
    [
        ("1.4.0", "1.4.0", 0),
        ("1.4.1", "1.4.0", 0),  # of two equally near, the earlier
        ("1.4.4", "1.5.0", 0),
        ("1.4.2", "1.4.0", 1),
        ("1.0.0", "1.4.0", 1),  # the same major version first
        ("2.0.0b1", "1.5.0", 1),
    ],
)
def test_the_nearest_tag(release: str, expected: str, between: int) -> None:
    releases = [Version(f"1.{v}") for v in ("0.1", "4.0", "4.1", "4.2", "4.4", "6.0")]
    tags = [Tag(f"livekit-agents@{v}", Version(v), "") for v in ("0.12.9", "1.4.0", "1.5.0")]
    tag, count = nearest_tag(tags, Version(release), releases)
    assert (str(tag.version), count) == (expected, between)


@pytest.mark.parametrize("scheme", ["{}", "file://{}"])
def test_only_the_tests_and_the_top_are_checked_out(
    newest: Tag, repository: Path, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as a hook of git's would set them
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    checkout = check_out(newest, scheme.format(repository), tmp_path / "cache")
    files = sorted(p.relative_to(checkout.files).as_posix() for p in checkout.files.rglob("*.*"))
    # the empty .env keeps one of the user's, further up, from being found
    assert files == [".env", "pyproject.toml", "tests/test_a.py", "tests/test_b.py"]
    assert MODULE in checkout.blobs


def test_a_commit_is_fetched_once(newest: Tag, repository: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = check_out(newest, str(repository), cache)
    blobs = next(cache.rglob("blobs.json"))
    blobs.write_text("{", "utf-8")
    assert check_out(newest, str(repository), cache) == first
    repository.rename(tmp_path / "gone")
    assert check_out(newest, str(repository), cache) == first


def test_a_tag_that_moved_is_no_checkout(repository: Path, tmp_path: Path) -> None:
    moved = Tag("livekit-agents@1.10.1", Version("1.10.1"), "0" * 40)
    with pytest.raises(CommandFailed, match="0000"):
        check_out(moved, str(repository), tmp_path / "cache")
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_how_far_the_wheel_is_from_the_tag(newest: Tag, repository: Path, tmp_path: Path) -> None:
    checkout = check_out(newest, str(repository), tmp_path / "cache")
    members = {"livekit/agents/__init__.py": b"one = 1\n", "livekit/agents/data.bin": b""}
    same = make_wheel(tmp_path / "same", "livekit-agents", "1.10.1", members)
    assert count_differing(checkout, same, TREE) == (0, 1)
    members = {"livekit/agents/__init__.py": b"one = 2\n", "livekit/agents/two.py": b""}
    other = make_wheel(tmp_path / "other", "livekit-agents", "1.10.1", members)
    assert count_differing(checkout, other, TREE) == (2, 2)


def test_a_repository_that_is_not_there_is_asked_once(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(Unreachable, match="does not appear to be a git repository"):
        tags_of(str(missing))
    make_repository(missing, {"livekit-agents@1.0.0": {"tests/test_a.py": ""}})
    with pytest.raises(Unreachable):
        tags_of(str(missing))
    _list_tags.cache_clear()
    assert len(tags_of(str(missing))) == 1


def test_a_repository_without_tags_of_releases(tmp_path: Path) -> None:
    other = make_repository(tmp_path / "other", {"v1.0": {"tests/test_a.py": ""}})
    with pytest.raises(Unreachable, match="has no tag livekit-agents@VERSION"):
        tags_of(str(other))


def test_a_server_that_says_nothing_is_left() -> None:
    # the system accepts the connection, and nobody ever answers
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"git://127.0.0.1:{server.getsockname()[1]}/agents"
        with pytest.raises(Unreachable, match=r"did not end within 0\.3 s"):
            tags_of(silent, 0.3)
