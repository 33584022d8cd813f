"""The verb fetch: the official wheels of releases that are named, or meant by a range."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from upstream_index import Upstream

NAMES = ("livekit_agents", "livekit_plugins_openai")


@pytest.fixture
def upstream(upstream: Upstream) -> Upstream:
    upstream.add_two_releases()
    return upstream


def test_paths_of_the_newest(upstream: Upstream) -> None:
    paths = [Path(line) for line in upstream.run("fetch").out.splitlines()]
    files = upstream.index.files
    expected = [files[f"{name}-1.8.9-py3-none-any.whl"] for name in NAMES]
    assert [path.read_bytes() for path in paths] == expected


def test_a_line_of_json_a_release(upstream: Upstream) -> None:
    lines = upstream.run("fetch", "1.8.8", "1.8.9", "--json").out.splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["release"] for row in rows] == ["1.8.8", "1.8.9"]
    assert rows[0]["uploaded"] == "2026-01-01T12:00:00+00:00"


def test_all_but_what_was_yanked(upstream: Upstream) -> None:
    upstream.index.yanked["livekit_agents-1.8.8-py3-none-any.whl"] = "broken"
    upstream.run("update")
    result = upstream.run("fetch", "all")
    names = [Path(line).name for line in result.out.splitlines()]
    assert names == [f"{name}-1.8.9-py3-none-any.whl" for name in NAMES]
    assert "1.8.8 is left out: yanked: broken" in result.err
