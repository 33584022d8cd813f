"""The workflows, run for real: nox, uv, pip, git and the verbs; only GitHub is stood in for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from world import World, open_world, patch, write_series

pytestmark = pytest.mark.pypi
FIRST, SECOND, THIRD = (f"1.8.{number}" for number in (8, 9, 10))


def ours(*versions: str, revision: int = 1) -> set[str]:
    return {f"{version}+dispatched.{revision}" for version in versions}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def running(world: World) -> World:
    """A world in which Publish ran once."""
    ran = world.publish()
    assert ran.green, ran.text
    assert world.published() == ours(FIRST)
    return world


@pytest.mark.quick
def test_publish_for_the_first_time(world: World) -> None:
    ran = world.publish(variables={"PAGES": "true"})
    assert ran.green, ran.text
    assert world.published() == ours(FIRST)
    assert world.trailer() == world.git("rev-parse", "HEAD")
    assert (world.state / "pages" / "simple" / "livekit-agents" / "index.html").is_file()
    assert f"{FIRST}" in ran.summary


@pytest.mark.quick
def test_publish_with_a_good_and_a_refused_release(running: World) -> None:
    before = running.trailer()
    running.release(SECOND)
    running.release(THIRD, "refused")
    running.verb("update")
    running.push("Two releases")
    ran = running.publish(releases=f"{SECOND} {THIRD}")
    assert running.published() == ours(FIRST, SECOND), ran.text
    assert ran.jobs["refused"] == "failure", ran.text
    assert not ran.green
    assert f"{THIRD}" in ran.summary
    assert running.trailer() == before


def test_publish_with_a_changed_series(running: World) -> None:
    running.release(SECOND)
    running.record(SECOND)
    write_series(running.clone / "patches", {"guard": {"1.0": patch("LOSES = not True")}})
    running.record(FIRST, SECOND)
    ran = running.pushed()
    assert ran.green, ran.text
    assert running.published() == ours(FIRST) | ours(FIRST, SECOND, revision=2)
    assert running.trailer() == running.git("rev-parse", "HEAD")


def test_publish_after_a_cancelled_run(running: World) -> None:
    """What main records since the last whole run is published, whatever came between."""
    running.release(SECOND)
    running.record(SECOND)
    before = running.trailer()
    running.pushed(only="prove")
    assert (running.published(), running.trailer()) == (ours(FIRST), before)
    running.release(THIRD)
    running.record(THIRD)
    ran = running.pushed()
    assert ran.green, ran.text
    assert running.published() == ours(FIRST, SECOND, THIRD)
    assert running.trailer() == running.git("rev-parse", "HEAD")


def test_a_retirement_that_is_planned_and_done(running: World) -> None:
    running.release(THIRD, "fixed")
    running.verb("update")
    running.push("Upstream fixed it")
    before = running.origin("rev-parse", "index")
    planned = running.publish("plan-to-retire")
    assert planned.green, planned.text
    assert THIRD in planned.summary
    assert running.origin("rev-parse", "index^{tree}") == running.origin(
        "rev-parse", f"{before}^{{tree}}"
    )
    done = running.publish("retire")
    assert done.green, done.text
    assert "retired" in running.origin("show", "index:index.jsonl")
    undone = running.publish("undo-retire")
    assert undone.green, undone.text


@pytest.mark.quick
def test_watch_with_nothing_new(world: World) -> None:
    ran = world.watch()
    assert ran.green, ran.text
    assert ran.jobs["announce"] == ran.jobs["every"] == "skipped"
    assert world.kept("issues") == world.kept("pulls") == []
    assert not world.origin("rev-parse", "--quiet", "--verify", "watch")


@pytest.mark.quick
def test_watch_carries_a_release(world: World) -> None:
    world.release(SECOND, "moved")
    ran = world.watch()
    assert ran.green, ran.text
    (pull,) = world.kept("pulls")
    assert (pull["headRefName"], pull["state"]) == ("watch", "OPEN")
    assert SECOND in pull["title"]
    changed = world.origin("diff", "--name-only", "main", "watch").splitlines()
    assert changed == [f"patches/guard/{SECOND}.patch", "patches/releases.toml"]
    assert world.kept("issues") == []
    # the next day it is the same
    again = world.watch()
    assert again.green, again.text
    assert [one["edits"] for one in world.kept("pulls")] == [1]


def test_watch_meets_a_conflict(world: World) -> None:
    world.release(SECOND, "conflict")
    # the next day it is the same
    for _ in range(2):
        ran = world.watch()
        assert ran.green, ran.text
    (issue,) = world.kept("issues")
    assert f"{SECOND}: conflict" in issue["title"]
    assert f"nox -s release -- {SECOND}" in issue["body"]
    assert world.kept("pulls") == []


def test_watch_with_a_red_step(world: World) -> None:
    """PyPI does not answer; the next day it does."""
    world.release(SECOND)
    world.pypi.faults["livekit-agents"] = 500
    ran = world.watch()
    assert not ran.green
    (issue,) = world.kept("issues")
    assert issue["title"] == "The watch failed"
    assert "newest: failure" in issue["body"]


def test_the_weekly_matrix(world: World) -> None:
    world.record(FIRST)
    ran = world.watch("43 2 * * 0")
    assert ran.green, ran.text
    assert ran.jobs["matrix"] == ran.jobs["every"] == "success"
    assert FIRST in ran.text
