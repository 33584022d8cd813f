"""The workflows, run for real: nox, uv, pip, git and the verbs; only GitHub is stood in for."""

from __future__ import annotations

import html
from pathlib import Path

import pytest
from series import write_series
from world import FIRST, World, open_world, ours, patch

pytest_plugins = ("opening",)
pytestmark = pytest.mark.pypi
SECOND, THIRD = "1.8.9", "1.8.10"


@pytest.mark.quick
def test_publish_for_the_first_time(world: World) -> None:
    ran = world.publish(variables={"PAGES": "true"})
    assert ran.green, ran.text
    assert world.published() == ours(FIRST)
    assert world.trailer() == world.git("rev-parse", "HEAD")
    assert (world.state / "pages" / "simple" / "livekit-agents" / "index.html").is_file()
    assert f"{FIRST}" in ran.summary


@pytest.mark.quick
def test_publish_of_nothing_but_a_refused_release(world: World) -> None:
    world.release(SECOND, "refused")
    world.verb("update")
    world.push("A release")
    ran = world.publish()
    found = {"prove": "success", "merge": "success", "refused": "failure"}
    assert found.items() <= ran.jobs.items(), ran.text
    assert SECOND in ran.summary
    assert (world.published(), world.trailer()) == (set(), "")


def test_publish_with_a_good_and_a_refused_release(running: World) -> None:
    before = running.trailer()
    running.release(SECOND)
    running.release(THIRD, "refused")
    running.verb("update")
    running.push("Two releases")
    ran = running.publish(releases=f"{SECOND} {THIRD}")
    assert running.published() == ours(FIRST, SECOND), ran.text
    found = {"prove": "success", "merge": "success", "refused": "failure"}
    assert found.items() <= ran.jobs.items(), ran.text
    assert f"{THIRD}" in ran.summary
    assert running.trailer() == before


def test_publish_when_the_proof_says_nothing(running: World) -> None:
    """A group of which no document came out is red, and what main records is still to do."""
    before = running.trailer()
    running.release(SECOND)
    running.record(SECOND)
    running.plant("scripts/release.py", "def main(", "def nothing(")
    ran = running.pushed()
    assert ran.jobs["prove"] == "failure", ran.text
    assert running.trailer() == before


def test_publish_with_a_changed_series(running: World) -> None:
    running.release(SECOND)
    running.record(FIRST, SECOND)
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
    planned = running.publish("plan-to-retire", variables={"PAGES": "true"})
    assert planned.green, planned.text
    assert THIRD in planned.summary
    assert running.origin("rev-parse", "index") == before
    assert not (running.state / "pages").exists()
    done = running.publish("retire")
    assert done.green, done.text
    assert running.retired()
    undone = running.publish("undo-retire")
    assert undone.green, undone.text
    assert not running.retired()
    # none of them says that main's releases were published
    assert running.trailer() == running.git("rev-parse", "HEAD~1")


@pytest.mark.parametrize("job", ["tests", "lint"])
def test_ci(tmp_path: Path, job: str) -> None:
    """The project itself, with a few of its tests, on one of the Python versions."""
    with open_world(tmp_path, real=True) as world:
        world.variables["PYTEST_ADDOPTS"] = "tests/toolkit/test_releases_select.py"
        ran = world.runner.run("ci", "push", only=job, matrix="python:3.14")
        assert ran.green, ran.text
        assert ran.results == {(job, "success")}


@pytest.mark.quick
@pytest.mark.parametrize(("state", "told"), [("active", 1), ("disabled_manually", 0)])
def test_ci_notices_that_the_watch_does_not_run(world: World, state: str, told: int) -> None:
    world.ran_lately("watch.yml", days=9, state=state)
    ran = world.runner.run("ci", "push", only="watch")
    assert ran.green, ran.text
    titles = [issue["title"] for issue in world.kept("issues")]
    assert titles == ["The watch does not run"] * told


@pytest.mark.quick
def test_watch_with_nothing_new(world: World) -> None:
    ran = world.watch()
    assert ran.green, ran.text
    assert ran.jobs["announce"] == ran.jobs["every"] == "skipped"
    assert world.github.asked
    assert "livekit/agents#5021: closed" in html.unescape(ran.summary)
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
    assert world.kept("dispatched") == [{"workflow": "ci.yml", "ref": "watch"}]
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
    """PyPI does not answer; the next day it does, and the issue is closed."""
    world.release(SECOND)
    world.pypi.faults["livekit-agents"] = 500
    ran = world.watch()
    assert not ran.green
    (issue,) = world.kept("issues")
    assert issue["title"] == "The watch failed"
    assert "newest: failure" in issue["body"]
    world.pypi.faults.clear()
    assert world.watch().green
    assert [issue["state"] for issue in world.kept("issues")] == ["CLOSED"]


def test_the_weekly_matrix(world: World) -> None:
    world.record(FIRST)
    ran = world.watch("43 2 * * 0")
    assert ran.green, ran.text
    assert ran.jobs["matrix"] == ran.jobs["every"] == "success"
    assert FIRST in ran.text
