"""Download official wheels into a cache, from servers that fail, lie or are busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from upstream_index import Upstream

from toolkit.releases.download import fetch_wheel, fetch_wheels
from toolkit.releases.pypi import PyPI
from toolkit.releases.release import Release
from toolkit.util.errors import HashMismatch, NotWritable, Unreachable


def find(upstream: Upstream) -> Release:
    with PyPI(workspace=upstream.workspace) as pypi:
        return pypi.find("1.8.9")


@pytest.fixture
def release(upstream: Upstream) -> Release:
    upstream.upload("1.8.9")
    release = find(upstream)
    upstream.index.asked.clear()
    return release


def cached(upstream: Upstream) -> list[str]:
    return [path.name for path in upstream.workspace.artefacts.rglob("*") if path.is_file()]


def test_cached_by_content(release: Release, upstream: Upstream) -> None:
    index, workspace = upstream.index, upstream.workspace
    seen: list[int] = []
    paths = fetch_wheels(release, workspace, seen.append)
    for path, artefact in zip(paths, release.artefacts, strict=True):
        sha = artefact.sha256
        assert path == workspace.artefacts / sha[:2] / sha / artefact.filename
        assert path.read_bytes() == index.files[artefact.filename]
    assert sum(seen) == sum(artefact.size for artefact in release.artefacts)
    index.asked.clear()
    assert fetch_wheels(release, workspace) == paths
    assert index.asked == []
    paths[1].write_bytes(b"damaged")
    assert fetch_wheels(release, workspace)[1].read_bytes() == index.files[paths[1].name]
    assert len(index.asked) == 1


FAULTS: dict[str, tuple[int | str | Callable[[bytes], bytes], type[Exception] | None, int]] = {
    "cut off": ("cut", Unreachable, 4),
    "cut off once": ("once", None, 2),
    "not found": (404, Unreachable, 1),
    "unavailable": (503, Unreachable, 4),
    "one byte less": (lambda good: good[:-1], Unreachable, 4),
    "one byte more": (lambda good: good + b"x", HashMismatch, 1),
    "another byte": (lambda good: good[:100] + b"\0" + good[101:], HashMismatch, 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_server(release: Release, upstream: Upstream, fault: str) -> None:
    answer, error, attempts = FAULTS[fault]
    wheel = release.artefacts[0]
    good = upstream.index.files[wheel.filename]
    upstream.index.faults[wheel.filename] = answer(good) if callable(answer) else answer
    with pytest.raises(error) if error else nullcontext():
        assert fetch_wheel(wheel, upstream.workspace).read_bytes() == good
    assert cached(upstream) == ([] if error else [wheel.filename])
    assert len(upstream.index.asked) == attempts


def test_what_arrives_is_kept(release: Release, upstream: Upstream) -> None:
    agents, plugin = release.artefacts
    upstream.index.faults[plugin.filename] = 404
    with pytest.raises(Unreachable):
        fetch_wheels(release, upstream.workspace)
    assert cached(upstream) == [agents.filename]
    with pytest.raises(Unreachable):
        fetch_wheel(replace(plugin, url="ftp://127.0.0.1/x.whl"), upstream.workspace)


def test_a_cache_that_cannot_be_written(release: Release, upstream: Upstream) -> None:
    upstream.workspace.artefacts.write_text("a file", "utf-8")
    with pytest.raises(NotWritable):
        fetch_wheels(release, upstream.workspace)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("asked", "longest"), [("7", 7), ("date", 30), ("0", 0), ("soon", 0), ("9" * 5000, 0)]
)
def test_a_busy_server_is_waited_for(
    release: Release,
    upstream: Upstream,
    waits: list[float],
    status: int,
    asked: str,
    longest: int,
) -> None:
    if asked == "date":
        asked = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    for request in (
        lambda: find(upstream),
        lambda: fetch_wheel(release.artefacts[0], upstream.workspace),
    ):
        waits.clear()
        upstream.index.busy = [(status, asked)]
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
    release: Release,
    upstream: Upstream,
    waits: list[float],
    answers: list[tuple[int, str]],
    problem: str,
) -> None:
    for request in (
        lambda: find(upstream),
        lambda: fetch_wheel(release.artefacts[0], upstream.workspace),
    ):
        waits.clear()
        upstream.index.busy = [*answers]
        with pytest.raises(Unreachable, match=problem):
            request()
        assert sum(waits) <= 60
