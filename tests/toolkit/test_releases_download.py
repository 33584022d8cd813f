"""Download official wheels into a cache, from servers that fail, lie or are busy."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from simple_index import Index
from upstream_index import upload

from toolkit.releases.download import fetch, fetch_all
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Artefact, Release
from toolkit.util.errors import HashMismatch, NotWritable, Unreachable
from toolkit.util.workspace import Workspace


def find(index: Index, workspace: Workspace) -> Release:
    with PyPI(index.url, workspace=workspace) as pypi:
        return pypi.find("1.8.9")


@pytest.fixture
def release(index: Index, workspace: Workspace, tmp_path: Path) -> Release:
    upload(index, tmp_path, "1.8.9")
    release = find(index, workspace)
    index.asked.clear()
    return release


@pytest.fixture
def wheel(release: Release) -> Artefact:
    return release.artefacts[0]


def cached(workspace: Workspace) -> list[str]:
    return [path.name for path in workspace.artefacts.rglob("*") if path.is_file()]


def test_cached_by_content(release: Release, index: Index, workspace: Workspace) -> None:
    seen: list[int] = []
    paths = fetch_all(release, workspace, seen.append)
    for path, artefact in zip(paths, release.artefacts, strict=True):
        sha = artefact.sha256
        assert path == workspace.artefacts / sha[:2] / sha / artefact.filename
        assert path.read_bytes() == index.files[artefact.filename]
    assert sum(seen) == sum(artefact.size for artefact in release.artefacts)
    index.asked.clear()
    assert fetch_all(release, workspace) == paths
    assert index.asked == []
    paths[1].write_bytes(b"damaged")
    assert fetch_all(release, workspace)[1].read_bytes() == index.files[paths[1].name]
    assert len(index.asked) == 1


@pytest.mark.parametrize(
    ("fault", "error", "attempts"),
    [("cut", Unreachable, 4), (404, Unreachable, 1), (503, Unreachable, 4), ("once", None, 2)],
)
def test_failing_server(
    wheel: Artefact,
    index: Index,
    workspace: Workspace,
    fault: int | str,
    error: type[Exception] | None,
    attempts: int,
) -> None:
    index.faults[wheel.filename] = fault
    if error is None:
        assert fetch(wheel, workspace).read_bytes() == index.files[wheel.filename]
    else:
        with pytest.raises(error, match="did not arrive whole"):
            fetch(wheel, workspace)
        assert cached(workspace) == []
    assert len(index.asked) == attempts


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (lambda good: good[:100] + b"\0" + good[101:], HashMismatch),
        (lambda good: good + b"x", HashMismatch),
        (lambda good: good[:-1], Unreachable),
    ],
)
def test_other_bytes(
    wheel: Artefact, index: Index, workspace: Workspace, body: object, error: type[Exception]
) -> None:
    index.faults[wheel.filename] = body(index.files[wheel.filename])  # type: ignore[operator]
    with pytest.raises(error):
        fetch(wheel, workspace)
    assert cached(workspace) == []


def test_what_arrives_is_kept(release: Release, index: Index, workspace: Workspace) -> None:
    index.faults[release.artefacts[1].filename] = 404
    with pytest.raises(Unreachable):
        fetch_all(release, workspace)
    assert cached(workspace) == [release.artefacts[0].filename]
    with pytest.raises(Unreachable):
        fetch(replace(release.artefacts[1], url="ftp://127.0.0.1/x.whl"), workspace)


def test_a_cache_that_cannot_be_written(wheel: Artefact, workspace: Workspace) -> None:
    workspace.artefacts.write_text("a file", "utf-8")
    with pytest.raises(NotWritable):
        fetch(wheel, workspace)


def test_many_at_once(wheel: Artefact, workspace: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: fetch(wheel, workspace), range(16)))
    assert len(paths) == len(cached(workspace)) == 1


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


LONG = "9" * 5000


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "longest"), [("7", 7), ("date", 30), ("0", 0), ("soon", 0), (LONG, 0)]
)
def test_a_busy_server_is_waited_for(
    release: Release,
    index: Index,
    workspace: Workspace,
    waits: list[float],
    status: int,
    asked: str,
    longest: int,
) -> None:
    if asked == "date":
        asked = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    for request in (lambda: find(index, workspace), lambda: fetch_all(release, workspace)):
        waits.clear()
        index.busy = [(status, asked)]
        request()
        assert max(waits, default=0) <= longest
        assert bool(sum(waits)) == bool(longest)


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([(429, "3600")], "asks to wait 3600 s"),
        ([(503, "31536000")], "asks to wait 31536000 s"),
        ([(429, "25")] * 3, "asks to wait 25 s"),
        ([(429, "")] * 4, "too many 429"),
    ],
)
def test_a_busy_server_is_not_waited_for_without_end(
    wheel: Artefact,
    index: Index,
    workspace: Workspace,
    waits: list[float],
    answers: list[tuple[int, str]],
    problem: str,
) -> None:
    for request in (lambda: find(index, workspace), lambda: fetch(wheel, workspace)):
        index.busy = [*answers]
        with pytest.raises(Unreachable, match=problem):
            request()
    assert sum(waits) <= 2 * 60
