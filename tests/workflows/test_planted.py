"""Faults that no stand-in for a program would see: with each of them a scenario must end red."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import test_scenarios as scenarios
from world import World

pytest_plugins = ("opening",)
pytestmark = pytest.mark.pypi
PUBLISH, WATCH = (f".github/workflows/{name}.yml" for name in ("publish", "watch"))
MIXED = ("noxfile.py", "env=env, stderr=None)", "env=env)")


def ends_red(scenario: Callable[[World], None], world: World, why: str) -> None:
    with pytest.raises(AssertionError) as caught:
        scenario(world)
    assert re.search(why, str(caught.value)), caught.value


@pytest.fixture
def planted(request: pytest.FixtureRequest) -> World:
    """A world whose repository has the fault that the test is parametrised with."""
    opened: World = request.getfixturevalue("world")
    path, old, new = request.param
    opened.plant(path, old, new)
    return opened


def lesser(path: str, scope: str) -> tuple[str, str, str]:
    """The fault that a job may only read where it writes."""
    return path, f"      {scope}: write", f"      {scope}: read"


@pytest.mark.quick
@pytest.mark.parametrize(
    ("planted", "why"),
    [
        pytest.param(
            (PUBLISH, "          name: proved-${{", "          name: prooved-${{"),
            r"1\.8\.8",
            id="artifact-misspelt",
        ),
        pytest.param(
            lesser(PUBLISH, "contents"),
            "needs contents: write, and has read",
            id="no-right-to-push",
        ),
    ],
    indirect=["planted"],
)
def test_a_publication_ends_red(planted: World, why: str) -> None:
    ends_red(scenarios.test_publish_for_the_first_time, planted, why)


@pytest.mark.parametrize(
    ("planted", "why"),
    [
        pytest.param(
            lesser(PUBLISH, "pages"), "needs pages: write, and has read", id="no-right-to-deploy"
        ),
        pytest.param(
            (PUBLISH, "    permissions:\n      contents: read\n", "    permissions: {}\n"),
            "needs contents: read, and has none",
            id="no-right-to-read",
        ),
    ],
    indirect=["planted"],
)
def test_so_it_does_without_lesser_rights(planted: World, why: str) -> None:
    ends_red(scenarios.test_publish_for_the_first_time, planted, why)


@pytest.mark.quick
@pytest.mark.parametrize(
    "planted",
    [
        pytest.param(MIXED, id="stderr-in-stdout"),
        pytest.param(
            (PUBLISH, "--json > dist/outcome.json || true", "--json > dist/outcome.json"),
            id="end-at-the-first",
        ),
    ],
    indirect=True,
)
def test_a_refused_release_ends_red_otherwise(planted: World) -> None:
    ends_red(
        scenarios.test_publish_of_nothing_but_a_refused_release, planted, "Prove group .*Job failed"
    )


def test_a_publication_that_ends_at_the_first_refused_release(running: World) -> None:
    running.plant(PUBLISH, "--json > dist/outcome.json || true", "--json > dist/outcome.json")
    ends_red(
        scenarios.test_publish_with_a_good_and_a_refused_release,
        running,
        "Prove group .*Job failed",
    )


@pytest.mark.parametrize(
    ("scenario", "planted", "why"),
    [
        pytest.param(
            scenarios.test_watch_carries_a_release,
            lesser(WATCH, "pull-requests"),
            "needs pull-requests: write, and has read",
            id="no-right-to-ask",
        ),
        pytest.param(
            scenarios.test_watch_carries_a_release,
            MIXED,
            "not what `release --json` prints",
            id="stderr-in-stdout",
        ),
        pytest.param(
            scenarios.test_watch_meets_a_conflict,
            lesser(WATCH, "issues"),
            "needs issues: write, and has read",
            id="no-right-to-say",
        ),
    ],
    indirect=["planted"],
)
def test_a_watch_ends_red(scenario: Callable[[World], None], planted: World, why: str) -> None:
    ends_red(scenario, planted, why)
